// Gradients in float64 against differences: random cotangent, random direction, five-point formula. A kink between the
// five points shows as two difference quotients that disagree; such a point is drawn again, with a bound.
#include <algorithm>
#include <cmath>

#include "engine/autodiff.h"
#include "engine/passes/passes.h"
#include "tests/ops/check.h"

namespace onnxray::testing {
namespace {

constexpr int kRedraws = 30;
constexpr std::int64_t kFullJacobian = 48;  // elements up to which each one is checked alone

double dot(const Tensor& a, const Tensor& b) {
  double s = 0;
  const auto x = a.data<double>(), y = b.data<double>();
  for (std::size_t i = 0; i < x.size(); ++i) s += x[i] * y[i];
  return s;
}

double magnitude(const Tensor& a, const Tensor& b) {
  double s = 0;
  const auto x = a.data<double>(), y = b.data<double>();
  for (std::size_t i = 0; i < x.size(); ++i) s += std::abs(x[i] * y[i]);
  return s;
}

bool all_finite(const Tensor& t) {
  if (!t.defined() || !is_float(t.dtype())) return true;
  const std::vector<double> v = t.to_doubles();
  return std::all_of(v.begin(), v.end(), [](double x) { return std::isfinite(x); });
}

// value(x) = sum over k of <weights_k, f_k(x)>, where f is a plan of all inputs (x and what is held fixed).
struct Scalar {
  std::shared_ptr<const Plan> plan;
  std::vector<std::size_t> outputs;  // which plan outputs count
  std::vector<Tensor> weights;

  [[nodiscard]] double operator()(std::span<const Tensor> inputs, double* total = nullptr) const {
    const std::vector<Tensor> y = run_plan(plan, inputs);
    double s = 0;
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      s += dot(y[outputs[k]], weights[k]);
      if (total != nullptr) *total += magnitude(y[outputs[k]], weights[k]);
    }
    return s;
  }
};

struct Quotient {
  double slope = 0;
  double noise = 0;  // rounding error of the slope
  double bend = 0;   // disagreement between step h and step 2h, large at a kink
};

// The derivative of f at x along `direction` (undefined tensors: held fixed), in steps of h.
Quotient differentiate(const Scalar& f, const std::vector<Tensor>& x, const std::vector<Tensor>& direction, double h) {
  const auto at = [&](double t) {
    std::vector<Tensor> moved = x;
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (!direction[i].defined()) continue;
      Tensor m(DType::f64, x[i].dims());
      const auto from = x[i].data<double>(), d = direction[i].data<double>();
      const auto to = m.mutable_data<double>();
      for (std::size_t k = 0; k < to.size(); ++k) to[k] = from[k] + t * d[k];
      moved[i] = m;
    }
    return f(moved);
  };
  double total = 0;
  const double f0 = f(x, &total);
  const double p1 = at(h), m1 = at(-h), p2 = at(2 * h), m2 = at(-2 * h);
  const double d1 = (p1 - m1) / (2 * h), d2 = (p2 - m2) / (4 * h);
  const double c1 = (p1 - 2 * f0 + m1) / h, c2 = (p2 - 2 * f0 + m2) / (2 * h);  // smooth: c2 = 2 c1
  Quotient q;
  q.slope = (8 * (p1 - m1) - (p2 - m2)) / (12 * h);
  q.noise = 50 * 0x1p-52 * total / h;
  q.bend = std::max(std::abs(d1 - d2), std::abs(c2 - 2 * c1));
  return q;
}

// What is differentiated: inputs of the plan that move, and how far a random step may go in each.
struct Problem {
  Scalar f;
  std::vector<Tensor> x;
  std::vector<char> moves;         // per plan input
  std::vector<double> reach;       // per plan input, scale of a step
  std::vector<Tensor> gradients;   // per plan input; undefined: zero
  std::vector<std::string> names;  // per plan input
};

enum class Outcome { kRight, kWrong, kKink };

Outcome compare(const Problem& p, const std::vector<Tensor>& direction, bool kinks, double tolerance,
                std::string* text) {
  double analytic = 0, scale = 0;
  for (std::size_t i = 0; i < p.x.size(); ++i) {
    if (!direction[i].defined() || !p.gradients[i].defined()) continue;
    const auto g = p.gradients[i].data<double>(), d = direction[i].data<double>();
    for (std::size_t k = 0; k < g.size(); ++k) {
      analytic += g[k] * d[k];
      scale += g[k] * d[k] * g[k] * d[k];
    }
  }
  scale = std::sqrt(scale);
  const double h = kinks ? 1e-5 : 1e-4;
  const Quotient q = differentiate(p.f, p.x, direction, h);
  const double allowed = tolerance * std::max(scale, std::abs(q.slope)) + q.noise;
  // NaN compares false and so counts as wrong.
  if (std::abs(analytic - q.slope) <= allowed) return Outcome::kRight;
  if (kinks && q.bend > 0.1 * tolerance * std::max(scale, std::abs(q.slope)) + q.noise) return Outcome::kKink;
  std::ostringstream out;
  out.precision(12);
  out << "gradient " << analytic << ", by differences " << q.slope << ", allowed difference " << allowed;
  *text = out.str();
  return Outcome::kWrong;
}

