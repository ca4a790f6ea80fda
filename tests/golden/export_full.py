"""Full-size exports with seeded random weights and their golden values (not kept in the repository, about 15 GB).

    python export_full.py DIR                    # everything this PyTorch can build
    python export_full.py DIR resnet50 vit       # only cases whose name contains one of the words

Run it twice into the same DIR: with torch 1.13 + torchvision 0.14 + onnx 1.16.2 (TorchScript exports of the vision
nets) and with torch 2.13 + torchvision 0.28 + transformers 5.24 + onnx 1.23.2 + onnxscript 0.7.2 (language nets, and
the dynamo exporter at opset 18). Each case is DIR/NAME-opsetNN-(float|double)[-dynamo]/, described in golden.py.
"""
import functools
import os
import sys

import numpy as np
import torch

import golden
import nets

FLOAT_ROWS, DOUBLE_ROWS = 8, 2
FOLDED = "BatchNorm folded into the convolutions in float32 before the export; y and g are of the folded weights."


def vision(name, initial):
    """torchvision's net in eval mode, with its own initial weights or with non-degenerate ones: biases and norms that
    matter, activations of one size. In the latter nets decisions near zero are so many that float32 gradients are off
    by per cents, PyTorch's as well."""
    import torchvision
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None)
    if initial:
        return model.eval()
    model = nets.random_weights(model, seed=0)
    return nets.calibrate(model, torch.from_numpy(nets.image(999, (4, 3, 224, 224))))


def pictures(double):
    return [nets.image(s, (1, 3, 224, 224)) for s in range(DOUBLE_ROWS if double else FLOAT_ROWS)]


def vision_cases(root):
    # name, opsets of the float export, index of the gradient's scalar; the double export is opset 17
    table = [("resnet50", (17, 13, 11), 281), ("vit_b_16", (17, 13, 11), 281), ("mobilenet_v3_large", (17, 13, 11), 281),
             ("densenet121", (17, 13, 11), 281), ("convnext_tiny", (17, 13, 11), 281), ("swin_t", (17, 13, 11), 281),
             ("vgg19", (17, 13, 11), 281)]
    built = {}
    for name, opsets, index in table:
        for opset, double in [(17, True)] + [(o, False) for o in opsets]:
            dynamic = opset == 13 or double   # fixed batch 1 at 17 and 11, dynamic at 13 and in double
            folder = "%s-opset%d-%s" % (name, opset, "double" if double else "float")

            def make(name=name, opset=opset, double=double, dynamic=dynamic, folder=folder, index=index):
                if name not in built:
                    built.clear()
                    built[name] = vision(name, False)
                golden.write(os.path.join(root, folder), built[name], pictures(double), (index,), opset=opset,
                             double=double, dynamic=dynamic,
                             notes="torchvision " + name + (". " + FOLDED if not double else ""))
            yield folder, make


def initial_cases(root):
    """Nets whose float32 decisions flip, as torchvision initialises them."""
    for name in ("resnet50", "densenet121", "vgg19"):
        for opset in (17, 13, 11):
            folder = "initial_%s-opset%d-float" % (name, opset)

            def make(name=name, opset=opset, folder=folder):
                golden.write(os.path.join(root, folder), vision(name, True), pictures(False), (281,), opset=opset,
                             double=False, dynamic=opset == 13,
                             notes="torchvision " + name + " with its initial weights. " + FOLDED)
            yield folder, make


