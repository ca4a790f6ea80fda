"""Definitions in PyTorch's float64, for what Captum computes otherwise or less exactly; nothing of Captum is used here."""

import itertools
import math

import numpy as np
import torch


def gauss_legendre(n):
    """Nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return (nodes + 1) / 2, weights / 2


def conductance(net, layer, base, n):
    """sum_i w_i dF/dL dL/dalpha at Gauss-Legendre nodes on the straight path from `base` to the inputs (Dhamdhere et al.
    2019, equation 3). dL/dalpha by two reverse passes: the vector-Jacobian product is linear in its cotangent."""
    inputs, kept, total = list(net.inputs.values()), [], 0
    handle = net.module.get_submodule(layer).register_forward_hook(lambda _m, _i, out: kept.append(out))
    for alpha, weight in zip(*gauss_legendre(n)):
        x = [(b + alpha * (v - b)).requires_grad_() for v, b in zip(inputs, base)]
        kept.clear()
        y = net.module(*x)[:, net.target].sum()
        (value,) = kept
        (gradient,) = torch.autograd.grad(y, value, retain_graph=True)
        u = torch.zeros_like(value, requires_grad=True)
        back = torch.autograd.grad(value, x, u, create_graph=True, allow_unused=True)
        along = sum((g * (v - b)).sum() for g, v, b in zip(back, inputs, base) if g is not None)
        total = total + weight * gradient * torch.autograd.grad(along, u)[0]
    handle.remove()
    return total


def shapley_values(net, base, masks):
    """sum over S without f of |S|! (n - |S| - 1)! / n! (v(S + f) - v(S)), per input the value of the element's feature."""
    inputs = list(net.inputs.values())
    features = sorted({int(i) for m in masks for i in m.unique()})
    n, worth = len(features), {}
    with torch.no_grad():
        for present in itertools.product((0, 1), repeat=n):
            on = torch.zeros(max(features) + 1, dtype=torch.bool)
            on[[f for f, p in zip(features, present) if p]] = True
            x = [torch.where(on[m], v, b) for m, v, b in zip(masks, inputs, base)]
            worth[present] = net.module(*x)[:, net.target]
    value = {}
    for k, f in enumerate(features):
        total = 0
        for present, v in worth.items():
            if not present[k]:
                size = sum(present)
                with_f = present[:k] + (1,) + present[k + 1 :]
                total = total + math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n) * (worth[with_f] - v)
        value[f] = total
    table = torch.stack([value.get(f, torch.zeros_like(total)) for f in range(max(features) + 1)], 1)  # [N, features]
    return [torch.stack([row[m[min(i, len(m) - 1)]] for i, row in enumerate(table)]) for m in masks]
