"""Definitions in PyTorch's float64, for what Captum computes otherwise or less exactly; nothing of Captum is used here."""

import itertools
import math

import numpy as np
import torch


def gauss_legendre(n):
    """Nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return (nodes + 1) / 2, weights / 2


class PathSamples:
    """A layer L and g = dF/dL on the straight path from `base` to `inputs`, at the given places: lists of tensors."""

    def __init__(self, net, layer, base, alphas, derivative=False):
        self.layer, self.gradient, self.derivative = [], [], []
        inputs = list(net.inputs.values())
        kept = []
        handle = net.module.get_submodule(layer).register_forward_hook(lambda _m, _i, out: kept.append(out))
        for alpha in alphas:
            x = [(b + alpha * (v - b)).requires_grad_() for v, b in zip(inputs, base)]
            kept.clear()
            y = net.module(*x)[:, net.target].sum()
            (value,) = kept
            self.layer.append(value.detach())
            self.gradient.append(torch.autograd.grad(y, value, retain_graph=derivative)[0])
            if derivative:
                # Forward mode by two reverse passes: the vector-Jacobian product is linear in its cotangent.
                u = torch.zeros_like(value, requires_grad=True)
                back = torch.autograd.grad(value, x, u, create_graph=True, allow_unused=True)
                along = sum((g * (v - b)).sum() for g, v, b in zip(back, inputs, base) if g is not None)
                self.derivative.append(torch.autograd.grad(along, u)[0])
        handle.remove()


def conductance(net, layer, base, n):
    """sum_i w_i dF/dL dL/dalpha at Gauss-Legendre nodes (Dhamdhere et al. 2019, equation 3)."""
    alphas, weights = gauss_legendre(n)
    s = PathSamples(net, layer, base, alphas, derivative=True)
    return sum(w * g * d for w, g, d in zip(weights, s.gradient, s.derivative))


def conductance_errors(net, layer, base, n):
    """How far two sums of n steps can be from the integral of f = g dL/dalpha, by element, V being the total variation on
    the path (of n samples): Captum's sum over intervals of g at the left end times the change of L, whose error is
    sum_k |integral over interval k of (g_k - g) dL| <= sum_k V_k(g) V_k(L); and the midpoint rule, V(f) / (2 n) (Koksma's
    inequality; 1 / (2 n) is the discrepancy of the midpoints)."""
    s = PathSamples(net, layer, base, (np.arange(n) + 0.5) / n, derivative=True)
    left = middle = 0
    for k in range(n - 1):
        change = s.gradient[k + 1] - s.gradient[k]
        left = left + (change * (s.layer[k + 1] - s.layer[k])).abs()
        middle = middle + (s.gradient[k + 1] * s.derivative[k + 1] - s.gradient[k] * s.derivative[k]).abs() / (2 * n)
    return left, middle


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
