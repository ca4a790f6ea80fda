#!/usr/bin/env bash
# Builds the command, the CUDA module, the device tests and the benchmarks, and packs them with what they need into one
# archive for a machine that has a driver, a toolkit and PyTorch but none of our packages:
#
#   scripts/gpu_bundle.sh [ARCHIVE]          default: onnxray-gpu.tar.xz
#
# There: tar xf ARCHIVE && onnxray-gpu/gpu_check.sh test
# Builds in ONNXRAY_BUILD_DIR (default: build-gpu), for the architectures that ONNXRAY_CMAKE_ARGS may name. Before it packs, it
# shows that the programs start in an empty environment and need nothing but the C library from outside their folder.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

archive=$(realpath -m "${1:-onnxray-gpu.tar.xz}")
limit=$((48 * 1024 * 1024))
export ONNXRAY_BUILD_DIR=${ONNXRAY_BUILD_DIR:-build-gpu}
build=$ONNXRAY_BUILD_DIR
install_packages "${build_packages[@]}" "${test_packages[@]}" xz-utils

say "building in $build ($jobs at a time)"
toolkit=$(scripts/cuda_toolkit.sh)
read -r -a toolkit <<<"$toolkit"
# Libraries lie beside the programs; an rpath, unlike a runpath, also serves the libraries' own needs.
configure "$build" -DCMAKE_BUILD_TYPE=Release -DONNXRAY_TESTS=ON -DONNXRAY_BENCH=ON -DONNXRAY_CUDA=ON "${toolkit[@]}" \
  -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON "-DCMAKE_INSTALL_RPATH=\$ORIGIN" -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags \
  -DCMAKE_MODULE_LINKER_FLAGS=-Wl,--disable-new-dtags
programs=(onnxray op_conformance_gpu_test golden_test method_conformance_test onnxray_conv_bench)
cmake --build "$build" --parallel "$jobs" --target onnxray_cli onnxray_cuda "${programs[@]:1}"

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
out=$stage/onnxray-gpu
mkdir "$out"
for name in "${programs[@]}" libonnxray_cuda.so; do
  cp "$(find "$build" -type f -name "$name" -print -quit)" "$out/"
done
strip "$out"/*

# What every Linux machine has; all other libraries go into the folder.
everywhere='/(libc|libm|libdl|librt|libpthread|ld-linux[^/]*)\.so'
needed_by() { ldd "$1" | awk '$3 ~ /^\// { print $3 } /not found/ { print "missing: " $1 }'; }
for file in "$out"/*; do needed_by "$file"; done | sort -u | grep -vE "$everywhere" | xargs -r -I{} cp -Ln {} "$out/"

cp scripts/gpu_check.sh bench/gpu.py bench/gpu_machine.py bench/gpu_kernels.py bench/peers/nets.py "$out/"
git ls-files tests/golden examples/tank | grep -vE '\.(cpp|h|py|md)$' | tar -c -T - | tar -x --one-top-level="$out/source"
git rev-parse HEAD >"$out/COMMIT"

for file in "$out"/*; do
  [ -x "$file" ] && [ -f "$file" ] && [[ $file != *.sh ]] || continue
  outside=$(env -i PATH="$PATH" bash -c "$(declare -f needed_by); needed_by '$file'" | grep -v "^$out/" | grep -vE "$everywhere" || true)
  [ -z "$outside" ] || die "$(basename "$file") needs from outside: $outside"
done
env -i "$out/onnxray" --version >/dev/null || die "onnxray does not start in an empty environment"
for test in op_conformance_gpu_test golden_test method_conformance_test; do
  env -i "$out/$test" --gtest_list_tests >/dev/null || die "$test does not start in an empty environment"
done

tar -C "$stage" -cJf "$archive" onnxray-gpu
size=$(stat -c %s "$archive")
[ "$size" -le "$limit" ] || die "$archive has $size bytes, more than $limit"
say "$archive: $((size / 1024)) KiB"
