"""Toy networks of element-wise nodes: two-input nets, and polynomials with known path integrals."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from toy_graph import Graph, Spec


# ------------------------------------------------------- element-wise and two-input nets


class Basic(nn.Module):
    """1 - relu(1 - x)."""

    def forward(self, x):
        return 1 - F.relu(1 - x)


def basic_onnx(name, shape):
    g = Graph(name, [("x", shape)], [("y", shape)])
    g.scalar("Sub", "x", 1.0, "one_minus_x", left=True)
    g.op("Relu", ["one_minus_x"], "relu")
    g.scalar("Sub", "relu", 1.0, "y", left=True)
    return g.model()


for _name, _shape in [
    ("basic_scalar", []),
    ("basic_3", [3]),
    ("basic_5", [5]),
    ("basic_3x3", [3, 3]),
]:
    Spec(_name, Basic, lambda n=_name, s=_shape: basic_onnx(n, s))


class Basic2(nn.Module):
    """relu(relu(x1) - 1 - relu(x2))."""

    def forward(self, x1, x2):
        return F.relu(F.relu(x1) - 1 - F.relu(x2))


def basic2_onnx(name, shape):
    g = Graph(name, [("x1", shape), ("x2", shape)], [("y", shape)])
    g.op("Relu", ["x1"], "relu1")
    g.scalar("Sub", "relu1", 1.0, "shifted")
    g.op("Relu", ["x2"], "relu2")
    g.op("Sub", ["shifted", "relu2"], "difference")
    g.op("Relu", ["difference"], "y")
    return g.model()


Spec("basic2_scalar", Basic2, lambda: basic2_onnx("basic2_scalar", []))
Spec("basic2_2", Basic2, lambda: basic2_onnx("basic2_2", [2]))


class Basic3(nn.Module):
    """relu(relu(x1 - 1) - relu(x2))."""

    def forward(self, x1, x2):
        return F.relu(F.relu(x1 - 1) - F.relu(x2))


def basic3_onnx(name, shape):
    g = Graph(name, [("x1", shape), ("x2", shape)], [("y", shape)])
    g.scalar("Sub", "x1", 1.0, "shifted")
    g.op("Relu", ["shifted"], "relu1")
    g.op("Relu", ["x2"], "relu2")
    g.op("Sub", ["relu1", "relu2"], "difference")
    g.op("Relu", ["difference"], "y")
    return g.model()


Spec("basic3_scalar", Basic3, lambda: basic3_onnx("basic3_scalar", []))
Spec("basic3_1", Basic3, lambda: basic3_onnx("basic3_1", [1]))


class Basic4(nn.Module):
    """relu(relu(x1 - 1) - relu(x2) / d)[:, i] with d and i fixed."""

    def __init__(self, d, i):
        super().__init__()
        self.d, self.i = d, i

    def forward(self, x1, x2):
        return F.relu(F.relu(x1 - 1) - F.relu(x2) / self.d)[:, self.i]


class Basic5(nn.Module):
    """relu(relu(x1 - 1) * a - relu(x2) * b)[:, i] with a, b and i fixed."""

    def __init__(self, a, b, i):
        super().__init__()
        self.a, self.b, self.i = a, b, i

    def forward(self, x1, x2):
        return F.relu(F.relu(x1 - 1) * self.a - F.relu(x2) * self.b)[:, self.i]


def basic45_onnx(name, i, a=None, b=None, d=None):
    g = Graph(name, [("x1", [3]), ("x2", [3])], [("y", [])])
    g.scalar("Sub", "x1", 1.0, "shifted")
    left = g.op("Relu", ["shifted"], "relu1")
    right = g.op("Relu", ["x2"], "relu2")
    if a is not None:
        left = g.scalar("Mul", left, float(a), "scaled1")
    if b is not None:
        right = g.scalar("Mul", right, float(b), "scaled2")
    if d is not None:
        right = g.scalar("Div", right, float(d), "scaled2")
    g.op("Sub", [left, right], "difference")
    g.op("Relu", ["difference"], "relu3")
    g.op("Gather", ["relu3", g.const("index", i, np.int64)], "y", axis=1)
    return g.model()


Spec("basic4_d4_i0", lambda: Basic4(4.0, 0), lambda: basic45_onnx("basic4_d4_i0", 0, d=4))
Spec("basic5_a2_b3_i1", lambda: Basic5(2.0, 3.0, 1), lambda: basic45_onnx("basic5_a2_b3_i1", 1, a=2, b=3))
Spec("basic5_a3_b1_i0", lambda: Basic5(3.0, 1.0, 0), lambda: basic45_onnx("basic5_a3_b1_i0", 0, a=3, b=1))


class Basic6(nn.Module):
    """(1 - relu(1 - (x1 + x2)))[:, 1]."""

    def forward(self, x1, x2):
        return (1 - F.relu(1 - (x1 + x2)))[:, 1]


def basic6_onnx():
    g = Graph("basic6", [("x1", [3]), ("x2", [3])], [("y", [])])
    g.op("Add", ["x1", "x2"], "sum")
    g.scalar("Sub", "sum", 1.0, "one_minus", left=True)
    g.op("Relu", ["one_minus"], "relu")
    g.scalar("Sub", "relu", 1.0, "all", left=True)
    g.op("Gather", ["all", g.const("index", 1, np.int64)], "y", axis=1)
    return g.model()


Spec("basic6", Basic6, basic6_onnx)


# ---------------------------------------------------- polynomials with known path integrals


class WeightedSum(nn.Module):
    """sum_j (j+1) x_j over five features, one value per example."""

    def __init__(self):
        super().__init__()
        self.register_buffer("w", torch.arange(1.0, 6.0))

    def forward(self, x):
        return (x * self.w).sum(1)


def weighted_sum_onnx():
    g = Graph("weighted_sum", [("x", [5])], [("y", [])])
    g.op("Mul", ["x", g.const("w", np.arange(1.0, 6.0))], "product")
    g.op("ReduceSum", ["product", g.const("axes", [1], np.int64)], "y", keepdims=0)
    return g.model()


Spec("weighted_sum", WeightedSum, weighted_sum_onnx)


class Square(nn.Module):
    """sum of x squared, one value per example."""

    def forward(self, x):
        return (x * x).sum(1)


def square_onnx():
    g = Graph("square", [("x", [3])], [("y", [])])
    g.op("Mul", ["x", "x"], "squared")
    g.op("ReduceSum", ["squared", g.const("axes", [1], np.int64)], "y", keepdims=0)
    return g.model()


Spec("square", Square, square_onnx)


class Cubic(nn.Module):
    """a squared times b, plus c; inputs a, b, c of shape (N, 2)."""

    def forward(self, a, b, c):
        return a * a * b + c


def cubic_onnx():
    g = Graph("cubic", [("a", [2]), ("b", [2]), ("c", [2])], [("y", [2])])
    g.op("Mul", ["a", "a"], "aa")
    g.op("Mul", ["aa", "b"], "aab")
    g.op("Add", ["aab", "c"], "y")
    return g.model()


Spec("cubic", Cubic, cubic_onnx)
