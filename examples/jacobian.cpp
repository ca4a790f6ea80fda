// Plain derivatives, nothing about explanations: the Jacobian of a model's first output with respect to its first
// input, at a point of zeros, in float64.
//
//   jacobian examples/tank/biased.onnx
#include <onnxray/onnxray.h>

#include <cmath>
#include <iostream>

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: jacobian MODEL.onnx\n";
    return 2;
  }
  const onnxray::Model model = onnxray::load(argv[1]);
  const onnxray::ValueInfo& input = model.inputs().at(0);
  onnxray::Dims dims;
  for (const onnxray::DeclaredDim& d : input.dims) dims.push_back(d.value > 0 ? d.value : 1);
  const onnxray::Tensor x = onnxray::Tensor::zeros(onnxray::DType::f64, dims);

  const onnxray::Gradients g = onnxray::jacobian(model, {{input.name, x}}, model.outputs().at(0).name, {input.name},
                                                 {.precision = onnxray::Precision::kFloat64});

  const onnxray::Tensor& rows = g.gradients.at(input.name);  // one row per element of the output
  std::cout << "Jacobian " << onnxray::to_string(rows.dims()) << "\n";
  for (std::size_t r = 0; r < g.values.size(); ++r) {
    double sum = 0;
    const auto first = static_cast<std::int64_t>(r);
    for (const double v : rows.rows(first, first + 1).to_doubles()) sum += v * v;
    std::cout << model.outputs()[0].name << "[" << r << "] = " << g.values[r] << ", |gradient| = " << std::sqrt(sum)
              << "\n";
  }
  return 0;
} catch (const onnxray::Error& e) {
  std::cerr << "jacobian: " << e.what() << "\n";
  return 2;
}
