"""Toy networks of dense layers: the multi-layer family, DeepLift's, seeded classifiers, a token embedding."""

import numpy as np
import torch
import torch.nn as nn
from onnx import TensorProto
from toy_graph import Graph, Spec, linear, seeded


# ------------------------------------------------------------------- multi-layer family

EYE3 = np.eye(3)
W1, B1 = np.ones((4, 3)), [-10.0, 1.0, 1.0, 1.0]
W2, B2 = np.ones((2, 4)), [-1.0, 1.0]


class TwoRelus(nn.Module):
    """relu on each of two values; one module with a tuple output."""

    def __init__(self):
        super().__init__()
        self.relu_a, self.relu_b = nn.ReLU(), nn.ReLU()

    def forward(self, a, b):
        return self.relu_a(a), self.relu_b(b)


class MultiLayer(nn.Module):
    """linear0 (identity) - linear1 - relu - linear2, all weights ones."""

    def __init__(self, two_branches=False, multidim=False):
        super().__init__()
        self.two_branches, self.multidim = two_branches, multidim
        self.linear0, self.linear1 = linear(EYE3, np.zeros(3)), linear(W1, B1)
        self.relu, self.linear2 = nn.ReLU(), linear(W2, B2)
        if two_branches:
            self.linear1_alt, self.multi_relu = linear(W1, B1), TwoRelus()

    def forward(self, x, add=None):
        x = x if add is None else x + add
        hidden = self.linear1(self.linear0(x))
        if self.two_branches:
            a, b = self.multi_relu(hidden, self.linear1_alt(x))
            hidden = a + b
        else:
            hidden = self.relu(hidden)
        out = self.linear2(hidden)
        if self.multidim:
            out = torch.stack((out, 2 * out), dim=2)
            out = torch.stack((out, 4 * out), dim=3)
        return out


def multilayer_body(g, x, suffix="", out="linear2"):
    g.gemm(x, EYE3, np.zeros(3), "linear0" + suffix)
    g.gemm("linear0" + suffix, W1, B1, "linear1" + suffix)
    g.op("Relu", ["linear1" + suffix], "relu" + suffix)
    return g.gemm("relu" + suffix, W2, B2, out)


def multilayer_onnx(add=False):
    name = "multilayer_add" if add else "multilayer"
    inputs = [("x", [3])] + ([("add", [3])] if add else [])
    g = Graph(name, inputs, [("linear2", [2])])
    multilayer_body(g, g.op("Add", ["x", "add"], "sum") if add else "x")
    return g.model()


def multilayer_two_onnx():
    g = Graph("multilayer_two_branches", [("x", [3])], [("linear2", [2])])
    g.gemm("x", EYE3, np.zeros(3), "linear0")
    g.gemm("linear0", W1, B1, "linear1")
    g.gemm("x", W1, B1, "linear1_alt")
    g.op("Relu", ["linear1"], "relu_a")
    g.op("Relu", ["linear1_alt"], "relu_b")
    g.op("Add", ["relu_a", "relu_b"], "relu_sum")
    g.gemm("relu_sum", W2, B2, "linear2")
    return g.model()


def multilayer_multidim_onnx():
    g = Graph("multilayer_multidim", [("x", [3])], [("y", [2, 2, 2])])
    multilayer_body(g, "x")

    def stack(value, factor, axis, out):
        g.scalar("Mul", value, factor, value + ".scaled")
        axes = g.const(out + ".axes", [axis], np.int64)
        parts = [g.op("Unsqueeze", [v, axes], v + ".unsqueezed") for v in (value, value + ".scaled")]
        return g.op("Concat", parts, out, axis=axis)

    stack(stack("linear2", 2.0, 2, "stack2"), 4.0, 3, "y")
    return g.model()


Spec("multilayer", MultiLayer, multilayer_onnx)
Spec("multilayer_add", MultiLayer, lambda: multilayer_onnx(add=True))
Spec("multilayer_two_branches", lambda: MultiLayer(two_branches=True), multilayer_two_onnx)
Spec("multilayer_multidim", lambda: MultiLayer(multidim=True), multilayer_multidim_onnx)


