"""Captum's layered and sampled methods on one input, at their best settings.

    python captum_methods.py WORKLOAD [--repeat 1] [--threads 2] [--settings best:8] [--out result.json]

WORKLOAD, on the nets of nets.py (float32, frozen weights, channels_last where the net is convolutional):
  layer_ig      layer integrated gradients of ResNet-50 at the input of its last stage, 50 steps
  conductance   conductance of each of the 12 layers of a BERT-base-sized encoder, S = 128, 10 steps: one call per layer
  kernel_shap   Kernel SHAP of ResNet-50, 64 square segments, 512 samples
  occlusion_resnet50, occlusion_vgg19
                windows of 15 x 15 at stride 8: 784 of them
Settings: best:B gives internal_batch_size (layer_ig, conductance) or perturbations_per_eval (kernel_shap, occlusion_*) B;
`default` leaves both.
Times are wall seconds of the whole workload. Run with: torch 2.13.0 (CPU), captum 0.9.0, scikit-learn, numpy 2.4.
"""
import argparse

import torch

import nets
import report


def convolutional(name):
    net = nets.build(name).requires_grad_(False).to(memory_format=torch.channels_last)
    x = torch.from_numpy(nets.NETS[name][1](0))
    return net, x.contiguous(memory_format=torch.channels_last)


def layer_ig(batch):
    from captum.attr import LayerIntegratedGradients
    net, x = convolutional("resnet50")
    method = LayerIntegratedGradients(net, net.body[12])
    return 50, lambda: method.attribute(x, target=281, n_steps=50, internal_batch_size=batch)


def conductance(batch):
    from captum.attr import LayerConductance
    net = nets.build("bert_base_floats").requires_grad_(False)
    x = torch.from_numpy(nets.NETS["bert_base_floats"][1](0))
    methods = [LayerConductance(net, block) for block in net.blocks]
    return 12 * 10, lambda: [m.attribute(x, target=1, n_steps=10, internal_batch_size=batch) for m in methods]


def kernel_shap(batch):
    from captum.attr import KernelShap
    net, x = convolutional("resnet50")
    rows = torch.arange(224) // 28
    segments = (rows[:, None] * 8 + rows[None, :])[None, None].expand(1, 3, 224, 224)
    method = KernelShap(net)

    def call():
        torch.manual_seed(0)
        with torch.no_grad():
            return method.attribute(x, target=281, feature_mask=segments, n_samples=512,
                                    perturbations_per_eval=batch or 1)
    return 512, call


def occlusion(name, batch):
    from captum.attr import Occlusion
    net, x = convolutional(name)
    method = Occlusion(net)

    def call():
        with torch.no_grad():
            return method.attribute(x, target=281, sliding_window_shapes=(3, 15, 15), strides=(3, 8, 8),
                                    perturbations_per_eval=batch or 1)
    return 784, call


def occlusion_resnet50(batch):
    return occlusion("resnet50", batch)


def occlusion_vgg19(batch):
    return occlusion("vgg19", batch)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("workload", choices=["layer_ig", "conductance", "kernel_shap", "occlusion_resnet50", "occlusion_vgg19"])
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--settings", default="best:8")
    parser.add_argument("--out", default="-")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    results = []
    for setting in args.settings.split(","):
        work, call = globals()[args.workload](int(setting[5:]) if setting.startswith("best:") else None)
        seconds, _ = report.timed(call, args.repeat, warmup=0 if args.repeat == 1 else 1)
        results.append({"setting": setting, **report.summary(seconds, work)})
    report.write({"peer": "captum", "workload": args.workload, "threads": args.threads, "precision": "float32",
                  "results": results, "versions": report.versions("torch", "captum", "numpy"),
                  "machine": report.machine()}, args.out)


if __name__ == "__main__":
    main()
