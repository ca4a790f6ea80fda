"""The networks on which Captum and onnxray are compared, as float64 PyTorch modules.

`networks(shared, small)` gives, per network: the module, its inputs, a target, layers by module path, and the ONNX file,
exported here or, for the published ones, the file itself with the module rebuilt from its weights.
"""

import io
import pathlib
import sys
import warnings
from dataclasses import dataclass, field

import numpy as np
import onnx
import torch
import torch.nn as nn
import torch.nn.functional as F
from onnx import numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "captum_suite"))
import export as suite_export  # noqa: E402


@dataclass
class Network:
    name: str
    module: nn.Module
    inputs: dict  # name -> float64 tensor, rows first
    target: int
    layers: dict  # module path -> ONNX value name, filled for exported networks
    spatial: str = ""  # the layer whose value CAM methods read
    neuron: tuple = ()  # (module path, index) of a neuron to explain
    groups: dict = field(default_factory=dict)  # input -> feature mask [1, one row...] with few features
    window: tuple = ()  # occlusion windows per input
    stride: tuple = ()
    onnx_bytes: bytes = b""
    kinds: tuple = ()  # "relu modules", "conv", ...
    output: str = "y"


def seeded(module, seed, scale=1.0):
    """Weights and running statistics from one seed."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, t in list(module.named_parameters()) + list(module.named_buffers()):
            if not t.dtype.is_floating_point or name.endswith("root"):
                continue
            if t.dim() > 1:
                fan_in = t[0].numel()
                t.copy_(torch.randn(t.shape, generator=g) * scale * (2.0 / fan_in) ** 0.5)
            elif "running_var" in name:
                t.copy_(0.5 + torch.rand(t.shape, generator=g))
            elif name.endswith("weight"):
                t.copy_(0.75 + 0.5 * torch.rand(t.shape, generator=g))
            else:
                t.copy_(torch.randn(t.shape, generator=g) * 0.1)
    return module.double().eval()


def random(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ------------------------------------------------------------------------------- resnet18


class Block(nn.Module):
    """Basic block of He et al. 2016; one ReLU module serves both places, as in torchvision."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)
        self.conv2, self.bn2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.relu = nn.ReLU()
        self.downsample = None
        if stride != 1 or cin != cout:
            self.downsample = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        skip = x if self.downsample is None else self.downsample(x)
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + skip)


class ResNet(nn.Module):
    def __init__(self, widths, blocks, classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False), nn.BatchNorm2d(widths[0])
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        self.layers, cin = nn.ModuleList(), widths[0]
        for i, w in enumerate(widths):
            stage = [Block(cin if k == 0 else w, w, 2 if k == 0 and i else 1) for k in range(blocks)]
            self.layers.append(nn.Sequential(*stage))
            cin = w
        self.fc = nn.Linear(cin, classes)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in self.layers:
            x = stage(x)
        return self.fc(x.mean((2, 3)))


# ----------------------------------------------------------------- published convolutional nets


class CifarTutorial(nn.Module):
    """cifar10_tutorial_cnn: batch norms are already folded into the convolutions of the file."""

    def __init__(self, w):
        super().__init__()
        self.conv1, self.conv2 = conv(w["48"], w["49"], 1), conv(w["51"], w["52"], 1)
        self.conv4, self.conv5 = conv(w["54"], w["55"], 1), conv(w["57"], w["58"], 1)
        self.relu1, self.relu2, self.relu4, self.relu5 = nn.ReLU(), nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.pool, self.fc1 = nn.MaxPool2d(2, 2), linear(w["fc1.weight"], w["fc1.bias"])

    def forward(self, x):
        x = self.pool(self.relu2(self.conv2(self.relu1(self.conv1(x)))))
        x = self.relu5(self.conv5(self.relu4(self.conv4(x))))
        return self.fc1(x.reshape(-1, 24 * 10 * 10))


class MnistBurn(nn.Module):
    def __init__(self, w):
        super().__init__()
        for i in (1, 2, 3):
            setattr(self, f"conv{i}", conv(w[f"conv{i}.weight"], w[f"conv{i}.bias"], 0))
            setattr(self, f"relu{i}", nn.ReLU())
        self.norm1, self.norm2 = norm(nn.BatchNorm2d, w, "norm1"), norm(nn.BatchNorm1d, w, "norm2")
        self.fc1, self.relu4 = linear(w["fc1.weight"], w["fc1.bias"]), nn.ReLU()
        self.fc2 = linear(w["fc2.weight"], w["fc2.bias"])

    def forward(self, x):
        x = self.norm1(self.relu3(self.conv3(self.relu2(self.conv2(self.relu1(self.conv1(x)))))))
        return F.log_softmax(self.norm2(self.fc2(self.relu4(self.fc1(torch.flatten(x, 1))))), 1)