class MultiInput(nn.Module):
    """MultiLayer(scale * (x1 + x2 + x3)), scale fixed."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale, self.model = scale, MultiLayer()

    def forward(self, x1, x2, x3):
        return self.model(self.scale * (x1 + x2 + x3))


class TrueMultiInput(nn.Module):
    """MultiLayer(x1) + MultiInput(x2, x3, x1)."""

    def __init__(self):
        super().__init__()
        self.m1, self.m234 = MultiLayer(), MultiInput()

    def forward(self, x1, x2, x3):
        return self.m1(x1) + self.m234(x2, x3, x1)


def multi_input_onnx(name, scale):
    g = Graph(name, [("x1", [3]), ("x2", [3]), ("x3", [3])], [("linear2", [2])])
    g.op("Add", ["x1", "x2"], "sum12")
    g.op("Add", ["sum12", "x3"], "sum")
    multilayer_body(g, g.scalar("Mul", "sum", scale, "scaled"))
    return g.model()


def true_multi_input_onnx():
    g = Graph("multilayer_true_multi_input", [("x1", [3]), ("x2", [3]), ("x3", [3])], [("y", [2])])
    multilayer_body(g, "x1", "_a", "linear2_a")
    g.op("Sum", ["x2", "x3", "x1"], "sum")
    multilayer_body(g, "sum", "_b", "linear2_b")
    g.op("Add", ["linear2_a", "linear2_b"], "y")
    return g.model()


Spec("multilayer_multi_input", MultiInput, lambda: multi_input_onnx("multilayer_multi_input", 1.0))
Spec(
    "multilayer_multi_input_scale3",
    lambda: MultiInput(3.0),
    lambda: multi_input_onnx("multilayer_multi_input_scale3", 3.0),
)
Spec("multilayer_true_multi_input", TrueMultiInput, true_multi_input_onnx)


# ---------------------------------------------------------------- DeepLift toy networks


class ReLULinear(nn.Module):
    """l3(relu([l1 x1, l2 x2])), no biases."""

    def __init__(self):
        super().__init__()
        self.l1, self.l2 = linear([[3.0, 1.0, 0.0]], None), linear([[2.0, 3.0, 0.0]], None)
        self.relu, self.l3 = nn.ReLU(), linear([[1.0, 1.0]], None)

    def forward(self, x1, x2):
        return self.l3(self.relu(torch.cat([self.l1(x1), self.l2(x2)], dim=1)))


def relu_linear_onnx():
    g = Graph("relu_linear", [("x1", [3]), ("x2", [3])], [("l3", [1])])
    for i, w in ((1, [3.0, 1.0, 0.0]), (2, [2.0, 3.0, 0.0])):
        g.op("MatMul", [f"x{i}", g.const(f"l{i}.weight", np.reshape(w, (3, 1)))], f"l{i}")
    g.op("Concat", ["l1", "l2"], "cat", axis=1)
    g.op("Relu", ["cat"], "relu")
    g.gemm("relu", [[1.0, 1.0]], None, "l3")
    return g.model()


Spec("relu_linear", ReLULinear, relu_linear_onnx)


class TwoUnits(nn.Module):
    """2 f(x1) + c f(x2 - 1.5), f = relu (c 2, "ReLUDeepLift") or tanh (c 2)."""

    def __init__(self, f):
        super().__init__()
        self.f1, self.f2 = f(), f()

    def forward(self, x1, x2):
        return 2 * self.f1(x1) + 2 * self.f2(x2 - 1.5)


def two_units_onnx(name, kind):
    g = Graph(name, [("x1", []), ("x2", [])], [("y", [])])
    g.op(kind, ["x1"], "f1")
    g.scalar("Sub", "x2", 1.5, "shifted")
    g.op(kind, ["shifted"], "f2")
    g.scalar("Mul", "f1", 2.0, "scaled1")
    g.scalar("Mul", "f2", 2.0, "scaled2")
    g.op("Add", ["scaled1", "scaled2"], "y")
    return g.model()


Spec("relu_deeplift", lambda: TwoUnits(nn.ReLU), lambda: two_units_onnx("relu_deeplift", "Relu"))
Spec("tanh_deeplift", lambda: TwoUnits(nn.Tanh), lambda: two_units_onnx("tanh_deeplift", "Tanh"))


# ------------------------------------------------------------- classifiers, seeded weights

SIGMOID = seeded(21, (8, 10), (8,), (3, 8), (3,))
SOFTMAX = seeded(22, (20, 40), (20,), (20, 20), (20,), (10, 20), (10,))
TANH = seeded(23, (5, 3), (5,), (2, 5), (2,))


class Classifier(nn.Module):
    """lin1 - act - lin2 [- act - lin3] - head."""

    def __init__(self, weights, act, head):
        super().__init__()
        self.depth = len(weights) // 2
        for i in range(self.depth):
            setattr(self, f"lin{i + 1}", linear(*weights[2 * i : 2 * i + 2]))
            if i + 1 < self.depth:
                setattr(self, f"act{i + 1}", act())
        self.head = head

    def forward(self, x):
        for i in range(1, self.depth + 1):
            x = getattr(self, f"lin{i}")(x)
            if i < self.depth:
                x = getattr(self, f"act{i}")(x)
        return self.head(x)


def classifier_onnx(name, weights, act, head):
    depth = len(weights) // 2
    out = "head" if head else f"lin{depth}"
    g = Graph(name, [("x", [weights[0].shape[1]])], [(out, [weights[-1].shape[0]])])
    x = "x"
    for i in range(1, depth + 1):
        x = g.gemm(x, *weights[2 * i - 2 : 2 * i], f"lin{i}")
        if i < depth:
            x = g.op(act, [x], f"act{i}")
    if head:
        g.op(head, [x], "head", **({"axis": 1} if head == "Softmax" else {}))
    return g.model()


Spec(
    "sigmoid_net",
    lambda: Classifier(SIGMOID, nn.ReLU, nn.Sigmoid()),
    lambda: classifier_onnx("sigmoid_net", SIGMOID, "Relu", "Sigmoid"),
)
Spec(
    "softmax_net",
    lambda: Classifier(SOFTMAX, nn.ReLU, nn.Softmax(dim=1)),
    lambda: classifier_onnx("softmax_net", SOFTMAX, "Relu", "Softmax"),
)
Spec(
    "tanh_net",
    lambda: Classifier(TANH, nn.Tanh, nn.Identity()),
    lambda: classifier_onnx("tanh_net", TANH, "Tanh", None),
)

README = [np.arange(-4, 5).reshape(3, 3), np.zeros(3), np.arange(-3, 3).reshape(2, 3), np.ones(2)]


class ReadmeToy(nn.Module):
    """The network of Captum's README: linear1 - relu - linear2."""

    def __init__(self):
        super().__init__()
        self.linear1, self.relu, self.linear2 = linear(*README[:2]), nn.ReLU(), linear(*README[2:])

    def forward(self, x):
        return self.linear2(self.relu(self.linear1(x)))


