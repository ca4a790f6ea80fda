"""Turns the hard numbers of Captum's own tests into cases for onnxray: cases.json and *.onnx beside this file.

    python harvest.py CHECKOUT [--out DIR] [--files layer/test_grad_cam ...]

CHECKOUT is a clone of github.com/pytorch/captum (commit in versions.json); its tests are run, never copied. See README.md.
"""

import argparse
import collections
import hashlib
import json
import pathlib
import subprocess
import sys

import numpy as np
import torch

import export
import record

HERE = pathlib.Path(__file__).resolve().parent
# Language models, and utilities of the Python API: no attribution is compared with a number there.
OTHER = {
    "test_class_summarizer", "test_common", "test_data_parallel", "test_dataloader_attr", "test_hook_removal",
    "test_interpretable_input", "test_jit", "test_llm_attr", "test_llm_attr_hf_compatibility", "test_stat",
    "test_summarizer", "test_targets", "test_utils_batching",
    # these compare methods with each other only
    "test_base", "test_deeplift_classification", "test_input_layer_wrapper", "test_integrated_gradients_classification",
}  # fmt: skip
RANDOM = {"Lime", "LimeBase", "KernelShap", "ShapleyValueSampling"}


class LeftOut(Exception):
    """Why an assertion is not a case."""


def number(v):
    if isinstance(v, bool):
        return v
    if isinstance(v, (int, np.integer)):
        return int(v)
    f = float(np.float32(v))
    short = float(np.format_float_positional(np.float32(v), unique=True)) if np.isfinite(f) else f
    return int(short) if short == int(short) and abs(short) < 1e6 else short


def nested(t):
    a = t.detach().cpu().numpy()
    if a.dtype.kind == "b":
        a = a.astype(np.int64)
    return np.vectorize(number, otypes=[object])(a).tolist() if a.size else a.tolist()


def tuple_of(v):
    return tuple(v) if isinstance(v, (tuple, list)) else (v,)


