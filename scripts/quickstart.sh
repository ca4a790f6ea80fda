#!/usr/bin/env bash
# From a clean clone on Debian 12 to the first X-ray: installs what is missing, builds the command and asks two models
# that both say "tank" why they do. Run it again: it builds only what changed.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

install_packages "${build_packages[@]}"

say "building the onnxray command in $build ($jobs at a time)"
first=()
[ -e "$build/CMakeCache.txt" ] || first=(-DCMAKE_BUILD_TYPE=Release -DONNXRAY_TESTS=OFF)
configure "$build" "${first[@]}"
cmake --build "$build" --target onnxray_cli --parallel "$jobs"

picture=examples/tank/pictures/tank_0
for model in biased diverse; do
  out=onnxray-out/tank-$model
  say "what does examples/tank/$model.onnx look at?"
  command=("$build/onnxray" attribute "examples/tank/$model.onnx" -i "$picture.png" --method integrated-gradients
    --to "logits:1-logits:0" --baselines blur
    --masks "${picture}_mask.png" --mask-names 1=sky,2=tank,3=ground -o "$out")
  printf '$ %s\n' "${command[*]}"
  "${command[@]}"
done

say "done. The picture: $picture.png; the heat maps:"
ls onnxray-out/tank-*/heatmap_0.png
