"""Integrated gradients in float64, the blurred baseline, and mask shares.

Explained scalar: logit[tank] - logit[truck].
Blurred baseline: per channel Gaussian blur of the preprocessed picture with
sigma = max(H, W) / 10, kernel radius ceil(3 * sigma), weights normalised to sum
one, border pixels replicated.
Path integral: Gauss-Legendre nodes on the straight line from baseline to picture.
"""

import math

import numpy as np
import torch

from net import MEAN, STD
from scenes import GROUND, SKY, VEHICLE

BLUR_DIVISOR = 10
STEPS = 128


def gaussian_blur(x, sigma):
    """Separable Gaussian blur of [C, H, W] with replicated borders."""
    radius = math.ceil(3 * sigma)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    for axis in (1, 2):
        pad = [(0, 0)] * 3
        pad[axis] = (radius, radius)
        padded = np.pad(x, pad, mode="edge")
        count = x.shape[axis]
        x = sum(w * np.take(padded, range(k, k + count), axis=axis)
                for k, w in enumerate(weights))
    return x


def blurred_baseline(x):
    return gaussian_blur(x, max(x.shape[1:]) / BLUR_DIVISOR)


def black_baseline(x):
    """Pixel value 0 in every channel."""
    low = -np.array(MEAN) / np.array(STD)
    return np.broadcast_to(low[:, None, None], x.shape).copy()


def tank_minus_truck(model, x):
    logits = model(x)
    return logits[:, 1] - logits[:, 0]


def integrated_gradients(model, x, baseline, steps=STEPS, batch=32):
    """Attributions [C, H, W] and the relative completeness gap."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    nodes, weights = (nodes + 1) / 2, weights / 2
    total = np.zeros_like(x)
    for start in range(0, steps, batch):
        t = nodes[start:start + batch, None, None, None]
        points = torch.tensor(baseline + t * (x - baseline), requires_grad=True)
        tank_minus_truck(model, points).sum().backward()
        total += np.tensordot(weights[start:start + batch], points.grad.numpy(), axes=1)
    attribution = total * (x - baseline)
    with torch.no_grad():
        ends = tank_minus_truck(model, torch.tensor(np.stack([x, baseline]))).numpy()
    gap = abs(attribution.sum() - (ends[0] - ends[1])) / max(1e-12, abs(ends[0] - ends[1]))
    return attribution, gap


def shares(attribution, mask):
    """Share of the positive part (after summing channels) in each mask region."""
    positive = np.clip(attribution.sum(axis=0), 0, None)
    total = positive.sum()
    return {name: float(positive[mask == code].sum() / total)
            for name, code in (("sky", SKY), ("vehicle", VEHICLE), ("ground", GROUND))}
