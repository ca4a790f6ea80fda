"""Checks golden cases with other runtimes: onnxruntime, or ONNX's reference evaluator for float64 models.

    python check_exports.py [--grad] [--record] DIR...     # every folder below DIR that holds a case.json

Prints per case the relative L2 difference of the outputs (largest over the rows): onnxruntime in float32 (a model
declared float64 is narrowed first, few of its kernels know float64; with a dynamic batch all rows at once too) and, for small models, ONNX's reference evaluator in
float64 (a model declared float32 is widened first). --grad adds a central difference of the scalar along a random
direction against the stored gradient; --record writes the float64 difference into case.json as "agreement64".
Run with: onnx 1.23.2, onnxruntime 1.31.1, numpy 2.4.
"""
import json
import math
import os
import sys

import numpy as np
import onnx
from onnx import numpy_helper

SMALL = 2 << 20


def converted(model, source, target):
    """The model with every tensor type `source` replaced by `target` (FLOAT and DOUBLE)."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(target)

    def tensor(t):
        if t.data_type == source:
            t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(t).astype(dtype), t.name))

    def graph(g):
        for t in g.initializer:
            tensor(t)
        for v in list(g.input) + list(g.output) + list(g.value_info):
            if v.type.tensor_type.elem_type == source:
                v.type.tensor_type.elem_type = target
        for node in g.node:
            for a in node.attribute:
                if a.type == onnx.AttributeProto.TENSOR:
                    tensor(a.t)
                elif a.type == onnx.AttributeProto.GRAPH:
                    graph(a.g)
                elif node.op_type == "Cast" and a.name == "to" and a.i == source:
                    a.i = target
    graph(model.graph)
    return model


def exact_erf():
    """The reference's Erf rounds to float32; this one does not."""
    from onnx.reference.op_run import OpRun

    class Erf(OpRun):
        def _run(self, x):
            return (np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype).reshape(x.shape),)
    return Erf


def reference64(path):
    from onnx.reference import ReferenceEvaluator
    model = converted(onnx.load(path), onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
    session = ReferenceEvaluator(model, new_ops=[exact_erf()])
    widen = lambda a: a.astype(np.float64) if a.dtype == np.float32 else a
    return lambda feed: session.run(None, {k: widen(v) for k, v in feed.items()})


def onnxruntime32(path, declared):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    model = path
    if declared == "float64":
        model = converted(onnx.load(path), onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    narrow = lambda a: a.astype(np.float32) if a.dtype == np.float64 else a
    return lambda feed: session.run(None, {k: narrow(v) for k, v in feed.items()})


def relative(a, b):
    return float(np.linalg.norm(a.astype(np.float64) - b) / max(np.linalg.norm(b), 1e-300))


def check(folder, with_grad, record):
    path = os.path.join(folder, "case.json")
    with open(path) as f:
        case = json.load(f)
    load = lambda name: np.load(os.path.join(folder, name))
    rows = len(next(iter(case["inputs"].values())))
    feeds = [{k: load(v[i]) for k, v in case["inputs"].items()} for i in range(rows)]

    def worst(run):
        return max(relative(y, load(case["outputs"][name][i])) for i in range(rows)
                   for name, y in zip(case["outputs"], run(feeds[i])))

    model = os.path.join(folder, case["model"])
    try:
        run = onnxruntime32(model, case["declared"])
        difference = worst(run)
        line = "%-40s ort32 %.1e" % (os.path.basename(folder), difference)
        if case["batch"] == "dynamic" and not case["mixed"]:
            stack = lambda files: np.concatenate([load(f) for f in files])
            outputs = run({k: stack(v) for k, v in case["inputs"].items()})
            stacked = max(relative(y, stack(v)) for y, v in zip(outputs, case["outputs"].values()))
            line += " stacked %.1e" % stacked
            difference = max(difference, stacked)
        good = difference < 1e-3
    except Exception as error:   # a narrowed model may trip over an operator's type rule
        line, good = "%-40s ort32 %s" % (os.path.basename(folder), str(error).strip().split("\n")[0][:80]), True
    if os.path.getsize(model) <= SMALL:
        run = reference64(model)
        try:
            difference = worst(run)
        except Exception as error:   # the reference's GatherElements fails on axes longer than 64
            print(line + "  reference64 " + str(error).strip().split("\n")[0][:80], flush=True)
            return good
        good = good and difference < 1e-6
        line += "  reference64 %.1e" % difference
        if record:
            case["agreement64"] = float("%.0e" % max(difference, 1e-15))
            with open(path, "w") as f:
                json.dump(case, f, indent=1)
                f.write("\n")
        for name in case["grads"] if with_grad else ():
            if name not in case["inputs"]:
                continue
            g = load(case["grads"][name][0])
            step = np.random.RandomState(12345).standard_normal(g.shape)
            at = (slice(None),) + tuple(int(k) for k in case["of"].rsplit(":", 1)[1].split(","))
            x = feeds[0][name].astype(np.float64)
            expected, misses = float((g * step).sum()), []
            for h in (1e-5, 1e-6, 1e-7):   # the best of three: a kink may lie within the longer steps
                ends = [run({**feeds[0], name: x + s * step})[0][at].sum() for s in (h, -h)]
                misses.append(abs((ends[0] - ends[1]) / (2 * h) - expected) / np.linalg.norm(g))   # a random slope is about |g|
            line += "  slope %.1e" % min(misses)
            good = good and min(misses) < 1e-5
    print(line, flush=True)
    return good


def main():
    flags = [a for a in sys.argv[1:] if a.startswith("--")]
    roots = [a for a in sys.argv[1:] if not a.startswith("--")]
    if not roots:
        sys.exit(__doc__)
    folders = [d for r in roots for d, _, files in os.walk(r) if "case.json" in files]
    bad = [d for d in sorted(folders) if not check(d, "--grad" in flags, "--record" in flags)]
    print("%d cases, %d differ" % (len(folders), len(bad)))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
