#!/usr/bin/env python3
"""Fails when a file of one room includes one of ours that the room must not know: dependencies point one way."""
import pathlib
import re
import sys
import tempfile

# The first entry whose folder contains a file decides; the folders after it are what the file may include from.
# What is not listed (app, bindings, tests, ...) sees everything, and nothing listed sees it.
ROOMS = [
    ("engine/base", ["engine/base"]),
    ("engine", ["engine"]),
    ("kernels", ["kernels", "engine"]),
    ("onnx_import", ["onnx_import", "engine"]),
    ("algorithms", ["algorithms", "engine"]),
]
FOLDERS = ["engine", "kernels", "onnx_import", "algorithms"]
OURS = FOLDERS + ["api", "app", "bindings", "tests", "bench", "examples"]
DEVICE = re.compile(r"dnnl|oneapi/|cuda|cublas|cufft|nvrtc")  # these belong to kernels/


def inside(path, folder):
    return path == folder or path.startswith(folder + "/")


def violations(root):
    files = [f for folder in FOLDERS for f in sorted((root / folder).rglob("*")) if f.suffix in {".h", ".cpp", ".cu", ".cuh"}]
    for file in files:
        name = file.relative_to(root).as_posix()
        room, sees = next(r for r in ROOMS if inside(name, r[0]))
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
            if not found:
                continue
            quote, target = found.groups()
            if any(inside(target, ours) for ours in OURS):
                if not any(inside(target, folder) for folder in sees):
                    yield f"{name}:{number}: {room} must not include {target}"
            elif quote == '"':
                yield f"{name}:{number}: our own includes name the path from the root, not {target}"
            elif room != "kernels" and DEVICE.search(target):
                yield f"{name}:{number}: {room} must not include the device library {target}"


def check_itself():
    with tempfile.TemporaryDirectory() as folder:
        tmp = pathlib.Path(folder)
        (tmp / "engine/base").mkdir(parents=True)
        (tmp / "algorithms").mkdir()
        (tmp / "engine/base/a.h").write_text('#include "engine/graph.h"\n#include <vector>\n')
        (tmp / "engine/b.h").write_text('#include "engine/base/a.h"\n#include <dnnl.hpp>\n#include "b.h"\n')
        (tmp / "algorithms/c.cpp").write_text('#include "kernels/cpu/cpu.h"\n#include "engine/b.h"\n')
        got = list(violations(tmp))
        assert len(got) == 4, got


def main():
    check_itself()
    root = pathlib.Path(sys.argv[1])
    if not (root / "engine/graph.h").is_file():
        sys.exit(f"{root} is not the source tree")
    bad = list(violations(root))
    print("\n".join(bad) if bad else "every include points the right way")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
