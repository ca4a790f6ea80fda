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
from arguments import LeftOut, nested, number, tuple_of
from calls import Calls

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


class Builder(Calls):
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