def readme_toy_onnx():
    g = Graph("readme_toy", [("x", [3])], [("linear2", [2])])
    g.gemm("x", *README[:2], "linear1")
    g.op("Relu", ["linear1"], "relu")
    g.gemm("relu", *README[2:], "linear2")
    return g.model()


Spec("readme_toy", ReadmeToy, readme_toy_onnx)


# ------------------------------------------------------------------------ token embedding

EMB = seeded(24, (10, 6), (8, 6), (8,), (3, 8), (3,))


class Embedding(nn.Module):
    """token ids -> embedding -> linear1 -> tanh -> mean over tokens -> linear2."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 6)
        with torch.no_grad():
            self.embedding.weight.copy_(torch.as_tensor(EMB[0]))
        self.linear1, self.tanh, self.linear2 = linear(*EMB[1:3]), nn.Tanh(), linear(*EMB[3:5])

    def forward(self, ids):
        return self.linear2(self.tanh(self.linear1(self.embedding(ids))).mean(1))


def embedding_onnx():
    g = Graph("embedding", [("ids", [4], TensorProto.INT64)], [("linear2", [3])])
    g.op("Gather", [g.const("embedding.weight", EMB[0]), "ids"], "embedding", axis=0)
    g.op("MatMul", ["embedding", g.const("linear1.weight", EMB[1].T)], "linear1.product")
    g.op("Add", ["linear1.product", g.const("linear1.bias", EMB[2])], "linear1")
    g.op("Tanh", ["linear1"], "tanh")
    g.op("ReduceMean", ["tanh"], "mean", axes=[1], keepdims=0)
    g.gemm("mean", *EMB[3:5], "linear2")
    return g.model()


Spec("embedding", Embedding, embedding_onnx)
