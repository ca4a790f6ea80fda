"""Plain architectures with seeded weights, the same net for every side of a benchmark.

Own definitions of published architectures (no torchvision, no transformers), so that PyTorch peers and
this project run the very same weights:

    python nets.py --list
    python nets.py --export DIR resnet50 vgg19 bert_base     # DIR/NAME.onnx, opset 17, dynamic batch axis
    python nets.py --export DIR --opset 18 --dynamo resnet50

Weights come from `random_weights(model, seed)` (He / Xavier scale, biases and norms non-trivial) followed by
`calibrate` for BatchNorm statistics, so activations neither vanish nor explode.
Run with: torch 2.13.0 (CPU), onnx 1.23.2, onnxscript 0.7.2; the definitions also run with torch 1.13.
"""
import argparse
import math
import os

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F


# ---------------------------------------------------------------- convolutional nets

class Bottleneck(nn.Module):
    """1x1 reduce, 3x3, 1x1 expand (x4); the stride sits in the 3x3, as in the v1.5 variant."""

    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu1, self.relu2, self.relu3 = nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.shortcut = None
        if stride != 1 or channels != 4 * width:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, 4 * width, 1, stride, bias=False),
                                          nn.BatchNorm2d(4 * width))

    def forward(self, x):
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu3(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet(nn.Module):
    """Input [N, 3, H, W]; a module per activation, so that rule-based peers can hook each one."""

    def __init__(self, blocks=(3, 4, 6, 3), width=64, classes=1000):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                                  nn.MaxPool2d(3, 2, 1))
        channels, stages = width, []
        for i, count in enumerate(blocks):
            for j in range(count):
                stages.append(Bottleneck(channels, width << i, 2 if i and not j else 1))
                channels = 4 * (width << i)
        self.body = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, classes)

    def forward(self, x):
        return self.head(torch.flatten(self.pool(self.body(self.stem(x))), 1))


class VGG(nn.Module):
    """Configuration E (19 layers) by default; `size` is the input's (height, width)."""

    def __init__(self, blocks=(2, 2, 4, 4, 4), width=64, hidden=4096, classes=1000, size=(224, 224)):
        super().__init__()
        layers, channels = [], 3
        for i, count in enumerate(blocks):
            out = width * min(1 << i, 8)
            for _ in range(count):
                layers += [nn.Conv2d(channels, out, 3, 1, 1), nn.ReLU()]
                channels = out
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        area = (size[0] >> len(blocks)) * (size[1] >> len(blocks))
        self.classifier = nn.Sequential(nn.Linear(channels * area, hidden), nn.ReLU(), nn.Dropout(),
                                        nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(),
                                        nn.Linear(hidden, classes))

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


# ---------------------------------------------------------------- transformers

