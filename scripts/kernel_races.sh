#!/usr/bin/env bash
# Looks for data races between CUDA threads, without a GPU: the kernels are compiled for the simulator (kernels/sim) with
# the thread sanitizer, and nothing else is, so every report is about a kernel. Kernels with planted races (tests/sim/
# planted.cuh) must be reported, the shipped ones must not:
#
#   scripts/kernel_races.sh [ctest arguments]
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

install_packages "${build_packages[@]}" "${test_packages[@]}"
say "building the kernel tests in $build-races ($jobs at a time)"
configure "$build-races" -DCMAKE_BUILD_TYPE=Release -DONNXRAY_TESTS=ON -DONNXRAY_KERNEL_RACES=ON
cmake --build "$build-races" --target races_tests --parallel "$jobs"

# OpenMP's runtime does not tell the sanitizer how its threads synchronise.
export OMP_NUM_THREADS=1
exec ctest --test-dir "$build-races" -L races --output-on-failure --no-tests=error "$@"
