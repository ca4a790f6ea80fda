// The rules of DeepLIFT on graphs: completeness for every kind of node, textbook values, the gradient where both passes
// agree.
#include <gtest/gtest.h>

#include <map>

#include "algorithms/attribution/rules/deep_lift_rules.h"
#include "engine/autodiff.h"
#include "tests/algorithms/graph_values.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using testing::compute;
using testing::largest;
using testing::largest_difference;
using testing::thrown_by;
using testing::wave;
using Numbers = std::vector<double>;
using Forward = std::function<ValueId(Builder&, ValueId)>;

struct Lifted {
  Numbers multipliers, gradient, y, y_ref;
  double attributed = 0, change = 0;  // sum of m (x - x'), sum of s (y - y')
};

// Multipliers of sum(s y), y = forward(x), with s some fixed seed.
Lifted lift(const Forward& forward, const Tensor& x, const Tensor& x_ref, bool reveal_cancel = false,
            double eps = 1e-10) {
  Graph g;
  Builder b(g);
  const ValueId in = g.add_input("x", x.dtype(), x.dims()), ref = g.add_input("x_ref", x.dtype(), x.dims());
  // The same nodes twice: values correspond by position.
  const auto begin = g.nodes().size();
  const ValueId y = forward(b, in);
  const auto middle = g.nodes().size();
  const ValueId y_ref = forward(b, ref);
  std::map<ValueId, ValueId> twin{{in, ref}};
  for (std::size_t n = begin; n < middle; ++n) {
    for (std::size_t o = 0; o < g.nodes()[n].outputs.size(); ++o)
      twin[g.nodes()[n].outputs[o]] = g.nodes()[n + middle - begin].outputs[o];
  }
  const Tensor s = wave(g.value(y).dims, 11).to(x.dtype());
  const RuleSet rules = deep_lift_rules(reveal_cancel, eps);
  const auto d = gradient(b, {.seeds = {{y, b.constant(s)}}, .wrt = {in}, .rules = &rules, .reference = [&](ValueId v) {
                                return twin.at(v);
                              }});
  const auto plain = gradient(b, {.seeds = {{y, b.constant(s)}}, .wrt = {in}});
  const auto out = compute(g, {d[0], y, y_ref, plain[0]}, {x, x_ref});
  Lifted r{out[0], out[3], out[1], out[2]};
  const Numbers a = x.to_doubles(), a_ref = x_ref.to_doubles(), w = s.to_doubles();
  for (std::size_t i = 0; i < a.size(); ++i) r.attributed += r.multipliers[i] * (a[i] - a_ref[i]);
  for (std::size_t i = 0; i < w.size(); ++i) r.change += w[i] * (r.y[i] - r.y_ref[i]);
  return r;
}

ValueId typed(Builder& b, ValueId like, const Dims& dims, double phase, double scale = 1) {
  return b.constant(wave(dims, phase, scale).to(b.dtype(like)));
}

ValueId dense(Builder& b, ValueId x, std::int64_t n, std::int64_t m, double phase) {
  return b.matmul(x, typed(b, x, {n, m}, phase));
}

ValueId positive(Builder& b, ValueId x) { return b.add(b.mul(x, x), 0.3); }

struct NetCase {
  std::string name;
  Forward forward;  // of [2, 6]
};

NetCase unary(std::string op, Attrs attrs = {}) {
  return {op,
          [op, attrs](Builder& b, ValueId x) { return dense(b, b.op(op, {dense(b, x, 6, 5, 1)}, attrs), 5, 3, 2); }};
}
NetCase of_positive(std::string op) {
  return {op, [op](Builder& b, ValueId x) { return dense(b, b.op(op, {positive(b, dense(b, x, 6, 5, 1))}), 5, 3, 2); }};
}
NetCase power(double k) {
  return {"pow " + std::to_string(k), [k](Builder& b, ValueId x) {
            const ValueId v = positive(b, dense(b, x, 6, 5, 1));
            return b.op("pow", {v, b.scalar_like(v, k)});
          }};
}

