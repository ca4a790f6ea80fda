#!/bin/sh
# Runs `onnxray verify` over ONNX's own test data as Debian packages it (libonnx-testdata). Exit 77: the data is absent.
#   debian_suite.sh ONNXRAY node|pytorch
set -eu
onnxray=$1
here=$(dirname "$0")
data=${ONNXRAY_ONNX_TESTDATA:-/usr/include/onnx/backend/test/data}
if [ ! -d "$data/node" ]; then
  echo "SKIPPED: no ONNX test data in $data (package libonnx-testdata): 632 + 117 cases not run"
  exit 77
fi
case $2 in
  node) exec "$onnxray" verify "$data/node" --only "$here/debian_tier1.txt" --expect "$here/debian_expected.txt" ;;
  pytorch) exec "$onnxray" verify "$data/pytorch-operator" "$data/pytorch-converted" ;;
esac
echo "unknown suite $2" >&2
exit 2
