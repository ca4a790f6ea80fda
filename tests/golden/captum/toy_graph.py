"""What the toy networks are written with: weights, a thin writer of ONNX graphs, the registry MODELS."""

import numpy as np
import onnx
import torch
import torch.nn as nn
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8


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