std::vector<NetCase> nets() {
  std::vector<NetCase> all;
  for (const char* op : {"relu", "gelu", "gelu_tanh", "swish", "hard_swish", "mish", "tanh", "sigmoid", "softplus",
                         "softsign", "elu", "leaky_relu", "hard_sigmoid", "abs", "exp", "erf", "sin", "atan"})
    all.push_back(unary(op));
  all.push_back(unary("clip", {{"min", -0.5}, {"max", 0.5}}));
  all.push_back(unary("thresholded_relu", {{"alpha", 0.3}}));
  for (const char* op : {"sqrt", "log", "reciprocal"}) all.push_back(of_positive(op));
  for (const double k : {2.0, 3.0, 0.5, -1.7}) all.push_back(power(k));
  all.push_back({"prelu", [](Builder& b, ValueId x) { return b.op("prelu", {x, typed(b, x, {6}, 3)}); }});
  for (const char* op : {"softmax", "log_softmax"}) {
    all.push_back(
        {op, [op](Builder& b, ValueId x) {
           return dense(b, b.op(op, {b.mul(dense(b, x, 6, 5, 1), 3.0)}, {{"axis", std::int64_t{1}}}), 5, 3, 2);
         }});
  }
  all.push_back(
      {"softmax of masked scores", [](Builder& b, ValueId x) {
         const ValueId mask = b.constant(Tensor::from<double>({6}, {0, 0, -HUGE_VAL, 0, 0, -HUGE_VAL}).to(b.dtype(x)));
         return dense(b, b.op("softmax", {b.add(x, mask)}, {{"axis", std::int64_t{1}}}), 6, 3, 2);
       }});
  all.push_back({"layer_norm", [](Builder& b, ValueId x) {
                   const ValueId h = dense(b, x, 6, 5, 1);
                   return dense(b,
                                b.op("layer_norm", {h, typed(b, x, {5}, 4), typed(b, x, {5}, 5)},
                                     {{"axis", std::int64_t{1}}, {"epsilon", 1e-5}}),
                                5, 3, 2);
                 }});
  all.push_back({"rms_norm", [](Builder& b, ValueId x) {
                   return b.op("rms_norm", {dense(b, x, 6, 5, 1)}, {{"axis", std::int64_t{1}}});
                 }});
  all.push_back({"max_pool", [](Builder& b, ValueId x) {
                   const ValueId image = b.reshape(dense(b, x, 6, 36, 1), {2, 1, 6, 6});
                   const std::vector<std::int64_t> k{3, 3}, s{2, 2}, p{1, 1, 1, 1};
                   return b.op("max_pool", {image}, {{"kernel", k}, {"strides", s}, {"pads", p}});
                 }});
  for (const char* op : {"reduce_max", "reduce_min"}) {
    all.push_back({op, [op](Builder& b, ValueId x) { return b.reduce(op, dense(b, x, 6, 5, 1), {1}, true); }});
  }
  for (const char* op : {"max", "min", "mul"}) {
    all.push_back({op, [op](Builder& b, ValueId x) {
                     return dense(b, b.op(op, {dense(b, x, 6, 5, 1), b.op("tanh", {dense(b, x, 6, 5, 7)})}), 5, 3, 2);
                   }});
  }
  all.push_back({"square", [](Builder& b, ValueId x) { return b.mul(x, x); }});
  all.push_back({"max with a constant", [](Builder& b, ValueId x) { return b.op("max", {x, b.scalar_like(x, 0.1)}); }});
  all.push_back(
      {"div", [](Builder& b, ValueId x) { return b.div(dense(b, x, 6, 5, 1), positive(b, dense(b, x, 6, 5, 7))); }});
  all.push_back(
      {"div of a constant", [](Builder& b, ValueId x) { return b.div(b.scalar_like(x, 2), positive(b, x)); }});
  all.push_back(
      {"attention", [](Builder& b, ValueId x) {
         const ValueId t = b.reshape(dense(b, x, 6, 12, 1), {2, 4, 3});
         const ValueId q = dense(b, t, 3, 3, 3), k = dense(b, t, 3, 3, 4), v = dense(b, t, 3, 3, 5);
         const ValueId a = b.op("softmax", {b.mul(b.matmul(q, k, false, true), 0.6)}, {{"axis", std::int64_t{2}}});
         const ValueId r = b.add(b.matmul(a, v), t);
         return b.op("gelu", {b.op("layer_norm", {r}, {{"axis", std::int64_t{2}}})});
       }});
  all.push_back({"conv", [](Builder& b, ValueId x) {
                   const ValueId image = b.reshape(x, {2, 1, 2, 3});
                   const std::vector<std::int64_t> k{2, 2};
                   return b.op("relu", {b.op("conv", {image, typed(b, x, {3, 1, 2, 2}, 2), typed(b, x, {3}, 9)})});
                 }});
  return all;
}

