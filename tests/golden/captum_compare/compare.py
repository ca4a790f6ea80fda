"""Captum against onnxray on whole networks, in float64.

    python compare.py --onnxray ../../../build/onnxray --shared DIR      every (method, network) pair, by the command
    python compare.py --write                                            the small networks and values that CI reads

DIR/models holds cifar10_tutorial_cnn and mnist_burn_bn. Deterministic methods must agree to 1e-9 relative L2, path methods
to 1e-7 (Captum rounds nodes and weights to float32), stochastic ones within three standard errors. Where Captum computes
something else than the definition, or less exactly, the definition in PyTorch's float64 (definitions.py) stands between the
two, with a bound for each side. Pairs that are left out are printed with the reason; --json keeps every figure.
"""

import argparse
import collections
import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

import captum
import captum.attr as C
import numpy as np
import torch
from captum._utils.models.linear_model import SkLearnLasso
from captum.attr._utils.lrp_rules import EpsilonRule

import definitions
import models

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
HERE = pathlib.Path(__file__).resolve().parent
TOLERANCE = {"exact": 1e-9, "path": 1e-7, "single": 1e-5}
REPEATS = 8  # runs of a stochastic method, each side


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


# ------------------------------------------------------------------------------- our side


def flag(name):
    return "--" + ("quadrature" if name == "method" else name.replace("_", "-"))


def ours(pair, binary, folder, seed=0, precision="float64"):
    """The attributions by the command line, one array per `from` value."""
    net = pair.net
    model = folder / f"{net.name}.onnx"
    if not model.exists():
        model.write_bytes(net.onnx_bytes)
    command = [binary, "attribute", model, "--method", pair.method, "--precision", precision, "--quiet"]
    command += ["-o", folder / "out", "--seed", str(seed), "--threads", "1"]

    def saved(name, t):
        path = folder / (name.replace("/", "_") + ".npy")
        np.save(path, np.asarray(t))
        return path

    for name, t in net.inputs.items():
        command += ["-i", f"{name}={saved('input.' + name, t)}"]
    command += ["--to", pair.to[0] + ":" + ",".join(map(str, pair.to[1]))]
    for value in pair.frm:
        command += ["--from", value]
    for key, v in pair.options.items():
        if isinstance(v, dict):
            for name, t in v.items():
                command += [flag(key), f"{name}={saved(key + '.' + name, t)}"]
        elif isinstance(v, tuple):
            for row in v:
                command += [flag(key), ",".join(map(str, row))]
        elif isinstance(v, list):
            for one in v:
                command += [flag(key), str(one)]
        else:
            command += [flag(key), str(v).lower() if isinstance(v, bool) else str(v)]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    files = json.loads((folder / "out" / "result.json").read_text())["files"]["attributions"]
    return [np.load(folder / "out" / files[v]) for v in pair.frm]


def relative(got, want):
    d = sum(float(((a - b) ** 2).sum()) for a, b in zip(got, want))
    n = sum(float((b**2).sum()) for b in want)
    return (d / n) ** 0.5 if n else d**0.5


def captum_values(pair, seed=0):
    torch.manual_seed(seed)
    np.random.seed(seed)
    return [t.double().numpy() for t in tensors(pair.captum())]


def compare(pair, binary, folder):
    """(figure, bound, figure in float32): relative L2, or for stochastic methods the distance of the means in standard
    errors, and None."""
    if pair.kind != "random":
        want = captum_values(pair)
        got = ours(pair, binary, folder)
        for a, b in zip(got, want):
            if a.shape != b.shape:
                raise RuntimeError(f"shape {a.shape}, Captum's is {b.shape}")
        single = relative(ours(pair, binary, folder, precision="float32"), want)
        return relative(got, want), TOLERANCE[pair.kind], single
    want = [captum_values(pair, 100 + k) for k in range(REPEATS)]
    got = [ours(pair, binary, folder, k) for k in range(REPEATS)]
    distance = variance = 0.0
    for i in range(len(pair.frm)):
        a, b = np.stack([g[i] for g in got]), np.stack([w[i] for w in want])
        distance += float(((a.mean(0) - b.mean(0)) ** 2).sum())
        variance += float((a.var(0, ddof=1) + b.var(0, ddof=1)).sum()) / REPEATS
    return (distance / max(variance, 1e-300)) ** 0.5, 3.0, None


# -------------------------------------------------------------------------------- commands


