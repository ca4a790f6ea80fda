// A program of somebody else's: it sees the installed headers and the library only.
#include <onnxray/onnxray.h>

#include <cmath>
#include <iostream>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  // An error thrown inside the library is caught by its type out here.
  try {
    (void)onnxray::load("no_such_file.onnx");
    std::cerr << "a missing file was loaded\n";
    return 1;
  } catch (const onnxray::Error& e) {
    std::cout << "as it should be: " << e.what() << '\n';
  }
  // Integrated gradients of an all-ones picture add up to the change of the logit and the delta that is stated.
  const onnxray::Model model = onnxray::load(argv[1]);
  onnxray::Tensor picture(onnxray::DType::f32, {1, 3, 96, 96});
  for (float& v : picture.mutable_data<float>()) v = 1;
  const onnxray::Attribution map = onnxray::attribute(model, onnxray::IntegratedGradients{.n_steps = 32},
                                                      {.inputs = {{"image", picture}}, .to = {onnxray::output(1)}});
  double sum = 0;
  for (const double v : map.attributions.at("image").data<double>()) sum += v;
  const double change = map.values.at(0) - map.baseline_values.at(0);
  std::cout << "sum " << sum << ", change of the logit " << change << ", delta " << map.delta.at(0) << '\n';
  return std::abs(sum - change - map.delta.at(0)) < 1e-6 ? 0 : 1;
}