TEST(DeepLift, IsCompleteThroughEveryKindOfNode) {
  const Tensor x = wave({2, 6}, 3), ref = wave({2, 6}, 60, 0.7);
  for (const NetCase& net : nets()) {
    for (const bool reveal_cancel : {false, true}) {
      SCOPED_TRACE(net.name + (reveal_cancel ? ", reveal-cancel" : ""));
      const Lifted r = lift(net.forward, x, ref, reveal_cancel);
      EXPECT_GT(std::abs(r.change), 1e-3);
      EXPECT_NEAR(r.attributed, r.change, 1e-10 * std::max(1.0, largest(r.y)));
      const Lifted narrow = lift(net.forward, x.to(DType::f32), ref.to(DType::f32), reveal_cancel);
      EXPECT_NEAR(narrow.attributed, narrow.change, 1e-5 * std::max(1.0, largest(r.y)));
    }
  }
}

// A few inputs equal, the others nearly so: slopes become derivatives.
TEST(DeepLift, IsTheGradientWhereThePassesMeet) {
  const Tensor x = wave({2, 6}, 3);
  Tensor close = wave({2, 6}, 3);
  for (std::size_t i = 0; i < 12; i += 2) close.mutable_data<double>()[i] += 1e-8 * static_cast<double>(i);
  for (const NetCase& net : nets()) {
    if (net.name == "reduce_max" || net.name == "reduce_min") continue;  // a multiplier per place, not per maximum
    SCOPED_TRACE(net.name);
    const Lifted same = lift(net.forward, x, x);
    EXPECT_LE(largest_difference(same.multipliers, same.gradient), 1e-9 * std::max(1.0, largest(same.gradient)));
    const Lifted near = lift(net.forward, x, close, false, 1e-10);
    EXPECT_NEAR(near.attributed, near.change, 1e-13);
    if (net.name == "max_pool") continue;
    EXPECT_LE(largest_difference(near.multipliers, near.gradient), 3e-6 * std::max(1.0, largest(near.gradient)));
  }
}

// Softmax by its primitives, in loops: e = exp(x - c), s = sum e, y = exp(x - log s).
TEST(DeepLift, SoftmaxIsTheChainOfItsPrimitives) {
  const Numbers x{0.3, -1.2, 2.0, 0.1}, r{1.0, 0.4, -0.5, 0.1};
  const auto log_sum = [](const Numbers& v) {
    double s = 0;
    for (const double a : v) s += std::exp(a);
    return std::log(s);
  };
  const double level = log_sum(x), level_ref = log_sum(r);
  const double per_sum = (level - level_ref) / (std::exp(level) - std::exp(level_ref));
  const Tensor seed = wave({1, 4}, 11);
  Numbers want(4), f(4);
  double total = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    const double u = x[i] - level, v = r[i] - level_ref;
    f[i] = seed.to_doubles()[i] * (std::exp(u) - std::exp(v)) / (u - v);
    total += f[i];
  }
  for (std::size_t j = 0; j < 4; ++j) {
    const double slope = x[j] == r[j] ? std::exp(x[j]) : (std::exp(x[j]) - std::exp(r[j])) / (x[j] - r[j]);
    want[j] = f[j] - slope * per_sum * total;
  }
  const Lifted got = lift(
      [](Builder& bb, ValueId v) {
        return bb.op("softmax", {v}, {{"axis", std::int64_t{1}}});
      },
      Tensor::from<double>({1, 4}, x), Tensor::from<double>({1, 4}, r));
  EXPECT_LE(largest_difference(got.multipliers, want), 1e-12);
}

TEST(DeepLift, SoftmaxStandsLargeScores) {
  const auto net = [](Builder& b, ValueId v) { return b.op("softmax", {v}, {{"axis", std::int64_t{1}}}); };
  for (const DType t : {DType::f64, DType::f32}) {
    const Lifted r = lift(net, Tensor::from<double>({1, 3}, {900, -700, 3}).to(t),
                          Tensor::from<double>({1, 3}, {-800, 650, 2}).to(t));
    EXPECT_NEAR(r.attributed, r.change, t == DType::f64 ? 1e-10 : 1e-5);
    EXPECT_LE(largest(r.multipliers), 10);
  }
}

