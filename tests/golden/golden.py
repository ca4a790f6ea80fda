"""Shared by export_full.py and export_small.py: exports a PyTorch net and writes its golden values.

A case is a folder with model.onnx, case.json and .npy arrays:

    {"model": "model.onnx", "exporter": "torch 1.13 torchscript", "opset": 17, "declared": "float32|float64",
     "batch": 1 | "dynamic", "inputs": {NAME: ["x0.npy", ...]}, "of": "logits:281", "outputs": {NAME: ["y0.npy", ...]},
     "values": {NAME: ["v0_0.npy", ...]}, "grads": {NAME: ["g0_0.npy", ...]}, "mixed": false, "notes": "..."}

Inputs are float32 (float64 where the model is declared so) or int64; everything else is float64, computed by
PyTorch in float64 on the very weights that the file holds. "grads" are those of the scalar "of" (VALUE:index, the
index leaves the batch out). NAME is always a name in the ONNX graph. Entry i of every list belongs to row(s) i.
Runs with torch 1.13 + onnx 1.16.2 and with torch 2.13 + onnx 1.23.2; not a program by itself.
"""
import copy
import json
import os
import shutil
import sys

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "peers"))
import nets  # noqa: E402

TORCH = ".".join(torch.__version__.split("+")[0].split(".")[:2])


def round_eps(model):
    """ONNX keeps epsilon as a float32 attribute: give PyTorch that very number, so that float64 values can agree."""
    for m in model.modules():
        if isinstance(getattr(m, "eps", None), float):
            m.eps = float(np.float32(m.eps))
        if getattr(m, "variance_epsilon", None):
            m.variance_epsilon = float(np.float32(m.variance_epsilon))
    return model


def fold_batchnorm(model, x):
    """Folds every BatchNorm that directly follows a convolution, as the TorchScript exporter does.

    The exporter folds in float32, which changes the weights by a rounding; folding here first makes the exported
    weights and PyTorch's the same numbers.
    """
    producer, pairs, hooks, kept = {}, [], [], []

    def after_conv(module, _, out):
        kept.append(out)   # keeps the address taken while the forward pass lasts
        producer[id(out)] = module

    def before_norm(module, args):
        if id(args[0]) in producer:
            pairs.append((producer[id(args[0])], module))

    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            hooks.append(m.register_forward_hook(after_conv))
        elif isinstance(m, nn.BatchNorm2d):
            hooks.append(m.register_forward_pre_hook(before_norm))
    with torch.no_grad():
        model(x)
    for h in hooks:
        h.remove()
    new = {}
    for conv, norm in pairs:
        new[conv], new[norm] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if child in new:
                setattr(parent, name, new[child])
    return model


def strip_metadata(path, keep):
    """Of what the dynamo exporter leaves in the nodes' metadata keeps the keys in `keep` (stack traces name paths)."""
    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:
        kept = [p for p in node.metadata_props if p.key in keep]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    with open(path, "wb") as f:
        f.write(model.SerializeToString())


def export(model, x, path, opset, inputs, outputs, dynamic, dynamo, external=False):
    """Writes `path`; `dynamic` makes axis 0 of every input and output symbolic."""
    args = dict(opset_version=opset)
    if inputs:
        args["input_names"] = inputs
    if outputs:
        args["output_names"] = outputs
    if dynamo:
        if dynamic:
            x = torch.cat([x, x])   # a dynamic axis of extent 1 would be specialised
            args["dynamic_shapes"] = ({0: torch.export.Dim("batch")},)
        torch.onnx.export(model, (x,), path, dynamo=True, external_data=external, verbose=False, **args)
        strip_metadata(path, ("namespace",))
        return
    if dynamic:
        args["dynamic_axes"] = {n: {0: "batch"} for n in list(inputs) + list(outputs)}
    if int(TORCH.split(".")[0]) >= 2:
        args["dynamo"] = False
    torch.onnx.export(model, x, path, **args)


def table_value(graph, weight):
    """Name of the first Gather's output that looks rows up in `weight`."""
    arrays = {t.name: t for t in graph.initializer if tuple(t.dims) == tuple(weight.shape)}
    alias = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Identity"}
    for node in graph.node:
        if node.op_type == "Gather" and alias.get(node.input[0], node.input[0]) in arrays:
            return node.output[0]
    raise ValueError("no Gather reads the embedding table")


def inner_names(path, feed, wanted):
    """Finds, for each array wanted, the ONNX value that holds it, by running the file with ONNX's reference."""
    from onnx.reference import ReferenceEvaluator
    model = onnx.load(path)
    read = {name for node in model.graph.node for name in node.input}
    for node in model.graph.node:
        for name in node.output:
            if name in read and name not in [o.name for o in model.graph.output]:
                model.graph.output.append(onnx.ValueInfoProto(name=name))
    names = [o.name for o in model.graph.output]
    got = ReferenceEvaluator(model).run(None, feed)
    found = {}
    for key, want in wanted.items():
        for name, value in zip(names, got):
            if isinstance(value, np.ndarray) and value.shape == want.shape and value.dtype.kind == "f" and \
                    np.abs(value - want).max() <= 1e-4 * np.abs(want).max():
                found[key] = name
                break
        else:
            raise ValueError("no ONNX value holds the output of " + key)
    return found


