#!/usr/bin/env bash
# Builds the tests with sanitizers in a folder of their own and runs them:
#
#   scripts/sanitize.sh asan|tsan [ctest arguments]      e.g.  scripts/sanitize.sh asan -L unit
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

preset=${1:-}
[ "$preset" = asan ] || [ "$preset" = tsan ] || die "usage: scripts/sanitize.sh asan|tsan [ctest arguments]"
shift
install_packages "${build_packages[@]}" "${test_packages[@]}"
# gcc's OpenMP runtime does not tell the thread sanitizer how it synchronises; clang's does.
[ "$preset" = asan ] || install_packages clang-16 libclang-rt-16-dev libomp-16-dev

say "building the tests with the preset $preset in $build-$preset ($jobs at a time)"
configure "$build-$preset" --preset "$preset"
cmake --build "$build-$preset" --target unit_tests --parallel "$jobs"

export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
exec ctest --test-dir "$build-$preset" --output-on-failure --no-tests=error "$@"
