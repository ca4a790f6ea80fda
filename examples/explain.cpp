// Which inputs made the model say that? Prints the ten elements of the input that spoke most for a class.
//
//   onnxray run examples/tank/biased.onnx -i examples/tank/pictures/tank_0.png --value image -o out
//   explain examples/tank/biased.onnx out/image.npy 1
#include <onnxray/onnxray.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iostream>
#include <numeric>
#include <string>

// The numbers of a float32 .npy file; the model's declaration says their shape.
static onnxray::Tensor read_input(const std::string& file, onnxray::Dims dims) {
  std::ifstream in(file, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  onnxray::Tensor t(onnxray::DType::f32, std::move(dims));
  if (bytes.size() < t.bytes() || bytes.find("'<f4'") == std::string::npos)
    throw onnxray::Error(onnxray::ErrorKind::kBadInput,
                         file + " does not hold float32 " + onnxray::to_string(t.dims()));
  std::memcpy(t.raw_mutable(), bytes.data() + bytes.size() - t.bytes(), t.bytes());
  return t;
}

int main(int argc, char** argv) try {
  if (argc != 4) {
    std::cerr << "usage: explain MODEL.onnx INPUT.npy CLASS\n";
    return 2;
  }
  const onnxray::Model model = onnxray::load(argv[1]);
  const onnxray::ValueInfo& input = model.inputs().at(0);
  onnxray::Dims dims;
  for (const onnxray::DeclaredDim& d : input.dims) dims.push_back(d.value > 0 ? d.value : 1);
  const onnxray::Tensor x = read_input(argv[2], dims);

  const onnxray::Attribution map =
      onnxray::attribute(model, onnxray::IntegratedGradients{.n_steps = 50},
                         {.inputs = {{input.name, x}}, .to = {onnxray::output(std::stoll(argv[3]))}});

  std::cout << "value " << map.values[0] << ", at the baseline " << map.baseline_values[0] << ", delta " << map.delta[0]
            << "\n";
  const auto a = map.attributions.at(input.name).data<double>();
  std::vector<std::size_t> order(a.size());
  std::iota(order.begin(), order.end(), 0);
  const std::size_t top = std::min<std::size_t>(10, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(top), order.end(),
                    [&](std::size_t i, std::size_t j) { return a[i] > a[j]; });
  for (std::size_t k = 0; k < top; ++k) {
    std::string at;
    std::size_t rest = order[k];
    for (std::size_t d = dims.size(); d-- > 1; rest /= static_cast<std::size_t>(dims[d]))
      at = std::to_string(rest % static_cast<std::size_t>(dims[d])) + (at.empty() ? "" : ", ") + at;
    std::cout << input.name << "[" << at << "] = " << x.data<float>()[order[k]] << ": " << a[order[k]] << "\n";
  }
  return 0;
} catch (const onnxray::Error& e) {
  std::cerr << "explain: " << e.what() << "\n";
  return 2;
}
