"""What is compared: every (method, network) pair, asked of Captum and of onnxray in the same words."""

import captum.attr as C
import torch
from captum._utils.models.linear_model import SkLearnLasso
from captum.attr._utils.lrp_rules import EpsilonRule

import definitions
import models


class Pair:
    """One method on one network: how to ask each side."""

    def __init__(self, net, method, captum, kind="exact", options=None, frm=None, to=None, vary=None, tag=""):
        self.net, self.method, self.captum, self.kind = net, method, captum, kind
        self.options, self.frm, self.vary = options or {}, frm or list(net.inputs), vary or []
        self.to = to or [net.output, [net.target]]
        self.name = f"{net.name}/{method}" + (f"/{tag}" if tag else "")


def output(net):
    return getattr(net, "output", "y")


def tensors(value):
    return [t.detach() for t in (value if isinstance(value, (tuple, list)) else (value,))]


def pairs(net):
    """All pairs of one network, and (name, reason) of those that are left out."""
    m, t, inputs = net.module, net.target, tuple(net.inputs.values())
    x = inputs if len(inputs) > 1 else inputs[0]
    names = list(net.inputs)
    base = tuple(models.random(20 + i, 1, *v.shape[1:]) * 0.3 for i, v in enumerate(inputs))
    bs = base if len(base) > 1 else base[0]
    given = {n: b for n, b in zip(names, base)}
    sample = tuple(models.random(30 + i, 3, *v.shape[1:]) * 0.5 for i, v in enumerate(inputs))
    drawn = {n: b for n, b in zip(names, sample)}
    ss = sample if len(sample) > 1 else sample[0]
    neuron_path, neuron_index = net.neuron
    neuron_layer, neuron = m.get_submodule(neuron_path), neuron_index
    neuron_to = [net.layers[neuron_path], list(neuron_index) if isinstance(neuron_index, tuple) else [neuron_index]]
    masks = tuple(net.groups[n] for n in names)
    fm = masks if len(masks) > 1 else masks[0]
    windows, strides = net.window, net.stride
    out, left = [], []

    def add(*args, **kwargs):
        out.append(Pair(net, *args, **kwargs))

    def leave(method, reason):
        left.append((f"{net.name}/{method}", reason))

    # plain gradients
    add("saliency", lambda: C.Saliency(m).attribute(x, target=t), options={"abs": True})
    add("saliency", lambda: C.Saliency(m).attribute(x, target=t, abs=False), options={"abs": False}, tag="signed")
    add("input-x-gradient", lambda: C.InputXGradient(m).attribute(x, target=t))
    add(
        "saliency", lambda: C.NeuronGradient(m, neuron_layer).attribute(x, neuron), options={"abs": False}, to=neuron_to,
        tag="neuron",
    )  # fmt: skip

    # paths
    for rule in ("gausslegendre", "riemann_left", "riemann_right", "riemann_middle"):
        o = {"n_steps": 12, "method": rule, "baselines": given}
        add(
            "integrated-gradients",
            lambda rule=rule: C.IntegratedGradients(m).attribute(x, bs, target=t, n_steps=12, method=rule),
            "path", o, tag=rule,
        )  # fmt: skip
    leave("integrated-gradients/riemann_trapezoid", "wrong in Captum: its weights sum to (n-1)/n")
    o = {"n_steps": 12, "method": "gausslegendre", "baselines": given}
    through = f"{neuron_to[0]}:{','.join(map(str, neuron_to[1]))}"
    add(
        "conductance",
        lambda: C.NeuronConductance(m, neuron_layer).attribute(
            x, neuron, bs, target=t, n_steps=12, method="riemann_middle"
        ),
        "path", {**o, "method": "riemann_middle", "through": through}, tag="neuron",
    )  # fmt: skip
    add(
        "integrated-gradients",
        lambda: C.NeuronIntegratedGradients(m, neuron_layer).attribute(x, neuron, bs, n_steps=12),
        "path", o, to=neuron_to, tag="neuron",
    )  # fmt: skip
    add(
        "integrated-gradients",
        lambda: C.IntegratedGradients(m, multiply_by_inputs=False).attribute(x, bs, target=t, n_steps=12),
        "path", {**o, "multiply_by_inputs": False}, tag="unmultiplied",
    )  # fmt: skip

    # layers
    for path, value in net.layers.items():
        layer = m.get_submodule(path)
        add("activation", lambda layer=layer: C.LayerActivation(m, layer).attribute(x), frm=[value], tag=path)
        add(
            "gradient-x-activation",
            lambda layer=layer: C.LayerGradientXActivation(m, layer).attribute(x, target=t),
            frm=[value], tag=path,
        )  # fmt: skip
        seen = []
        handle = layer.register_forward_hook(lambda _m, _i, o, seen=seen: seen.append(o.detach().clone()))
        with torch.no_grad():
            m(*[b.expand_as(v) for b, v in zip(base, inputs)])
        handle.remove()
        add(
            "integrated-gradients",
            lambda layer=layer: C.LayerIntegratedGradients(m, layer).attribute(
                x, tuple(b.expand_as(v) for b, v in zip(base, inputs)) if len(inputs) > 1 else base[0].expand_as(x),
                target=t, n_steps=12,
            ),
            "path", {"n_steps": 12, "method": "gausslegendre", "baselines": {value: seen[0]}}, [value], tag=path,
        )  # fmt: skip
        add(
            "internal-influence",
            lambda layer=layer: C.InternalInfluence(m, layer).attribute(x, bs, target=t, n_steps=12),
            "path", o, [value], tag=path,
        )  # fmt: skip
        add(
            "conductance", lambda path=path: definitions.conductance(net, path, base, 12),
            options=o, frm=[value], tag=path + "/definition",
        )  # fmt: skip
        add(
            "conductance",
            lambda layer=layer: C.LayerConductance(m, layer).attribute(
                x, bs, target=t, n_steps=12, method="riemann_trapezoid"
            ),
            "path", {"n_steps": 12, "method": "riemann_left", "increments": "difference", "baselines": given}, [value],
            tag=path,
        )  # fmt: skip
        leave(f"conductance/{path}/gausslegendre", "wrong in Captum: incomplete, its nodes miss both ends")
        # Of large layers whole channels, else Captum runs the network once for each element.
        shape, mask = seen[0].shape, None
        if shape[1:].numel() > 200:
            mask = torch.arange(shape[1]).reshape(1, -1, *[1] * (len(shape) - 2)).expand(1, *shape[1:]).contiguous()
        add(
            "feature-ablation",
            lambda layer=layer, mask=mask: C.LayerFeatureAblation(m, layer).attribute(x, target=t, layer_mask=mask),
            options={"baselines": 0.0, **({} if mask is None else {"feature_mask": {value: mask}})}, frm=[value], tag=path,
        )  # fmt: skip
        if net.spatial and layer_rank(net, path) == 4:
            add(
                "grad-cam", lambda layer=layer: C.LayerGradCam(m, layer).attribute(x, target=t),
                options={"relu_attributions": False}, frm=[value], tag=path,
            )  # fmt: skip

    # rules
    if "relu modules" in net.kinds or "conv" in net.kinds:
        add("guided-backprop", lambda: C.GuidedBackprop(m).attribute(x, target=t))
        add("deconvolution", lambda: C.Deconvolution(m).attribute(x, target=t))
        if net.spatial:
            spatial = m.get_submodule(net.spatial)
            add(
                "guided-grad-cam", lambda: C.GuidedGradCam(m, spatial).attribute(x, target=t),
                options={"layer": net.layers[net.spatial]},
            )  # fmt: skip
    else:
        leave("guided-backprop, deconvolution", "no ReLU: plain gradients on both sides")
    if "deep-lift" in net.kinds:
        if "max pool" in net.kinds:
            leave("deep-lift, deep-lift-shap", "wrong in Captum: incomplete where max pooling meets another nonlinearity")
        else:
            add("deep-lift", lambda: C.DeepLift(m).attribute(x, bs, target=t), options={"baselines": given})
            add("deep-lift-shap", lambda: C.DeepLiftShap(m).attribute(x, ss, target=t), options={"baselines": drawn})
    else:
        reason = {"bert_block": "wrong in Captum: softmax, GELU, products", "lstm": "nn.LSTM has no rule"}
        leave("deep-lift, deep-lift-shap", reason.get(net.name, "a reused ReLU, or log softmax without a rule"))
    if "lrp" in net.kinds:

        def lrp():
            # Captum divides by y + 1e-9 behind maxima too, which have no denominator in the definition: at y = 0.05 a
            # change of 2e-8. Its rule takes a smaller number. (Captum forgets the rules after each call.)
            for module in m.modules():
                if isinstance(module, torch.nn.MaxPool2d):
                    module.rule = EpsilonRule(1e-300)
            return C.LRP(m).attribute(x, target=t)

        add("lrp", lrp, options={"epsilon": 1e-9, "stabilizer": 1e-9})
    else:
        leave("lrp", "a module without a rule in Captum, or functional sums")

    # perturbations
    add(
        "feature-ablation", lambda: C.FeatureAblation(m).attribute(x, bs, target=t, feature_mask=fm),
        options={"baselines": given, "feature_mask": dict(zip(names, masks))},
    )  # fmt: skip
    add(
        "feature-ablation",
        lambda: C.NeuronFeatureAblation(m, neuron_layer).attribute(x, neuron, bs, feature_mask=fm),
        options={"baselines": given, "feature_mask": dict(zip(names, masks))}, to=neuron_to, tag="neuron",
    )  # fmt: skip
    add(
        "occlusion",
        lambda: C.Occlusion(m).attribute(
            x, windows if len(windows) > 1 else windows[0], strides if len(windows) > 1 else strides[0], bs, target=t
        ),
        "path",  # Captum divides in float32
        options={"baselines": given, "sliding_window_shapes": windows, "strides": strides},
    )
    features = int(max(k.max() for k in masks)) + 1
    if features <= 6:
        add(
            "shapley-values", lambda: C.ShapleyValues(m).attribute(x, bs, target=t, feature_mask=fm),
            "single",  # Captum adds n! terms in float32
            options={"baselines": given, "feature_mask": dict(zip(names, masks))},
        )  # fmt: skip
    else:
        leave("shapley-values", f"{features}! permutations in Captum")
    add(
        "shapley-values", lambda: definitions.shapley_values(net, base, masks),
        options={"baselines": given, "feature_mask": dict(zip(names, masks))}, tag="definition",
    )  # fmt: skip

    # stochastic
    n = 60
    grouped = {"baselines": given, "feature_mask": dict(zip(names, masks))}
    add(
        "shapley-value-sampling",
        lambda: C.ShapleyValueSampling(m).attribute(x, bs, target=t, feature_mask=fm, n_samples=20),
        "random", {**grouped, "n_samples": 20},
    )  # fmt: skip
    add(
        "kernel-shap", lambda: C.KernelShap(m).attribute(x, bs, target=t, feature_mask=fm, n_samples=200),
        "random", {**grouped, "n_samples": 200},
    )  # fmt: skip
    add(
        "lime",
        lambda: C.Lime(m, SkLearnLasso(alpha=0.001)).attribute(x, bs, target=t, feature_mask=fm, n_samples=200),
        "random", {**grouped, "n_samples": 200, "alpha": 0.001},
    )  # fmt: skip
    add(
        "gradient-shap", lambda: C.GradientShap(m).attribute(x, ss, target=t, n_samples=n, stdevs=0.1),
        "random", {"baselines": drawn, "n_samples": n, "stdevs": [0.1]},
    )  # fmt: skip
    for kind in ("smoothgrad", "smoothgrad_sq", "vargrad"):
        add(
            "noise-tunnel",
            lambda kind=kind: C.NoiseTunnel(C.Saliency(m)).attribute(
                x, nt_type=kind, nt_samples=n, stdevs=0.1, target=t, abs=False
            ),
            "random", {"inner": "saliency", "abs": False, "nt_type": kind, "nt_samples": n, "stdevs": [0.1]}, tag=kind,
        )  # fmt: skip
    # Two examples can only be exchanged. With more, Captum draws any permutation but the identity, we those without fixed
    # points: another distribution.
    if len(inputs[0]) == 2:
        add(
            "feature-permutation", lambda: C.FeaturePermutation(m).attribute(x, target=t, feature_mask=fm),
            options={"feature_mask": dict(zip(names, masks)), "n_samples": 1},
        )  # fmt: skip
    else:
        leave("feature-permutation", "permutations without fixed points here, any but the identity in Captum")
    return out, left


def layer_rank(net, path):
    seen = []
    handle = net.module.get_submodule(path).register_forward_hook(lambda _m, _i, o: seen.append(o.dim()))
    with torch.no_grad():
        net.module(*net.inputs.values())
    handle.remove()
    return seen[0]
