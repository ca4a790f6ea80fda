"""Small exports of the same architecture families and their golden values, kept in the repository.

    python export_small.py DIR [WORD...]      # DIR is tests/golden/exports; WORD selects cases by a part of their name

Run it twice into the same DIR: with torch 1.13 + torchvision 0.14 + onnx 1.16.2 (TorchScript exports) and with torch
2.13 + transformers 5.23 + onnx 1.23.2 + onnxscript 0.7.2 (dynamo exporter at opset 18, and its TorchScript at 17).
Each case is DIR/NAME-opsetNN-(float|double)[-dynamo]/, described in golden.py. Sizes are odd and non-square where the
architecture allows.
"""
import os
import sys

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F

import golden
import nets

SCALED = "HardSigmoid's alpha 1/6 is a float32 attribute: float64 agrees to about 1e-7 only."
ROWS = 3


def pictures(h, w):
    return [nets.image(s, (1, 3, h, w)) for s in range(ROWS)]


def ready(model, rows, seed=0):
    """Random weights, and BatchNorm statistics from 16 rows like the first."""
    nets.random_weights(model, seed)
    shape = (16,) + rows[0].shape[1:]
    return nets.calibrate(model, torch.from_numpy(nets.image(999, shape)) if len(shape) == 4 else None)


# ---------------------------------------------------------------- nets that nets.py and torchvision do not have

class ConstantReshape(nn.Module):
    """Reshapes to constants that hold the batch of 1, as hand-written .view calls do."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, 2)
        self.up, self.head = nn.Linear(5, 11), nn.Linear(6 * 11, 7)

    def forward(self, x):                      # [1, 3, 11, 13]
        y = torch.relu(self.conv(x))           # [1, 6, 5, 6]
        y = y.view(1, 6, 5, 6).permute(0, 1, 3, 2).reshape(36, 5)   # the batch axis is gone from the shape
        y = torch.tanh(self.up(y)).view(1, 6, 6, 11).mean(2)
        return self.head(y.reshape(1, 66))


class MixedRows(nn.Module):
    """Rows mix: half the mean over the batch is subtracted, so a row alone gives another result than in a batch."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(9, 13), nn.Linear(13, 5)

    def forward(self, x):                      # [N, 9]
        y = torch.tanh(self.first(x))
        y = y - 0.5 * y.mean(0, keepdim=True)
        return self.head(F.elu(y))


class Segmenter(nn.Module):
    """A U-net-like net: strided convolutions, ConvTranspose, bilinear and nearest Resize, Concat, GroupNorm, PRelu."""

    def __init__(self):
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 12, 3, 2, 1, groups=2)
        self.norm, self.act = nn.GroupNorm(3, 12), nn.PReLU(12)
        self.up = nn.ConvTranspose2d(12, 8, 3, 2, 1, output_padding=1)
        self.last = nn.Conv2d(16, 4, 1)

    def forward(self, x):                      # [N, 3, 12, 16] -> [N, 4, 12, 16]
        a = F.leaky_relu(self.down1(x), 0.125)
        b = self.up(self.act(self.norm(self.down2(a))))
        b = torch.cat([F.interpolate(b, scale_factor=2.0, mode="nearest"),
                       F.interpolate(a, size=(x.shape[2], x.shape[3]), mode="bilinear", align_corners=False)], 1)
        return self.last(F.silu(b))


# ---------------------------------------------------------------- cases

def torchvision_net(name):
    from functools import partial
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt
    from torchvision.models.densenet import DenseNet
    from torchvision.models.mobilenetv3 import InvertedResidualConfig as Residual, MobileNetV3
    from torchvision.models.swin_transformer import SwinTransformer
    from torchvision.models.vision_transformer import VisionTransformer
    if name == "mobilenet_v3":
        setting = [Residual(8, 3, 8, 8, True, "RE", 2, 1, 1), Residual(8, 5, 16, 12, True, "HS", 2, 1, 1),
                   Residual(12, 5, 16, 12, False, "HS", 1, 1, 1)]
        return MobileNetV3(setting, last_channel=16, num_classes=7)
    if name == "densenet":
        return DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=6, bn_size=2, num_classes=7)
    if name == "convnext":
        return ConvNeXt([CNBlockConfig(6, 10, 1), CNBlockConfig(10, None, 2)], num_classes=7)
    if name == "swin":
        return SwinTransformer(patch_size=[2, 2], embed_dim=8, depths=[2, 1], num_heads=[2, 4], window_size=[4, 4],
                               num_classes=7)
    return VisionTransformer(image_size=16, patch_size=8, num_layers=2, num_heads=3, hidden_dim=12, mlp_dim=20,
                             num_classes=7, norm_layer=partial(nn.LayerNorm, eps=1e-6))