def save(folder, name, array):
    # not ascontiguousarray: it would make a scalar one-dimensional
    np.save(os.path.join(folder, name), array.copy(order="C"))
    return name


def write(folder, model, rows, of, *, opset, double=False, dynamic=False, dynamo=False, embedding=None, inner=(),
          fold=True, external=False, names=(("input",), ("logits",)), mixed=False, notes=""):
    """Exports `model` (float32, in eval mode) and writes the case; returns its description.

    rows: list of numpy inputs, each with its batch axis; of: index without the batch axis; embedding: the name of an
    nn.Embedding module whose output the gradient is taken with respect to; inner: names of modules whose outputs are
    written under "values" and "grads"; mixed: rows are stacked (the net mixes them).
    """
    final, folder = folder, folder + ".part"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    model = round_eps(copy.deepcopy(model)).eval()
    for p in model.parameters():
        p.requires_grad_(True)   # else nn.MultiheadAttention takes a fused path that has no ONNX form
    first = torch.from_numpy(rows[0])
    folds = any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    if folds and fold and not double:
        model = fold_batchnorm(model, first)
    if double:
        model = model.double()
        rows = [r if r.dtype == np.int64 else r.astype(np.float64) for r in rows]
    path = os.path.join(folder, "model.onnx")
    export(model, torch.from_numpy(rows[0]), path, opset, list(names[0]), list(names[1]), dynamic, dynamo, external)
    graph = onnx.load(path, load_external_data=False).graph
    feeds = [i.name for i in graph.input if i.name not in {t.name for t in graph.initializer}]
    result = graph.output[0].name

    truth = copy.deepcopy(model).double()
    modules = dict(truth.named_modules())
    seen = {}

    def keep(key):
        def hook(_, args, out):
            out = out[0] if isinstance(out, tuple) else out
            if key == embedding:
                out = out.detach().requires_grad_(True)
            seen[key] = out
            return out if key == embedding else None
        return hook

    for key in list(inner) + ([embedding] if embedding else []):
        modules[key].register_forward_hook(keep(key))
    outputs, values, grads, wanted = [], {}, {}, None
    for i, row in enumerate(rows):
        x = torch.from_numpy(row)
        if x.dtype != torch.int64:
            x = x.double().requires_grad_(True)
        y = truth(x)
        y = y if torch.is_tensor(y) else y[0]
        scalar = y[(slice(None),) + tuple(of)].sum()
        targets = {embedding: seen[embedding]} if embedding else {"": x}
        targets.update({k: seen[k] for k in inner})
        got = torch.autograd.grad(scalar, list(targets.values()))
        if wanted is None:
            wanted = {k: seen[k].detach().numpy() for k in inner}
            where = inner_names(path, {feeds[0]: row}, wanted) if inner else {}
            where[""] = feeds[0]
            if embedding:
                where[embedding] = table_value(graph, modules[embedding].weight)
        outputs.append(save(folder, "y%d.npy" % i, y.detach().numpy()))
        for j, (key, g) in enumerate(zip(targets, got)):
            tag = "%d.npy" % i if j == 0 else "%d_%d.npy" % (j, i)
            if not torch.isfinite(g).all() or g.abs().max() == 0:
                raise ValueError("degenerate gradient for " + (key or "input"))
            grads.setdefault(where[key], []).append(save(folder, "g" + tag, g.numpy()))
            if key:
                values.setdefault(where[key], []).append(save(folder, "v" + tag, seen[key].detach().numpy()))
    kind = "dynamo" if dynamo else "torchscript"
    case = {"model": "model.onnx", "exporter": "torch %s %s" % (TORCH, kind), "opset": opset,
            "declared": "float64" if double else "float32", "batch": "dynamic" if dynamic else int(rows[0].shape[0]),
            "inputs": {feeds[0]: [save(folder, "x%d.npy" % i, r) for i, r in enumerate(rows)]},
            "of": result + ":" + ",".join(map(str, of)), "outputs": {result: outputs}, "values": values,
            "grads": grads, "mixed": mixed, "notes": notes}
    with open(os.path.join(folder, "case.json"), "w") as f:
        json.dump(case, f, indent=1)
        f.write("\n")
    shutil.rmtree(final, ignore_errors=True)
    os.rename(folder, final)
    size = sum(os.path.getsize(os.path.join(final, f)) for f in os.listdir(final))
    print("%-44s %9.1f KB" % (os.path.basename(final), size / 1024), flush=True)
    return case


def run_all(plan, only):
    """Runs (name, callable) pairs whose name contains one of `only`; a failed export is reported and skipped."""
    failed = []
    for name, make in plan:
        if only and not any(o in name for o in only):
            continue
        try:
            make()
        except Exception as error:   # an exporter may refuse an opset
            failed.append((name, "%s: %s" % (type(error).__name__, str(error).strip().split("\n")[0][:200])))
            print("%-44s FAILED %s" % failed[-1], flush=True)
    return failed
