"""The arguments of a recorded call, whatever its method: inputs, layers, targets, baselines, masks as a case holds them."""

import numpy as np
import torch

import export


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


class Arguments:
    """self.s is the case so far; calls.py has a function for each class, which `spec` calls."""

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
