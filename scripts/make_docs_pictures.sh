#!/usr/bin/env bash
# Makes docs/pictures anew: what the two tank models look at by integrated gradients, and what every method shows of the
# diverse one (docs/pictures/methods/NAME.png, for the methods' pages). With names as arguments only those methods.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ -x "$build/onnxray" ] || die "build the command first: scripts/quickstart.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

pictures=examples/tank/pictures
attribute() { # MODEL OPTIONS...
  local model=$1
  shift
  "$build/onnxray" attribute "examples/tank/$model.onnx" -i "$pictures/tank_0.png" --quiet \
    --to "logits:1-logits:0" -o "$work" "$@"
}

if [ $# -eq 0 ]; then
  for model in biased diverse; do
    attribute "$model" --method integrated-gradients --baselines blur
    cp "$work/heatmap_0.png" "docs/pictures/tank_$model.png"
  done
  # The first column of the table, which ends at an empty line.
  mapfile -t methods < <("$build/onnxray" methods | awk 'NR > 1 { if (NF == 0) exit; print $1 }')
else
  methods=("$@")
fi

layer=/features/features.10/Relu_1_output_0
mkdir -p docs/pictures/methods
for method in "${methods[@]}"; do
  options=()
  case $method in
    occlusion) options=(--sliding-window-shapes 3,12,12 --strides 3,6,6) ;;
    activation | conductance | internal-influence) options=(--from "$layer") ;;
    feature-ablation) options=(--feature-mask slic:60) ;;
    feature-permutation) options=(--feature-mask grid:6 -i "$pictures/truck_0.png") ;;
    shapley-value-sampling) options=(--feature-mask grid:6 --n-samples 20) ;;
    shapley-values) options=(--feature-mask grid:3) ;;
    lime) options=(--feature-mask slic:60 --n-samples 1000 --alpha 0.001) ;;
    kernel-shap) options=(--feature-mask slic:60 --n-samples 1000) ;;
  esac
  rm -f "$work"/*
  # From the blurred picture where the method has a baseline.
  if { attribute diverse --method "$method" "${options[@]}" --picture blended_heat_map --baselines blur ||
    attribute diverse --method "$method" "${options[@]}" --picture blended_heat_map; } >"$work/log" 2>&1; then
    cp "$work/heatmap_0.png" "docs/pictures/methods/$method.png"
  else
    say "no picture of $method: $(tail -n 1 "$work/log")"
  fi
done
