#!/usr/bin/env python3
"""Checks the registers of the CUDA kernels against budgets; no kernel may spill.

    scripts/kernel_budgets.py [-v] [--build DIR]            what the build in DIR (default: build) compiled; every
                                                            kernels/cuda/*.cu must be there
    scripts/kernel_budgets.py [-v] --arch sm_80 FILE.cu ... compiles these for one architecture

The build keeps what ptxas says beside each object (cmake/ptxas_report.sh), so checking it takes no time. Prints the kernels
that exceed, every kernel with -v; fails when there are any. No GPU is needed.
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

# Budgets by kernel name: what lets the stated number of blocks share a multiprocessor with its 65,536 registers. Tiles are
# Tile<rows, columns, ..> of kernels/cuda/tile.cuh.
BUDGETS = [
    (r"(conv|gemm)_warpgroup<.*, 1> ?>", 255),  # 256 threads, one block; others two
    (r"(conv|gemm)_warpgroup<", 128),
    (r"_tensor_core<.*Tile<128, (128|64),", 128),  # 256 threads, two blocks
    (r"_tensor_core<.*Tile<", 168),  # 128 threads, three blocks
    (r"attention_kernel<.*, (32|64)>", 168),  # 128 threads, three blocks
    (r"attention_(grad_)?kernel<", 255),  # 128 threads, two blocks
    (r"conv_few", 128),  # 256 threads, two blocks
    (r"conv_depthwise<", 128),  # 128 threads, four blocks
    (r"multiply_general<", 128),
    (r"(unary|binary|ternary|map)_kernel(?!.*double)", 64),  # 256 threads, four blocks
    (r"", 80),  # 256 threads, three blocks
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
        command = [nvcc, "-std=c++20", "-O3", "--expt-relaxed-constexpr", f"-arch={arch}", f"-I{ROOT}", "-Xptxas=-v",
                   "-cubin", "-o", os.path.join(folder, "out.cubin"), str(source)]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            sys.exit(f"error: {' '.join(command)}\n{run.stderr}")
        return run.stderr


def built_reports(build):
    """What the build said of every shipped source; an error where one was not compiled since it changed."""
    reports = []
    for source in sorted((ROOT / "kernels/cuda").glob("*.cu")):
        found = sorted(pathlib.Path(build).glob(f"CMakeFiles/onnxray_cuda_kernels.dir/kernels/cuda/{source.name}.o.ptxas"))
        if not found:
            sys.exit(f"error: {build} has not compiled {source.name}: build the target onnxray_cuda with -DONNXRAY_CUDA=ON")
        reports.append(found[0].read_text())
        if not kernels_of(reports[-1]):
            sys.exit(f"error: ptxas reported no kernel of {source.name}")
    return reports


def kernels_of(report):
    """[(mangled name, architecture, registers, spilled bytes)] of what -Xptxas=-v prints."""
    found, name, arch, spilled = [], None, None, None
    for line in report.splitlines():
        if match := re.search(r"Compiling entry function '(\S+)' for '(\S+)'", line):
            name, arch, spilled = match.group(1), match.group(2), None
        elif match := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spilled = int(match.group(1)) + int(match.group(2))
        elif (match := re.search(r"Used (\d+) registers", line)) and name:
            if spilled is None:
                sys.exit(f"error: ptxas did not say whether {name} spills")
            found.append((name, arch, int(match.group(1)), spilled))
            name = None
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--build", default="build")
    parser.add_argument("--arch", default="sm_80")
    parser.add_argument("--nvcc", default=os.environ.get("CUDACXX") or "nvcc")
    parser.add_argument("-v", "--verbose", action="store_true")
    arguments = parser.parse_args()
    if arguments.files:
        if not shutil.which(arguments.nvcc):
            sys.exit(f"error: there is no {arguments.nvcc}")
        with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
            reports = list(pool.map(lambda f: compile_report(arguments.nvcc, arguments.arch, ROOT / f), arguments.files))
    else:
        reports = built_reports(arguments.build)
    found = [kernel for report in reports for kernel in kernels_of(report)]
    if not found:
        sys.exit("error: ptxas reported no kernel")
    wrong = 0
    for (_, arch, registers, spilled), name in zip(found, demangle([k[0] for k in found])):
        limit = budget_of(name)
        bad = registers > limit or spilled > 0
        wrong += bad
        if bad or arguments.verbose:
            print(f"{'FAILED' if bad else 'ok':6}  {registers:3} of {limit:3} registers, {spilled:4} bytes spilled  "
                  f"{arch}  {name[:150]}")
    archs = ", ".join(sorted({k[1] for k in found}))
    most = max(k[2] for k in found)
    print(f"{len(found)} kernels for {archs}, at most {most} registers: {wrong} over budget or spilling")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