std::vector<Tensor> random_direction(const Problem& p, std::uint64_t seed) {
  std::vector<Tensor> d(p.x.size());
  for (std::size_t i = 0; i < p.x.size(); ++i) {
    if (p.moves[i] != 0) {
      d[i] = random_tensor(DType::f64, p.x[i].dims(), -p.reach[i], p.reach[i], seed * 16 + i + 7);
    }
  }
  return d;
}

// One element at a time. Returns how many elements were smooth; the first wrong one goes to `text`.
int check_elements(const Problem& p, bool kinks, double tolerance, std::int64_t limit, std::string* text) {
  int right = 0;
  for (std::size_t i = 0; i < p.x.size(); ++i) {
    for (std::int64_t k = 0; p.moves[i] != 0 && k < std::min(limit, p.x[i].size()); ++k) {
      std::vector<Tensor> direction(p.x.size());
      direction[i] = Tensor::zeros(DType::f64, p.x[i].dims());
      direction[i].mutable_data<double>()[static_cast<std::size_t>(k)] = p.reach[i];
      std::string why;
      const Outcome o = compare(p, direction, kinks, tolerance, &why);
      right += o == Outcome::kRight;
      if (o != Outcome::kWrong) continue;
      *text = detail::concat(p.names[i], " ", to_string(p.x[i].dims()), " element ", k, ": ", why);
      return right;
    }
  }
  return right;
}

// Right, wrong with the worst place in `text`, or a kink.
Outcome check_problem(const Problem& p, bool kinks, double tolerance, std::uint64_t seed, std::string* text) {
  const Outcome o = compare(p, random_direction(p, seed), kinks, tolerance, text);
  if (o == Outcome::kKink) return o;
  std::int64_t elements = 0;
  for (std::size_t i = 0; i < p.x.size(); ++i) elements += p.moves[i] != 0 ? p.x[i].size() : 0;
  if (o == Outcome::kRight && elements > kFullJacobian) return o;
  std::string place;
  check_elements(p, kinks, tolerance, 200, &place);
  if (!place.empty()) {
    *text += (text->empty() ? "" : "; ") + place;
    return Outcome::kWrong;
  }
  return o;
}

// A sample as a graph in which every given tensor is an input, so that all of them may move.
struct Setup {
  OneNode one;
  std::vector<Tensor> x;           // per graph input, cotangents last
  std::vector<std::string> names;  // per graph input
  std::vector<double> reach;
  std::vector<std::size_t> floats;      // graph inputs of float64 that are differentiated
  std::vector<std::size_t> cotangents;  // graph inputs
  std::vector<Seed> seeds;
};

double reach_of(const SampleInput& in) {
  if (in.fixed.defined()) return 1;
  return std::min(1.0, std::max(1e-6, (in.hi - in.lo) / 4));
}

Setup set_up(const Subject& s, const OpSample& sample, std::span<const std::size_t> outputs, std::uint64_t seed) {
  Setup u;
  const std::vector<Tensor> inputs = draw_inputs(sample, DType::f64, seed);
  u.one = one_node(s, sample, inputs);
  if (s.op.grad == nullptr && s.op.expand != nullptr) {
    // A composite without a gradient of its own is differentiated through its expansion.
    u.one.graph = expand_composites(
        u.one.graph, [](const Node&) { return false; }, evaluator_of(s.backend));
    u.one.outputs = u.one.graph.outputs();
  }
  Graph& g = u.one.graph;
  for (std::size_t j = 0; j < u.one.given.size(); ++j) {
    const std::size_t i = u.one.given[j];
    u.x.push_back(inputs[i]);
    u.names.push_back("input " + std::to_string(i));
    u.reach.push_back(reach_of(sample.inputs[i]));
    if (inputs[i].dtype() == DType::f64) u.floats.push_back(j);
  }
  for (const std::size_t k : outputs) {
    const ValueId y = u.one.outputs.at(k);
    const Dims dims = g.value(y).dims;
    u.cotangents.push_back(u.x.size());
    u.seeds.push_back({y, g.add_input("dy" + std::to_string(k), DType::f64, dims)});
    u.x.push_back(random_tensor(DType::f64, dims, -1, 1, seed * 64 + 40 + k));
    u.names.push_back("cotangent " + std::to_string(k));
    u.reach.push_back(1);
  }
  return u;
}

