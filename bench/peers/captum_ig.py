"""Captum's integrated gradients on one image, as users run it and at its best.

    python captum_ig.py [--net resnet50] [--steps 50] [--repeat 3] [--threads 2] [--settings default,best:4,best:8,best:16]
                        [--save DIR] [--out result.json]

Settings: `default` (weights as loaded, contiguous, all steps as one batch), `best:B` (channels_last, weights with
requires_grad_(False), internal_batch_size B), `frozen` and `channels_last` (one of the two alone). Nets and weights are
those of nets.py, so `python nets.py --export DIR resnet50` gives the same net as an ONNX file; --save writes input.npy
and the attributions of each setting. One image [1, 3, 224, 224] of nets.image(0), target 281, baseline 0, method
gausslegendre (Captum's default), float32. Times are wall seconds of a whole attribute() call; memory is sampled while it
runs. Each setting should have a process of its own for clean memory numbers: --settings takes one.
Run with: torch 2.13.0 (CPU), captum 0.9.0, numpy 2.4.
"""
import argparse
import os
import time

import numpy as np
import torch

import nets
import report


def prepared(name, setting, seed):
    """The net, the image and internal_batch_size for a setting."""
    net = nets.build(name, seed)
    kind, _, size = setting.partition(":")
    if kind in ("best", "frozen"):
        net.requires_grad_(False)
    x = torch.from_numpy(nets.NETS[name][1](0))
    if kind in ("best", "channels_last") and x.dim() == 4:
        net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    return net, x, int(size) if size else None


def measure(args, setting):
    from captum.attr import IntegratedGradients
    start = time.perf_counter()
    net, x, internal = prepared(args.net, setting, args.seed)
    built = time.perf_counter() - start
    start = time.perf_counter()
    method = IntegratedGradients(net)
    setup = time.perf_counter() - start

    def call():
        return method.attribute(x, target=args.target, n_steps=args.steps, internal_batch_size=internal,
                                return_convergence_delta=True)

    start = time.perf_counter()
    with report.PeakMemory() as memory:
        call()
    first = time.perf_counter() - start
    seconds, (attributions, delta) = report.timed(call, args.repeat, warmup=0)
    if args.save:
        np.save(os.path.join(args.save, "captum_%s.npy" % setting.replace(":", "_")), attributions.detach().numpy())
    return {"setting": setting, "internal_batch_size": internal, "build_net_s": built, "setup_s": setup,
            "first_call_s": first, "memory_before_mb": memory.before_mb, "peak_memory_mb": memory.peak_mb,
            "delta": float(delta[0].detach()), **report.summary(seconds, args.steps)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--net", default="resnet50", choices=["resnet50", "vgg19", "vit_b_16", "bert_base_floats"])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", type=int)
    parser.add_argument("--settings", default="default,best:4,best:8,best:16")
    parser.add_argument("--save", metavar="DIR")
    parser.add_argument("--out", default="-")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.target is None:
        args.target = 1 if args.net.startswith("bert") else 281
    if args.save:
        os.makedirs(args.save, exist_ok=True)
        np.save(os.path.join(args.save, "input.npy"), nets.NETS[args.net][1](0))
    rows = [measure(args, s) for s in args.settings.split(",")]
    report.write({"peer": "captum", "method": "integrated-gradients", "net": args.net, "n_steps": args.steps,
                  "target": args.target, "threads": args.threads, "seed": args.seed, "precision": "float32",
                  "results": rows, "versions": report.versions("torch", "captum", "numpy"),
                  "machine": report.machine()}, args.out)


if __name__ == "__main__":
    main()
