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
from onnx import TensorProto

import toy_convolutions  # noqa: F401  each adds its networks to MODELS
import toy_dense  # noqa: F401
import toy_elementwise  # noqa: F401
from toy_graph import MODELS

HERE = pathlib.Path(__file__).resolve().parent


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
