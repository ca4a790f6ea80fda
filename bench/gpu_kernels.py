"""Rows of bench/gpu.py for single kernels: convolutions against cuDNN, linear layers against cuBLAS, both against float64."""
import json
import math
import os
import statistics
import subprocess
import time

import torch
import torch.nn.functional as F

from gpu_machine import Machine

CONVS = {f"conv_{net}_n{n}": (net, n, 20 if n < 256 else 30) for n in (32, 1, 256) for net in ("resnet50", "vgg19")}
FINISHES = (("forward", "plain"), ("forward", "bias_relu"), ("backward", "plain"))
# name: (rows, {layer: (inputs, outputs)}, seconds)
TRANSFORMER = {"768_768": (768, 768), "768_3072": (768, 3072), "3072_768": (3072, 768)}
HEADS = {"resnet50_fc": (2048, 1000), "vgg19_fc1": (25088, 4096), "vgg19_fc2": (4096, 4096)}
LINEARS = {"linear_bert_n1": (384, TRANSFORMER, 15), "linear_bert_n50": (50 * 384, TRANSFORMER, 15),
           "linear_vit_n50": (50 * 197, TRANSFORMER, 15), "linear_heads_n1": (1, HEADS, 15), "linear_heads_n50": (50, HEADS, 15)}


class KernelRows(Machine):
    """A row gets "layers": our and the peer's seconds of each."""

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
        program = os.path.join(self.args.programs, name)
        if not os.path.exists(program):  # a build folder
            program = os.path.join(self.args.programs, "bench", name)
        done = subprocess.run([program, *options], input="\n".join(lines) + "\n", capture_output=True, text=True,
                              timeout=seconds)
        if done.returncode != 0:
            raise RuntimeError(f"{name}: status {done.returncode}: {done.stderr.strip()}")
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
