#!/usr/bin/env bash
# Fuzzes the importer with clang's libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, in a folder of its own:
#
#   scripts/fuzz.sh [SECONDS [SEED]]        default 60 s, a seed drawn by the clock
#
# What it learns stays in <build>-fuzz/corpus. A finding is left in <build>-fuzz/findings and fails the script; give the
# file to <build>-fuzz/tests/fuzz/import_fuzz to see it again. CXX chooses another clang.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

seconds=${1:-60} seed=${2:-0}
dir=$build-fuzz
install_packages "${build_packages[@]}" clang-16 libclang-rt-16-dev

say "building the fuzzer in $dir ($jobs at a time)"
configure "$dir" -DCMAKE_CXX_COMPILER="${CXX:-clang++-16}" -DCMAKE_BUILD_TYPE=Fuzz -DCMAKE_CXX_FLAGS_FUZZ=-O1 \
  -DONNXRAY_FUZZ=ON -DONNXRAY_TESTS=OFF
cmake --build "$dir" --target import_fuzz fuzz_seeds --parallel "$jobs"

mkdir -p "$dir/seeds" "$dir/corpus" "$dir/findings"
"$dir/tests/fuzz/fuzz_seeds" "$dir/seeds"
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
log=$dir/fuzz.log
say "fuzzing for $seconds s"
if ! "$dir/tests/fuzz/import_fuzz" -seed="$seed" -max_total_time="$seconds" -max_len=20000 -timeout=60 -rss_limit_mb=3000 \
  -print_final_stats=1 -artifact_prefix="$dir/findings/" "$dir/corpus" "$dir/seeds" >"$log" 2>&1; then
  tail -n 60 "$log" >&2
  die "a finding, see $dir/findings"
fi
grep -E '^stat::number_of_executed_units|^Done' "$log"
