// libFuzzer target: any bytes as a model. Parsing, specialising and evaluating end in a result or an onnxray::Error;
// anything else (a crash, a leak, another exception, an internal error) is a finding. scripts/fuzz.sh runs it.
#include <cstdlib>
#include <iostream>
#include <span>

#include "engine/backend.h"
#include "engine/passes/passes.h"
#include "kernels/cpu/cpu.h"
#include "onnx_import/load.h"
#include "onnx_import/specialise.h"

using namespace onnxray;
using namespace onnxray::onnx_import;

namespace {

constexpr std::int64_t kMaxElements = 1 << 13;  // of one node's inputs and outputs together
constexpr int kMaxNodes = 2000;                 // evaluated for one model

std::int64_t elements(const Graph& g, const std::vector<ValueId>& values) {
  std::int64_t sum = 0;
  for (const ValueId v : values) {
    if (v != kNoValue) sum += count_of(g.value(v).dims);
  }
  return sum;
}

void evaluate(const Graph& g, const SpecialiseRequest& request, const Evaluator& evaluator) {
  std::vector<Tensor> values(g.value_count());
  const auto at = [&](ValueId v) -> Tensor& { return values[static_cast<std::size_t>(v)]; };
  for (const ValueId v : g.inputs()) at(v) = request.input_data.at(g.value(v).name).to(g.value(v).dtype);
  for (const Node& node : g.nodes()) {
    std::vector<Tensor> in;
    for (const ValueId v : node.inputs) {
      if (v == kNoValue) in.emplace_back();
      else if (g.is_constant(v)) in.push_back(g.value(v).constant.to(g.value(v).dtype));
      else in.push_back(at(v));
    }
    const std::vector<Tensor> out = evaluator(g, node, in);
    for (std::size_t i = 0; i < out.size(); ++i) at(node.outputs[i]) = out[i];
  }
}

void run(std::span<const std::byte> bytes) {
  const OnnxFile file = parse_bytes(bytes);
  static const Evaluator cpu = evaluator_of(cpu_backend());
  int evaluated = 0;
  const Evaluator limited = [&](const Graph& g, const Node& node, std::span<const Tensor> inputs) {
    ONNXRAY_CHECK(++evaluated <= kMaxNodes, "too many nodes for the fuzzer");
    ONNXRAY_CHECK(elements(g, node.inputs) + elements(g, node.outputs) <= kMaxElements, "too large for the fuzzer");
    return cpu(g, node, inputs);
  };
  // The digest decides what the file leaves open.
  const int choice = file.digest[0];
  SpecialiseRequest request, with_data;
  for (const ValueInfo& in : file.graph.inputs) {
    Dims dims;
    for (const DeclaredDim& d : in.dims) dims.push_back(d.value >= 0 ? d.value : 1 + choice % 2);
    ONNXRAY_CHECK(count_of(dims) <= kMaxElements, "too large for the fuzzer");
    request.input_dims[in.name] = dims;
    with_data.input_data[in.name] = Tensor::full(in.dtype, dims, choice % 3);
  }
  with_data.input_dims = request.input_dims;
  const Specialised s = specialise(file, choice % 4 == 0 ? with_data : request, limited);
  s.graph.verify();
  const Graph g = set_precision(s.graph, choice % 5 == 0 ? Precision::kFloat64 : Precision::kDeclared, limited);
  g.verify();
  evaluate(g, with_data, limited);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    run(std::as_bytes(std::span(data, size)));
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::kInternal) {
      std::cerr << e.what() << '\n';
      std::abort();
    }
  }
  return 0;
}
