"""Turns ONNX's newest node cases and `light` models into the test folders that Debian's data have.

    python unpack_conformance.py ARCHIVE LIGHT_DIR OUT

ARCHIVE: a tar of onnx/backend/test/data/node; LIGHT_DIR: light_NAME.onnx with light_NAME_output_0.pb. Writes
OUT/node/CASE/ and OUT/light/NAME/, each with model.onnx and test_data_set_0/{input,output}_i.pb. The input of a light
model is arange(n).reshape(shape) / n in float32, as ONNX's own runner makes it.
Run with: onnx 1.23.2, numpy 2.4 (and onnx 1.16.2, numpy 1.24).
"""
import os
import shutil
import sys
import tarfile

import numpy as np
import onnx
from onnx import numpy_helper


def unpack_nodes(archive, out):
    """Extracts every regular file below .../data/node/, by its path there."""
    count = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.isfile() or "/data/node/" not in member.name:
                continue
            path = member.name.split("/data/node/", 1)[1]
            parts = path.split("/")
            if ".." in parts or os.path.isabs(path):
                raise ValueError("suspicious path in the archive: " + member.name)
            target = os.path.join(out, *parts)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as f:
                shutil.copyfileobj(tar.extractfile(member), f)
            count += parts[-1] == "model.onnx"
    return count


def unpack_light(source, out):
    count = 0
    for name in sorted(os.listdir(source)):
        if not name.endswith(".onnx"):
            continue
        stem = name[:-len(".onnx")]
        folder = os.path.join(out, stem)
        data = os.path.join(folder, "test_data_set_0")
        os.makedirs(data, exist_ok=True)
        shutil.copyfile(os.path.join(source, name), os.path.join(folder, "model.onnx"))
        shutil.copyfile(os.path.join(source, stem + "_output_0.pb"), os.path.join(data, "output_0.pb"))
        graph = onnx.load(os.path.join(source, name)).graph
        weights = {t.name for t in graph.initializer}
        for i, value in enumerate(v for v in graph.input if v.name not in weights):
            shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
            n = int(np.prod(shape))
            x = (np.arange(n).reshape(shape) / n).astype(np.float32)
            with open(os.path.join(data, "input_%d.pb" % i), "wb") as f:
                f.write(numpy_helper.from_array(x, value.name).SerializeToString())
        count += 1
    return count


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    archive, light, out = sys.argv[1:]
    print("%d node cases" % unpack_nodes(archive, os.path.join(out, "node")))
    print("%d light models" % unpack_light(light, os.path.join(out, "light")))


if __name__ == "__main__":
    main()
