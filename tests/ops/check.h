// The checks of the op conformance loop. Each returns readable failures, none when the op conforms, so that the loop
// can be tested itself on ops that are wrong on purpose.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/builder.h"
#include "engine/op.h"
#include "engine/plan.h"
#include "tests/ops/sample.h"

namespace onnxray::testing {

using Failures = std::vector<std::string>;

struct Subject {
  const OpDef& op;
  const OpCase& spec;
  const Backend& backend;
  // Samples whose kernel declines them, which the host then computes; null: declining is a failure.
  Failures* declined = nullptr;
};

// Every op of the registry has a case with at least 6 samples, and every case an op.
[[nodiscard]] Failures check_coverage(const OpRegistry& registry, std::span<const OpCase> cases);
// float64 and float32 against the reference; red zones, untouched inputs, unread outputs, constants, odd alignment.
[[nodiscard]] Failures check_forward(const Subject& s);
// The op in a plan of its own against the reference, also with inputs marked constant as constants: all that can be
// asked of a device whose memory is not the host's.
[[nodiscard]] Failures check_reference(const Subject& s);
// Each error sample makes infer throw Error.
[[nodiscard]] Failures check_errors(const Subject& s);
// In a plan whose inputs die at the node (so that their memory may be taken over), and with one value as several
// inputs.
[[nodiscard]] Failures check_plan(const Subject& s);
// Three rows in one run are the same as three runs: bit for bit in float64 (check_rows.cpp).
[[nodiscard]] Failures check_rows(const Subject& s);
// The same for gradients with more backward than forward rows (several targets of one row).
[[nodiscard]] Failures check_gradient_rows(const Subject& s);
// A composite's expansion computes what its kernel computes.
[[nodiscard]] Failures check_expand(const Subject& s);
// float64 gradients by central differences with random cotangents (grad_check.cpp).
[[nodiscard]] Failures check_gradient(const Subject& s);
[[nodiscard]] Failures check_second_order(const Subject& s);

// --- What the checks share ---

// "relu sample 3 float32 seed 17: "
[[nodiscard]] std::string describe(const Subject& s, std::size_t sample, DType float_type, std::uint64_t seed);
// Deterministic in (op name, sample, draw).
[[nodiscard]] std::uint64_t seed_of(const Subject& s, std::size_t sample, std::uint64_t draw = 0);
// Whether the sample has an input that stands for the float type under test.
[[nodiscard]] bool has_float_under_test(const OpSample& sample);
// The dtype of an input when `float_type` is under test.
[[nodiscard]] DType dtype_of_input(const SampleInput& in, DType float_type);
[[nodiscard]] Tensor random_tensor(DType dtype, const Dims& dims, double lo, double hi, std::uint64_t seed);
// One tensor per input; undefined where absent.
[[nodiscard]] std::vector<Tensor> draw_inputs(const OpSample& sample, DType float_type, std::uint64_t seed);

struct OneNode {
  Graph graph;
  std::vector<ValueId> inputs, outputs;  // of the node
  std::vector<std::size_t> given;        // the node input of each graph input
};
// A graph of the sample's node alone. Inputs for which `constant` is set are constants.
[[nodiscard]] OneNode one_node(const Subject& s, const OpSample& sample, std::span<const Tensor> inputs,
                               const std::vector<char>& constant = {});
// Compiles with composites expanded where the backend has no kernel.
[[nodiscard]] std::shared_ptr<const Plan> compile(const Graph& g, const Backend& backend);
// Runs a fresh PlanRun; bound tensors are copied first, so that updating ops cannot change the caller's.
[[nodiscard]] std::vector<Tensor> run_plan(const std::shared_ptr<const Plan>& plan, std::span<const Tensor> inputs);
// The sample's outputs through a plan of its node alone. Inputs for which `constant` is set are constants.
[[nodiscard]] std::vector<Tensor> run_sample(const Subject& s, const OpSample& sample, std::span<const Tensor> inputs,
                                             const std::vector<char>& constant = {});

// body(sample index, float type, report(text)) for both float types; what it throws is a failure too.
template <class F>
Failures for_each_sample(const Subject& s, F&& body) {
  Failures failures;
  for (std::size_t k = 0; k < s.spec.samples.size(); ++k) {
    for (const DType float_type : {DType::f64, DType::f32}) {
      if (float_type == DType::f32 && !has_float_under_test(s.spec.samples[k])) continue;
      const std::string where = describe(s, k, float_type, seed_of(s, k));
      try {
        body(k, float_type, [&](const std::string& text) { failures.push_back(where + text); });
      } catch (const std::exception& e) {
        failures.push_back(where + "throws: " + e.what());
      }
    }
  }
  return failures;
}

// Empty, or the worst element that is off by more than `relative` * max(|want|, rms(want)). NaN and infinities must be
// the same; integers and booleans are exact.
[[nodiscard]] std::string difference(const Tensor& got, const Array& want, double relative);
[[nodiscard]] std::string difference(const Tensor& got, const Tensor& want, double relative);
// k * eps * sqrt(reduction length) of the coarser of the float type under test and the output's type.
[[nodiscard]] double tolerance(const Subject& s, DType float_type, DType output);
[[nodiscard]] Array to_array(const Tensor& t);

}  // namespace onnxray::testing
