"""onnxruntime's forward pass of an .onnx file.

    python ort_forward.py MODEL.onnx [--batch 1,8] [--repeat 10] [--threads 2] [--out result.json]

Symbolic axis 0 becomes the batch, other symbolic axes --dim (default 128). Inputs: standard normal floats, or integers in
[0, 100). Times are wall seconds of a run() call after one warm-up; setup is the session's creation.
Run with: onnxruntime 1.31.1, numpy 2.4.
"""
import argparse
import os
import time

import numpy as np

import report


def feed(session, batch, dim):
    rng, out = np.random.RandomState(0), {}
    for value in session.get_inputs():
        shape = [d if isinstance(d, int) else (batch if i == 0 else dim) for i, d in enumerate(value.shape)]
        if "int" in value.type:
            out[value.name] = rng.randint(0, 100, shape).astype(np.int64 if "64" in value.type else np.int32)
        else:
            out[value.name] = rng.standard_normal(shape).astype(np.float64 if "double" in value.type else np.float32)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--batch", default="1")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", default="-")
    args = parser.parse_args()
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    start = time.perf_counter()
    session = onnxruntime.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    setup, rows = time.perf_counter() - start, []
    for batch in map(int, args.batch.split(",")):
        inputs = feed(session, batch, args.dim)
        with report.PeakMemory() as memory:
            session.run(None, inputs)
        seconds, _ = report.timed(lambda: session.run(None, inputs), args.repeat, warmup=0)
        rows.append({"batch": batch, "memory_before_mb": memory.before_mb, "peak_memory_mb": memory.peak_mb,
                     **report.summary(seconds, batch)})
    report.write({"peer": "onnxruntime", "task": "forward", "model": os.path.basename(args.model), "setup_s": setup,
                  "threads": args.threads, "results": rows, "versions": report.versions("onnxruntime", "numpy"),
                  "machine": report.machine()}, args.out)


if __name__ == "__main__":
    main()
