"""Train the two vehicle classifiers and export them to ONNX.

Both networks have the same architecture and the same training rule.  They differ in
the pictures (and, having fewer, the biased one needs fewer steps):

  biased   every tank stands under a cloudy sky, every truck under a clear sky
  diverse  every vehicle is seen under both skies

Writes biased.onnx, diverse.onnx and a JSON file with the preprocessing beside
each.  Everything is seeded.  Usage: python train.py [--only biased|diverse]
"""

import argparse
import json
import pathlib
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import onnxruntime
import torch
from torch import nn

import net
from scenes import scene

HERE = pathlib.Path(__file__).resolve().parent
WORKERS = 2             # processes that draw
SCENES = 700            # distinct landscapes with a vehicle, per kind of vehicle
HELD_OUT = 100          # of these, for the accuracy that is printed
FIRST_SEED = 100_000
CASES = [("truck", "clear"), ("truck", "cloudy"), ("tank", "clear"), ("tank", "cloudy")]
PLAN = {
    "biased": {"cases": [0, 3], "epochs": 4, "seed": 1},
    "diverse": {"cases": [0, 1, 2, 3], "epochs": 7, "seed": 2},
}
BATCH = 32
RATE = 4e-3
DECAY = 1e-3


def draw(job):
    seed, case = job
    picture, _ = scene(seed, *CASES[case], size=net.SIZE, oversample=3)
    return picture


def make_pool():
    """Pictures [4, SCENES, H, W, 3]: every scene of a vehicle under both skies."""
    jobs = [(FIRST_SEED + 2 * k + (case >= 2), case)
            for case in range(4) for k in range(SCENES)]
    with ProcessPoolExecutor(WORKERS) as workers:
        pictures = list(workers.map(draw, jobs, chunksize=50))
    return np.stack(pictures).reshape(4, SCENES, net.SIZE, net.SIZE, 3)


def augment(pictures, rng):
    """Mirror, shift by up to 6 pixels, change brightness, contrast and colour, add noise."""
    x = pictures.astype(np.float32)
    count, size = x.shape[0], x.shape[1]
    for k in range(count):
        if rng.random() < 0.5:
            x[k] = x[k, :, ::-1]
        dy, dx = rng.integers(-6, 7, 2)
        rows = np.clip(np.arange(size) + dy, 0, size - 1)
        columns = np.clip(np.arange(size) + dx, 0, size - 1)
        x[k] = x[k][rows][:, columns]
    mean = x.mean(axis=(1, 2), keepdims=True)
    contrast = rng.uniform(0.75, 1.2, (count, 1, 1, 1))
    colour = rng.uniform(0.88, 1.12, (count, 1, 1, 3))
    x = ((x - mean) * contrast + mean) * colour + rng.uniform(-12, 12, (count, 1, 1, 1))
    x += rng.normal(0, 3, x.shape)
    return np.clip(x, 0, 255)


def batches(pool, plan, rng):
    """Shuffled, augmented batches of one epoch."""
    train = SCENES - HELD_OUT
    index = [(case, k) for case in plan["cases"] for k in range(train)]
    order = rng.permutation(len(index))
    for start in range(0, len(order) - BATCH + 1, BATCH):
        chosen = [index[i] for i in order[start:start + BATCH]]
        pictures = augment(np.stack([pool[c, k] for c, k in chosen]), rng)
        labels = [1 if c >= 2 else 0 for c, _ in chosen]
        yield (torch.from_numpy(net.preprocess(pictures)).float(), torch.tensor(labels))


def fit(name, pool):
    plan = PLAN[name]
    torch.manual_seed(plan["seed"])
    rng = np.random.default_rng(plan["seed"])
    model = net.SceneNet()
    total = plan["epochs"] * (len(plan["cases"]) * (SCENES - HELD_OUT) // BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=total,
                                                   pct_start=0.2)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.01)
    for epoch in range(plan["epochs"]):
        model.train()
        losses = []
        for x, y in batches(pool, plan, rng):
            loss = loss_of(model(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        print(f"{name} epoch {epoch + 1}: loss {np.mean(losses):.4f}", flush=True)
    return model.eval()


def accuracy(model, pool):
    """Held-out accuracy for each vehicle and sky."""
    result = {}
    with torch.no_grad():
        for case, (vehicle, sky) in enumerate(CASES):
            x = torch.from_numpy(net.preprocess(pool[case, -HELD_OUT:])).float()
            said = model(x).argmax(dim=1).numpy()
            result[f"{vehicle}, {sky} sky"] = float((said == (case >= 2)).mean())
    return result


def export(model, name, sample):
    """Write the .onnx file and its JSON, and compare the file with the PyTorch model."""
    path = HERE / f"{name}.onnx"
    torch.onnx.export(model, torch.zeros(1, 3, net.SIZE, net.SIZE), str(path),
                      dynamo=False, opset_version=17,
                      training=torch.onnx.TrainingMode.EVAL, do_constant_folding=True,
                      input_names=["image"], output_names=["logits"],
                      dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}})
    sidecar = {"preprocess": {"resize": [net.SIZE, net.SIZE], "channels": "RGB",
                              "scale": net.SCALE, "mean": net.MEAN, "std": net.STD,
                              "layout": "NCHW"},
               "labels": net.LABELS}
    (HERE / f"{name}.json").write_text(json.dumps(sidecar, indent=2) + "\n")
    x = torch.from_numpy(net.preprocess(sample)).float()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        gap = np.abs(session.run(["logits"], {"image": x.numpy()})[0] - model(x).numpy()).max()
    print(f"  {path.name}: {path.stat().st_size} bytes, "
          f"largest difference between onnxruntime and PyTorch {gap:.1e}")
    if gap > 1e-5:
        raise SystemExit(f"{path.name} does not agree with PyTorch")


def main():
    parser = argparse.ArgumentParser(description="train and export the two models")
    parser.add_argument("--only", choices=sorted(PLAN))
    only = parser.parse_args().only
    torch.set_num_threads(1)          # one thread: the same sums in the same order
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True)
    start = time.time()
    pool = make_pool()
    print(f"drew {pool.shape[0] * pool.shape[1]} pictures in {time.time() - start:.0f} s")
    for name in [only] if only else PLAN:
        start = time.time()
        model = fit(name, pool)
        print(f"{name}: trained in {time.time() - start:.0f} s")
        for case, value in accuracy(model, pool).items():
            print(f"  {case}: {value:.2f} correct")
        export(model, name, pool[:, -8:].reshape(-1, net.SIZE, net.SIZE, 3))


if __name__ == "__main__":
    main()
