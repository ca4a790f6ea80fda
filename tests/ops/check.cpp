// What the checks share: drawing inputs, running a node in a plan, comparing.
#include "tests/ops/check.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "engine/base/philox.h"
#include "engine/passes/passes.h"

namespace onnxray::testing {

Failures check_coverage(const OpRegistry& registry, std::span<const OpCase> cases) {
  Failures failures;
  std::set<std::string> seen;
  for (const OpCase& c : cases) {
    if (!seen.insert(c.op).second) failures.push_back(c.op + ": two cases");
    if (registry.find(c.op) == nullptr) failures.push_back(c.op + ": a case for an op that is not registered");
    if (c.samples.size() < 6) {
      failures.push_back(c.op + ": " + std::to_string(c.samples.size()) + " samples, expected at least 6");
    }
    if (!c.reference) failures.push_back(c.op + ": no reference");
  }
  for (const OpDef& op : registry.all()) {
    if (!seen.contains(op.name)) failures.push_back(op.name + ": no samples");
  }
  return failures;
}

std::string describe(const Subject& s, std::size_t sample, DType float_type, std::uint64_t seed) {
  const OpSample& p = s.spec.samples[sample];
  std::string shapes;
  for (const SampleInput& in : p.inputs) shapes += (in.absent ? "-" : to_string(in.dims)) + " ";
  return detail::concat(s.op.name, " sample ", sample, " (", shapes, "; ", p.attrs.to_text(), ") ", name_of(float_type),
                        " seed ", seed, ": ");
}

std::uint64_t seed_of(const Subject& s, std::size_t sample, std::uint64_t draw) {
  std::uint64_t h = 1469598103934665603ull;  // FNV-1a, the same on every platform
  for (const char c : s.op.name) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return (h % 100000) * 1000000 + sample * 1000 + draw;
}

bool has_float_under_test(const OpSample& sample) {
  return std::any_of(sample.inputs.begin(), sample.inputs.end(),
                     [](const SampleInput& in) { return !in.absent && in.dtype == DType::f64 && !in.keep_dtype; });
}

DType dtype_of_input(const SampleInput& in, DType float_type) {
  return in.dtype == DType::f64 && !in.keep_dtype ? float_type : in.dtype;
}

Tensor random_tensor(DType dtype, const Dims& dims, double lo, double hi, std::uint64_t seed) {
  const Philox philox{seed};
  Tensor t(DType::f64, dims);
  std::uint64_t i = 0;
  for (double& x : t.mutable_data<double>()) {
    const double u = Philox::uniform(philox(0, i++), 0);
    if (dtype == DType::boolean) {
      x = u < 0.5 ? 0 : 1;
    } else {
      x = lo + u * (hi - lo);
      if (is_integer(dtype)) x = std::floor(x);
    }
  }
  return t.to(dtype);
}

std::vector<Tensor> draw_inputs(const OpSample& sample, DType float_type, std::uint64_t seed) {
  std::vector<Tensor> out;
  for (std::size_t i = 0; i < sample.inputs.size(); ++i) {
    const SampleInput& in = sample.inputs[i];
    const DType dtype = dtype_of_input(in, float_type);
    if (in.absent) {
      out.emplace_back();
    } else if (in.fixed.defined()) {
      out.push_back(in.fixed.to(dtype));
    } else {
      out.push_back(random_tensor(dtype, in.dims, in.lo, in.hi, seed * 64 + i));
    }
  }
  return out;
}

OneNode one_node(const Subject& s, const OpSample& sample, std::span<const Tensor> inputs,
                 const std::vector<char>& constant) {
  OneNode one;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].defined()) {
      one.inputs.push_back(kNoValue);
    } else if (i < constant.size() && constant[i] != 0) {
      one.inputs.push_back(one.graph.add_constant(inputs[i]));
    } else {
      one.inputs.push_back(one.graph.add_input("x" + std::to_string(i), inputs[i].dtype(), inputs[i].dims()));
      one.given.push_back(i);
    }
  }
  one.outputs = one.graph.add_node(s.op, one.inputs, sample.attrs, s.op.name);
  one.graph.set_outputs(one.outputs);
  return one;
}

std::shared_ptr<const Plan> compile(const Graph& g, const Backend& backend) {
  const auto has_kernel = [&](const Node& n) { return backend.find(n.op->name) != nullptr; };
  return Plan::compile(clean(expand_composites(g, has_kernel, evaluator_of(backend))), backend, nullptr);
}

std::vector<Tensor> run_plan(const std::shared_ptr<const Plan>& plan, std::span<const Tensor> inputs) {
  PlanRun run(plan);
  ONNXRAY_CHECK(inputs.size() == plan->graph().inputs().size(), "run_plan: ", inputs.size(), " inputs given");
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    Tensor copy(inputs[i].dtype(), inputs[i].dims());
    std::memcpy(copy.raw_mutable(), inputs[i].raw(), inputs[i].bytes());
    run.bind(i, copy);
  }
  run.execute();
  std::vector<Tensor> out;
  for (std::size_t i = 0; i < plan->graph().outputs().size(); ++i) out.push_back(run.output(i));
  return out;
}