def write(out):
    """The deterministic pairs of the small networks, in the format of ../captum_suite/cases.json."""
    cases = []
    for net in models.networks(None, small=True):
        (out / f"{net.name}.onnx").write_bytes(net.onnx_bytes)
        for pair in pairs(net)[0]:
            if pair.kind == "random":
                continue
            checks = []
            for value, t in zip(pair.frm, captum_values(pair)):
                flat = [float(f"{v:.12g}") for v in t.reshape(-1)]  # a thousandth of the tolerance
                checks.append({"of": value, "at": 0, "expected": flat, "tol": TOLERANCE[pair.kind], "mode": "l2"})

            def plain(v):
                if isinstance(v, dict):
                    return {k: plain(w) for k, w in v.items()}
                if isinstance(v, tuple):
                    return [list(r) for r in v]
                return v.tolist() if isinstance(v, torch.Tensor) else v

            options = {k: plain(v) for k, v in pair.options.items()}
            if isinstance(options.get("baselines"), float):
                options["baselines"] = {v: options["baselines"] for v in pair.frm}
            cases.append(
                {
                    "model": f"{net.name}.onnx", "method": pair.method, "options": options,
                    "inputs": net.name, "file": "compare", "from": pair.frm,
                    "to": [{"value": pair.to[0], "index": [pair.to[1]]}], "checks": checks, "kind": "deterministic",
                    "tests": [pair.name], "assertions": 1, "chunks": [0, 3],
                }
            )  # fmt: skip
    inputs = {n.name: {k: v.tolist() for k, v in n.inputs.items()} for n in models.networks(None, small=True)}
    body = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    (out / "cases.json").write_text("[\n" + body + "\n]\n")
    (out / "inputs.json").write_text(json.dumps(inputs, separators=(",", ":")) + "\n")
    print(f"{len(cases)} cases")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--onnxray", type=pathlib.Path)
    parser.add_argument("--shared", type=pathlib.Path, help="folder that holds models/")
    parser.add_argument("--networks", nargs="*")
    parser.add_argument("--methods", nargs="*")
    parser.add_argument("--small", action="store_true", help="the small networks instead")
    parser.add_argument("--json", type=pathlib.Path, help="keep the figures; pairs of an earlier run stay")
    parser.add_argument("--missing", action="store_true", help="only the pairs that --json does not hold or that do not agree")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    if args.write:
        return write(HERE)
    known = {m["name"] for m in json.loads(subprocess.check_output([args.onnxray, "methods", "--json"]))}
    figures, failed, left = collections.Counter(), [], []
    record = {"pairs": {}, "left_out": {}}
    if args.json and args.json.exists():
        record = json.loads(args.json.read_text())
    record["versions"] = {"captum": captum.__version__, "torch": torch.__version__.split("+")[0]}
    with tempfile.TemporaryDirectory() as folder:
        for net in models.networks(args.shared, args.small, args.networks):
            todo, without = pairs(net)
            left += without
            named = {pair.name for pair in todo}
            for part in ("pairs", "left_out"):  # nothing stays of pairs that are no more
                record[part] = {k: v for k, v in record[part].items() if not k.startswith(net.name + "/") or k in named}
            for pair in todo:
                if args.methods and pair.method not in args.methods:
                    continue
                if pair.method not in known:
                    left.append((pair.name, "no such method in this build"))
                    continue
                known_pair = record["pairs"].get(pair.name)
                if args.missing and known_pair and known_pair["figure"] <= known_pair["bound"]:
                    continue
                record["pairs"].pop(pair.name, None)
                try:
                    figure, bound, single = compare(pair, args.onnxray.resolve(), pathlib.Path(folder))
                except Exception as why:
                    failed.append(pair.name)
                    print(f"ERROR {pair.name}: {' '.join(str(why).split())[:300]}", flush=True)
                    continue
                verdict = "ok" if figure <= bound else "FAIL"
                figures[verdict] += 1
                if verdict == "FAIL":
                    failed.append(pair.name)
                unit = "standard errors" if pair.kind == "random" else "relative L2"
                in_float32 = "" if single is None else f"; float32 {single:.2e}"
                print(f"{verdict:5} {pair.name}: {figure:.2e} {unit} (at most {bound:.3g}){in_float32}", flush=True)
                entry = {"kind": pair.kind, "figure": float(f"{figure:.3g}"), "bound": float(f"{bound:.3g}")}
                if single is not None:
                    entry["float32"] = float(f"{single:.3g}")
                record["pairs"][pair.name] = entry
                keep(args.json, record)
    record["left_out"].update(left)
    keep(args.json, record)
    for name, reason in left:
        print(f"left out {name}: {reason}")
    print(f"{figures['ok']} pairs agree, {len(failed)} do not, {len(left)} left out")
    return 1 if failed else 0


def keep(path, record):
    if path:
        lines = {k: ",\n".join(f"  {json.dumps(n)}: {json.dumps(v)}" for n, v in record[k].items()) for k in ("pairs", "left_out")}
        body = f' "versions": {json.dumps(record["versions"])},\n "pairs": {{\n{lines["pairs"]}\n }},\n'
        path.write_text("{\n" + body + f' "left_out": {{\n{lines["left_out"]}\n }}\n}}\n')


if __name__ == "__main__":
    sys.exit(main())