def conv(w, b, pad):
    m = nn.Conv2d(w.shape[1], w.shape[0], w.shape[2:], padding=pad)
    m.weight.data, m.bias.data = torch.tensor(w), torch.tensor(b)
    return m


def linear(w, b):
    m = nn.Linear(w.shape[1], w.shape[0])
    m.weight.data, m.bias.data = torch.tensor(w), torch.tensor(b)
    return m


def norm(kind, w, name):
    m = kind(len(w[name + ".weight"]), eps=9.999999747378752e-06)
    m.weight.data, m.bias.data = torch.tensor(w[name + ".weight"]), torch.tensor(w[name + ".bias"])
    m.running_mean.data = torch.tensor(w[name + ".running_mean"])
    m.running_var.data = torch.tensor(w[name + ".running_var"])
    return m


# ------------------------------------------------------------------ sequences and tables


class Gelu(nn.Module):
    """x Phi(x); nn.GELU's export keeps the square root of 2 in float32."""

    def __init__(self):
        super().__init__()
        self.root = nn.Parameter(torch.tensor(2.0, dtype=torch.float64).sqrt())

    def forward(self, x):
        return x * 0.5 * (1 + torch.erf(x / self.root))


class BertBlock(nn.Module):
    """One encoder layer of BERT on embeddings [N, S, D]: attention, add and norm, GELU MLP, add and norm, pooler, classes."""

    def __init__(self, d, heads, hidden, classes):
        super().__init__()
        self.heads, self.scale = heads, (d // heads) ** -0.5
        self.query, self.key, self.value = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.softmax, self.project, self.norm1 = nn.Softmax(dim=-1), nn.Linear(d, d), nn.LayerNorm(d)
        self.up, self.gelu, self.down, self.norm2 = nn.Linear(d, hidden), Gelu(), nn.Linear(hidden, d), nn.LayerNorm(d)
        self.pooler, self.tanh, self.classifier = nn.Linear(d, d), nn.Tanh(), nn.Linear(d, classes)

    def split(self, x):
        return x.reshape(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, x):
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        a = self.softmax(self.scale * (q @ k.transpose(2, 3))) @ v
        x = self.norm1(x + self.project(a.transpose(1, 2).reshape(x.shape)))
        x = self.norm2(x + self.down(self.gelu(self.up(x))))
        return self.classifier(self.tanh(self.pooler(x[:, 0])))


class Lstm(nn.Module):
    def __init__(self, d, hidden, classes):
        super().__init__()
        self.lstm, self.fc1 = nn.LSTM(d, hidden, batch_first=True), nn.Linear(hidden, hidden)
        self.relu, self.fc2 = nn.ReLU(), nn.Linear(hidden, classes)

    def forward(self, x):
        return self.fc2(self.relu(self.fc1(self.lstm(x)[0][:, -1])))


class Tabular(nn.Module):
    """Numbers and one-hot categories, each with a layer of its own."""

    def __init__(self, numbers, categories, hidden, classes):
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(numbers, hidden), nn.Linear(categories, hidden)
        self.relu, self.lin3, self.tanh = nn.ReLU(), nn.Linear(2 * hidden, hidden), nn.Tanh()
        self.lin4 = nn.Linear(hidden, classes)

    def forward(self, numbers, categories):
        x = self.relu(torch.cat([self.lin1(numbers), self.lin2(categories)], 1))
        return self.lin4(self.tanh(self.lin3(x)))


# ----------------------------------------------------------------------------- the list


def grid(channels, h, w, cells):
    """Square image segments, one id for all channels: [1, channels, h, w]."""
    rows, cols = torch.arange(h) * cells // h, torch.arange(w) * cells // w
    return (rows[:, None] * cells + cols[None]).expand(1, channels, h, w).contiguous()


def exported(net):
    """The float64 module as ONNX, with the layers' values named by their module path."""
    names, tensors = list(net.inputs), list(net.inputs.values())
    modules = [net.module.get_submodule(p) for p in net.layers]
    wrapped = suite_export.Wrapped(net.module, [("input", None)] * len(names), [None] * len(names), False, modules, False)
    buffer, outputs = io.BytesIO(), ["y"] + [p + "#" for p in net.layers]
    with warnings.catch_warnings(), torch.no_grad(), suite_export.Tracing(net.module):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            wrapped, tuple(tensors), buffer, opset_version=17, input_names=names, output_names=outputs,
            dynamic_axes={n: {0: "N"} for n in names + outputs}, dynamo=False,
        )  # fmt: skip
    model = onnx.load_from_string(buffer.getvalue())
    values = suite_export.tidy(model, list(net.layers))
    net.layers = dict(zip(net.layers, values))
    net.onnx_bytes = model.SerializeToString(deterministic=True)
    return net


