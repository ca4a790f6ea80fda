#!/usr/bin/env bash
# Builds the command, the CUDA module and the device tests, and packs them with what they need into one archive for a
# machine that has a driver, a toolkit and PyTorch but none of our packages:
#
#   scripts/gpu_bundle.sh [ARCHIVE]          default: onnxray-gpu.tar.xz
#
# There: tar xf ARCHIVE && onnxray-gpu/gpu_check.sh test
# Not yet run on a GPU.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

archive=$(realpath -m "${1:-onnxray-gpu.tar.xz}")
limit=$((48 * 1024 * 1024))
build=${ONNXRAY_BUILD_DIR:-build-gpu}
install_packages "${build_packages[@]}" "${test_packages[@]}"

say "building in $build ($jobs at a time)"
read -r -a toolkit <<<"$(scripts/cuda_toolkit.sh)"
# Libraries lie beside the programs; an rpath, unlike a runpath, also serves the libraries' own needs.
configure "$build" -DCMAKE_BUILD_TYPE=Release -DONNXRAY_TESTS=ON -DONNXRAY_CUDA=ON "${toolkit[@]}" \
  -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON "-DCMAKE_INSTALL_RPATH=\$ORIGIN" -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags
programs=(onnxray op_conformance_gpu_test golden_test method_conformance_test)
cmake --build "$build" --parallel "$jobs" --target onnxray_cli onnxray_cuda op_conformance_gpu_test golden_test \
  method_conformance_test

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
out=$stage/onnxray-gpu
mkdir "$out"
for name in "${programs[@]}" libonnxray_cuda.so; do
  cp "$(find "$build" -type f -name "$name" -print -quit)" "$out/"
done
strip "$out"/*
# All but what every Linux machine has.
for file in "$out"/*; do
  ldd "$file" | awk '$3 ~ /^\// { print $3 }'
done | sort -u | grep -vE '/(libc|libm|libdl|librt|libpthread|ld-linux[^/]*)\.so' | xargs -r -I{} cp -Ln {} "$out/"
cp scripts/gpu_check.sh bench/gpu.py "$out/"
mkdir -p "$out/exports" && cp -r tests/golden/exports/. "$out/exports/"
git rev-parse HEAD >"$out/COMMIT"

tar -C "$stage" -cJf "$archive" onnxray-gpu
size=$(stat -c %s "$archive")
[ "$size" -le "$limit" ] || die "$archive has $size bytes, more than $limit"
say "$archive: $((size / 1024)) KiB"
