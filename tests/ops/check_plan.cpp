// The op inside plans: memory reuse and expansion.
#include <algorithm>

#include "engine/passes/passes.h"
#include "tests/ops/check.h"

namespace onnxray::testing {
namespace {

// Arithmetic that leaves a value as it is but puts it into the arena, where it dies at its only reader.
bool can_pass_through(DType t) { return t == DType::f32 || t == DType::f64 || t == DType::i64 || t == DType::i32; }

std::vector<Tensor> run_in_chain(const Subject& s, const OpSample& sample, std::span<const Tensor> inputs, bool alias) {
  Graph g;
  Builder b(g);
  std::vector<ValueId> node_inputs;
  std::vector<Tensor> given;
  ValueId shared = kNoValue;
  std::size_t shared_index = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& t = inputs[i];
    if (!t.defined()) {
      node_inputs.push_back(kNoValue);
      continue;
    }
    if (alias && shared != kNoValue && inputs[shared_index].same_bits(t)) {
      node_inputs.push_back(shared);
      continue;
    }
    ValueId v = g.add_input("x" + std::to_string(i), t.dtype(), t.dims());
    given.push_back(t);
    if (can_pass_through(t.dtype())) v = b.mul(v, 1.0);
    if (shared == kNoValue) {
      shared = v;
      shared_index = i;
    }
    node_inputs.push_back(v);
  }
  g.set_outputs(g.add_node(s.op, node_inputs, sample.attrs, s.op.name));
  const auto plan = compile(g, s.backend);
  PlanRun run(plan);
  std::vector<Tensor> out;
  for (int time = 0; time < 2; ++time) {  // the second run meets what the first one left in the arena
    for (std::size_t i = 0; i < given.size(); ++i) run.bind(i, given[i]);
    run.execute();
    out.clear();
    for (std::size_t i = 0; i < g.outputs().size(); ++i) out.push_back(run.output(i));
  }
  return out;
}

}  // namespace

Failures check_reference(const Subject& s) {
  return for_each_sample(s, [&](std::size_t k, DType float_type, const auto& report) {
    const OpSample& sample = s.spec.samples[k];
    const std::vector<Tensor> inputs = draw_inputs(sample, float_type, seed_of(s, k));
    std::vector<Array> arrays;
    for (const Tensor& t : inputs) arrays.push_back(to_array(t));
    const std::vector<Array> want = s.spec.reference(arrays, sample.attrs);
    const auto compare = [&](const std::vector<char>& constant, const char* what) {
      const std::vector<Tensor> got = run_sample(s, sample, inputs, constant);
      for (std::size_t i = 0; i < want.size(); ++i) {
        const std::string off = difference(got[i], want[i], tolerance(s, float_type, got[i].dtype()));
        if (!off.empty()) report(detail::concat(what, ": output ", i, ": ", off));
      }
    };
    compare({}, "inputs");
    std::vector<char> constant;
    for (const SampleInput& in : sample.inputs) constant.push_back(in.constant);
    if (std::find(constant.begin(), constant.end(), 1) != constant.end()) compare(constant, "constants");
  });
}

Failures check_plan(const Subject& s) {
  if (s.op.traits.updates) return {};
  return for_each_sample(s, [&](std::size_t k, DType float_type, const auto& report) {
    const OpSample& sample = s.spec.samples[k];
    std::vector<Tensor> inputs = draw_inputs(sample, float_type, seed_of(s, k));
    const auto compare = [&](bool alias, const char* what) {
      const std::vector<Tensor> want = run_sample(s, sample, inputs);
      const std::vector<Tensor> got = run_in_chain(s, sample, inputs, alias);
      for (std::size_t i = 0; i < want.size(); ++i) {
        const std::string off = difference(got[i], want[i], 0);
        if (!off.empty()) report(detail::concat(what, ": output ", i, ": ", off));
      }
    };
    compare(false, "inputs that die at the node");
    // Every input like the first one is the first one.
    bool any = false;
    for (std::size_t i = 1; i < inputs.size(); ++i) {
      const bool like = inputs[0].defined() && inputs[i].defined() && inputs[i].dims() == inputs[0].dims() &&
                        inputs[i].dtype() == inputs[0].dtype() && is_float(inputs[i].dtype()) &&
                        !sample.inputs[i].fixed.defined();
      if (!like) continue;
      inputs[i] = inputs[0];
      any = true;
    }
    if (any) compare(true, "one value as several inputs");
  });
}

Failures check_expand(const Subject& s) {
  if (s.op.expand == nullptr || s.backend.find(s.op.name) == nullptr) return {};
  return for_each_sample(s, [&](std::size_t k, DType float_type, const auto& report) {
    const OpSample& sample = s.spec.samples[k];
    const std::vector<Tensor> inputs = draw_inputs(sample, float_type, seed_of(s, k));
    const std::vector<Tensor> want = run_sample(s, sample, inputs);
    const OneNode one = one_node(s, sample, inputs);
    const Graph expanded = expand_composites(
        one.graph, [&](const Node& n) { return n.op != &s.op; }, evaluator_of(s.backend));
    expanded.verify();
    std::vector<Tensor> given;
    for (const std::size_t i : one.given) given.push_back(inputs[i]);
    const std::vector<Tensor> got = run_plan(compile(expanded, s.backend), given);
    for (std::size_t i = 0; i < want.size(); ++i) {
      const std::string off = difference(got[i], want[i], 2 * tolerance(s, float_type, want[i].dtype()));
      if (!off.empty()) report(detail::concat("expansion: output ", i, ": ", off));
    }
  });
}

}  // namespace onnxray::testing