def published(shared, name):
    path = shared / "models" / name / "model.onnx"
    model = onnx.load(path)
    weights = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    return weights, path.read_bytes()


def networks(shared, small, only=None):
    """small: nets that fit into the repository; else also resnet18 and the published ones."""
    out = []

    def add(name, make):
        if only is None or name in only:
            out.append(make())

    def resnet(name, widths, blocks, classes, size, n):
        return exported(
            Network(
                name, seeded(ResNet(widths, blocks, classes), 1), {"x": random(2, n, 3, size, size)}, 1,
                dict.fromkeys(["layers.1.1.conv2" if blocks > 1 else "layers.1.0.conv2", "layers.0", "fc"]),
                spatial="layers.0", neuron=("fc", 0), groups={"x": grid(3, size, size, 3)},
                window=((3, size // 4, size // 4),), stride=((3, size // 8, size // 8),), kinds=("conv",),
            )
        )  # fmt: skip

    def bert():
        return exported(
            Network(
                "bert_block", seeded(BertBlock(16, 2, 32, 4), 3), {"x": random(4, 2, 6, 16)}, 2,
                dict.fromkeys(["norm1", "down", "pooler"]), neuron=("pooler", 3),
                groups={"x": torch.arange(6).reshape(1, 6, 1).expand(1, 6, 16).contiguous()},
                window=((2, 16),), stride=((1, 16),),
            )
        )  # fmt: skip

    def lstm():
        return exported(
            Network(
                "lstm", seeded(Lstm(5, 8, 3), 5), {"x": random(6, 3, 7, 5)}, 1, dict.fromkeys(["fc1", "relu"]),
                neuron=("fc1", 2), groups={"x": torch.arange(7).reshape(1, 7, 1).expand(1, 7, 5).contiguous()},
                window=((2, 5),), stride=((1, 5),), kinds=("relu modules",),
            )
        )  # fmt: skip

    def tabular():
        categories = torch.eye(4, dtype=torch.float64)[[0, 2, 3]]
        return exported(
            Network(
                "tabular", seeded(Tabular(5, 4, 8, 3), 7), {"numbers": random(8, 3, 5), "categories": categories}, 0,
                dict.fromkeys(["lin1", "relu", "lin3"]), neuron=("lin3", 1),
                groups={"numbers": torch.arange(5).reshape(1, 5), "categories": torch.full((1, 4), 5)},
                window=((2,), (4,)), stride=((1,), (4,)), kinds=("relu modules", "deep-lift", "lrp"),
            )
        )  # fmt: skip

    add("bert_block", bert)
    add("lstm", lstm)
    add("tabular", tabular)
    if small:
        add("resnet_small", lambda: resnet("resnet_small", [8, 12], 1, 4, 20, 1))
        return out
    add("resnet18", lambda: resnet("resnet18", [64, 128, 256, 512], 2, 1000, 64, 2))

    def cifar():
        weights, data = published(shared, "cifar10_tutorial_cnn")
        return Network(
            "cifar10_tutorial_cnn", CifarTutorial(weights).double().eval(), {"modelInput": random(9, 2, 3, 32, 32)}, 3,
            {"conv2": "50", "relu4": "40", "relu5": "43"}, spatial="relu5", neuron=("relu4", (3, 4, 5)),
            groups={"modelInput": grid(3, 32, 32, 3)}, window=((3, 8, 8),), stride=((3, 4, 4),), onnx_bytes=data, output="modelOutput",
            kinds=("conv", "relu modules", "max pool", "deep-lift", "lrp"),
        )  # fmt: skip

    def mnist():
        weights, data = published(shared, "mnist_burn_bn")
        return Network(
            "mnist_burn_bn", MnistBurn(weights).double().eval(), {"input.1": random(10, 2, 1, 28, 28)}, 7,
            {"conv2": "/conv2/Conv_output_0", "relu3": "/Relu_2_output_0", "fc1": "/fc1/Gemm_output_0"}, spatial="relu3",
            neuron=("fc1", 4), groups={"input.1": grid(1, 28, 28, 3)}, window=((1, 7, 7),), stride=((1, 7, 7),),
            onnx_bytes=data, kinds=("conv", "relu modules"), output="33",
        )  # fmt: skip

    add("cifar10_tutorial_cnn", cifar)
    add("mnist_burn_bn", mnist)
    for net in out:
        assert np.isfinite(net.module(*net.inputs.values()).detach().numpy()).all()
    return out
