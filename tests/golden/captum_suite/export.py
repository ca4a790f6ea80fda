"""One forward function of a test as a small ONNX file whose layers carry their module's name."""

import builtins
import io
import sys
import warnings

import numpy as np
import onnx
import torch
from onnx import helper

OPSET = 17


class Export:
    """What a case needs to know about its model."""

    def __init__(self):
        self.bytes = b""
        self.inputs = []  # names, attributed ones first
        self.layers = []  # per layer tensor: value name
        self.path = set()  # values that the output depends on
        self.layer_shapes = []  # with the batch axis
        self.out_shape = ()
        self.aggregate = False  # one output for the whole batch: the batch is an inner axis of a single row


def future_value(out):
    if isinstance(out, torch.futures.Future):
        out.wait()
        out = out.value()
    return out


class Wrapped(torch.nn.Module):
    def __init__(self, function, fixed, casts, aggregate, layers, layer_input):
        super().__init__()
        self.function, self.fixed, self.casts, self.aggregate = [function], fixed, casts, aggregate
        self.layers, self.layer_input = [layers], layer_input

    def forward(self, *inputs):
        given, args = iter(zip(inputs, self.casts)), []
        for kind, value in self.fixed:
            if kind == "constant":
                args.append(value)
                continue
            x, cast = next(given)
            if self.aggregate:
                x = x.squeeze(0)
            args.append(x if cast is None else x.to(cast))
        seen, handles = {}, []
        for k, layer in enumerate(self.layers[0]):
            if self.layer_input:
                handles.append(
                    layer.register_forward_pre_hook(lambda _m, i, k=k: seen.__setitem__(k, tuple(i)))
                )
            else:
                handles.append(
                    layer.register_forward_hook(
                        lambda _m, _i, o, k=k: seen.__setitem__(k, o if isinstance(o, (tuple, list)) else (o,))
                    )
                )
        try:
            out = future_value(self.function[0](*args))
        finally:
            for handle in handles:
                handle.remove()
        if self.aggregate:
            out = out.reshape(1, -1) if out.numel() > 1 else out.reshape(1)
        return (out, *[v for k in range(len(self.layers[0])) for v in seen[k]])


class Tracing:
    """Parameters are constants, Python numbers made from tensors stay tensors, nothing works in place."""

    def __init__(self, function):
        self.modules = [m for m in sys.modules.values() if getattr(m, "__name__", "").startswith("tests.attr")]
        self.root = function

    def __enter__(self):
        self.item, self.inplace = torch.Tensor.item, []
        torch.Tensor.item = lambda t: t
        for m in self.modules:
            m.__dict__["int"] = lambda v: v if isinstance(v, torch.Tensor) else builtins.int(v)
        self.parameters = [p for m in modules_of(self.root) for p in m.parameters() if p.requires_grad]
        for p in self.parameters:
            p.requires_grad_(False)
        for m in modules_of(self.root):
            if getattr(m, "inplace", False):
                self.inplace.append(m)
                m.inplace = False

    def __exit__(self, *_):
        torch.Tensor.item = self.item
        for m in self.modules:
            m.__dict__.pop("int", None)
        for p in self.parameters:
            p.requires_grad_(True)
        for m in self.inplace:
            m.inplace = True


def modules_of(function):
    """The modules that a forward function is or closes over."""
    found, todo, seen = [], [function], set()
    while todo:
        f = todo.pop()
        if id(f) in seen:
            continue
        seen.add(id(f))
        if isinstance(f, torch.nn.Module):
            found += list(f.modules())
        elif callable(f):
            for cell in getattr(f, "__closure__", None) or ():
                try:
                    todo.append(cell.cell_contents)
                except ValueError:
                    pass
            if hasattr(f, "__self__"):
                todo.append(f.__self__)
            todo += list(getattr(f, "args", ())) + [getattr(f, "func", None)]
    return found


def layer_name(function, layer, layer_input):
    for m in modules_of(function):
        for name, child in m.named_modules():
            if child is layer and name:
                return name + (".input" if layer_input else "")
    return "layer"


