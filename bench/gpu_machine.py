"""Both sides of bench/gpu.py on one machine: the nets, their exports, our command, PyTorch and its clock."""
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "peers"), HERE]  # in the repository, in the archive of scripts/gpu_bundle.sh
import nets  # noqa: E402
import torch  # noqa: E402


class Machine:
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
