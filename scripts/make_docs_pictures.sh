#!/usr/bin/env bash
# Makes docs/pictures anew: what the two tank models look at, by integrated gradients.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ -x "$build/onnxray" ] || die "build the command first: scripts/quickstart.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for model in biased diverse; do
  "$build/onnxray" attribute "examples/tank/$model.onnx" -i examples/tank/pictures/tank_0.png --quiet \
    --method integrated-gradients --to "logits:1-logits:0" --baselines blur -o "$work"
  cp "$work/heatmap_0.png" "docs/pictures/tank_$model.png"
done
