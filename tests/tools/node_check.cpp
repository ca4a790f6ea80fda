// Runs ONNX's single-node test folders node by node, without plans: what the op families check converters with.
//   onnxray_node_check [--quiet] [--only TEXT] DIR...
// A DIR is a test folder (model.onnx, test_data_set_*) or holds such folders.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/passes/passes.h"
#include "kernels/cpu/cpu.h"
#include "onnx_import/load.h"
#include "onnx_import/specialise.h"
#include "onnx_import/test_data.h"

namespace fs = std::filesystem;
using namespace onnxray;
using namespace onnxray::onnx_import;

namespace {

// Every output of the graph, computed on the given inputs one node after another.
std::vector<Tensor> evaluate(const Graph& g, const std::vector<Tensor>& inputs, const Evaluator& evaluator) {
  std::vector<Tensor> values(g.value_count());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const ValueId v = g.inputs()[i];
    values[static_cast<std::size_t>(v)] = inputs[i].to(g.value(v).dtype);
  }
  const auto read = [&](ValueId v) {
    if (v == kNoValue) return Tensor();
    if (g.is_constant(v)) return g.value(v).constant.to(g.value(v).dtype);
    return values[static_cast<std::size_t>(v)];
  };
  for (const Node& node : g.nodes()) {
    std::vector<Tensor> in;
    for (const ValueId v : node.inputs) in.push_back(read(v));
    const std::vector<Tensor> out = evaluator(g, node, in);
    for (std::size_t i = 0; i < out.size(); ++i) values[static_cast<std::size_t>(node.outputs[i])] = out[i];
  }
  std::vector<Tensor> outputs;
  for (const ValueId v : g.outputs()) outputs.push_back(read(v));
  return outputs;
}

// Empty when `got` is `want` within ONNX's tolerance.
std::string difference(const Tensor& got, DType got_dtype, const Tensor& want) {
  if (got_dtype != want.dtype())
    return detail::concat("dtype ", name_of(got_dtype), ", expected ", name_of(want.dtype()));
  if (got.dims() != want.dims())
    return detail::concat("shape ", to_string(got.dims()), ", expected ", to_string(want.dims()));
  const double atol = want.dtype() == DType::f16 || want.dtype() == DType::bf16 ? 1e-3 : 1e-7;
  const std::vector<double> a = got.to_doubles(), b = want.to_doubles();
  std::size_t wrong = 0, first = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
    if (std::abs(a[i] - b[i]) <= atol + 1e-3 * std::abs(b[i])) continue;
    if (wrong++ == 0) first = i;
  }
  if (wrong == 0) return {};
  return detail::concat(wrong, " of ", a.size(), " elements differ, first [", first, "]: ", a[first], ", expected ",
                        b[first]);
}

std::string check_data_set(const OnnxFile& file, const fs::path& folder) {
  static const Evaluator evaluator = evaluator_of(cpu_backend());
  SpecialiseRequest request;
  std::vector<Tensor> inputs;
  for (std::size_t i = 0; i < file.graph.inputs.size(); ++i) {
    const ValueInfo& in = file.graph.inputs[i];
    inputs.push_back(read_tensor_file(folder / ("input_" + std::to_string(i) + ".pb"), in));
    request.input_dims[in.name] = inputs.back().dims();
    request.input_data[in.name] = inputs.back();
  }
  const Specialised s = specialise(file, request, evaluator);
  s.graph.verify();
  const Graph g = set_precision(s.graph, Precision::kDeclared, evaluator);
  const std::vector<Tensor> outputs = evaluate(g, inputs, evaluator);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Tensor want = read_tensor_file(folder / ("output_" + std::to_string(i) + ".pb"), file.graph.outputs[i]);
    const std::string why = difference(outputs[i].to(s.graph.value(s.graph.outputs()[i]).dtype),
                                       s.graph.value(s.graph.outputs()[i]).dtype, want);
    if (!why.empty()) return "output '" + file.graph.outputs[i].name + "': " + why;
  }
  return {};
}

struct Tally {
  int passed = 0, failed = 0, unsupported = 0;
};

void check_case(const fs::path& folder, bool quiet, Tally& tally) {
  std::string verdict = "PASS", why;
  try {
    const OnnxFile file = load_file(folder / "model.onnx");
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (!entry.is_directory() || !entry.path().filename().string().starts_with("test_data_set_")) continue;
      why = check_data_set(file, entry.path());
      if (!why.empty()) break;
    }
    if (!why.empty()) verdict = "FAIL";
  } catch (const Error& e) {
    verdict = e.kind() == ErrorKind::kUnsupported ? "UNSUPPORTED" : "FAIL";
    why = e.what();
    std::replace(why.begin(), why.end(), '\n', ' ');
  }
  ++(verdict == "PASS" ? tally.passed : verdict == "FAIL" ? tally.failed : tally.unsupported);
  if (quiet && verdict == "PASS") return;
  std::cout << verdict << ' ' << folder.filename().string() << (why.empty() ? "" : ": " + why) << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  bool quiet = false;
  std::string only;
  std::vector<fs::path> cases;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--quiet") {
      quiet = true;
    } else if (arg == "--only" && i + 1 < argc) {
      only = argv[++i];
    } else if (fs::exists(fs::path(arg) / "model.onnx")) {
      cases.emplace_back(fs::path(arg).lexically_normal());
    } else {
      for (const auto& entry : fs::directory_iterator(arg)) {
        if (fs::exists(entry.path() / "model.onnx")) cases.push_back(entry.path());
      }
    }
  }
  std::sort(cases.begin(), cases.end());
  Tally tally;
  for (const fs::path& c : cases) {
    if (c.filename().string().find(only) != std::string::npos) check_case(c, quiet, tally);
  }
  std::cout << tally.passed << " passed, " << tally.failed << " failed, " << tally.unsupported << " unsupported\n";
  return tally.failed == 0 ? 0 : 1;
}
