#!/usr/bin/env bash
# Checks on a machine with a GPU, from the unpacked archive of scripts/gpu_bundle.sh. Each takes less than 8 minutes and
# writes its JSON after every row, so that what was reached is there when time runs out; a short table comes last:
#
#   gpu_check.sh test  [OUT.json]               device tests, compute-sanitizer on small ones
#   gpu_check.sh bench [OUT.json] [gpu.py's]    the table of bench/gpu.py against PyTorch, in one run; its options may follow
#
# GPU_CHECK_SECONDS: how long in all (default 460). Exits with 2 where there is no device.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mode=${1:-}
case $mode in
  test | bench) ;;
  *)
    sed -n '2,/^#   gpu_check.sh bench/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
out=${2:-gpu_$mode.json}
limit=${GPU_CHECK_SECONDS:-460}
export ONNXRAY_MODULES=$here ONNXRAY_SOURCE_DIR=$here/source ONNXRAY_REQUIRE_DEVICE=1

# The command itself says what is missing, if anything is: module, driver, device.
if ! why=$(ONNXRAY_DEVICE=cuda "$here/onnxray" bench "$here/source/examples/tank/biased.onnx" --method forward --repeat 1 2>&1); then
  printf 'gpu_check.sh: no device to check: %s\n' "$why" >&2
  exit 2
fi

if [ "$mode" = bench ]; then
  shift $(($# < 2 ? $# : 2))
  exec timeout "$limit" python3 "$here/gpu.py" --programs "$here" --out "$out" --seconds "$((limit - 20))" "$@"
fi

device=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1)
rows=()
table=()
failed=0
save() {
  local IFS=,
  printf '{"device": "%s", "commit": "%s", "rows": [%s]}\n' "$device" "$(cat "$here/COMMIT")" "${rows[*]-}" >"$out.part" &&
    mv "$out.part" "$out"
}
# count PATTERN LOG
count() { grep -cE "$1" "$2" 2>/dev/null || true; }
# row NAME SECONDS COMMAND...: the command's output goes to a log beside the JSON. Passes where the status is 0 and, for a
# test program, something ran.
row() {
  local name=$1 most=$2 begin=$SECONDS status=0 left=$((limit - SECONDS)) log=$out.$1.log passed skipped
  shift 2
  if [ "$left" -lt 10 ]; then
    status=124
    echo "no time left" >"$log"
  else
    timeout -k 5 "$((most < left ? most : left))" "$@" >"$log" 2>&1 || status=$?
  fi
  passed=$(count '^\[       OK' "$log") skipped=$(count '^\[  SKIPPED \].*\(' "$log")
  [ "$status" -ne 0 ] || [ "$passed" -gt 0 ] || grep -q 'largest error' "$log" || status=3
  [ "$status" -eq 0 ] || failed=1
  rows+=("{\"name\": \"$name\", \"status\": $status, \"seconds\": $((SECONDS - begin)), \"passed\": $passed, \"skipped\": $skipped, \"failed\": $(count '^\[  FAILED  \].*ms\)' "$log")}")
  save
  table+=("$(printf '%-10s %4d s %5d passed %4d skipped  %s' "$([ "$status" -eq 0 ] && echo ok || echo "FAILED $status")" \
    $((SECONDS - begin)) "$passed" "$skipped" "$name")")
  printf '%s\n' "${table[-1]}"
}

# Models in value and gradient against PyTorch's numbers, which the archive carries, and each mode's errors.
models='*AgreesWithPyTorch/*_opset17_double:*ErrorsByMode/*_opset17_double'
methods='*RowsAreIndependent*/saliency:*RowsAreIndependent*/integrated_gradients:*RowsAreIndependent*/occlusion:*RowsAreIndependent*/conductance'
small='*Reference/reduce_sum:*Reference/transpose:*Reference/conv:*Reference/conv_input_grad:*Reference/matmul:*Reference/map:*Reference/softmax:*Reference/max_pool*:*Reference/gather*:*Reference/attention*'
row ops 120 "$here/op_conformance_gpu_test"
row models 60 env ONNXRAY_DEVICE=cuda "$here/golden_test" --gtest_filter="$models"
row methods 60 env ONNXRAY_DEVICE=cuda "$here/method_conformance_test" --gtest_filter="$methods"
row convolutions 60 python3 "$here/gpu.py" --programs "$here" --check-convs
for tool in memcheck racecheck; do
  row "$tool" 80 compute-sanitizer --tool "$tool" --error-exitcode 9 "$here/op_conformance_gpu_test" --gtest_filter="$small"
done
printf '\n%s\n' "$device"
printf '%s\n' "${table[@]}"
exit "$failed"
