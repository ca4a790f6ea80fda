#!/usr/bin/env bash
# Checks on a machine with a GPU, from the unpacked archive of scripts/gpu_bundle.sh. Each takes less than 8 minutes and
# writes its JSON after every row, so that what was reached is there when time runs out:
#
#   gpu_check.sh test  [OUT.json]    device tests, compute-sanitizer on small ones
#   gpu_check.sh bench [OUT.json]    ResNet-50 and VGG19 against PyTorch and Captum, in one run
#
# Not yet run on a GPU.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mode=${1:-}
out=${2:-gpu_$mode.json}
limit=460  # seconds in all
export ONNXRAY_MODULES=$here ONNXRAY_EXPORTS=$here/exports

rows=()
failed=0
save() {
  local IFS=,
  printf '{"device": "%s", "commit": "%s", "rows": [%s]}\n' \
    "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1)" "$(cat "$here/COMMIT")" "${rows[*]}" >"$out"
}
# row NAME SECONDS COMMAND...: output goes to a log beside the JSON.
row() {
  local name=$1 most=$2 begin=$SECONDS status=0 left=$((limit - SECONDS))
  shift 2
  if [ "$left" -lt 20 ]; then
    status=124
  else
    timeout "$((most < left ? most : left))" "$@" >"$out.$name.log" 2>&1 || status=$?
  fi
  [ "$status" -eq 0 ] || failed=1
  rows+=("{\"name\": \"$name\", \"status\": $status, \"seconds\": $((SECONDS - begin)), \"skipped\": $(grep -c '^\[  SKIPPED' "$out.$name.log" 2>/dev/null || true)}")
  save
  printf '%-10s %4d s  %s\n' "$([ "$status" -eq 0 ] && echo ok || echo "FAILED $status")" $((SECONDS - begin)) "$name"
}

everyday='*AgreesWithPyTorch/resnet*:*AgreesWithPyTorch/vgg*:*AgreesWithPyTorch/mobilenet*:*AgreesWithPyTorch/convnext*:*AgreesWithPyTorch/vit*:*AgreesWithPyTorch/bert*'
small='*Reference/reduce_sum:*Reference/transpose:*Reference/conv:*Reference/matmul:*Reference/map:*Reference/max_pool*:*Reference/gather*'
case $mode in
  test)
    command -v nvidia-smi >/dev/null || { echo "no NVIDIA driver here" >&2; exit 2; }
    row ops 150 "$here/op_conformance_gpu_test"
    row models 60 env ONNXRAY_DEVICE=cuda "$here/golden_test" --gtest_filter="$everyday"
    row methods 60 env ONNXRAY_DEVICE=cuda "$here/method_conformance_test" \
      --gtest_filter='*RowsAreIndependent*/saliency:*RowsAreIndependent*/integrated_gradients:*RowsAreIndependent*/occlusion'
    for tool in memcheck racecheck; do
      row "$tool" 90 compute-sanitizer --tool "$tool" --error-exitcode 9 "$here/op_conformance_gpu_test" --gtest_filter="$small"
    done
    ;;
  bench)
    command -v nvidia-smi >/dev/null || { echo "no NVIDIA driver here" >&2; exit 2; }
    exec timeout "$limit" python3 "$here/gpu.py" --onnxray "$here/onnxray" --out "$out"
    ;;
  *)
    echo "usage: gpu_check.sh test|bench [OUT.json]" >&2
    exit 2
    ;;
esac
cat "$out"
exit "$failed"