std::vector<ValueId> graph_inputs(const Setup& u, std::span<const std::size_t> which) {
  std::vector<ValueId> v;
  for (const std::size_t i : which) v.push_back(u.one.graph.inputs()[i]);
  return v;
}

// Runs the gradient values that exist; one tensor per entry of `grads`, undefined where nothing depends.
std::vector<Tensor> run_gradients(const Subject& s, const Setup& u, std::span<const ValueId> grads) {
  Graph g = u.one.graph;
  std::vector<ValueId> outputs;
  for (const ValueId v : grads) {
    if (v != kNoValue) outputs.push_back(v);
  }
  g.set_outputs(outputs);
  const std::vector<Tensor> values = run_plan(compile(g, s.backend), u.x);
  std::vector<Tensor> all(grads.size());
  std::size_t next = 0;
  for (std::size_t i = 0; i < grads.size(); ++i) {
    if (grads[i] != kNoValue) all[i] = values[next++];
  }
  return all;
}

// Whether the outputs can be differentiated in float64 at all.
bool float64_outputs(const Subject& s, const OpSample& sample, std::span<const std::size_t> outputs) {
  const OneNode one = one_node(s, sample, draw_inputs(sample, DType::f64, 1));
  return std::all_of(outputs.begin(), outputs.end(), [&](std::size_t k) {
    return k < one.outputs.size() && one.graph.value(one.outputs[k]).dtype == DType::f64;
  });
}

enum class Order { kFirst, kSecond };

// One draw of one sample with these outputs seeded.
Outcome check_draw(const Subject& s, const OpSample& sample, std::span<const std::size_t> outputs, Order order,
                   std::uint64_t seed, std::string* text) {
  Setup u = set_up(s, sample, outputs, seed);
  Graph forward = u.one.graph;
  std::vector<ValueId> seeded;
  for (const Seed& d : u.seeds) seeded.push_back(d.value);
  Builder b(u.one.graph, evaluator_of(s.backend));
  const std::vector<ValueId> wrt = graph_inputs(u, u.floats);
  const std::vector<ValueId> grads = gradient(b, {.seeds = u.seeds, .wrt = wrt});
  for (std::size_t i = 0; i < grads.size(); ++i) {
    if (grads[i] == kNoValue) continue;
    const Value& v = u.one.graph.value(grads[i]);
    if (v.dims == u.one.graph.value(wrt[i]).dims && v.dtype == DType::f64) continue;
    *text = detail::concat("the gradient of ", u.names[u.floats[i]], " has shape ", to_string(v.dims));
    return Outcome::kWrong;
  }
  if (s.op.traits.piecewise_constant) {
    const bool none = std::all_of(grads.begin(), grads.end(), [](ValueId v) { return v == kNoValue; });
    if (!none) *text = "piecewise constant, but it has a gradient";
    return none ? Outcome::kRight : Outcome::kWrong;
  }
  Problem p;
  p.x = u.x;
  p.names = u.names;
  p.reach = u.reach;
  p.moves.assign(u.x.size(), 0);
  p.gradients.assign(u.x.size(), {});

  if (order == Order::kFirst) {
    const std::vector<Tensor> g = run_gradients(s, u, grads);
    for (std::size_t i = 0; i < u.floats.size(); ++i) {
      p.moves[u.floats[i]] = 1;
      p.gradients[u.floats[i]] = g[i];
    }
    for (std::size_t i = 0; i < u.floats.size() && u.floats.size() > 1; ++i) {
      Setup alone = set_up(s, sample, outputs, seed);
      Builder single(alone.one.graph, evaluator_of(s.backend));
      const std::vector<ValueId> one_wrt{alone.one.graph.inputs()[u.floats[i]]};
      const std::vector<ValueId> own = gradient(single, {.seeds = alone.seeds, .wrt = one_wrt});
      const Tensor t = run_gradients(s, alone, own)[0];
      const std::string off = t.defined() && g[i].defined()   ? difference(t, g[i], 1e-12)
                              : t.defined() || g[i].defined() ? "exists only with others or only alone"
                                                              : "";
      if (off.empty()) continue;
      *text = detail::concat("the gradient of ", u.names[u.floats[i]], " asked for alone: ", off);
      return Outcome::kWrong;
    }
    forward.set_outputs(seeded);
    p.f.plan = compile(forward, s.backend);
    for (std::size_t k = 0; k < seeded.size(); ++k) {
      p.f.outputs.push_back(k);
      p.f.weights.push_back(u.x[u.cotangents[k]]);
    }
    return check_problem(p, s.spec.has_kinks, 1e-6, seed, text);
  }

  // S(x, dy) = sum of <random_i, grad_i(x, dy)>; its gradient in x and in dy, against differences of grad_i.
  std::vector<ValueId> first;
  std::vector<Tensor> weights;
  std::vector<Seed> seeds;
  for (std::size_t i = 0; i < grads.size(); ++i) {
    if (grads[i] == kNoValue) continue;
    first.push_back(grads[i]);
    weights.push_back(random_tensor(DType::f64, u.one.graph.value(grads[i]).dims, -1, 1, seed * 64 + 50 + i));
    seeds.push_back({grads[i], u.one.graph.add_constant(weights.back())});
  }
  if (first.empty()) return Outcome::kRight;
  Graph once = u.one.graph;
  once.set_outputs(first);
  std::vector<std::size_t> moving = u.floats;
  moving.insert(moving.end(), u.cotangents.begin(), u.cotangents.end());
  const std::vector<ValueId> twice = gradient(b, {.seeds = seeds, .wrt = graph_inputs(u, moving)});
  const std::vector<Tensor> g = run_gradients(s, u, twice);
  for (std::size_t i = 0; i < moving.size(); ++i) {
    p.moves[moving[i]] = 1;
    p.gradients[moving[i]] = g[i];
  }
  p.f.plan = compile(once, s.backend);
  p.f.weights = weights;
  for (std::size_t k = 0; k < first.size(); ++k) p.f.outputs.push_back(k);
  return check_problem(p, s.spec.has_kinks, 1e-5, seed, text);
}

