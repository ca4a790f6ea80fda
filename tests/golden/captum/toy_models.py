"""Toy networks for the Captum oracle: each as a PyTorch module and as a tiny ONNX file.

Every entry of MODELS gives one network twice: `module()` returns a PyTorch module (what
Captum runs) and `onnx()` builds the same network with the onnx helper API (what onnxray
runs). The definitions are the ones that Captum's own test-suite uses, written anew, plus
the network of Captum's README and a few smooth or image-shaped ones with seeded weights.
Axis 0 of every input is the dynamic batch "N"; inner values that a layer method may ask
for carry the name of the module attribute that computes them ("linear1", "relu", ...).

Run it to (re)write all *.onnx beside this file and to compare each against PyTorch with
onnxruntime:  python toy_models.py
"""

import pathlib

import numpy as np
import onnx
import torch
import torch.nn as nn
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
OPSET = 17
IR_VERSION = 8


# --------------------------------------------------------------------------- helpers


def linear(weight, bias):
    """nn.Linear with the given weight (out x in) and bias (None: no bias)."""
    weight = torch.as_tensor(np.asarray(weight, dtype=np.float32))
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(torch.as_tensor(np.asarray(bias, dtype=np.float32)))
    return layer


def seeded(seed, *shapes):
    """Float32 weights from one seed: normal, scaled by 1/sqrt(fan in), multiples of 1/256."""
    rng = np.random.RandomState(seed)
    out = []
    for shape in shapes:
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 4
        w = rng.standard_normal(shape) * 1.5 / np.sqrt(fan_in)
        out.append((np.round(w * 256) / 256).astype(np.float32))
    return out


class Graph:
    """A thin writer over onnx.helper: nodes, float32/int64 constants, named values."""

    def __init__(self, name, inputs, outputs):
        self.name, self.nodes, self.inits = name, [], []
        self.inputs, self.outputs = inputs, outputs

    def const(self, name, value, dtype=np.float32):
        self.inits.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def op(self, kind, ins, out, **attrs):
        outs = [out] if isinstance(out, str) else list(out)
        self.nodes.append(helper.make_node(kind, list(ins), outs, name="node_" + outs[0], **attrs))
        return out

    def gemm(self, x, weight, bias, out):
        ins = [x, self.const(out + ".weight", weight)]
        if bias is not None:
            ins.append(self.const(out + ".bias", bias))
        return self.op("Gemm", ins, out, transB=1)

    def scalar(self, kind, x, value, out, left=False):
        """out = x OP value, or value OP x with left=True."""
        c = self.const(out + ".c", value)
        return self.op(kind, [c, x] if left else [x, c], out)

    def model(self):
        def info(name, shape, dtype=TensorProto.FLOAT):
            return helper.make_tensor_value_info(name, dtype, ["N"] + list(shape))

        graph = helper.make_graph(
            self.nodes,
            self.name,
            [info(*i) for i in self.inputs],
            [info(*o) for o in self.outputs],
            self.inits,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="onnxray-golden",
        )
        onnx.checker.check_model(model, full_check=True)
        return model


MODELS = {}


class Spec:
    """One network: name, PyTorch factory, ONNX builder."""

    def __init__(self, name, module, build):
        self.name, self.module, self.onnx = name, module, build
        MODELS[name] = self

    @property
    def file(self):
        return self.name + ".onnx"


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


# -------------------------------------------------------------------------- convolutions


class ConvOne(nn.Module):
    """conv 1->2 (3x3, ones) - relu1 - flatten - fc1 - relu2; a second image is added."""

    FC = np.concatenate([np.ones((4, 5)), -np.ones((4, 3))], axis=1)

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3)
        with torch.no_grad():
            self.conv1.weight.fill_(1.0)
            self.conv1.bias.copy_(torch.tensor([-50.0, -75.0]))
        self.relu1, self.fc1, self.relu2 = nn.ReLU(), linear(self.FC, np.zeros(4)), nn.ReLU()

    def forward(self, x, x2=None):
        x = x if x2 is None else x + x2
        return self.relu2(self.fc1(torch.flatten(self.relu1(self.conv1(x)), 1)))