def export(function, inputs, extra, layers=(), layer_input=False):
    """`inputs` are attributed; tensors in `extra` with the same batch become inputs, all else is baked in."""
    e = Export()
    batch = inputs[0].shape[0] if inputs[0].dim() else 1
    with torch.no_grad():
        out = future_value(function(*inputs, *extra))
    scalar = not isinstance(out, torch.Tensor) or out.dim() == 0
    # An output of one row for a batch of one is per example only if it follows the batch.
    e.aggregate = scalar or out.shape[0] != batch or (batch == 1 and not follows_batch(function, inputs, extra))
    fixed, casts, tensors = [], [], []
    names = ["x"] if len(inputs) == 1 else [f"x{i + 1}" for i in range(len(inputs))]
    for k, x in enumerate(list(inputs) + list(extra)):
        is_input = isinstance(x, torch.Tensor) and x.dim() > 0 and (k < len(inputs) or x.shape[0] == batch)
        fixed.append(("input", None) if is_input else ("constant", x))
        if not is_input:
            continue
        if k >= len(inputs):
            names.append(f"extra{k - len(inputs) + 1}")
        tensors.append(x.detach().float() if x.dtype is not torch.float64 else x.detach())
        # Integers are handed over as floats, so that any baseline may replace them; booleans become 0 and 1.
        casts.append(torch.bool if x.dtype is torch.bool else None)
    if e.aggregate:
        tensors = [t.unsqueeze(0) for t in tensors]
    layer_names = []
    module = Wrapped(function, fixed, casts, e.aggregate, list(layers), layer_input)
    with torch.no_grad(), Tracing(function):
        got = module(*tensors)
        out, values = got[0], got[1:]
        for k, layer in enumerate(layers):
            layer_names.append(layer_name(function, layer, layer_input))
        if len(values) > len(layer_names):
            layer_names = [f"{layer_names[0]}.{i}" for i in range(len(values))]
        buffer = io.BytesIO()
        output_names = ["y"] + [n + "#" for n in layer_names]
        dynamic = {} if e.aggregate else {n: {0: "N"} for n in names + output_names}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                tuple(tensors),
                buffer,
                opset_version=OPSET,
                input_names=list(names),
                output_names=output_names,
                dynamic_axes=dynamic,
                dynamo=False,
            )
    model = onnx.load_from_string(buffer.getvalue())
    e.layers = tidy(model, layer_names)
    e.path = {"y"}
    for node in reversed(model.graph.node):
        if e.path & set(node.output):
            e.path |= set(node.input)
    e.layer_shapes = [tuple(v.shape) for v in values]
    e.out_shape = tuple(out.shape)
    kept = {i.name for i in model.graph.input}
    e.inputs = [n for n in names]
    e.unused = [n for n in names if n not in kept]
    e.bytes = model.SerializeToString(deterministic=True)
    check(e, tensors, out)
    return e


def follows_batch(function, inputs, extra):
    def twice(x):
        ok = isinstance(x, torch.Tensor) and x.dim() > 0 and x.shape[0] == 1
        return torch.cat([x, x]) if ok else x

    try:
        with torch.no_grad():
            out = future_value(function(*map(twice, inputs), *map(twice, extra)))
        return isinstance(out, torch.Tensor) and out.dim() > 0 and out.shape[0] == 2
    except Exception:  # a model made for one example
        return True


def tidy(model, layer_names):
    """Gives layers their names, drops them from the outputs, and returns the name of the value each one is."""
    graph = model.graph
    producer = {o: n for n in graph.node for o in n.output}
    readers = {}
    for n in graph.node:
        for i in n.input:
            readers.setdefault(i, []).append(n)
    rename, result = {}, []
    for name in layer_names:
        label, value = name + "#", name + "#"
        node = producer.get(value)
        # An Identity that only serves the extra output stands beside the path: its source is the layer's value.
        while node is not None and node.op_type == "Identity" and not readers.get(value):
            graph.node.remove(node)
            value = node.input[0]
            node = producer.get(value)
            readers[value] = [r for r in readers[value] if r in list(graph.node)]
        is_input = value in {i.name for i in graph.input}
        if not is_input and value not in rename and value != "y":
            rename[value] = name
        result.append(value if is_input or value == "y" else rename[value])
        for out in list(graph.output):
            if out.name == label:
                graph.output.remove(out)
    for n in graph.node:
        n.input[:] = [rename.get(v, v) for v in n.input]
        n.output[:] = [rename.get(v, v) for v in n.output]
        n.doc_string = ""
    del graph.value_info[:]
    prune(graph, keep=set(result))
    graph.name = "toy"
    del model.metadata_props[:]
    model.producer_version = ""
    return result


def prune(graph, keep):
    """Drops nodes and constants that neither the output nor a named layer needs."""
    needed = {o.name for o in graph.output} | keep
    for n in reversed(list(graph.node)):
        if any(o in needed for o in n.output):
            needed |= set(n.input)
        else:
            graph.node.remove(n)
    for i in list(graph.initializer):
        if i.name not in needed:
            graph.initializer.remove(i)


def check(e, tensors, out):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(e.bytes, options, providers=["CPUExecutionProvider"])
    feed = {n: t.numpy() for n, t in zip(e.inputs, tensors) if n not in e.unused}
    got = session.run(None, feed)[0]
    want = out.numpy()
    assert got.shape == want.shape, (got.shape, want.shape)
    assert np.allclose(got, want, rtol=1e-5, atol=1e-6), "onnxruntime differs from PyTorch"


__all__ = ["export", "helper"]