Failures check_order(const Subject& s, Order order) {
  Failures failures;
  if (s.op.traits.updates) return failures;  // changes its input: differentiated by nobody
  bool checked = false, applies = false;
  for (std::size_t k = 0; k < s.spec.samples.size(); ++k) {
    const OpSample& sample = s.spec.samples[k];
    if (!has_float_under_test(sample)) continue;
    std::uint64_t seed = seed_of(s, k);
    try {
      std::vector<std::vector<std::size_t>> seeded{s.spec.gradient_outputs};
      for (const std::size_t out : s.spec.gradient_outputs) {
        if (s.spec.gradient_outputs.size() > 1) seeded.push_back({out});
      }
      if (!float64_outputs(s, sample, s.spec.gradient_outputs)) continue;
      applies = true;
      const std::vector<Tensor> drawn = draw_inputs(sample, DType::f64, seed);
      if (!std::all_of(drawn.begin(), drawn.end(), all_finite)) continue;
      const bool fixed = std::any_of(sample.inputs.begin(), sample.inputs.end(), [](const SampleInput& in) {
        return in.fixed.defined() && is_float(in.fixed.dtype());
      });
      for (const std::vector<std::size_t>& outputs : seeded) {
        Outcome o = Outcome::kKink;
        std::string text;
        for (int draw = 0; draw < kRedraws && o == Outcome::kKink; ++draw) {
          seed = seed_of(s, k, static_cast<std::uint64_t>(draw));
          text.clear();
          o = check_draw(s, sample, outputs, order, seed, &text);
        }
        checked = checked || o == Outcome::kRight;
        // A fixed input may sit on a kink for good.
        if (o == Outcome::kKink && fixed) continue;
        if (o == Outcome::kKink) text = detail::concat("no smooth point in ", kRedraws, " draws");
        if (o != Outcome::kRight) failures.push_back(describe(s, k, DType::f64, seed) + text);
      }
    } catch (const Error& e) {
      const bool none = s.op.grad == nullptr && s.op.expand == nullptr && !s.op.traits.piecewise_constant;
      if (none && e.kind() == ErrorKind::kUnsupported) return failures;  // says so, which is right
      failures.push_back(describe(s, k, DType::f64, seed) + "throws: " + e.what());
    } catch (const std::exception& e) {
      failures.push_back(describe(s, k, DType::f64, seed) + "throws: " + e.what());
    }
  }
  if (s.op.grad == nullptr && s.op.expand == nullptr && !s.op.traits.piecewise_constant) {
    if (applies && !s.spec.gradient_outputs.empty()) {
      failures.push_back(s.op.name + ": has no gradient, but nothing was thrown");
    }
  } else if (applies && !checked && failures.empty()) {
    failures.push_back(s.op.name + ": no sample could be differentiated");
  }
  return failures;
}

}  // namespace

Failures check_gradient(const Subject& s) { return check_order(s, Order::kFirst); }

Failures check_second_order(const Subject& s) {
  if (!s.spec.second_order || s.op.traits.piecewise_constant) return {};
  if (s.op.grad == nullptr && s.op.expand == nullptr) return {};
  return check_order(s, Order::kSecond);
}

}  // namespace onnxray::testing
