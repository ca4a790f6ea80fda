"""Both sides of the GPU benchmarks in one run on one machine: onnxray against PyTorch, eager tuned and torch.compile.

    python bench/gpu.py --programs DIR [--out FILE.json] [--seconds 440] [--only NAME,...] [--smoke]

DIR, a build folder for one, holds onnxray and onnxray_conv_bench, or onnxray_conv_bench_sim for --smoke. Needs torch with
CUDA and onnx for the exports; the nets are those of bench/peers/nets.py (seeded random weights, nothing is downloaded).
Rows, the ones that matter most first:

  saliency, ig_*   a whole answer for one picture. Peers run integrated gradients as a plain loop over batches of path
                   points: frozen weights, channels last, cudnn.benchmark, the best of several batch sizes; Captum's own
                   loop besides where it is installed. Our time includes copying input and result, theirs does not.
  memory_*         the most memory that was allocated at one time, both with the same rows per chunk
  accuracy_*       relative error of a gradient against float64, both sides, so that equal precision can be seen
  conv_*           every distinct convolution of a net, forward, forward with bias and ReLU, and backward-data; both sides
                   as a recorded CUDA graph of many calls. "ratio" is the geometric mean over layers
  linear_*         the linear layers of BERT-base, ViT-B and the two nets the same way: x W, with bias and ReLU, dy W^T

Equal precision: our mode exact against PyTorch without TF32, our mode fast against PyTorch with TF32 in convolutions and
products. Ratios are peer / ours, of the best peer. A row has a time box; when it is over, the row holds what it has and
says so. The JSON is written after every row and a table comes last.

--smoke: the same rows on the CPU with tiny nets, our side on the CPU and on the simulator. Its numbers mean nothing.
"""
import argparse
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import torch

from gpu_kernels import CONVS, LINEARS, KernelRows
from gpu_machine import HERE

MODES = {"exact": False, "fast": True}  # ours: whether PyTorch may use TF32
# name: (net, steps of the path or 0 for one gradient, peers' batch sizes, batch for torch.compile, goal, seconds a mode)
ANSWERS = {
    "saliency_resnet50_b1": ("resnet50", 0, (1,), 1, 3.0, 40),
    "ig_resnet50_n50": ("resnet50", 50, (25, 50), 50, 1.5, 40),
    "ig_resnet50_n1000": ("resnet50", 1000, (50, 100), 50, 1.3, 40),
    "ig_vgg19_n2990": ("vgg19", 2990, (25, 50), 50, 1.0, 60),
}
MEMORY = {"memory_resnet50_b50": ("resnet50", 50), "memory_vgg19_b50": ("vgg19", 50)}
ACCURACY = {"accuracy_resnet50": "resnet50", "accuracy_vgg19": "vgg19"}


class TimeBox(Exception):
    pass


@contextlib.contextmanager
def time_box(seconds):
    def stop(*_):
        raise TimeBox(f"stopped after {seconds:.0f} s")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


class Bench(KernelRows):
    """Whole answers, memory and accuracy; kernels are those of gpu_kernels.py."""

    def peers(self, row, name, steps, batches, compile_batch):
        net, x = self.net(name), self.image().to(self.device)
        some = min(steps, 2 * max(batches))  # enough to choose the batch and to warm up
        tried = {}
        for batch in batches:
            tried[batch] = self.timed(lambda: self.integrated(net, x, some, batch), repeat=1)
        best = min(tried, key=tried.get)

        def time_of(forward, batch):
            return {"batch": batch, "seconds": self.timed(lambda: self.integrated(forward, x, steps, batch),
                                                          warm=lambda: self.integrated(forward, x, some, batch))}

        row["peers"]["eager tuned"] = time_of(net, best)
        compiled = {"torch.compile": {}}
        if steps == 0 and self.device == "cuda":
            compiled["torch.compile reduce-overhead"] = {"mode": "reduce-overhead"}
        for label, options in compiled.items():
            if self.args.no_compile or (self.args.smoke and not self.args.compile):
                continue
            key = (name, label, compile_batch, torch.backends.cudnn.allow_tf32)
            forward = self.kept.setdefault(key, torch.compile(net, dynamic=False, **options))
            self.integrated(forward, x, some, compile_batch)  # compiles
            row["peers"][label] = time_of(forward, compile_batch)
        if steps > 0:
            try:
                from captum.attr import IntegratedGradients
            except ImportError:
                return
            method = IntegratedGradients(net)
            row["peers"]["captum"] = {"batch": best, "seconds": self.timed(
                lambda: method.attribute(x, target=0, n_steps=steps, internal_batch_size=best), repeat=3, seconds=5,
                warm=lambda: method.attribute(x, target=0, n_steps=max(2, some), internal_batch_size=best))}

    def answer(self, row, name, mode):
        net, steps, batches, compile_batch, row["goal"], seconds = ANSWERS[name]
        if self.args.smoke:
            steps, batches, compile_batch = min(steps, 6), batches[:1], 2
        row["ours"] = self.ours(net, mode, steps, seconds)
        try:
            self.peers(row, net, steps, batches, compile_batch)
        finally:
            if row["peers"]:
                row["ratio"] = min(p["seconds"] for p in row["peers"].values()) / row["ours"]["seconds"]

    def memory(self, row, name, mode):
        net, batch = MEMORY[name]
        batch = 2 if self.args.smoke else batch
        row["goal"] = 2.0
        row["ours"] = self.ours(net, mode, batch, 60, "--chunk", str(batch), "--repeat", "1")
        if self.device == "cuda":
            forward, x = self.net(net), self.image().to(self.device)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self.integrated(forward, x, batch, batch)
            row["peers"]["eager tuned"] = {"peak_mb": torch.cuda.max_memory_allocated() / 1e6}
            row["ratio"] = row["peers"]["eager tuned"]["peak_mb"] / row["ours"]["peak_mb"]

    def accuracy(self, row, name, mode):
        net = ACCURACY[name]
        x, out = self.image(), os.path.join(self.folder, "gradient")
        np.save(os.path.join(self.folder, "x.npy"), x.numpy())
        self.onnxray("grad", self.model(net), "-i", os.path.join(self.folder, "x.npy"), "--target", "0", "-o", out,
                     "--quiet", mode=mode, seconds=60)
        x = x.to(self.device)
        wide = self.build(net).requires_grad_(False).to(self.device).double()
        want = self.gradient(wide, x.double())
        error = lambda got: float((got.double() - want).norm() / want.norm())  # noqa: E731
        row["ours"] = {"gradient_error": error(torch.from_numpy(np.load(os.path.join(out, "input.npy"))).to(self.device))}
        row["peers"]["eager tuned"] = {"gradient_error": error(self.gradient(self.net(net), x))}
        row["ratio"] = row["peers"]["eager tuned"]["gradient_error"] / row["ours"]["gradient_error"]



