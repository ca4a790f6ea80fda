"""Runs zennit on small float64 nets and writes the nets as ONNX files and cases.json, the values the C++ tests read.

zennit's hooks are given by its composites, so every case is one composite on one net: relevance of one logit with
respect to the input. Batch norm is merged by zennit's canonizer and left apart in the ONNX file. versions.json says
what this was run with. zennit imports torchvision, of which it needs two class names only.

    python make_values.py
"""

import json
import pathlib

import numpy as np
import onnx
import torch
import zennit
from zennit import composites, rules, types
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.layer import Sum

HERE = pathlib.Path(__file__).resolve().parent
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


class Residual(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False), torch.nn.BatchNorm2d(channels),
            torch.nn.ReLU(), torch.nn.Conv2d(channels, channels, 1), torch.nn.BatchNorm2d(channels))
        self.sum = Sum()
        self.relu = torch.nn.ReLU()

    def forward(self, x):
        return self.relu(self.sum(torch.stack([self.body(x), x], dim=-1)))


def convnet():
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 2, stride=2),
        nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def resnet():
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), Residual(4), Residual(4), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(4, 3))


def transposed():
    nn = torch.nn
    return nn.Sequential(nn.ConvTranspose2d(2, 3, 2, stride=2), nn.Tanh(), nn.Conv2d(3, 4, 3, groups=1), nn.Tanh(),
                         nn.Flatten(), nn.Linear(4 * 4 * 4, 3))


def mlp():
    nn = torch.nn
    return nn.Sequential(nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 3, bias=False))


NETS = {"convnet": (convnet, (1, 3, 8, 8)), "resnet": (resnet, (1, 2, 9, 7)), "transposed": (transposed, (1, 2, 3, 3)),
        "mlp": (mlp, (1, 7))}
LOW, HIGH = -2.0, 2.5
# zennit does not list GELU among activations: it passes relevance on like the others.
PASS = [((torch.nn.Tanh, torch.nn.GELU), rules.Pass())]


def everywhere(rule, first=None):
    """One rule for all weighted layers, another one for the first."""
    base = PASS + composites.layer_map_base() + [(types.Linear, rule)]
    if first is None:
        return composites.LayerMapComposite(base)
    return composites.SpecialFirstLayerMapComposite(base, [(types.Linear, first)])


def preset(convolution, first=None):
    """iNNvestigate's LRPSequentialPresetA and B, which zennit has no name for: alpha1 beta0 or alpha2 beta1 for
    convolutions, epsilon 0.1 for dense layers (Alber et al. 2019); the flat forms begin with the flat rule."""
    base = PASS + composites.layer_map_base() + [(types.Convolution, convolution), (torch.nn.Linear, rules.Epsilon(0.1))]
    if first is None:
        return composites.LayerMapComposite(base)
    return composites.SpecialFirstLayerMapComposite(base, [(types.Linear, first)])


def cases():
    """(method, options as on our command line, composite, seed of the output: its value or 1)."""
    c = composites
    for name, of in (("epsilon-plus", c.EpsilonPlus), ("epsilon-plus-flat", c.EpsilonPlusFlat),
                     ("epsilon-alpha2-beta1", c.EpsilonAlpha2Beta1),
                     ("epsilon-alpha2-beta1-flat", c.EpsilonAlpha2Beta1Flat)):
        yield "lrp", {"composite": name}, of(layer_map=PASS), "value"
    yield ("lrp", {"composite": "epsilon-gamma-box", "low": LOW, "high": HIGH},
           c.EpsilonGammaBox(torch.tensor(LOW), torch.tensor(HIGH), layer_map=PASS), "value")
    for name, rule in (("preset-a", rules.AlphaBeta(1, 0)), ("preset-b", rules.AlphaBeta(2, 1))):
        yield "lrp", {"composite": name}, preset(rule), "value"
        yield "lrp", {"composite": name + "-flat"}, preset(rule, rules.Flat()), "value"
    yield "lrp", {"rule": "epsilon", "epsilon": 0.1}, everywhere(rules.Epsilon(0.1)), "value"
    yield "lrp", {"rule": "gamma", "gamma": 0.4}, everywhere(rules.Gamma(0.4)), "value"
    yield "lrp", {"rule": "alpha-beta", "alpha": 3, "beta": 2}, everywhere(rules.AlphaBeta(3, 2)), "value"
    yield "lrp", {"rule": "z-plus"}, everywhere(rules.ZPlus()), "value"
    yield "lrp", {"rule": "w-square"}, everywhere(rules.WSquare()), "value"
    yield "lrp", {"rule": "flat"}, everywhere(rules.Flat()), "value"
    yield ("lrp", {"rule": "z-box", "low": LOW, "high": HIGH},
           everywhere(rules.Epsilon(), rules.ZBox(torch.tensor(LOW), torch.tensor(HIGH))), "value")
    yield "excitation-backprop", {}, c.ExcitationBackprop(zero_params="bias"), "one"
    yield "guided-backprop", {}, c.GuidedBackprop(), "one"
    yield "deconvolution", {}, c.DeconvNet(), "one"


def main():
    out = []
    for name, (build, shape) in NETS.items():
        torch.manual_seed(sum(map(ord, name)))
        net = build()
        for m in net.modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                m.eps = 1e-12  # the canonizer leaves a batch norm of variance 1 behind, which divides by sqrt(1 + eps)
                m.running_mean.normal_(std=0.2)
                m.running_var.uniform_(0.5, 1.5)
                torch.nn.init.uniform_(m.weight, 0.5, 1.5)
                torch.nn.init.normal_(m.bias, std=0.2)
        net.eval()
        x = torch.randn(shape)
        torch.onnx.export(net, x, str(HERE / (name + ".onnx")), opset_version=17, input_names=["x"], output_names=["y"],
                          dynamic_axes={"x": {0: "N"}, "y": {0: "N"}}, training=torch.onnx.TrainingMode.PRESERVE,
                          do_constant_folding=False, dynamo=False)
        target = int(net(x).argmax())
        for method, options, composite, seed in cases():
            if method == "excitation-backprop" and name in ("transposed", "mlp"):
                continue  # defined for activations that are not negative
            composite.canonizers = [SequentialMergeBatchNorm()]
            given = x.clone().requires_grad_()
            with composite.context(net) as hooked:
                y = hooked(given)
                start = torch.zeros_like(y)
                start[0, target] = y[0, target].detach() if seed == "value" else 1
                relevance, = torch.autograd.grad(y, given, start)
            out.append({"model": name + ".onnx", "method": method, "options": options, "target": target,
                        "x": x.flatten().tolist(), "shape": list(shape),
                        "relevance": [float("%.13g" % v) for v in relevance.flatten().tolist()]})
            assert np.isfinite(out[-1]["relevance"]).all(), (name, options)
    (HERE / "cases.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in out) + "\n]\n")
    versions = {"zennit": "0.5.1", "torch": torch.__version__, "onnx": onnx.__version__, "numpy": np.__version__}
    (HERE / "versions.json").write_text(json.dumps(versions, indent=1) + "\n")


main()
