"""The small CNN of this example, and the picture preprocessing it expects.

Both models share this architecture: convolution + batch normalisation + ReLU,
max-pooling, two residual blocks, global average pooling and one linear layer.
The output is two logits in the order of `LABELS`.
"""

import numpy as np
import torch
from torch import nn

LABELS = ["truck", "tank"]
SIZE = 96
SCALE = 1.0 / 255.0
MEAN = [0.50, 0.52, 0.46]
STD = [0.22, 0.20, 0.22]


def conv_bn(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                         nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """relu(x + bn(conv(relu(bn(conv(x))))))"""

    def __init__(self, channels):
        super().__init__()
        self.first = conv_bn(channels, channels)
        self.second = conv_bn(channels, channels)

    def forward(self, x):
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class SceneNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            conv_bn(3, 12), nn.ReLU(), nn.MaxPool2d(2),
            conv_bn(12, 24), nn.ReLU(), nn.MaxPool2d(2),
            Residual(24),
            conv_bn(24, 48), nn.ReLU(), nn.MaxPool2d(2),
            Residual(48),
            nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(48, len(LABELS))

    def forward(self, image):
        return self.head(self.features(image))


def preprocess(pictures):
    """uint8 [N, H, W, 3] -> float64 array [N, 3, H, W] in the network's input space."""
    x = pictures.astype(np.float64) * SCALE
    x = (x - np.array(MEAN)) / np.array(STD)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
