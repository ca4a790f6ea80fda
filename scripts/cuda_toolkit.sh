#!/usr/bin/env bash
# A CUDA toolkit for the build, where the machine has none or only nvcc: NVIDIA's wheels from PyPI, into the build
# folder, nothing system-wide. Prints the arguments cmake needs:
#
#   scripts/cuda_toolkit.sh                  nvcc, runtime, headers
#   cmake -S . -B build $(scripts/cuda_toolkit.sh) -DONNXRAY_CUDA=ON
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

line=13.0  # of CUDA; all wheels are of one line

# Whether a toolkit compiles a program in C++20 and links it.
works() {
  local dir status=0
  dir=$(mktemp -d)
  printf '#include <cuda_runtime.h>\nint main() { return cudaFree(nullptr) == cudaSuccess; }\n' >"$dir/a.cu"
  "$1" -std=c++20 -o "$dir/a" "$dir/a.cu" >/dev/null 2>&1 || status=$?
  rm -rf "$dir"
  return "$status"
}

for nvcc in "${CUDACXX:-}" "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc; do
  if [ -n "$nvcc" ] && [ -x "$nvcc" ] && works "$nvcc"; then
    say "using $nvcc" >&2
    echo "-DCMAKE_CUDA_COMPILER=$nvcc"
    exit 0
  fi
done

mkdir -p "$build"
place=$(cd "$build" && pwd)/cuda-toolkit
root_of() { find "$place" -type d -path '*/nvidia/cu13' -print -quit 2>/dev/null; }
if [ -z "$(root_of)" ] || ! works "$(root_of)/bin/nvcc"; then
  command -v python3 >/dev/null || die "python3 and its venv module are needed to fetch NVIDIA's wheels"
  say "fetching CUDA $line from PyPI into $place" >&2
  rm -rf "$place"
  quietly python3 -m venv "$place" || die "python3 -m venv failed (Debian: python3-venv)"
  wheels=()
  for name in nvcc runtime cccl crt culibos; do wheels+=("nvidia-cuda-$name==$line.*"); done
  quietly "$place/bin/pip" install --no-deps "${wheels[@]}" "nvidia-nvvm==$line.*" || die "pip could not fetch the wheels"
  # Where nvcc looks for libraries, and the names that linkers and CMake look for: the wheels have lib*.so.13 alone.
  [ -e "$(root_of)/lib64" ] || ln -s lib "$(root_of)/lib64"
  for library in "$(root_of)"/lib/lib*.so.*; do
    [ -e "${library%%.so.*}.so" ] || ln -s "$(basename "$library")" "${library%%.so.*}.so"
  done
fi
nvcc=$(root_of)/bin/nvcc
works "$nvcc" || die "the toolkit in $place does not compile a program"
echo "-DCMAKE_CUDA_COMPILER=$nvcc -DCUDAToolkit_ROOT=$(root_of)"