@functools.cache   # the names live as long as the library
def torchvision_operators():
    """For torchvision beside a PyTorch it was not built for (PyPI's wheel wants CUDA): its models are plain Python, its
    own operators, which no model here uses, only need to be known by name before it is imported."""
    library = torch.library.Library("torchvision", "DEF")
    for op in ("nms", "qnms"):
        library.define(op + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def vision_dynamo_cases(root):
    """torchvision's nets by the dynamo exporter, each with the weights of the float32 bound (initial_cases)."""
    for name in ("resnet50", "vit_b_16", "mobilenet_v3_large", "densenet121", "convnext_tiny", "swin_t", "vgg19"):
        initial = name in ("resnet50", "densenet121", "vgg19")
        for double in (False, True):
            folder = "%s%s-opset18-%s-dynamo" % ("initial_" if initial else "", name, "double" if double else "float")

            def make(name=name, initial=initial, double=double, folder=folder):
                torchvision_operators()
                golden.write(os.path.join(root, folder), vision(name, initial), pictures(double), (281,), opset=18,
                             double=double, dynamic=double, dynamo=True, external=True,
                             notes="torchvision " + name + (". " + FOLDED if not double else ""))
            yield folder, make


def own_cases(root):
    """Own definitions (bench/peers/nets.py) by the dynamo exporter."""
    for name, index in (("gpt2_like", (63, 17)), ("lstm", (3,))):
        for double in (False, True):
            folder = "own_%s-opset18-%s-dynamo" % (name, "double" if double else "float")

            def make(name=name, index=index, double=double, folder=folder):
                row = nets.NETS[name][1]
                golden.write(os.path.join(root, folder), nets.build(name),
                             [row(s) for s in range(DOUBLE_ROWS if double else FLOAT_ROWS)], index, opset=18,
                             double=double, dynamic=double, dynamo=True, external=True,
                             embedding="words" if name == "gpt2_like" else None,
                             fold=True, notes="own definition " + name + " of bench/peers/nets.py")
            yield folder, make


def token_and_recurrent_cases(root):
    """Own nets, GPT-2-like, BERT-like and recurrent, by the TorchScript exporter."""
    for name, index in (("gpt2_like", (63, 17)), ("bert_base", (1,)), ("lstm", (3,))):
        for opset, double in ((17, True), (17, False), (13, False), (11, False)):
            folder = "%s-opset%d-%s" % (name, opset, "double" if double else "float")

            def make(name=name, index=index, opset=opset, double=double, folder=folder):
                row = nets.NETS[name][1]
                golden.write(os.path.join(root, folder), nets.build(name), [row(s) for s in range(FLOAT_ROWS)], index,
                             opset=opset, double=double, dynamic=double or opset == 13,
                             embedding=None if name == "lstm" else "words", notes="own definition " + name)
            yield folder, make


class Logits(torch.nn.Module):
    """A transformers model with one tensor in and one out."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids):
        return self.model(input_ids=ids).logits


def transformers_net(name):
    torchvision_operators()   # transformers imports torchvision where it is installed
    import transformers
    torch.manual_seed(0)
    if name == "bert":
        config = transformers.BertConfig(vocab_size=2000, num_hidden_layers=3, max_position_embeddings=128,
                                         attn_implementation="eager", num_labels=5)
        model, embedding = transformers.BertForSequenceClassification(config), "bert.embeddings.word_embeddings"
    else:
        config = transformers.GPT2Config(vocab_size=2000, n_layer=3, n_positions=128, attn_implementation="eager",
                                         use_cache=False)
        model, embedding = transformers.GPT2LMHeadModel(config), "transformer.wte"
    return Logits(nets.random_weights(model, seed=0)).eval(), "model." + embedding


def transformers_cases(root):
    table = [("bert", o, d, False) for o, d in ((17, True), (17, False), (13, False), (11, False))]
    table += [(n, 18, d, True) for n in ("bert", "gpt2") for d in (False, True)]
    for name, opset, double, dynamo in table:
        folder = "%s-opset%d-%s%s" % (name, opset, "double" if double else "float", "-dynamo" if dynamo else "")

        def make(name=name, opset=opset, double=double, dynamo=dynamo, folder=folder):
            model, embedding = transformers_net(name)
            rows = [nets.ids(s, (1, 32), 2000) for s in range(FLOAT_ROWS)]
            golden.write(os.path.join(root, folder), model, rows, (3,) if name == "bert" else (31, 17), opset=opset,
                         double=double, dynamic=double or opset == 13, dynamo=dynamo, embedding=embedding,
                         external=dynamo, names=(("input_ids",), ("logits",)), notes="transformers " + name)
        yield folder, make


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    root, only = sys.argv[1], sys.argv[2:]
    os.makedirs(root, exist_ok=True)
    if golden.TORCH.startswith("1."):
        plan = list(vision_cases(root)) + list(initial_cases(root))
    else:
        plan = [c for cases in (vision_dynamo_cases, own_cases, token_and_recurrent_cases, transformers_cases)
                for c in cases(root)]
    if golden.run_all(plan, only):
        sys.exit(1)


if __name__ == "__main__":
    main()