// o = min(i1, i2) = i1 - relu(i1 - i2): RevealCancel shares evenly (section 3.5.3 of the paper), Rescale does not.
TEST(DeepLift, RevealCancelSharesAMinimum) {
  const auto net = [](Builder& b, ValueId x) {
    const ValueId h = b.matmul(x, b.constant(Tensor::from<double>({2, 1}, {1, -1})));
    return b.sub(b.matmul(x, b.constant(Tensor::from<double>({2, 1}, {1, 0}))), b.op("relu", {h}));
  };
  const Tensor x = Tensor::from<double>({1, 2}, {10, 6}), zero = Tensor::zeros(DType::f64, {1, 2});
  const double s = wave({1, 1}, 11).to_doubles()[0];
  const Lifted even = lift(net, x, zero, true);
  EXPECT_NEAR(even.multipliers[0] * 10 / s, 3, 1e-12);
  EXPECT_NEAR(even.multipliers[1] * 6 / s, 3, 1e-12);
  const Lifted plain = lift(net, x, zero, false);
  EXPECT_NEAR(plain.multipliers[0] * 10 / s, 0, 1e-12);
  EXPECT_NEAR(plain.multipliers[1] * 6 / s, 6, 1e-12);
}

// The same through an explicit subtraction, and with an added constant in between.
TEST(DeepLift, RevealCancelThroughSumsAndBiases) {
  const auto split = [](Builder& b, ValueId x) { return std::pair{b.slice(x, 1, 0, 1), b.slice(x, 1, 1, 2)}; };
  const Tensor x = Tensor::from<double>({1, 2}, {10, 6}), zero = Tensor::zeros(DType::f64, {1, 2});
  const double s = wave({1, 1}, 11).to_doubles()[0];
  const Lifted even = lift(
      [&](Builder& b, ValueId v) {
        const auto [p, q] = split(b, v);
        return b.sub(p, b.op("relu", {b.sub(p, q)}));
      },
      x, zero, true);
  EXPECT_NEAR(even.multipliers[0] * 10 / s, 3, 1e-12);
  EXPECT_NEAR(even.multipliers[1] * 6 / s, 3, 1e-12);
  // relu(i1 - i2 - 1): D+ = 10, D- = -6, x' = -1. D+y = (f(9) - f(-1) + f(3) - f(-7)) / 2 = 6, D-y = -3.
  const Lifted biased = lift(
      [&](Builder& b, ValueId v) {
        const ValueId h = b.matmul(v, b.constant(Tensor::from<double>({2, 1}, {1, -1})));
        return b.op("relu", {b.add(h, -1.0)});
      },
      x, zero, true);
  EXPECT_NEAR(biased.multipliers[0] * 10 / s, 6, 1e-12);
  EXPECT_NEAR(biased.multipliers[1] * 6 / s, -3, 1e-12);
}

// Captum's LinearMaxPoolLinear: the fall of the maximum goes to its place in the reference.
TEST(DeepLift, MaxPoolPaysThePlaceThatMoved) {
  const std::vector<std::int64_t> k{4};
  const auto net = [&](Builder& b, ValueId v) { return b.op("max_pool", {b.reshape(v, {1, 1, 4})}, {{"kernel", k}}); };
  const double s = wave({1, 1, 1}, 11).to_doubles()[0];
  const Lifted r = lift(net, Tensor::from<double>({1, 4}, {1, 1, 1, 1}), Tensor::from<double>({1, 4}, {1, 2, 3, 9}));
  const Numbers d{0, -1, -2, -8};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(r.multipliers[i] * d[i] / s, i == 3 ? -8 : 0, 1e-12);
}

TEST(DeepLift, RefusesByName) {
  const auto e = thrown_by([] {
    (void)lift(
        [](Builder& b, ValueId x) {
          b.context = "best (TopK)";
          const ValueId v = b.ops("top_k", {x}, {{"k", std::int64_t{2}}, {"axis", std::int64_t{1}}})[0];
          b.context.clear();
          return v;
        },
        wave({2, 6}, 3), wave({2, 6}, 60));
  });
  EXPECT_EQ(e.kind, ErrorKind::kUnsupported);
  EXPECT_NE(e.text.find("best (TopK)"), std::string::npos) << e.text;
}

}  // namespace
}  // namespace onnxray