class Builder:
    def __init__(self, out):
        self.out, self.cases, self.models = out, collections.OrderedDict(), {}
        self.left_out = collections.Counter()
        self.seen = collections.Counter()

    # ------------------------------------------------------------------------ the model

    def file_of(self, e, function):
        key = hashlib.sha256(e.bytes).hexdigest()
        if key not in self.models:
            root = next((m for m in export.modules_of(function)), None)
            stem = type(root).__name__ if root is not None else "function"
            stem = stem.replace("_", "")
            self.models[key] = f"{stem}_{key[:6]}"
            (self.out / f"{self.models[key]}.onnx").write_bytes(e.bytes)
        return self.models[key] + ".onnx"

    # ----------------------------------------------------------------------- one assertion

    def add(self, a):
        kind = "random" if type(a.call.method).__name__ in RANDOM else "deterministic"
        self.seen[a.file, kind] += 1
        try:
            case, chunk = self.case(a)
        except LeftOut as reason:
            self.left_out[(a.file, a.test, kind, str(reason))] += 1
            return
        case.update(kind=kind, file=a.file)
        key = json.dumps(case, sort_keys=True)
        if key not in self.cases:
            self.cases[key] = dict(case, tests=[], assertions=0, chunks=[])
        entry = self.cases[key]
        entry["assertions"] += 1
        if a.test not in entry["tests"]:
            entry["tests"].append(a.test)
        if chunk not in entry["chunks"]:
            entry["chunks"].append(chunk)

    def case(self, a):
        call = a.call
        if isinstance(call.method, tuple):
            rule, part = call.method
            check = {"of": part, "at": 0, "expected": nested(torch.as_tensor(a.expected)), "tol": a.tolerance}
            name = "riemann_" + rule
            return {"method": "quadrature", "options": {"method": name, "n": call.arguments["n"]}, "checks": [check]}, 0
        spec = self.spec(call.method, call)
        e = spec["export"]
        if set(spec["from"]) & set(e.unused):
            raise LeftOut("the value passes through a Python number: nothing to export")
        if spec["method"] == "noise-tunnel" and self.of_delta(a):
            raise LeftOut("completeness errors of single noisy samples: the tunnel claims none")
        if isinstance(a.actual, torch.Tensor) and a.actual.numel() == 0:
            raise LeftOut("a map that cannot be interpolated: an empty tensor in Captum, an error or no result here")
        if type(call.method).__name__.endswith("GradientShap") and self.varies(a):
            raise LeftOut("needs PyTorch's random numbers")
        case = {"model": self.file_of(e, spec["function"]), "method": spec["method"], "options": spec["options"]}
        case["inputs"] = {n: nested(t) for n, t in zip(e.inputs, spec["tensors"]) if n not in e.unused}
        case["from"], case["to"] = spec["from"], spec["to"]
        if "vary" in spec and (spec["from"] != spec["vary"] or len(spec["vary"]) < len(case["inputs"])):
            case["vary"] = spec["vary"]
        case["checks"] = self.coefficient_checks(a, spec) if "ids" in spec else [self.check(a, spec)]
        return case, spec["chunk"]

    def check(self, a, spec):
        """Which numbers of which result were compared: the flat range [at, at + count)."""
        call, actual = a.call, a.actual
        expected = torch.as_tensor(a.expected).double()
        check = {"of": None, "at": 0, "expected": None, "tol": a.tolerance}
        if a.mode == "max":
            check["mode"] = "max"
        names = spec["from"]
        results = call.results
        candidates = [(n, r) for n, r in zip(names, results)]
        if isinstance(call.delta, torch.Tensor):
            candidates.append(("delta", call.delta))
        elif call.delta is not None:
            candidates += [("delta", d) for d in record.flat(call.delta)[:1]]
        if len(names) != len(results):
            raise LeftOut(f"{len(results)} results for {len(names)} values")
        found = None
        if isinstance(actual, torch.Tensor):
            for name, r in candidates:
                same = actual.untyped_storage().data_ptr() == r.untyped_storage().data_ptr()
                at = actual.storage_offset() - r.storage_offset()
                if same and r.is_contiguous() and actual.is_contiguous() and 0 <= at <= r.numel() - actual.numel():
                    found = (name, r, at, actual.numel())
                    break
            if found is None:
                for name, r in candidates:
                    if r.numel() == actual.numel() and torch.equal(r.reshape(-1), actual.reshape(-1)):
                        found = (name, r, 0, r.numel())
                        break
            if found is None and actual.dim() > 0:
                for name, r in candidates:  # a column
                    if r.dim() == actual.dim() + 1 and r.shape[0] == actual.shape[0]:
                        for j in range(r.shape[1]):
                            if actual.shape == r[:, j].shape and actual.stride() == r[:, j].stride() and (
                                actual.data_ptr() == r[:, j].data_ptr()
                            ):
                                check["column"] = j
                                found = (name, r, 0, actual.numel())
        if found is None:
            value = actual.detach().double().reshape(-1) if isinstance(actual, torch.Tensor) else torch.tensor([actual])
            value = value.double()
            if value.numel() != 1:
                raise LeftOut("compares a rearranged result")
            for name, r in candidates:
                flat = r.detach().double().reshape(-1)
                hits = (flat == value[0]).nonzero().reshape(-1)
                if len(hits):
                    found = (name, r, int(hits[0]), 1)
                    break
                if abs(float(r.detach().sum()) - float(value[0])) <= 1e-6 * max(1.0, abs(float(value[0]))):
                    check["sum"], found = True, (name, r, 0, 1)
                    break
        if found is None:
            raise LeftOut("compares a computed combination of results")
        name, r, at, count = found
        expected = expected.reshape(-1)
        if expected.numel() != count:
            expected = expected.expand(count)
        if spec["export"].aggregate and name != "delta" and "sum" not in check:
            # The batch is an inner axis for us: each of its entries gets what Captum gives the column.
            if at or count != r.numel() or "column" in check:
                raise LeftOut("compares a part of an aggregate")
            batch = spec["batch"][names.index(name)]
            shape = r.shape
            if not (shape[0] == batch and spec["per_example"]):
                expected = expected.reshape(shape[0], 1, -1).expand(shape[0], batch, -1).reshape(-1)
        if name == "delta" and spec["method"] == "lrp":
            expected = -expected  # Captum: F - sum of relevances; all our deltas are the sum - F
        check.update(of=name, at=at, expected=[number(v) for v in expected.tolist()])
        return check

    def of_delta(self, a):
        d = a.call.delta
        return isinstance(d, torch.Tensor) and isinstance(a.actual, torch.Tensor) and (
            a.actual.untyped_storage().data_ptr() == d.untyped_storage().data_ptr()
        )

    def varies(self, a):
        """Whether other random numbers change the results by more than the tolerance."""
        for seed in range(3):
            record.reseed(seed)
            again = type(a.call.method).attribute(a.call.method, **a.call.arguments)
            if a.call.arguments.get("return_convergence_delta"):
                again = again[0]
            for x, y in zip(record.flat(again), a.call.results):
                if float((x - y).abs().max()) > a.tolerance:
                    return True
        return False

    def coefficient_checks(self, a, spec):
        """Captum compared one coefficient per feature; ours are spread over the feature's elements."""
        (coefficients,) = a.call.results
        if not isinstance(a.actual, torch.Tensor) or a.actual.numel() != coefficients.numel():
            raise LeftOut("compares a part of the coefficients")
        expected = torch.as_tensor(a.expected).double().reshape(coefficients.shape)
        checks = []
        for name, ids in zip(spec["from"], spec["ids"]):
            rows = spec["tensors"][0].shape[0]
            spread = [expected[k % len(expected)][ids[k % len(ids)].reshape(-1)] for k in range(rows)]
            values = [number(v) for v in torch.cat(spread).tolist()]
            checks.append({"of": name, "at": 0, "expected": values, "tol": a.tolerance, "mode": "max"})
        return checks

    def mask_ids(self):
        """Feature ids as Captum numbers coefficients: from 0 on, one tensor per input, [1 or N, one row...]."""
        given, first, out = self.args.get("feature_mask"), 0, []
        for k, x in enumerate(self.inputs):
            shape = x.shape
            if given is None:
                count = int(np.prod(shape[1:]))
                m = torch.arange(first, first + count).reshape(1, *shape[1:])
                first += count
            else:
                m = tuple_of(given)[k]
                m = m.expand(shape) if m.dim() < len(shape) else m
            out.append(m.expand(shape).unsqueeze(0) if self.e.aggregate else m)
        lowest = min(int(m.min()) for m in out)
        return [m - lowest for m in out]

    # ------------------------------------------------------------------- methods and options

    def spec(self, m, call):
        kind, args = type(m).__name__, call.arguments
        wrapped = None
        if kind == "NoiseTunnel":
            args = dict(args)
            args.update(args.pop("kwargs", {}))
            wrapped, m = m, m.attribution_method
            kind = type(m).__name__
        function = getattr(m, "model", None)
        if not callable(function):
            function = m.forward_func
        inputs = [t for t in tuple_of(args["inputs"])]
        if not all(isinstance(t, torch.Tensor) for t in inputs):
            raise LeftOut("inputs are not tensors")
        if any(t.numel() == 0 for t in inputs):
            raise LeftOut("an input without elements")
        extra = args.get("additional_forward_args")
        extra = () if extra is None else tuple_of(extra)
        layer = getattr(m, "layer", None)
        if kind == "GuidedGradCam":
            layer = m.grad_cam.layer
        layers = [] if layer is None else list(layer) if isinstance(layer, list) else [layer]
        if kind == "LRP":  # rules are given by the value of their layer
            self.rule_names = list(self.call_rules)
            layers = [m.model.get_submodule(n) for n in self.rule_names]
        layer_input = bool(args.get("attribute_to_layer_input") or args.get("attribute_to_neuron_input"))
        try:
            e = export.export(function, inputs, extra, layers, layer_input)
        except LeftOut:
            raise
        except Exception as why:
            raise LeftOut("no export: " + " ".join(str(why).split())[:200] or type(why).__name__) from why
        if args.get("grad_kwargs") and self.merged(function, inputs, extra, layers, e):
            raise LeftOut("an unused layer, which the exporter merges with an equal one in use")
        names = e.inputs[: len(inputs)]
        tensors = [x for x in inputs] + [x for x in extra if self.is_input(x, inputs)]
        if e.aggregate:
            tensors = [t.unsqueeze(0) for t in tensors]
        s = {"function": function, "export": e, "tensors": tensors, "options": {}, "from": list(names), "chunk": 0}
        s["batch"] = [x.shape[0] if x.dim() else 1 for x in inputs]
        s["per_example"] = False
        self.m, self.args, self.s, self.e, self.names = m, args, s, e, names
        self.inputs, self.extra, self.layers = inputs, extra, layers
        s["to"] = self.targets(args.get("target"), tensors[0].shape[0])
        rows = tensors[0].shape[0]
        if args.get("internal_batch_size"):
            s["chunk"] = int(args["internal_batch_size"])
        if (args.get("perturbations_per_eval") or 1) > 1:
            s["chunk"] = int(args["perturbations_per_eval"]) * rows
        builder = getattr(self, kind, None)
        if builder is None:
            raise LeftOut("no counterpart of " + kind)
        builder()
        if wrapped is not None:
            self.NoiseTunnel(args)
        return s

    def merged(self, function, inputs, extra, layers, e):
        """Whether a layer that PyTorch does not use lies on the path to the output in the file."""
        seen, hooks = [], []
        for layer in layers:
            hooks.append(layer.register_forward_hook(lambda _m, _i, o: seen.extend(tuple_of(o))))
        out = export.future_value(function(*inputs, *extra))
        for hook in hooks:
            hook.remove()
        grads = torch.autograd.grad(out.sum(), seen, allow_unused=True)
        return any(g is None and name in e.path for g, name in zip(grads, e.layers))

    def is_input(self, x, inputs):
        batch = inputs[0].shape[0] if inputs[0].dim() else 1
        return isinstance(x, torch.Tensor) and x.dim() > 0 and x.shape[0] == batch

    def targets(self, target, rows):
        shape = self.e.out_shape
        if target is None:
            count = int(np.prod(shape[1:]))
            if count == 1:
                return [{"value": "y"}]
            return [{"value": "y", "index": [list(map(int, np.unravel_index(k, shape[1:])))]} for k in range(count)]
        if isinstance(target, torch.Tensor):
            target = target.tolist()
        if isinstance(target, list) and len(target) == 1:
            target = target[0]
        if isinstance(target, list):
            return [{"value": "y", "index": [[int(v) for v in tuple_of(t)] for t in target]}]
        return [{"value": "y", "index": [[int(v) for v in tuple_of(target)]]}]

    def neuron(self):
        """`to` becomes the selected neuron, as weights on the layer's value."""
        selector, e = self.args["neuron_selector"], self.e
        values = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in e.layer_shapes]
        if callable(selector):
            chosen = selector(tuple(values) if len(values) > 1 else values[0])
        else:
            index = tuple_of(selector)
            if isinstance(selector, list):
                index = tuple(selector)
            chosen = values[0][(slice(None), *index)]
        grads = torch.autograd.grad(chosen.sum(), values, allow_unused=True)
        terms = []
        for name, g in zip(e.layers, grads):
            if g is None or not bool((g != 0).any()):
                continue
            g = g[:1]
            spots = (g[0] != 0).nonzero()
            if len(spots) == 1 and float(g[0][tuple(spots[0])]) == 1.0:
                terms.append({"value": name, "index": [[int(v) for v in spots[0]]]})
            else:
                terms.append({"value": name, "mask": nested(g[0])})
        self.s["to"] = [terms[0]] if len(terms) == 1 else [{"terms": terms}]

    def layer_from(self):
        self.s["from"] = list(self.e.layers)

    def baselines(self, key="baselines", names=None, like=None, distribution=False):
        """Numbers or tensors by value name; tensors are rows first."""
        given = self.args.get(key)
        if given is None:
            return
        names = self.names if names is None else names
        like = self.inputs if like is None else like
        if callable(given):
            given = given(*self.inputs) if given.__code__.co_argcount else given()
        given = tuple_of(given)
        if len(given) != len(names):
            raise LeftOut("one baseline for several values")
        out = {}
        for name, b, x in zip(names, given, like):
            if not isinstance(b, torch.Tensor):
                out[name] = number(float(b))
                continue
            b = b.detach()
            if not distribution:
                shape = x.shape if isinstance(x, torch.Tensor) else x
                b = b.expand(shape) if b.dim() < len(shape) else b.expand(b.shape[0], *shape[1:])
                if self.e.aggregate:
                    b = b.expand(shape).unsqueeze(0)
            out[name] = nested(b)
        self.s["options"]["baselines"] = out

    def masks(self, key="feature_mask", names=None, shapes=None):
        names = self.names if names is None else names
        shapes = [tuple(x.shape) for x in self.inputs] if shapes is None else shapes
        given = self.args.get(key)
        if given is None:
            if not self.e.aggregate:
                return
            first, given = 0, []
            for shape in shapes:
                count = int(np.prod(shape[1:]))
                given.append(torch.arange(first, first + count).reshape(1, *shape[1:]))
                first += count
        out = {}
        for name, m, shape in zip(names, tuple_of(given), shapes):
            m = m.expand(shape) if m.dim() < len(shape) else m
            if self.e.aggregate:
                m = m.expand(shape).unsqueeze(0)
            elif all(torch.equal(m[0], row) for row in m):
                m = m[:1]
            out[name] = nested(m)
        self.s["options"]["feature_mask"] = out

    def path_options(self, names=("n_steps", "method")):
        for name in names:
            self.s["options"][name] = self.args[name]

    def layer_at_baseline(self):
        """Layer integrated gradients start at the layer's value at the baseline."""
        given = self.args.get("baselines")
        bs = [0] * len(self.inputs) if given is None else list(tuple_of(given))
        full = [b.expand(x.shape) if isinstance(b, torch.Tensor) else torch.full_like(x, b) for b, x in zip(bs, self.inputs)]
        seen = []
        flag = "attribute_to_layer_input"
        hooks = []
        for layer in self.layers:
            if self.args.get(flag):
                hooks.append(layer.register_forward_pre_hook(lambda _m, i: seen.extend(tuple_of(i))))
            else:
                hooks.append(layer.register_forward_hook(lambda _m, _i, o: seen.extend(t.clone() for t in tuple_of(o))))
        with torch.no_grad():
            self.s["function"](*full, *self.extra)
        for h in hooks:
            h.remove()
        self.s["options"]["baselines"] = {n: nested(v) for n, v in zip(self.e.layers, seen)}

    # gradients

    def Saliency(self):
        self.s["method"], self.s["options"] = "saliency", {"abs": self.args["abs"]}

    def NeuronGradient(self):
        self.neuron()
        self.s["method"], self.s["options"] = "saliency", {"abs": False}

    def InputXGradient(self):
        self.s["method"] = "input-x-gradient"

    def IntegratedGradients(self):
        self.s["method"] = "integrated-gradients"
        self.path_options()
        self.s["options"]["multiply_by_inputs"] = self.m.multiplies_by_inputs
        self.baselines()

    def NeuronIntegratedGradients(self):
        self.IntegratedGradients()
        self.neuron()

    def LayerIntegratedGradients(self):
        self.IntegratedGradients()
        self.layer_from()
        self.layer_at_baseline()

    def LayerActivation(self):
        self.s["method"] = "activation"
        self.layer_from()

    def LayerGradientXActivation(self):
        self.s["method"] = "gradient-x-activation"
        self.s["options"] = {"multiply_by_inputs": self.m.multiplies_by_inputs}
        self.layer_from()

    def InternalInfluence(self):
        self.s["method"], self.s["vary"] = "internal-influence", self.names
        self.path_options()
        self.baselines()
        self.layer_from()

    def LayerConductance(self):
        self.s["method"], self.s["vary"] = "conductance", self.names
        self.path_options()
        self.baselines()
        self.layer_from()

    def NeuronConductance(self):
        self.s["method"], self.s["vary"] = "conductance", self.names
        self.path_options()
        self.s["options"]["multiply_by_inputs"] = self.m.multiplies_by_inputs
        self.baselines()
        to = self.s["to"]
        self.neuron()
        (through,) = self.s["to"]
        if "index" not in through:
            raise LeftOut("conductance through a sum of neurons")
        self.s["options"]["through"] = through["value"] + ":" + ",".join(map(str, through["index"][0]))
        self.s["to"] = to

    def GradientShap(self):
        self.s["method"], self.s["vary"] = "gradient-shap", self.names
        o = self.s["options"]
        o["n_samples"] = self.args["n_samples"]
        o["stdevs"] = list(tuple_of(self.args["stdevs"]))
        o["multiply_by_inputs"] = self.m.multiplies_by_inputs
        self.baselines(distribution=True)

    def LayerGradientShap(self):
        self.GradientShap()
        self.layer_from()

    def NeuronGradientShap(self):
        self.GradientShap()
        self.neuron()

    # rules

    def DeepLift(self):
        self.s["method"], self.s["vary"] = "deep-lift", self.names
        self.s["options"]["multiply_by_inputs"] = self.m.multiplies_by_inputs
        if self.args.get("custom_attribution_func") is not None:
            raise LeftOut("a Python function combines the multipliers")
        self.baselines()

    def LayerDeepLift(self):
        self.DeepLift()
        self.layer_from()

    def NeuronDeepLift(self):
        self.DeepLift()
        self.neuron()

    def DeepLiftShap(self):
        self.DeepLift()
        self.s["method"] = "deep-lift-shap"
        self.s["options"].pop("baselines", None)
        self.baselines(distribution=True)

    def LayerDeepLiftShap(self):
        self.DeepLiftShap()
        self.layer_from()

    def NeuronDeepLiftShap(self):
        self.DeepLiftShap()
        self.neuron()

    def GuidedBackprop(self):
        self.s["method"] = "guided-backprop"

    def NeuronGuidedBackprop(self):
        self.GuidedBackprop()
        self.neuron()

    def Deconvolution(self):
        self.s["method"] = "deconvolution"

    def NeuronDeconvolution(self):
        self.Deconvolution()
        self.neuron()

    def LayerGradCam(self):
        self.s["method"] = "grad-cam"
        self.s["options"] = {k: self.args[k] for k in ("relu_attributions", "attr_dim_summation")}
        self.layer_from()

    def GuidedGradCam(self):
        self.s["method"] = "guided-grad-cam"
        self.s["options"] = {"layer": self.e.layers[0], "interpolate_mode": self.args["interpolate_mode"]}

    def LRP(self):
        """One rule for all layers, or rules by the layer's value; Captum's default is epsilon 1e-9."""
        self.s["method"], self.s["options"] = "lrp", {"rule": "epsilon", "epsilon": 1e-9, "stabilizer": 1e-9}
        kinds = {type(rule).__name__ for rule in self.call_rules.values()}
        o = self.s["options"]
        if kinds == {"Alpha1_Beta0_Rule"}:
            o.update(rule="alpha-beta", alpha=1, beta=0)
        elif kinds == {"GammaRule"}:
            # A layer without negative weights scales as a whole: its gamma cancels.
            modules = dict(self.m.model.named_modules())
            gammas = {r.gamma for n, r in self.call_rules.items() if bool((modules[n].weight < 0).any())}
            if len(gammas) > 1:
                raise LeftOut("several gammas")
            o.update(rule="gamma", gamma=max(gammas or {0.25}))
        elif kinds == {"IdentityRule", "EpsilonRule"}:
            named = [f"{v}=identity" for v, n in zip(self.e.layers, self.rule_names) if self.is_identity(n)]
            o["rules"] = ",".join(named)
        elif kinds - {"EpsilonRule"}:
            raise LeftOut("rules " + ", ".join(sorted(kinds)))

    def is_identity(self, name):
        return type(self.call_rules[name]).__name__ == "IdentityRule"

    def LayerLRP(self):
        self.LRP()
        self.layer_from()

    # perturbations

    def FeatureAblation(self):
        self.s["method"] = "feature-ablation"
        self.baselines()
        self.masks()

    def LayerFeatureAblation(self):
        self.s["method"] = "feature-ablation"
        self.layer_from()
        self.baselines("layer_baselines", self.e.layers, self.e.layer_shapes)
        self.masks("layer_mask", self.e.layers, self.e.layer_shapes)

    def NeuronFeatureAblation(self):
        self.FeatureAblation()
        self.neuron()

    def FeaturePermutation(self):
        if len(self.inputs[0]) < 2:
            raise LeftOut("one example has nothing to exchange features with: an error")
        self.s["method"] = "feature-permutation"
        self.masks()

    def LayerFeaturePermutation(self):
        self.s["method"] = "feature-permutation"
        self.layer_from()
        self.masks("layer_mask", self.e.layers, self.e.layer_shapes)

    def Occlusion(self):
        self.s["method"] = "occlusion"
        windows = self.args["sliding_window_shapes"]
        windows = [windows] if not isinstance(windows[0], tuple) else list(windows)
        strides = self.args.get("strides")
        if strides is None or isinstance(strides, int):
            strides = [strides] * len(windows)
        elif len(self.inputs) == 1 and not isinstance(strides[0], tuple):
            strides = [strides]
        o = self.s["options"]
        o["sliding_window_shapes"] = [list(w) for w in windows]
        o["strides"] = [[s or 1] * len(w) if s is None or isinstance(s, int) else list(s) for s, w in zip(strides, windows)]
        if self.e.aggregate:
            raise LeftOut("windows over an aggregate")
        self.baselines()

    def ShapleyValueSampling(self):
        self.FeatureAblation()
        self.s["method"] = "shapley-value-sampling"
        self.s["options"]["n_samples"] = self.args["n_samples"]

    def ShapleyValues(self):
        self.FeatureAblation()
        self.s["method"] = "shapley-values"

    def Lime(self):
        self.FeatureAblation()
        self.s["method"] = "lime"
        o = self.s["options"]
        o["n_samples"] = self.args["n_samples"]
        fitted = type(self.m.interpretable_model).__name__
        kinds = {"SkLearnLasso": "lasso", "SkLearnRidge": "ridge", "SkLearnLinearRegression": "linear"}
        if fitted not in kinds:
            raise LeftOut("fits " + fitted)
        o["interpretable_model"] = kinds[fitted]
        alpha = self.m.interpretable_model.construct_kwargs.get("alpha")
        if alpha is not None:
            o["alpha"] = alpha
        similarity = self.m.similarity_func
        for name, cell in zip(similarity.__code__.co_freevars, similarity.__closure__ or ()):
            if name in ("distance_mode", "kernel_width"):
                o[name] = cell.cell_contents
        self.coefficients()

    def KernelShap(self):
        self.FeatureAblation()
        self.s["method"] = "kernel-shap"
        self.s["options"]["n_samples"] = self.args["n_samples"]
        self.coefficients()

    def coefficients(self):
        if self.args.get("return_input_shape") is False:
            self.s["ids"] = self.mask_ids()

    def NoiseTunnel(self, args):
        o = self.s["options"]
        inner, self.s["vary"] = self.s["method"], self.names
        own = {"nt_type": args["nt_type"], "nt_samples": args["nt_samples"], "stdevs": list(tuple_of(args["stdevs"]))}
        self.s["method"] = "noise-tunnel"
        self.s["options"] = {"inner": inner, **own, **{"inner_" + k if k in own else k: v for k, v in o.items()}}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkout", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    parser.add_argument("--files", nargs="*", help="only these; the cases of others stay as they are")
    parser.add_argument("--only")
    args = parser.parse_args()
    torch.set_num_threads(1)
    base = args.checkout / "tests" / "attr"
    files = [str(p.relative_to(base))[:-3] for p in sorted(base.rglob("test_*.py"))]
    files = args.files or [f for f in files if f.split("/")[-1] not in OTHER]
    args.out.mkdir(exist_ok=True, parents=True)
    builder = Builder(args.out)

    def on_assertion(a):
        builder.call_rules = a.call.rules
        recorder = record.Recorder.current
        recorder.depth += 1
        try:
            builder.add(a)
        finally:
            recorder.depth -= 1

    results = record.run(args.checkout, files, on_assertion, args.only)
    cases, left = list(builder.cases.values()), []
    left = [dict(zip(("file", "test", "kind", "reason"), k), assertions=n) for k, n in builder.left_out.items()]
    seen = [dict(file=f, kind=k, assertions=n) for (f, k), n in builder.seen.items()]
    bad = [dict(file=f, test=t[0]._testMethodName) for f, r in zip(files, results) for t in r.failures + r.errors]
    cases = written(args.out / "cases.json", cases, files)
    left = written(args.out / "left_out.json", left, files)
    seen = written(args.out / "seen.json", seen, files)
    written(args.out / "not_passing_in_captum.json", bad, files)
    used = {c["model"] for c in cases if "model" in c}
    for path in args.out.glob("*.onnx"):
        if path.name not in used:
            path.unlink()
    import captum

    commit = subprocess.run(["git", "-C", args.checkout, "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    versions = {"captum": captum.__version__, "commit": commit.strip() or "faac0877", "torch": torch.__version__}
    (args.out / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")
    for kind in ("deterministic", "random"):
        n, m, k = (sum(c["assertions"] for c in part if c["kind"] == kind) for part in (seen, cases, left))
        print(f"{kind}: {n} assertions seen, {m} in cases, {k} left out")
    print(f"{len(cases)} cases, {len(used)} networks")
    for one in left:
        print("  left out: {assertions} {kind} {file}:{test}: {reason}".format(**one))


def written(path, entries, files):
    """Writes a list, one entry a line; what is there of other files stays."""
    if path.exists():
        entries = [e for e in json.loads(path.read_text()) if e["file"] not in files] + entries
    entries.sort(key=lambda e: e["file"])
    lines = ",\n".join(json.dumps(e, separators=(",", ":")) for e in entries)
    path.write_text("[\n" + lines + "\n]\n" if entries else "[]\n")
    return entries


if __name__ == "__main__":
    sys.exit(main())
