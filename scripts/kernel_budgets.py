#!/usr/bin/env python3
"""Compiles the hot CUDA kernels for one architecture and checks their registers against budgets; no kernel may spill.

    scripts/kernel_budgets.py [--arch sm_80] [--nvcc nvcc] [FILE.cu ...]

Fails when a kernel spills or needs more registers than its budget; prints one line per kernel with -v. Without nvcc it says
so and exits with 77. No GPU is needed.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOT = ["kernels/cuda/conv.cu", "kernels/cuda/gemm.cu"]

# Budgets by kernel name: what lets the stated number of blocks share a multiprocessor with its 65,536 registers. Tiles are
# Tile<rows, columns, ..> of kernels/cuda/tile.cuh.
BUDGETS = [
    (r"_tensor_core<.*Tile<128, (128|64),", 128),  # 256 threads, two blocks
    (r"_tensor_core<.*Tile<", 168),  # 128 threads, three blocks
    (r"conv_depthwise<", 128),  # 128 threads, four blocks
    (r"multiply_general<", 128),
    (r"", 255),
]


def budget_of(name):
    return next(limit for pattern, limit in BUDGETS if re.search(pattern, name))


def demangle(names):
    if not names or not shutil.which("c++filt"):
        return names
    text = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    return [re.sub(r"onnxray::cuda::|\(anonymous namespace\)::", "", line) for line in text.splitlines()]


def compile_report(nvcc, arch, source):
    with tempfile.TemporaryDirectory() as folder:
        command = [nvcc, "-std=c++20", "-O3", "--expt-relaxed-constexpr", f"-arch={arch}", f"-I{ROOT}", "-Xptxas", "-v",
                   "-cubin", "-o", os.path.join(folder, "out.cubin"), str(source)]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            sys.exit(f"error: {' '.join(command)}\n{run.stderr}")
        return run.stderr


def kernels_of(report):
    """[(mangled name, registers, spilled bytes)] of what -Xptxas -v prints."""
    found, name, spilled = [], None, None
    for line in report.splitlines():
        if match := re.search(r"Compiling entry function '(\S+)'", line):
            name = match.group(1)
        elif match := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spilled = int(match.group(1)) + int(match.group(2))
        elif (match := re.search(r"Used (\d+) registers", line)) and name:
            found.append((name, int(match.group(1)), spilled))
            name = None
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", default=HOT)
    parser.add_argument("--arch", default="sm_80")
    parser.add_argument("--nvcc", default=os.environ.get("CUDACXX") or "nvcc")
    parser.add_argument("-v", "--verbose", action="store_true")
    arguments = parser.parse_args()
    if not shutil.which(arguments.nvcc):
        print(f"no {arguments.nvcc}: register budgets not checked")
        return 77
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        reports = pool.map(lambda f: compile_report(arguments.nvcc, arguments.arch, ROOT / f), arguments.files)
    found = [kernel for report in reports for kernel in kernels_of(report)]
    if not found:
        sys.exit("error: ptxas reported no kernel")
    wrong = 0
    for (_, registers, spilled), name in zip(found, demangle([k[0] for k in found])):
        limit = budget_of(name)
        bad = registers > limit or spilled > 0
        wrong += bad
        if bad or arguments.verbose:
            print(f"{'FAILED' if bad else 'ok':6}  {registers:3} of {limit:3} registers, {spilled:4} bytes spilled  {name[:150]}")
    print(f"{len(found)} kernels for {arguments.arch}: {wrong} over budget or spilling")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
