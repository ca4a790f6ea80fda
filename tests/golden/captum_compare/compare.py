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
import numpy as np
import torch

import models
from pairs import pairs, tensors

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
HERE = pathlib.Path(__file__).resolve().parent
TOLERANCE = {"exact": 1e-9, "path": 1e-7, "single": 1e-5}
REPEATS = 8  # runs of a stochastic method, each side


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