std::vector<Tensor> run_sample(const Subject& s, const OpSample& sample, std::span<const Tensor> inputs,
                               const std::vector<char>& constant) {
  const OneNode one = one_node(s, sample, inputs, constant);
  std::vector<Tensor> given;
  for (const std::size_t i : one.given) given.push_back(inputs[i]);
  return run_plan(compile(one.graph, s.backend), given);
}

Array to_array(const Tensor& t) { return t.defined() ? Array{t.dims(), t.to_doubles()} : Array{}; }

double tolerance(const Subject& s, DType float_type, DType output) {
  const double n = std::sqrt(std::max(1.0, s.spec.reduction));
  if (float_type == DType::f32 || output == DType::f32) return 8 * 0x1p-23 * n;
  return 1e-12 * n;
}

namespace {
std::string index_text(std::int64_t flat, const Dims& dims) {
  Dims index(dims.size(), 0);
  for (std::size_t d = dims.size(); d-- > 0;) {
    index[d] = flat % dims[d];
    flat /= dims[d];
  }
  return to_string(index);
}
}  // namespace

std::string difference(const Tensor& got, const Array& want, double relative) {
  if (got.dims() != want.dims) {
    return detail::concat("shape ", to_string(got.dims()), ", expected ", to_string(want.dims));
  }
  if (static_cast<std::int64_t>(want.v.size()) != got.size()) {
    return detail::concat("the reference gives ", want.v.size(), " values for shape ", to_string(want.dims));
  }
  const std::vector<double> g = got.to_doubles();
  const bool exact = !is_float(got.dtype());
  double sum = 0, finite = 0;
  for (const double w : want.v) {
    if (!std::isfinite(w)) continue;
    sum += w * w;
    ++finite;
  }
  const double rms = finite > 0 ? std::sqrt(sum / finite) : 0;
  const double largest = got.dtype() == DType::f32 ? static_cast<double>(std::numeric_limits<float>::max())
                                                   : std::numeric_limits<double>::max();
  double worst = 0;
  std::int64_t at = -1;
  for (std::size_t i = 0; i < g.size(); ++i) {
    const double w = want.v[i];
    double off = 0;  // in units of what is allowed
    if (std::isnan(w) || std::isnan(g[i])) {
      off = std::isnan(w) && std::isnan(g[i]) ? 0 : std::numeric_limits<double>::infinity();
    } else if (std::isinf(w) || std::isinf(g[i])) {
      // What overflows float32 is infinite there.
      const bool same = g[i] == w || (std::abs(w) > largest && std::isinf(g[i]) && (g[i] > 0) == (w > 0));
      off = same ? 0 : std::numeric_limits<double>::infinity();
    } else if (exact) {
      off = g[i] == w ? 0 : 2;
    } else if (g[i] != w) {
      // The smallest normal number stands for flushed or denormal results.
      const double tiny = got.dtype() == DType::f32 ? 0x1p-126 : 0x1p-1022;
      off = std::abs(g[i] - w) / (relative * std::max(std::abs(w), std::isfinite(rms) ? rms : 0) + tiny);
    }
    if (off > worst) {
      worst = off;
      at = static_cast<std::int64_t>(i);
    }
  }
  if (worst <= 1) return {};
  std::ostringstream out;
  out.precision(17);
  out << "worst element at " << index_text(at, got.dims()) << " of " << to_string(got.dims()) << ": got "
      << g[static_cast<std::size_t>(at)] << ", expected " << want.v[static_cast<std::size_t>(at)] << ", " << worst
      << " times the tolerance " << relative;
  return out.str();
}

std::string difference(const Tensor& got, const Tensor& want, double relative) {
  if (got.dtype() != want.dtype()) {
    return detail::concat("dtype ", name_of(got.dtype()), ", expected ", name_of(want.dtype()));
  }
  if (got.same_bits(want)) return {};
  if (relative == 0) {
    const std::string off = difference(got, to_array(want), 1e-300);
    if (!off.empty()) return "not the same bits: " + off;
    // Arithmetic may change a NaN's payload (devices return the canonical one), but nothing else.
    const std::vector<double> g = got.to_doubles(), w = want.to_doubles();
    for (std::size_t i = 0; i < w.size(); ++i) {
      const bool same = std::isnan(w[i]) || (g[i] == w[i] && std::signbit(g[i]) == std::signbit(w[i]));
      if (!same) return detail::concat("not the same bits at ", i, ": got ", g[i], ", expected ", w[i]);
    }
    return {};
  }
  return difference(got, to_array(want), relative);
}

}  // namespace onnxray::testing