class Attention(nn.Module):
    """Multi-head self-attention over [N, S, D] from MatMul and Softmax; `mask` is added to the scores."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.scale = heads, 1.0 / math.sqrt(dim // heads)
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def split(self, x):  # [N, S, D] -> [N, heads, S, D / heads]
        return x.reshape(x.shape[0], x.shape[1], self.heads, x.shape[2] // self.heads).transpose(1, 2)

    def forward(self, x, mask=None):
        scores = self.split(self.query(x)) @ self.split(self.key(x)).transpose(2, 3) * self.scale
        if mask is not None:
            scores = scores + mask
        y = (torch.softmax(scores, -1) @ self.split(self.value(x))).transpose(1, 2)
        return self.out(y.reshape(y.shape[0], y.shape[1], x.shape[2]))


class Block(nn.Module):
    """One transformer layer; `pre` puts the norms before attention and MLP (GPT-2, ViT), else after (BERT)."""

    def __init__(self, dim, heads, hidden, pre, tanh_gelu=False):
        super().__init__()
        self.pre = pre
        self.attention = Attention(dim, heads)
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.up, self.down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.gelu = nn.GELU(approximate="tanh" if tanh_gelu else "none")

    def mlp(self, x):
        return self.down(self.gelu(self.up(x)))

    def forward(self, x, mask=None):
        if self.pre:
            x = x + self.attention(self.norm1(x), mask)
            return x + self.mlp(self.norm2(x))
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.mlp(x))


class ViT(nn.Module):
    """Vision transformer with a class token; input [N, 3, H, W] with H, W = `size`."""

    def __init__(self, size=(224, 224), patch=16, dim=768, depth=12, heads=12, hidden=3072, classes=1000):
        super().__init__()
        self.patches = nn.Conv2d(3, dim, patch, patch)
        count = (size[0] // patch) * (size[1] // patch)
        self.token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.zeros(1, count + 1, dim))
        self.blocks = nn.ModuleList([Block(dim, heads, hidden, pre=True) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Encoder(nn.Module):
    """BERT-like encoder and classifier: ids [N, S] int64, or floats [N, S, D] in place of the embeddings."""

    def __init__(self, ids=True, vocabulary=30522, length=128, dim=768, depth=12, heads=12, hidden=3072, classes=2):
        super().__init__()
        self.words = nn.Embedding(vocabulary, dim) if ids else None
        self.position = nn.Parameter(torch.zeros(1, length, dim))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.blocks = nn.ModuleList([Block(dim, heads, hidden, pre=False) for _ in range(depth)])
        self.pool, self.head = nn.Linear(dim, dim), nn.Linear(dim, classes)

    def forward(self, x):
        if self.words is not None:
            x = self.words(x)
        x = self.norm(x + self.position[:, :x.shape[1]])
        for block in self.blocks:
            x = block(x)
        return self.head(torch.tanh(self.pool(x[:, 0])))


class Decoder(nn.Module):
    """GPT-2-like decoder: ids [N, S] int64 to logits [N, S, vocabulary]; causal mask kept as a buffer."""

    def __init__(self, vocabulary=1000, length=64, dim=256, depth=2, heads=8, hidden=1024):
        super().__init__()
        self.words = nn.Embedding(vocabulary, dim)
        self.position = nn.Embedding(length, dim)
        self.blocks = nn.ModuleList([Block(dim, heads, hidden, pre=True, tanh_gelu=True) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, vocabulary, bias=False)
        self.register_buffer("causal", torch.ones(1, 1, length, length).tril() == 0, persistent=False)

    def forward(self, x):
        length = x.shape[1]
        y = self.words(x) + self.position(torch.arange(length, device=x.device))
        mask = torch.zeros(1, 1, length, length, dtype=y.dtype).masked_fill(self.causal[:, :, :length, :length], -1e4)
        for block in self.blocks:
            y = block(y, mask)
        return self.head(self.norm(y))


# ---------------------------------------------------------------- recurrent nets

class Recurrent(nn.Module):
    """LSTM, GRU or RNN classifier on floats [N, S, F]; inner values are [S, N, H], by the exporter's own transposes
    (batch_first) or by the net's."""

    def __init__(self, kind="LSTM", features=64, hidden=256, layers=2, bidirectional=False, classes=10,
                 batch_first=True):
        super().__init__()
        self.batch_first = batch_first
        self.rnn = getattr(nn, kind)(features, hidden, layers, batch_first=batch_first, bidirectional=bidirectional)
        self.head = nn.Linear(hidden * (2 if bidirectional else 1), classes)

    def forward(self, x):
        if self.batch_first:
            y, _ = self.rnn(x)
            return self.head(y[:, -1] + y.mean(1))
        y, _ = self.rnn(x.transpose(0, 1))
        return self.head(y[-1] + y.mean(0))


# ---------------------------------------------------------------- weights

