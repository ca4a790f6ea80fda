#!/usr/bin/env bash
# Installs what the tests need, builds everything and runs all tests. Arguments go to ctest: scripts/test.sh -L unit
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

install_packages "${build_packages[@]}" "${test_packages[@]}"

say "building everything in $build ($jobs at a time)"
first=()
[ -e "$build/CMakeCache.txt" ] || first=(-DCMAKE_BUILD_TYPE=Release)
configure "$build" "${first[@]}" -DONNXRAY_TESTS=ON
cmake --build "$build" --parallel "$jobs"

say "running the tests"
exec ctest --test-dir "$build" --output-on-failure --no-tests=error --parallel "$jobs" "$@"
