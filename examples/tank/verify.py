"""Recompute every number of this example from the shipped files in float64.

Reads the two .onnx files and the pictures with their masks, evaluates the graphs
node by node with PyTorch in float64 (after comparing float32 with onnxruntime),
computes integrated gradients from the blurred and from the black baseline, checks
the promised shares and writes expected.json.  Exit status 1 if a promise fails.
Usage: python verify.py
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
import PIL
import torch
from onnx import numpy_helper
from PIL import Image

import attribution
import net
import train
from make_pictures import PICTURES, SHIPPED
from scenes import scene

HERE = pathlib.Path(__file__).resolve().parent
UNSEEN = range(1000, 1032)      # cloudy tanks that nobody picked, for a fair summary


class OnnxModel:
    """Evaluates the operators that these two files use, in the type of the input."""

    def __init__(self, path, dtype):
        graph = onnx.load(path).graph
        self.nodes = graph.node
        self.weights = {w.name: torch.tensor(numpy_helper.to_array(w)).to(dtype)
                        for w in graph.initializer}

    def __call__(self, image):
        values = dict(self.weights, image=image)
        for node in self.nodes:
            inputs = [values[name] for name in node.input]
            options = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            values[node.output[0]] = self.evaluate(node.op_type, inputs, options)
        return values["logits"]

    @staticmethod
    def evaluate(kind, inputs, options):
        if kind == "Conv":
            return torch.conv2d(*inputs, stride=options["strides"],
                                padding=options["pads"][:2])
        if kind == "BatchNormalization":
            x, gain, bias, mean, variance = inputs
            return torch.nn.functional.batch_norm(x, mean, variance, gain, bias,
                                                  eps=options["epsilon"])
        if kind == "Relu":
            return torch.relu(inputs[0])
        if kind == "MaxPool":
            return torch.max_pool2d(inputs[0], options["kernel_shape"], options["strides"])
        if kind == "Add":
            return inputs[0] + inputs[1]
        if kind == "GlobalAveragePool":
            return inputs[0].mean(dim=(2, 3), keepdim=True)
        if kind == "Flatten":
            return inputs[0].flatten(1)
        if kind == "Gemm":
            return torch.nn.functional.linear(*inputs)
        raise ValueError(f"operator {kind} is not expected here")


def compare_with_onnxruntime(path, x):
    """Largest absolute difference of the float32 logits."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    theirs = session.run(["logits"], {"image": x.astype(np.float32)})[0]
    ours = OnnxModel(path, torch.float32)(torch.tensor(x).float()).numpy()
    return float(np.abs(theirs - ours).max())


def rounded(values):
    return {name: round(value, 4) for name, value in values.items()}


def examine(model, picture, mask):
    x = net.preprocess(picture[None])[0]
    with torch.no_grad():
        logits = model(torch.tensor(x[None]))[0]
    blur, gap = attribution.integrated_gradients(model, x, attribution.blurred_baseline(x))
    black, _ = attribution.integrated_gradients(model, x, attribution.black_baseline(x))
    return {"logits": [round(v, 5) for v in logits.tolist()],
            "p_tank": round(torch.softmax(logits, 0)[1].item(), 6),
            "blur_baseline": rounded(attribution.shares(blur, mask)),
            "blur_completeness_gap": float(f"{gap:.2e}"),
            "black_baseline": rounded(attribution.shares(black, mask))}


def summary(model, pictures):
    """Smallest, median and largest value over pictures that were not picked."""
    rows = []
    for picture, mask in pictures:
        x = net.preprocess(picture[None])[0]
        ig, _ = attribution.integrated_gradients(model, x, attribution.blurred_baseline(x), 64)
        share = attribution.shares(ig, mask)
        with torch.no_grad():
            p = torch.softmax(model(torch.tensor(x[None]))[0], 0)[1].item()
        rows.append([p, share["sky"], share["vehicle"]])
    rows = np.array(rows)
    return {name: {"min": round(float(c.min()), 4), "median": round(float(np.median(c)), 4),
                   "max": round(float(c.max()), 4)}
            for name, c in zip(("p_tank", "sky_share", "vehicle_share"), rows.T)}