def random_weights(model, seed=0):
    """Non-degenerate values for every parameter, from numpy's generator (the same under any PyTorch version)."""
    rng = np.random.RandomState([seed, 77])   # a stream of its own: inputs use small seeds too

    def put(p, a):
        p.data.copy_(torch.from_numpy(np.ascontiguousarray(a)).to(p.dtype))

    def normal(p, std):
        put(p, rng.standard_normal(tuple(p.shape)).astype(np.float32) * std)

    def uniform(p, lo, hi):
        put(p, rng.uniform(lo, hi, tuple(p.shape)).astype(np.float32))

    norms = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            if isinstance(module, norms):
                uniform(p, 0.6, 1.4) if name == "weight" else normal(p, 0.1)
            elif isinstance(module, (nn.LSTM, nn.GRU, nn.RNN)):
                uniform(p, -1.5 / math.sqrt(module.hidden_size), 1.5 / math.sqrt(module.hidden_size))
            elif isinstance(module, nn.Embedding):
                normal(p, 0.5)
            elif p.dim() > 2 and name == "weight":   # convolutions, before a ReLU more often than not
                normal(p, math.sqrt(2.0 / p[0].numel()))
            elif p.dim() == 2 and name.endswith("weight"):  # Linear, in_proj_weight
                normal(p, 1.2 / math.sqrt(p.shape[1]))
            elif "layer_scale" in name:
                uniform(p, 0.2, 0.6)
            elif name.endswith("bias"):
                normal(p, 0.1)
            else:                                    # class tokens, position tables, relative position biases
                normal(p, 0.5)
    return model


def calibrate(model, x):
    """Sets BatchNorm's running statistics from one forward pass in training mode, then puts the model in eval mode."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if norms:
        for m in norms:
            m.reset_running_stats()
            m.momentum = None
        model.eval()
        for m in norms:
            m.train()
        with torch.no_grad():
            model(x)
    return model.eval()


def image(seed, shape, dtype=np.float32):
    """A picture-like array [N, C, H, W]: coarse blobs plus noise, mean 0, deviation about 1."""
    rng = np.random.RandomState(seed)
    n, c, h, w = shape
    coarse = rng.standard_normal((n, c, h // 8 + 1, w // 8 + 1))
    blobs = np.kron(coarse, np.ones((1, 1, 8, 8)))[:, :, :h, :w]
    return (0.8 * blobs + 0.6 * rng.standard_normal(shape)).astype(np.float32).astype(dtype)


def floats(seed, shape, dtype=np.float32):
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32).astype(dtype)


def ids(seed, shape, vocabulary):
    return np.random.RandomState(seed).randint(0, vocabulary, shape).astype(np.int64)


# name: (constructor, one-row input by seed)
NETS = {
    "resnet50": (lambda: ResNet(), lambda s: image(s, (1, 3, 224, 224))),
    "vgg19": (lambda: VGG(), lambda s: image(s, (1, 3, 224, 224))),
    "vit_b_16": (lambda: ViT(), lambda s: image(s, (1, 3, 224, 224))),
    "bert_base": (lambda: Encoder(ids=True), lambda s: ids(s, (1, 128), 30522)),
    "bert_base_floats": (lambda: Encoder(ids=False), lambda s: floats(s, (1, 128, 768))),
    "gpt2_like": (lambda: Decoder(), lambda s: ids(s, (1, 64), 1000)),
    "lstm": (lambda: Recurrent(), lambda s: floats(s, (1, 50, 64))),
}


def build(name, seed=0):
    """The net in eval mode with its seeded weights."""
    torch.manual_seed(seed)
    make, row = NETS[name]
    model = random_weights(make(), seed)
    rows = 4 if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()) else 0
    return calibrate(model, torch.from_numpy(np.concatenate([row(1000 + s) for s in range(rows)])) if rows else None)


def export(name, folder, opset=17, dynamo=False, seed=0):
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name + ".onnx")
    x = torch.from_numpy(NETS[name][1](0))
    args = dict(input_names=["input"], output_names=["logits"], opset_version=opset)
    if dynamo:
        x = torch.cat([x, x])   # a dynamic axis of extent 1 would be specialised
        torch.onnx.export(build(name, seed), (x,), path, dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},),
                          **args)
    else:
        if int(torch.__version__.split(".")[0]) >= 2:
            args["dynamo"] = False
        torch.onnx.export(build(name, seed), (x,), path, dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}},
                          **args)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--export", metavar="DIR")
    parser.add_argument("--opset", type=int, default=17)
    parser.add_argument("--dynamo", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.list or not args.export:
        print("\n".join(NETS))
    for name in args.names if args.export else []:
        print(export(name, args.export, args.opset, args.dynamo, args.seed))


if __name__ == "__main__":
    main()
