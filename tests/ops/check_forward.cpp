// The kernel alone, on buffers with red zones, against the reference; and the error samples.
#include <algorithm>
#include <cstring>

#include "tests/ops/arena.h"
#include "tests/ops/check.h"

namespace onnxray::testing {
namespace {

constexpr std::byte kNanPattern{0xff};    // NaN in both float types
constexpr std::byte kOtherPattern{0x5a};  // large finite numbers

struct Variant {
  const char* what;
  bool constants = false;  // inputs marked constant are constants of the graph
  int only_output = -1;    // only this output is read; -1: all are
  std::byte pattern = kNanPattern;
  bool shifted = false;  // data begins one element past an aligned address, like the row of a larger array
};

class KernelRun {
 public:
  KernelRun(const Subject& s, const OpSample& sample, std::span<const Tensor> inputs, const Variant& v)
      : s_(s), sample_(sample), inputs_(inputs), variant_(v) {}

  // The outputs (undefined where not read), none where the kernel declines; what went wrong is appended to `problems`.
  // A device under test can be the simulator alone, whose kernels take host memory.
  std::vector<Tensor> operator()(Failures& problems) {
    std::vector<char> constant(inputs_.size(), 0);
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      constant[i] = variant_.constants && sample_.inputs[i].constant;
    }
    const OneNode one = one_node(s_, sample_, inputs_, constant);
    const Node& node = one.graph.node(0);
    std::vector<Tensor> constants;
    for (const ValueId v : one.inputs) {
      constants.push_back(one.graph.is_constant(v) ? one.graph.value(v).constant : Tensor());
    }
    std::vector<char> read(node.outputs.size(), 1);
    if (variant_.only_output >= 0) {
      for (std::size_t i = 0; i < read.size(); ++i) read[i] = static_cast<int>(i) == variant_.only_output;
    }
    PreparedConstants prepared;
    const PrepareCtx context(one.graph, node, constants, read, &prepared, s_.backend.device.get());
    const Step step = s_.backend.find(s_.op.name)(context);
    if (!step.run) return {};

    const bool updates = s_.op.traits.updates;
    std::vector<GuardedBuffer> in, out;
    std::vector<const void*> in_pointers;
    std::vector<void*> out_pointers;
    in.reserve(inputs_.size());
    out.reserve(read.size());
    for (const Tensor& t : inputs_) {
      in.emplace_back(t.defined() ? t.bytes() : 0, variant_.pattern, shift(t.dtype()));
      if (t.defined()) std::memcpy(in.back().data(), t.raw(), t.bytes());
      in_pointers.push_back(t.defined() ? in.back().data() : nullptr);
    }
    for (std::size_t i = 0; i < read.size(); ++i) {
      const Value& v = one.graph.value(node.outputs[i]);
      const std::size_t bytes = static_cast<std::size_t>(count_of(v.dims)) * size_of(v.dtype);
      out.emplace_back(bytes, variant_.pattern, shift(v.dtype));
      out_pointers.push_back(read[i] != 0 ? out.back().data() : nullptr);
    }
    if (updates) out_pointers[0] = in[0].data();
    GuardedBuffer scratch(step.scratch_bytes, variant_.pattern);
    Fault fault{};
    step.run({in_pointers.data(), out_pointers.data(), scratch.data(), nullptr, &fault, 1});

    const auto report = [&](const std::string& text) { problems.push_back(std::string(variant_.what) + ": " + text); };
    if (fault.step != 0) report(detail::concat("reports index ", fault.value, " out of range"));
    for (std::size_t i = 0; i < in.size(); ++i) {
      if (const std::string d = in[i].damage(); !d.empty()) report(detail::concat("writes ", d, " of input ", i));
      if (!inputs_[i].defined() || (updates && i == 0)) continue;
      if (std::memcmp(in[i].data(), inputs_[i].raw(), inputs_[i].bytes()) != 0) {
        report(detail::concat("changes input ", i));
      }
    }
    if (const std::string d = scratch.damage(); !d.empty()) report("writes " + d + " of the scratch memory");
    std::vector<Tensor> results;
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (const std::string d = out[i].damage(); !d.empty()) report(detail::concat("writes ", d, " of output ", i));
      if (read[i] == 0) {
        results.emplace_back();
        continue;
      }
      const Value& v = one.graph.value(node.outputs[i]);
      Tensor t(v.dtype, v.dims);
      std::memcpy(t.raw_mutable(), out_pointers[i], t.bytes());
      results.push_back(t);
    }
    return results;
  }

 private:
  [[nodiscard]] std::size_t shift(DType t) const { return variant_.shifted ? size_of(t) : 0; }