def conv_one_onnx(name, two):
    inputs = [("x", [1, 4, 4])] + ([("x2", [1, 4, 4])] if two else [])
    g = Graph(name, inputs, [("relu2", [4])])
    x = g.op("Add", ["x", "x2"], "sum") if two else "x"
    w = g.const("conv1.weight", np.ones((2, 1, 3, 3)))
    b = g.const("conv1.bias", [-50.0, -75.0])
    g.op("Conv", [x, w, b], "conv1", kernel_shape=[3, 3])
    g.op("Relu", ["conv1"], "relu1")
    g.op("Flatten", ["relu1"], "flatten", axis=1)
    g.gemm("flatten", ConvOne.FC, np.zeros(4), "fc1")
    g.op("Relu", ["fc1"], "relu2")
    return g.model()


Spec("convnet_one_conv", ConvOne, lambda: conv_one_onnx("convnet_one_conv", False))
Spec("convnet_one_conv_two", ConvOne, lambda: conv_one_onnx("convnet_one_conv_two", True))


CONVNET = seeded(20, (2, 1, 3, 3), (2,), (4, 2, 3, 3), (4,), (8, 4), (8,), (10, 8), (10,))


class ConvNet(nn.Module):
    """conv-relu-maxpool twice, fc1-relu-fc2-softmax on 10x10 images; seeded weights."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 4, 3)
        with torch.no_grad():
            for conv, w, b in ((self.conv1, *CONVNET[:2]), (self.conv2, *CONVNET[2:4])):
                conv.weight.copy_(torch.as_tensor(w))
                conv.bias.copy_(torch.as_tensor(b))
        self.relu1, self.pool1, self.relu2, self.pool2 = nn.ReLU(), nn.MaxPool2d(2), nn.ReLU(), nn.MaxPool2d(2)
        self.fc1, self.relu3, self.fc2 = linear(*CONVNET[4:6]), nn.ReLU(), linear(*CONVNET[6:8])
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x):
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        return self.softmax(self.fc2(self.relu3(self.fc1(x.reshape(-1, 4)))))


def convnet_onnx():
    g = Graph("convnet", [("x", [1, 10, 10])], [("softmax", [10])])
    x = "x"
    for i in (1, 2):
        w, b = CONVNET[2 * i - 2 : 2 * i]
        ins = [x, g.const(f"conv{i}.weight", w), g.const(f"conv{i}.bias", b)]
        g.op("Conv", ins, f"conv{i}", kernel_shape=[3, 3])
        g.op("Relu", [f"conv{i}"], f"relu{i}")
        x = g.op("MaxPool", [f"relu{i}"], f"pool{i}", kernel_shape=[2, 2], strides=[2, 2])
    g.op("Reshape", [x, g.const("flat_shape", [-1, 4], np.int64)], "flatten")
    g.gemm("flatten", *CONVNET[4:6], "fc1")
    g.op("Relu", ["fc1"], "relu3")
    g.gemm("relu3", *CONVNET[6:8], "fc2")
    g.op("Softmax", ["fc2"], "softmax", axis=1)
    return g.model()


Spec("convnet", ConvNet, convnet_onnx)


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


# ----------------------------------------------------------------------------------- main


def example_inputs(spec, batch=3):
    """Random inputs for the ONNX inputs of one network, as numpy arrays."""
    rng, out = np.random.RandomState(7), {}
    for value in onnx.load(HERE / spec.file).graph.input:
        shape = [batch] + [d.dim_value for d in value.type.tensor_type.shape.dim[1:]]
        if value.type.tensor_type.elem_type == TensorProto.INT64:
            out[value.name] = rng.randint(0, 10, shape)
        else:
            scale = 20.0 if spec.name.startswith("convnet_one") else 3.0
            out[value.name] = (rng.standard_normal(shape) * scale).astype(np.float32)
    return out


def main():
    import onnxruntime

    worst = 0.0
    for spec in MODELS.values():
        onnx.save(spec.onnx(), HERE / spec.file)
        session = onnxruntime.InferenceSession(str(HERE / spec.file), providers=["CPUExecutionProvider"])
        for batch in (1, 3):
            feed = example_inputs(spec, batch)
            got = session.run(None, feed)[0]
            with torch.no_grad():
                want = spec.module()(*[torch.as_tensor(v) for v in feed.values()]).numpy()
            assert got.shape == want.shape, (spec.name, got.shape, want.shape)
            error = np.abs(got - want).max() / max(1.0, np.abs(want).max())
            assert error < 2e-6, (spec.name, error)
            worst = max(worst, error)
    print(f"{len(MODELS)} models written; largest relative difference to PyTorch {worst:.1e}")


if __name__ == "__main__":
    main()