def own_net(name):
    return {"resnet": lambda: nets.ResNet((1, 2), width=4, classes=7),
            "vgg": lambda: nets.VGG((1, 1, 2), width=4, hidden=12, classes=7, size=(19, 13)),
            "own_vit": lambda: nets.ViT((16, 12), patch=4, dim=12, depth=2, heads=3, hidden=20, classes=7),
            "lstm": lambda: nets.Recurrent("LSTM", 5, 9, 2, classes=4),
            "lstm_sf": lambda: nets.Recurrent("LSTM", 5, 9, 1, classes=4, batch_first=False),
            "bilstm": lambda: nets.Recurrent("LSTM", 5, 7, 1, bidirectional=True, classes=4),
            "gru": lambda: nets.Recurrent("GRU", 5, 9, 2, classes=4),
            "bigru": lambda: nets.Recurrent("GRU", 5, 6, 1, bidirectional=True, classes=4),
            "rnn": lambda: nets.Recurrent("RNN", 5, 9, 1, classes=4),
            "bert": lambda: nets.Encoder(True, 31, 11, 12, 2, 3, 20, 4),
            "bert_floats": lambda: nets.Encoder(False, 31, 11, 12, 2, 3, 20, 4),
            "gpt2": lambda: nets.Decoder(29, 13, 12, 2, 3, 20),
            "constant_reshape": ConstantReshape, "mixed_rows": MixedRows, "unet": Segmenter}[name]()


INPUTS = {"resnet": lambda: pictures(21, 17), "vgg": lambda: pictures(19, 13), "mobilenet_v3": lambda: pictures(19, 23),
          "densenet": lambda: pictures(21, 17), "convnext": lambda: pictures(13, 17), "swin": lambda: pictures(14, 10),
          "vit": lambda: pictures(16, 16), "own_vit": lambda: pictures(16, 12), "unet": lambda: pictures(12, 16),
          "constant_reshape": lambda: pictures(11, 13),
          "mixed_rows": lambda: [nets.floats(s, (1, 9)) for s in range(ROWS)],
          "bert": lambda: [nets.ids(s, (1, 11), 31) for s in range(ROWS)],
          "bert_floats": lambda: [nets.floats(s, (1, 11, 12)) for s in range(ROWS)],
          "gpt2": lambda: [nets.ids(s, (1, 13), 29) for s in range(ROWS)]}
SEQUENCES = ("lstm", "lstm_sf", "bilstm", "gru", "bigru", "rnn")
INPUTS.update({name: lambda: [nets.floats(s, (1, 13, 5)) for s in range(ROWS)] for name in SEQUENCES})
INDEX = {"gpt2": (12, 5), "unet": (2, 7, 11)}
EMBEDDING = {"bert": "words", "gpt2": "words"}
INNER = {"resnet": ("stem", "body.1.relu2", "body.2"), "mobilenet_v3": ("features.2",), "swin": ("features.1.0",),
         "own_vit": ("blocks.0", "blocks.1.attention"), "lstm_sf": ("rnn",), "gpt2": ("blocks.0",)}
VISION = ("mobilenet_v3", "densenet", "convnext", "swin", "vit")


def case(root, name, opset, double=False, dynamic=False, dynamo=False, tag="", **options):
    folder = "%s%s-opset%d-%s%s" % (name, tag, opset, "double" if double else "float", "-dynamo" if dynamo else "")

    def make():
        rows = INPUTS[name]()
        torch.manual_seed(0)
        model = ready(torchvision_net(name) if name in VISION else own_net(name), rows)
        options.setdefault("inner", INNER.get(name, ()) if double and opset == 17 else ())
        options.setdefault("notes", SCALED if name == "mobilenet_v3" else "")
        golden.write(os.path.join(root, folder), model, rows, INDEX.get(name, (3,)), opset=opset, double=double,
                     dynamic=dynamic, dynamo=dynamo, embedding=EMBEDDING.get(name), mixed=name == "mixed_rows",
                     **options)
    return folder, make


