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
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "peers"), HERE]  # in the repository, in the archive of scripts/gpu_bundle.sh
import nets  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

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
CONVS = {f"conv_{net}_n{n}": (net, n, 20 if n < 256 else 30) for n in (32, 1, 256) for net in ("resnet50", "vgg19")}
FINISHES = (("forward", "plain"), ("forward", "bias_relu"), ("backward", "plain"))
# name: (rows, {layer: (inputs, outputs)}, seconds)
TRANSFORMER = {"768_768": (768, 768), "768_3072": (768, 3072), "3072_768": (3072, 768)}
HEADS = {"resnet50_fc": (2048, 1000), "vgg19_fc1": (25088, 4096), "vgg19_fc2": (4096, 4096)}
LINEARS = {"linear_bert_n1": (384, TRANSFORMER, 15), "linear_bert_n50": (50 * 384, TRANSFORMER, 15),
           "linear_vit_n50": (50 * 197, TRANSFORMER, 15), "linear_heads_n1": (1, HEADS, 15), "linear_heads_n50": (50, HEADS, 15)}


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


class Bench:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        self.device = "cpu" if args.smoke else "cuda"
        self.size = 64 if args.smoke else 224
        self.kept = {}

    def sync(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def set_tf32(self, allowed):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed

    # ------------------------------------------------------------ nets

    def build(self, name):
        if not self.args.smoke:
            return nets.build(name)
        make = {"resnet50": lambda: nets.ResNet(blocks=(1, 1), width=8, classes=10),
                "vgg19": lambda: nets.VGG(blocks=(1, 1), width=8, hidden=16, classes=10, size=(64, 64))}[name]
        return nets.calibrate(nets.random_weights(make()), torch.from_numpy(nets.image(1000, (4, 3, 64, 64))))

    def image(self, rows=1):
        return torch.from_numpy(nets.image(0, (rows, 3, self.size, self.size)))

    def net(self, name):
        if name not in self.kept:
            for other in list(self.kept):
                del self.kept[other]
            net = self.build(name).requires_grad_(False)
            self.kept[name] = net.to(self.device).to(memory_format=torch.channels_last)
        return self.kept[name]

    def model(self, name):
        path = os.path.join(self.folder, name + ".onnx")
        if not os.path.exists(path):
            torch.onnx.export(self.build(name), (self.image(),), path + ".part", opset_version=17, input_names=["input"],
                              output_names=["logits"], dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}}, dynamo=False)
            os.rename(path + ".part", path)
        return path

    # ------------------------------------------------------------ our side

    def onnxray(self, verb, model, *options, mode="exact", seconds=120):
        device = ["--device", "cuda", "--precision", mode] if self.device == "cuda" else ["--device", "cpu"]
        command = [os.path.join(self.args.programs, "onnxray"), verb, model, *device, *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def ours(self, name, mode, steps, seconds, *options):
        method = ["--method", "integrated-gradients", "--n-steps", str(steps)] if steps else ["--method", "gradient"]
        text = self.onnxray("bench", self.model(name), *method, "--json", "--shape", f"input=1,3,{self.size},{self.size}",
                            *(options or ["--repeat", "5" if steps < 1000 else "3"]), mode=mode, seconds=seconds)
        m = json.loads(text)["methods"][0]
        return {"seconds": m["median_seconds"], "setup_s": m["setup_seconds"], "arena_mb": m["arena_bytes"] / 1e6,
                "peak_mb": m.get("device_peak_bytes", 0) / 1e6}

    # ------------------------------------------------------------ their side

    def gradient(self, forward, x):
        x = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_(True)
        return torch.autograd.grad(forward(x)[:, 0].sum(), x)[0]

    def integrated(self, forward, x, steps, batch):
        if steps == 0:
            return self.gradient(forward, x)
        total = torch.zeros_like(x)
        for alphas in torch.linspace(0, 1, steps, device=x.device).split(batch):
            total += self.gradient(forward, alphas.view(-1, 1, 1, 1) * x).sum(0, keepdim=True)
        return x * total / steps

    def timed(self, call, repeat=5, seconds=8, warm=None):
        """The median of `repeat` calls after one of `warm`, fewer where they exceed `seconds` in all; one at least."""
        (warm or call)()
        self.sync()
        times, begin = [], time.perf_counter()
        while len(times) < repeat and (not times or time.perf_counter() - begin < seconds):
            start = time.perf_counter()
            call()
            self.sync()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

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

    # ------------------------------------------------------------ rows

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

    def layers(self, name):
        """{description: convolution} of a net, each distinct one once."""
        found = {}

        def see(module, inputs, _):
            x = inputs[0]
            key = (x.shape[1], module.out_channels, *x.shape[2:], *module.kernel_size, module.stride[0],
                   module.padding[0], module.groups)
            found["c{}k{}_{}x{}_{}x{}s{}".format(*key)] = key

        net = self.net(name)
        hooks = [m.register_forward_hook(see) for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
        with torch.no_grad():
            net(self.image().to(self.device))
        for hook in hooks:
            hook.remove()
        return dict(list(found.items())[:3]) if self.args.smoke else found

    def our_kernels(self, lines, seconds, *options):
        name = "onnxray_conv_bench" + ("_sim" if self.args.smoke else "")
        beside, built = (os.path.join(self.args.programs, *folder, name) for folder in ((), ("bench",)))
        done = subprocess.run([beside if os.path.exists(beside) else built, *options],
                              input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=seconds)
        if done.returncode != 0:
            raise RuntimeError(f"onnxray_conv_bench: status {done.returncode}: {done.stderr.strip()}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def our_convs(self, layers, mode, n, seconds, *options):
        lines = [f"{label} {direction} {mode} {n} {' '.join(map(str, layers[label]))} {finish}"
                 for label in layers for direction, finish in FINISHES]
        return self.our_kernels(lines, seconds, *options)

    def our_linears(self, layers, mode, rows, seconds, *options):
        lines = []
        for label, (inputs, outputs) in layers.items():  # w is [inputs, outputs]
            lines += [f"{label} product {mode} {rows} {inputs} {outputs} plain",
                      f"{label} product {mode} {rows} {inputs} {outputs} bias_relu",
                      f"{label} product_transposed {mode} {rows} {outputs} {inputs} plain"]
        return self.our_kernels(lines, seconds, *options)

    def graph_seconds(self, call, milliseconds):
        """Seconds of one call, from a CUDA graph of many; on the CPU from a loop."""
        if self.device == "cpu":
            return self.timed(call, repeat=1)
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):  # cudnn.benchmark searches here
                call()
            side.synchronize()
            start = time.perf_counter()
            call()
            side.synchronize()
            calls = int(min(500, max(1, milliseconds * 1e-3 / (time.perf_counter() - start))))
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            for _ in range(calls):
                call()
        return self.timed(graph.replay, repeat=3) / calls

    def their_conv(self, layer, direction, finish, n, milliseconds):
        c, k, h, w, r, s, stride, padding, groups = layer
        like = dict(device=self.device, memory_format=torch.channels_last)
        weight = torch.rand(k, c // groups, r, s).to(**like) - 0.5
        bias = torch.rand(k, device=self.device)
        x = torch.rand(n, c, h, w, device=self.device).to(memory_format=torch.channels_last) - 0.5
        if direction == "forward" and finish == "plain":
            call = lambda: F.conv2d(x, weight, None, stride, padding, 1, groups)  # noqa: E731
        elif direction == "forward":
            call = lambda: F.conv2d(x, weight, bias, stride, padding, 1, groups).relu_()  # noqa: E731
        else:
            dy = torch.rand_like(F.conv2d(x, weight, None, stride, padding, 1, groups))
            call = lambda: torch.ops.aten.convolution_backward(  # noqa: E731
                dy, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups, [True, False, False])[0]
        return self.graph_seconds(call, milliseconds)

    def convs(self, row, name, mode):
        net, n, seconds = CONVS[name]
        n = 1 if self.args.smoke else n
        milliseconds = 0 if self.args.smoke else 2
        layers = self.layers(net)
        row["goal"], row["layers"] = 0.8, []
        sweep = ["--sweep"] if self.args.sweep else []
        ours = self.our_convs(layers, mode, n, 60, "--milliseconds", str(milliseconds), *sweep)
        self.compare(row, ours, "cudnn_seconds",
                     lambda label, direction, finish: self.their_conv(layers[label], direction, finish, n, milliseconds))

    def compare(self, row, ours, peer, theirs):
        """Fills row["layers"] with pairs of times, the peer's from theirs(layer, direction, finish), and their ratios."""
        try:
            with torch.no_grad():
                for mine in ours:
                    label = mine.pop("name")
                    direction, finish = FINISHES[len(row["layers"]) % len(FINISHES)]
                    seconds = theirs(label, direction, finish)
                    row["layers"].append({"layer": label, "what": f"{direction} {finish}", "ours": mine,
                                          peer: seconds, "ratio": seconds / mine["seconds"]})
        finally:
            row["ratios"] = {what: math.exp(statistics.mean(math.log(e["ratio"]) for e in row["layers"] if e["what"] == what))
                             for what in sorted({e["what"] for e in row["layers"]})}
            if row["layers"]:
                row["ratio"] = math.exp(statistics.mean(math.log(e["ratio"]) for e in row["layers"]))

    def linears(self, row, name, mode):
        rows, layers, _ = LINEARS[name]
        if self.args.smoke:
            rows, layers = min(rows, 70), {"64_96": (64, 96)}
        milliseconds = 0 if self.args.smoke else 2
        row["goal"], row["layers"] = 0.8, []
        sweep = ["--sweep"] if self.args.sweep else []
        ours = self.our_linears(layers, mode, rows, 60, "--milliseconds", str(milliseconds), *sweep)

        def theirs(label, direction, finish):
            inputs, outputs = layers[label]
            w, bias = torch.rand(outputs, inputs, device=self.device) - 0.5, torch.rand(outputs, device=self.device)
            x = torch.rand(rows, inputs if direction == "forward" else outputs, device=self.device) - 0.5
            call = {("forward", "plain"): lambda: F.linear(x, w),
                    ("forward", "bias_relu"): lambda: F.linear(x, w, bias).relu_(),
                    ("backward", "plain"): lambda: x @ w}[direction, finish]
            return self.graph_seconds(call, milliseconds)

        self.compare(row, ours, "cublas_seconds", theirs)

    def check_convs(self):
        """Our kernels on the layers of both nets, and on linear ones, against float64, by onnxray_conv_bench --check."""
        worst = {}
        for name in ("resnet50", "vgg19"):
            for mode in ("exact", "fast", "bf16"):
                errors = self.our_convs(self.layers(name), mode, 1 if self.args.smoke else 2, 120, "--check")
                worst[f"{name} {mode}"] = max(e["error"] / e["bound"] for e in errors)
        for mode in ("exact", "fast", "bf16"):
            layers = {"64_96": (64, 96)} if self.args.smoke else {**TRANSFORMER, "2048_1000": (2048, 1000)}
            errors = [e for rows in (1, 70 if self.args.smoke else 1000)
                      for e in self.our_linears(layers, mode, rows, 120, "--check")]
            worst[f"linear {mode}"] = max(e["error"] / e["bound"] for e in errors)
        return worst


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
