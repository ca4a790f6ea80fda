"""Both sides of the GPU benchmarks in one run on one machine: onnxray against PyTorch, eager tuned and torch.compile.

    python bench/gpu.py --onnxray ./onnxray [--out FILE.json] [--only NAME,...]

Needs torch with CUDA, torchvision and onnx for the exports (random weights, nothing is downloaded). Peers run integrated
gradients as a plain loop over batches of path points with frozen weights, channels last and cudnn.benchmark, at the best
of several batch sizes. The JSON is written after every row; ratios are peer time / our time. Not yet run on a GPU.
"""
import argparse
import json
import os
import subprocess
import tempfile
import time

import torch
import torchvision

# name: (net, steps of the path; 0: one gradient)
BENCHES = {
    "saliency_resnet50_b1": ("resnet50", 0),
    "ig_resnet50_n50": ("resnet50", 50),
    "ig_resnet50_n1000": ("resnet50", 1000),
    "ig_vgg19_n2990": ("vgg19", 2990),
}
# our mode: whether PyTorch may use TF32
MODES = {"exact": False, "fast": True}


def network(name):
    torch.manual_seed(1)
    net = getattr(torchvision.models, name)(weights=None).eval()
    for p in net.parameters():
        p.requires_grad_(False)
    return net


def export(name, folder):
    path = os.path.join(folder, name + ".onnx")
    if not os.path.exists(path):
        x = torch.randn(1, 3, 224, 224)
        torch.onnx.export(network(name), (x,), path, opset_version=17, input_names=["x"], output_names=["y"],
                          dynamic_axes={"x": {0: "N"}, "y": {0: "N"}}, dynamo=False)
    return path


def ours(args, path, mode, steps):
    method = ["--method", "integrated-gradients", "--n-steps", str(steps)] if steps else ["--method", "gradient"]
    command = [args.onnxray, "bench", path, *method, "--device", "cuda", "--precision", mode, "--repeat", "5", "--json",
               "--shape", "x=1,3,224,224"]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=150).stdout)
    m = result["methods"][0]
    return {"median_s": m["median_seconds"], "setup_s": m["setup_seconds"], "arena_mb": m["arena_bytes"] / 1e6}


def peer(net, steps, batch, compiled):
    model = network(net).cuda().to(memory_format=torch.channels_last)
    forward = torch.compile(model) if compiled else model
    x = torch.randn(1, 3, 224, 224, device="cuda")

    def once():
        total = torch.zeros_like(x)
        alphas = torch.linspace(0, 1, max(1, steps), device="cuda")
        for a in alphas.split(batch):
            rows = (a.view(-1, 1, 1, 1) * x if steps else x.clone()).contiguous(memory_format=torch.channels_last)
            rows.requires_grad_(True)
            grad, = torch.autograd.grad(forward(rows)[:, 0].sum(), rows)
            total += grad.sum(0, keepdim=True)
        torch.cuda.synchronize()
        return total

    for _ in range(3):
        once()
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        once()
        times.append(time.perf_counter() - begin)
    return {"median_s": sorted(times)[2], "peak_mb": torch.cuda.max_memory_allocated() / 1e6, "batch": batch}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--onnxray", required=True)
    parser.add_argument("--out", default="gpu_bench.json")
    parser.add_argument("--only", default=",".join(BENCHES))
    args = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    result = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "cudnn": torch.backends.cudnn.version(),
              "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.only.split(","):
            net, steps = BENCHES[name]
            for mode, tf32 in MODES.items():
                torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
                row = {"name": name, "mode": mode, "peers": {}}
                try:
                    row["ours"] = ours(args, export(net, folder), mode, steps)
                    for compiled in (False, True):
                        label = "torch.compile" if compiled else "eager tuned"
                        tried = [peer(net, steps, b, compiled) for b in ((1,) if steps < 2 else (50,) if compiled else (25, 50, 125))]
                        row["peers"][label] = min(tried, key=lambda r: r["median_s"])
                        row["peers"][label]["ratio"] = row["peers"][label]["median_s"] / row["ours"]["median_s"]
                except Exception as e:  # the other rows still count
                    row["error"] = str(e)
                result["rows"].append(row)
                with open(args.out, "w") as f:
                    json.dump(result, f, indent=1)
                best = min((p["ratio"] for p in row["peers"].values()), default=float("nan"))
                print(f"{name:24} {mode:6} ours {row.get('ours', {}).get('median_s', float('nan')):8.4f} s, "
                      f"against the best peer {best:5.2f}x {row.get('error', '')}", flush=True)


if __name__ == "__main__":
    main()