  const Subject& s_;
  const OpSample& sample_;
  std::span<const Tensor> inputs_;
  Variant variant_;
};

void check_sample(const Subject& s, std::size_t k, DType float_type, Failures& failures) {
  const OpSample& sample = s.spec.samples[k];
  const std::uint64_t seed = seed_of(s, k);
  const std::string where = describe(s, k, float_type, seed);
  const std::vector<Tensor> inputs = draw_inputs(sample, float_type, seed);
  const OneNode one = one_node(s, sample, inputs);
  one.graph.verify();
  if (one.graph.to_text().find(s.op.name) == std::string::npos) failures.push_back(where + "not printed");

  std::vector<Array> arrays;
  for (const Tensor& t : inputs) arrays.push_back(to_array(t));
  const std::vector<Array> want = s.spec.reference(arrays, sample.attrs);
  if (want.size() != one.outputs.size()) {
    failures.push_back(
        detail::concat(where, "the reference gives ", want.size(), " outputs, infer ", one.outputs.size()));
    return;
  }
  const auto compare = [&](const std::vector<Tensor>& got, const char* what) {
    for (std::size_t i = 0; i < want.size(); ++i) {
      if (!got[i].defined()) continue;
      const std::string off = difference(got[i], want[i], tolerance(s, float_type, got[i].dtype()));
      if (!off.empty()) failures.push_back(detail::concat(where, what, ": output ", i, ": ", off));
    }
  };
  if (s.backend.find(s.op.name) == nullptr) {
    if (s.op.expand == nullptr) {
      failures.push_back(where + "no kernel on " + s.backend.name() + " and no expansion");
    } else {
      compare(run_sample(s, sample, inputs), "expanded");
    }
    return;
  }

  Failures problems;
  const auto run = [&](const Variant& v) { return KernelRun(s, sample, inputs, v)(problems); };
  const std::vector<Tensor> first = run({.what = "kernel"});
  if (first.empty()) {
    if (s.declined != nullptr) s.declined->push_back(where);
    else failures.push_back(where + "the kernel declines");
    return;
  }
  compare(first, "kernel");
  const auto same = [&](const std::vector<Tensor>& other, const std::string& what) {
    for (std::size_t i = 0; i < first.size(); ++i) {
      if (!other[i].defined() || other[i].same_bits(first[i])) continue;
      problems.push_back(detail::concat(what, ": output ", i, ": ", difference(other[i], first[i], 0)));
    }
  };
  same(run({.what = "second run", .pattern = kOtherPattern}),
       "the result depends on memory that is not the op's own, or on the run");
  // A device's memory is aligned, and plans place values at multiples of 64 bytes.
  if (s.backend.device == nullptr) compare(run({.what = "odd addresses", .shifted = true}), "odd addresses");
  if (std::any_of(sample.inputs.begin(), sample.inputs.end(), [](const SampleInput& in) { return in.constant; })) {
    compare(run({.what = "constant inputs", .constants = true}), "constant inputs");
  }
  for (std::size_t i = 0; first.size() > 1 && i < first.size(); ++i) {
    const std::vector<Tensor> got = run({.what = "one output read", .only_output = static_cast<int>(i)});
    if (!got.empty()) compare(got, "one output read");
  }
  for (const std::string& p : problems) failures.push_back(where + p);
}

}  // namespace

Failures check_forward(const Subject& s) {
  Failures failures;
  for (std::size_t k = 0; k < s.spec.samples.size(); ++k) {
    for (const DType float_type : {DType::f64, DType::f32}) {
      if (float_type == DType::f32 && !has_float_under_test(s.spec.samples[k])) continue;
      try {
        check_sample(s, k, float_type, failures);
      } catch (const std::exception& e) {
        failures.push_back(describe(s, k, float_type, seed_of(s, k)) + "throws: " + e.what());
      }
    }
  }
  return failures;
}

Failures check_errors(const Subject& s) {
  Failures failures;
  for (std::size_t k = 0; k < s.spec.errors.size(); ++k) {
    const OpSample& sample = s.spec.errors[k];
    const std::string where = detail::concat(s.op.name, " error case ", k, " (", sample.attrs.to_text(), "): ");
    try {
      (void)one_node(s, sample, draw_inputs(sample, DType::f64, seed_of(s, k)));
      failures.push_back(where + "was accepted");
    } catch (const Error& e) {
      const std::string text = e.what();
      if (e.kind() == ErrorKind::kInternal) failures.push_back(where + "an internal error: " + text);
      if (text.empty() || text.find('\n') != std::string::npos) failures.push_back(where + "not one line: " + text);
    } catch (const std::exception& e) {
      failures.push_back(where + "throws something else: " + e.what());
    }
  }
  return failures;
}

}  // namespace onnxray::testing
