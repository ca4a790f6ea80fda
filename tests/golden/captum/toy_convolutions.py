"""Toy networks of convolutions."""

import numpy as np
import torch
import torch.nn as nn
from toy_graph import Graph, Spec, linear, seeded


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