def describe(args):
    result = {"torch": torch.__version__, "smoke": args.smoke, "started": time.strftime("%Y-%m-%d %H:%M:%S")}
    commit = os.path.join(HERE, "COMMIT")
    if os.path.exists(commit):
        result["commit"] = open(commit).read().strip()
    if not args.smoke:
        driver = subprocess.run(["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm", "--format=csv,noheader"],
                                capture_output=True, text=True)
        result.update(device=torch.cuda.get_device_name(), cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version(),
                      driver=driver.stdout.strip())
    return result


def line_of(row):
    best = min(row["peers"].items(), key=lambda p: p[1].get("seconds", math.inf), default=("", {}))[0]
    ours = row.get("ours", {})
    ours = (f"{ours['peak_mb']:.1f} MB" if row["name"].startswith("memory") and ours else
            f"{ours['seconds'] * 1e3:.3f} ms" if "seconds" in ours else "")
    return "{:24} {:6} {:>11} {:>8} {:>6}  {} {}".format(
        row["name"], row["mode"], ours,
        "" if "ratio" not in row else f"{row['ratio']:.2f}x", "" if "goal" not in row else f">={row['goal']}", best,
        row.get("error", ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--programs", default=HERE)
    parser.add_argument("--out", default="gpu_bench.json")
    parser.add_argument("--seconds", type=float, default=440, help="in all; rows that find no time left are left out")
    parser.add_argument("--only", help="names of rows, or beginnings of names, with commas")
    parser.add_argument("--modes", default="exact,fast")
    parser.add_argument("--models", help="where exported models stay for another run (default: nowhere)")
    parser.add_argument("--check-convs", action="store_true", help="no benchmark: our convolutions and products against float64")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--compile", action="store_true", help="torch.compile in --smoke, too")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out: quicker, and not the best peer")
    parser.add_argument("--sweep", action="store_true", help="also our times with every tile and number of splits")
    args = parser.parse_args()
    if not args.smoke and not torch.cuda.is_available():
        sys.exit("gpu.py: PyTorch sees no CUDA device here; --smoke runs the same rows on the CPU")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    torch.backends.cudnn.benchmark = True
    begin = time.perf_counter()
    short = {name: entry for name, entry in ANSWERS.items() if entry[1] < 1000}
    long = {name: entry for name, entry in ANSWERS.items() if name not in short}
    kinds = [(short, Bench.answer), (MEMORY, Bench.memory), (ACCURACY, Bench.accuracy), (long, Bench.answer),
             (LINEARS, Bench.linears), (CONVS, Bench.convs)]
    plan = [(name, mode, kind, entry[-1] if kind in (Bench.answer, Bench.convs, Bench.linears) else 30)
            for table, kind in kinds for name, entry in table.items() for mode in args.modes.split(",")
            if not args.only or any(name.startswith(o) for o in args.only.split(","))]
    result = dict(describe(args), rows=[])
    with tempfile.TemporaryDirectory() as folder:
        if args.models:
            os.makedirs(args.models, exist_ok=True)
        bench = Bench(args, args.models or folder)
        if args.check_convs:
            worst = bench.check_convs()
            for name, share in worst.items():
                print(f"{name:16} largest error {share:.3f} of what rounding allows")
            return
        for name, mode, kind, box in plan:
            left = args.seconds - (time.perf_counter() - begin)
            row = {"name": name, "mode": mode, "peers": {}}
            start = time.perf_counter()
            if left < 5:
                row["error"] = "no time left"
            else:
                bench.set_tf32(MODES[mode])
                try:
                    with time_box(left if args.smoke else min(box, left)):
                        kind(bench, row, name, mode)
                except Exception as e:  # the other rows still count
                    row["error"] = (str(e).strip() or type(e).__name__).splitlines()[0]
            row["took_s"] = round(time.perf_counter() - start, 1)
            result["rows"].append(row)
            with open(args.out + ".part", "w") as f:
                json.dump(result, f, indent=1)
            os.replace(args.out + ".part", args.out)
            print(line_of(row), flush=True)
    print(f"\n{'row':24} {'mode':6} {'ours':>11} {'ratio':>8} {'goal':>6}  best peer")
    for row in result["rows"]:
        print(line_of(row))


if __name__ == "__main__":
    main()