def promises(name, sky, biased, diverse):
    """The claims of the README, as (text, true or false)."""
    yield "diverse model is right", (diverse["p_tank"] > 0.95) == name.startswith("tank")
    yield "biased model follows the sky", (biased["p_tank"] > 0.95) == (sky == "cloudy")
    if name.startswith("tank") and sky == "cloudy":
        yield "biased: sky share >= 0.6", biased["blur_baseline"]["sky"] >= 0.6
        yield "biased: tank share <= 0.1", biased["blur_baseline"]["vehicle"] <= 0.1
        yield "diverse: tank share >= 0.6", diverse["blur_baseline"]["vehicle"] >= 0.6


def main():
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    names = ("biased", "diverse")
    paths = {name: str(HERE / f"{name}.onnx") for name in names}
    models = {name: OnnxModel(paths[name], torch.float64) for name in names}
    loaded = {name: (np.asarray(Image.open(PICTURES / f"{name}.png")),
                     np.asarray(Image.open(PICTURES / f"{name}_mask.png"))) for name in SHIPPED}
    batch = net.preprocess(np.stack([picture for picture, _ in loaded.values()]))
    for name in names:
        worst = compare_with_onnxruntime(paths[name], batch)
        print(f"{name}: largest difference to onnxruntime in float32 {worst:.1e}")
        if worst > 1e-5:
            sys.exit(f"{name}.onnx: onnxruntime disagrees")

    failed, pictures = 0, {}
    print(f"{'picture':18}{'model':9}{'P(tank)':>9}{'sky':>8}{'vehicle':>9}{'ground':>8}"
          f"{'black: vehicle':>16}")
    for name, (seed, vehicle, sky) in SHIPPED.items():
        entry = {"seed": seed, "vehicle": vehicle, "sky": sky}
        for model in names:
            entry[model] = r = examine(models[model], *loaded[name])
            b = r["blur_baseline"]
            print(f"{name:18}{model:9}{r['p_tank']:9.4f}{b['sky']:8.3f}{b['vehicle']:9.3f}"
                  f"{b['ground']:8.3f}{r['black_baseline']['vehicle']:16.3f}")
        for text, holds in promises(name, sky, entry["biased"], entry["diverse"]):
            if not holds:
                failed += 1
                print(f"BROKEN: {name}: {text}")
        pictures[name] = entry

    unseen = [scene(seed, "tank", "cloudy") for seed in UNSEEN]
    report = {
        "explained": "logit[tank] - logit[truck]",
        "shares": "attribution summed over channels, positive part, share inside each mask",
        "baseline": {"kind": "Gaussian blur of the preprocessed picture, per channel",
                     "sigma": "max(H, W) / 10 = 9.6", "kernel_radius": "ceil(3 * sigma) = 29",
                     "weights": "exp(-d^2 / (2 sigma^2)), normalised to sum 1",
                     "border": "replicated"},
        "path": {"rule": "Gauss-Legendre", "steps": attribution.STEPS, "type": "float64"},
        "black_baseline": "pixel value 0, i.e. -mean / std in the input space",
        "promises": {"biased": "on cloudy tanks p_tank >= 0.95, sky >= 0.6, vehicle <= 0.1",
                     "diverse": "on cloudy tanks p_tank >= 0.95, vehicle >= 0.6"},
        "training_seeds": {name: train.PLAN[name]["seed"] for name in names},
        "versions": {"torch": torch.__version__, "numpy": np.__version__,
                     "pillow": PIL.__version__, "onnx": onnx.__version__,
                     "onnxruntime": onnxruntime.__version__},
        "pictures": pictures,
        "unpicked_cloudy_tanks": {
            "seeds": f"{UNSEEN.start}..{UNSEEN.stop - 1}",
            **{name: summary(models[name], unseen) for name in names}},
    }
    for name in names:
        print(name, "on", len(unseen), "unpicked pictures:",
              report["unpicked_cloudy_tanks"][name])
    (HERE / "expected.json").write_text(json.dumps(report, indent=1) + "\n")
    print("all promises hold" if not failed else f"{failed} promises broken")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