def torchscript_cases(root):
    for name in ("resnet", "mobilenet_v3", "densenet", "convnext", "swin", "vit", "lstm", "bert", "gpt2"):
        if name != "swin":   # its graph alone is 0.3 MB
            yield case(root, name, 17)
        yield case(root, name, 17, double=True, dynamic=True)
        if name not in ("swin", "densenet"):
            yield case(root, name, 13, dynamic=True)
        yield case(root, name, 11, dynamic=name == "densenet")
    for name in ("vgg", "bilstm", "gru", "bigru", "rnn", "unet"):
        yield case(root, name, 17, double=True)
        yield case(root, name, 11, dynamic=True)
    yield case(root, "lstm_sf", 17, double=True)
    yield case(root, "bert_floats", 17, double=True)
    yield case(root, "constant_reshape", 17, double=True,
               notes="Reshapes to constants that hold a batch of 1; with more rows every row is as if alone.")
    yield case(root, "constant_reshape", 13)
    yield case(root, "mixed_rows", 17, double=True, dynamic=True,
               notes="Subtracts half the batch mean: these values are of each row alone (batch 1).")
    # the exporter's own names for inputs and outputs ("input.1", "onnx::Gemm_12", ...)
    yield case(root, "vgg", 13, tag="_names", names=((), ()), notes="No names given: the exporter's own.")


class Logits(nn.Module):
    """A transformers model with one tensor in and one out."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids):
        return self.model(input_ids=ids).logits


def transformers_case(root, name, opset, double, dynamo, dynamic, external=False):
    folder = "hf_%s-opset%d-%s%s" % (name, opset, "double" if double else "float", "-dynamo" if dynamo else "")

    def make():
        import transformers
        torch.manual_seed(0)
        if name == "bert":
            config = transformers.BertConfig(
                vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
                max_position_embeddings=16, num_labels=4, attn_implementation="eager")
            model, embedding, index = transformers.BertForSequenceClassification(config), "bert.embeddings.word_embeddings", (3,)
        else:
            config = transformers.GPT2Config(vocab_size=29, n_embd=12, n_layer=2, n_head=3, n_positions=16,
                                             attn_implementation="eager", use_cache=False)
            model, embedding, index = transformers.GPT2LMHeadModel(config), "transformer.wte", (12, 5)
        model = Logits(nets.random_weights(model, seed=0)).eval()
        rows = [nets.ids(s, (1, 11 if name == "bert" else 13), config.vocab_size) for s in range(ROWS)]
        golden.write(os.path.join(root, folder), model, rows, index, opset=opset, double=double, dynamic=dynamic,
                     dynamo=dynamo, embedding="model." + embedding, external=external,
                     names=(("input_ids",), ("logits",)), notes="transformers " + name)
    return folder, make


def newest_cases(root):
    for name in ("resnet", "own_vit", "lstm", "gru", "bert", "gpt2", "unet", "vgg"):
        yield case(root, name, 18, dynamo=True, dynamic=name in ("own_vit", "bert"), external=name == "vgg")
        yield case(root, name, 18, double=True, dynamo=True, dynamic=name not in ("own_vit", "bert"))
    yield case(root, "own_vit", 17, double=True)
    for opset, dynamo in ((18, True), (17, False), (11, False)):
        yield transformers_case(root, "bert", opset, False, dynamo, dynamic=False)
    yield transformers_case(root, "bert", 18, True, True, dynamic=True)
    yield transformers_case(root, "gpt2", 18, False, True, dynamic=False)
    yield transformers_case(root, "gpt2", 18, True, True, dynamic=True)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    root, only = sys.argv[1], sys.argv[2:]
    plan = list(torchscript_cases(root) if golden.TORCH.startswith("1.") else newest_cases(root))
    sys.exit(1 if golden.run_all(plan, only) else 0)


if __name__ == "__main__":
    main()
