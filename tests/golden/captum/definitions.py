"""The definitions of the methods, short and in pure double precision."""

import itertools
import math

import numpy as np
import torch


def quadrature(rule, n):
    """Nodes and weights on [0, 1]; the trapezoid rule has weights that sum to one."""
    i = np.arange(n)
    if rule == "gausslegendre":
        x, w = np.polynomial.legendre.leggauss(n)
        return 0.5 * (1 + x), 0.5 * w
    if rule == "riemann_trapezoid":
        w = np.full(n, 1.0 / (n - 1))
        w[[0, -1]] /= 2
        return i / (n - 1), w
    shift = {"riemann_left": 0.0, "riemann_middle": 0.5, "riemann_right": 1.0}[rule]
    return (i + shift) / n, np.full(n, 1.0 / n)


def select(out, target):
    """One value per example: target None, int, tuple, or one int or tuple per example."""
    if target is None:
        return out.reshape(out.shape[0])
    rows = target if isinstance(target, list) else [target] * out.shape[0]
    rows = [r if isinstance(r, tuple) else (r,) for r in rows]
    return torch.stack([out[(k, *r)] for k, r in enumerate(rows)])


class Override:
    """Within the block, the listed modules output the given values instead of their own."""

    def __init__(self, modules, values):
        self.handles = [m.register_forward_hook(lambda *_, v=v: v) for m, v in zip(modules, values)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for handle in self.handles:
            handle.remove()


def layer_values(model, modules, inputs):
    """Outputs of the modules; one that returns a tuple keeps it."""
    seen = {}
    handles = [m.register_forward_hook(lambda _m, _i, o, k=k: seen.__setitem__(k, o)) for k, m in enumerate(modules)]
    with torch.no_grad():
        model(*inputs)
    for handle in handles:
        handle.remove()
    return [seen[k] for k in range(len(modules))]


def flat(values):
    return [v for x in values for v in (x if isinstance(x, tuple) else (x,))]


def repack(leaves, like):
    it = iter(leaves)
    return [tuple(next(it) for _ in x) if isinstance(x, tuple) else next(it) for x in like]


def path_integral(evaluate, ends, starts, rule, n, times_difference, jitter=(1.0, 0.0)):
    """Sum of w_i * gradient at start + a_i (end - start), times (end - start) if asked."""
    total = [torch.zeros_like(e) for e in ends]
    for alpha, weight in zip(*quadrature(rule, n)):
        alpha = alpha * jitter[0] + jitter[1]
        leaves = [(s + alpha * (e - s)).requires_grad_() for s, e in zip(starts, ends)]
        for acc, grad in zip(total, torch.autograd.grad(evaluate(leaves).sum(), leaves)):
            acc += weight * grad
    return [t * (e - s) if times_difference else t for t, e, s in zip(total, ends, starts)]


def math_ig(model, xs, bs, fixed, target, rule, n, mbi, jitter=(1.0, 0.0)):
    def evaluate(leaves):
        return select(model(*leaves, *fixed), target)

    attr = path_integral(evaluate, xs, bs, rule, n, mbi, jitter)
    full = attr if mbi else path_integral(evaluate, xs, bs, rule, n, True, jitter)
    with torch.no_grad():
        change = evaluate(xs) - evaluate(bs)
    delta = sum(a.reshape(a.shape[0], -1).sum(1) for a in (attr if mbi else full)) - change
    return attr, delta


def math_layer_ig(model, modules, xs, bs, target, rule, n, mbi, jitter=(1.0, 0.0)):
    like = layer_values(model, modules, xs)
    ends, starts = flat(like), flat(layer_values(model, modules, bs))

    def evaluate(leaves):
        with Override(modules, repack(leaves, like)):
            return select(model(*xs), target)

    attr = path_integral(evaluate, ends, starts, rule, n, mbi, jitter)
    with torch.no_grad():
        change = select(model(*xs), target) - select(model(*bs), target)
    delta = sum(a.reshape(a.shape[0], -1).sum(1) for a in attr) - change
    return attr, delta


def math_occlusion(model, xs, bs, fixed, target, windows, strides):
    """Mean, over the windows that cover an element, of F(x) - F(x with the window := b)."""
    out = []
    with torch.no_grad():
        base = select(model(*xs, *fixed), target)
        for k, x in enumerate(xs):
            stride = strides[k] if strides[k] is not None else 1
            stride = (stride,) * len(windows[k]) if isinstance(stride, int) else stride
            counts = [
                math.ceil((d - w) / s) + 1 for d, w, s in zip(x.shape[1:], windows[k], stride)
            ]
            total, cover = torch.zeros_like(x), torch.zeros_like(x)
            for where in itertools.product(*[range(c) for c in counts]):
                box = (slice(None),) + tuple(
                    slice(i * s, i * s + w) for i, s, w in zip(where, stride, windows[k])
                )
                changed = x.clone()
                changed[box] = bs[k].expand_as(x)[box]
                args = xs[:k] + [changed] + xs[k + 1 :]
                diff = base - select(model(*args, *fixed), target)
                total[box] += diff.reshape([-1] + [1] * (x.dim() - 1))
                cover[box] += 1
            out.append(total / cover)
    return out
