// Rules of layer-wise relevance propagation against loops over their formulas, on matrix products, convolutions and
// transposed convolutions written out as matrices; and how relevance passes everything else.
#include <gtest/gtest.h>

#include "algorithms/attribution/lrp/lrp_rules.h"
#include "engine/autodiff.h"
#include "kernels/cpu/cpu.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using lrp::LayerRule;
using lrp::Recipe;
using testing::largest;
using testing::largest_difference;
using testing::thrown_by;
using testing::wave;
using Numbers = std::vector<double>;
using Kind = LayerRule::Kind;

std::vector<Numbers> compute(Graph g, std::vector<ValueId> outputs, const std::vector<Tensor>& inputs) {
  g.set_outputs(std::move(outputs));
  const auto plan = Plan::compile(lower_for(cpu_backend(), g, evaluator_of(cpu_backend())), cpu_backend(), nullptr);
  PlanRun run(plan);
  for (std::size_t i = 0; i < inputs.size(); ++i) run.bind(i, inputs[i]);
  run.execute();
  std::vector<Numbers> out;
  for (std::size_t i = 0; i < plan->graph().outputs().size(); ++i) out.push_back(run.output(i).to_doubles());
  return out;
}

double total(const Numbers& v) {
  double s = 0;
  for (const double x : v) s += x;
  return s;
}

// One row: z_j = sum_i x_i w[i][j] + b_j, as a matrix [in][out].
struct Matrix {
  std::size_t in = 0, out = 0;
  Numbers w, b;
  double at(std::size_t i, std::size_t j) const { return w[i * out + j]; }
};

double up(double v) { return std::max(v, 0.0); }
double down(double v) { return std::min(v, 0.0); }
double stab(double z, double e) { return z + (z >= 0 ? e : -e); }

// The textbook, one rule at a time.
Numbers by_loops(const Matrix& m, const Numbers& x, const Numbers& relevance, const LayerRule& r,
                 const Matrix& taps_of) {
  Numbers result(m.in, 0);
  const double e = r.stabilizer;
  for (std::size_t j = 0; j < m.out; ++j) {
    const double bias = m.b.empty() ? 0 : m.b[j];
    double z = bias, positive = up(bias), negative = down(bias), boxed = 0, squares = bias * bias, taps = 0;
    double gamma_up = bias + r.gamma * up(bias), gamma_down = bias + r.gamma * down(bias);
    const auto low = [&](std::size_t i) { return r.low.empty() ? 0 : r.low[i * r.low.size() / m.in]; };
    const auto high = [&](std::size_t i) { return r.high.empty() ? 0 : r.high[i * r.high.size() / m.in]; };
    // With the sign of x: w + gamma w+ where it agrees with the output's sign, w + gamma w- where not.
    const auto strengthened = [&](std::size_t i, bool rising) {
      const double w = m.at(i, j);
      return w + r.gamma * ((x[i] > 0) == rising ? up(w) : down(w));
    };
    for (std::size_t i = 0; i < m.in; ++i) {
      const double w = m.at(i, j), c = x[i] * w;
      z += c;
      positive += up(c);
      negative += down(c);
      boxed += c - low(i) * up(w) - high(i) * down(w);
      squares += w * w;
      taps += taps_of.at(i, j);
      gamma_up += x[i] * strengthened(i, true);
      gamma_down += x[i] * strengthened(i, false);
    }
    for (std::size_t i = 0; i < m.in; ++i) {
      const double w = m.at(i, j), c = x[i] * w, rel = relevance[j];
      switch (r.kind) {
        case Kind::kEpsilon: result[i] += c * rel / stab(z, e); break;
        case Kind::kGamma:
          if (z > 0) result[i] += x[i] * strengthened(i, true) * rel / stab(gamma_up, e);
          if (z < 0) result[i] += x[i] * strengthened(i, false) * rel / stab(gamma_down, e);
          break;
        case Kind::kAlphaBeta:
          result[i] += r.alpha * up(c) * rel / stab(positive, e) - r.beta * down(c) * rel / stab(negative, e);
          break;
        case Kind::kZBox: result[i] += (c - low(i) * up(w) - high(i) * down(w)) * rel / stab(boxed, e); break;
        case Kind::kWSquare: result[i] += w * w * rel / stab(squares, e); break;
        case Kind::kFlat: result[i] += taps_of.at(i, j) * rel / stab(taps, e); break;
        case Kind::kIdentity: result[i] += i == j ? rel : 0; break;
      }
    }
  }
  return result;
}

using Layer = std::function<ValueId(Builder&, ValueId)>;

// A linear map written out: column by column for unit vectors; with ones in place of weights by the same layer on ones.
Matrix written_out(const Layer& layer, const Dims& dims, bool with_bias) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f64, dims);
  const ValueId y = layer(b, x);
  const std::size_t n = static_cast<std::size_t>(count_of(dims));
  Matrix m{n, static_cast<std::size_t>(count_of(g.value(y).dims)), {}, {}};
  m.w.assign(n * m.out, 0);
  m.b = compute(g, {y}, {Tensor::zeros(DType::f64, dims)})[0];
  for (std::size_t i = 0; i < n; ++i) {
    Tensor unit = Tensor::zeros(DType::f64, dims);
    unit.mutable_data<double>()[i] = 1;
    const Numbers column = compute(g, {y}, {unit})[0];
    for (std::size_t j = 0; j < m.out; ++j) m.w[i * m.out + j] = column[j] - m.b[j];
  }
  if (!with_bias) m.b.clear();
  return m;
}

struct LayerCase {
  std::string name;
  Dims dims;  // of one row's data
  Layer layer, ones;
};

std::vector<LayerCase> layers(bool bias) {
  const auto add_bias = [bias](std::vector<ValueId>& in, Builder& b, std::int64_t n) {
    if (bias) in.push_back(b.constant(wave({n}, 8, 0.5)));
  };
  std::vector<LayerCase> all;
  all.push_back({"matmul",
                 {1, 6},
                 [add_bias](Builder& b, ValueId x) {
                   std::vector<ValueId> in{x, b.constant(wave({6, 4}, 1))};
                   add_bias(in, b, 4);
                   return b.op("matmul", in);
                 },
                 [](Builder& b, ValueId x) {
                   return b.matmul(x, b.constant(Tensor::full(DType::f64, {6, 4}, 1)));
                 }});
  all.push_back({"matmul, bias added behind",
                 {1, 6},
                 [bias](Builder& b, ValueId x) {
                   const ValueId z = b.matmul(x, b.constant(wave({6, 4}, 1)));
                   return bias ? b.add(b.constant(wave({4}, 8, 0.5)), z) : z;
                 },
                 [](Builder& b, ValueId x) {
                   return b.matmul(x, b.constant(Tensor::full(DType::f64, {6, 4}, 1)));
                 }});
  all.push_back({"weight on the left",
                 {6, 1},
                 [](Builder& b, ValueId x) {
                   return b.matmul(b.constant(wave({4, 6}, 1)), x);
                 },
                 [](Builder& b, ValueId x) {
                   return b.matmul(b.constant(Tensor::full(DType::f64, {4, 6}, 1)), x);
                 }});
  const std::vector<std::int64_t> s{2, 1}, p{1, 0, 1, 1};
  all.push_back(
      {"conv",
       {1, 2, 4, 3},
       [add_bias, s, p](Builder& b, ValueId x) {
         std::vector<ValueId> in{x, b.constant(wave({3, 2, 3, 2}, 1))};
         add_bias(in, b, 3);
         return b.op("conv", in, {{"strides", s}, {"pads", p}});
       },
       [s, p](Builder& b, ValueId x) {
         return b.op("conv", {x, b.constant(Tensor::full(DType::f64, {3, 2, 3, 2}, 1))}, {{"strides", s}, {"pads", p}});
       }});
  return all;
}

struct RuleCase {
  std::string name;
  LayerRule rule;
};

std::vector<RuleCase> rule_cases() {
  std::vector<RuleCase> all;
  const auto add = [&](std::string name, LayerRule r) { all.push_back({std::move(name), std::move(r)}); };
  add("epsilon", {.kind = Kind::kEpsilon, .stabilizer = 0.03});
  add("epsilon 0", {.kind = Kind::kEpsilon, .stabilizer = 0});
  add("gamma", {.kind = Kind::kGamma, .stabilizer = 1e-3, .gamma = 0.3});
  add("alpha2 beta1", {.kind = Kind::kAlphaBeta, .stabilizer = 1e-3, .alpha = 2, .beta = 1});
  add("z-plus", {.kind = Kind::kAlphaBeta, .stabilizer = 1e-3, .alpha = 1, .beta = 0});
  add("z-box", {.kind = Kind::kZBox, .stabilizer = 1e-3, .low = {-1.5}, .high = {2}});
  add("z-box per channel", {.kind = Kind::kZBox, .stabilizer = 1e-3, .low = {-1.5, -1}, .high = {2, 1.2}});
  add("w-square", {.kind = Kind::kWSquare, .stabilizer = 1e-3});
  add("flat", {.kind = Kind::kFlat, .stabilizer = 1e-3});
  return all;
}

// The relevance of x when the layer's output has relevance `top`.
Numbers relevance_of(const LayerCase& l, const Tensor& x, const Numbers& top, const Recipe& recipe, bool behind_relu) {
  Graph g;
  Builder b(g);
  const ValueId in = g.add_input("x", DType::f64, x.dims());
  // Rules skip x- behind a ReLU.
  const ValueId data = behind_relu ? b.op("relu", {in}) : in;
  const ValueId y = l.layer(b, data);
  const RuleSet rules = lrp::rules_of(recipe);
  const ValueId seed = b.constant(Tensor::from<double>(g.value(y).dims, top));
  const auto d = gradient(b, {.seeds = {{y, seed}}, .wrt = {data}, .rules = &rules});
  return compute(g, {d[0]}, {x})[0];
}

TEST(Lrp, LayerRulesAreTheirFormulas) {
  for (const bool bias : {false, true}) {
    for (const LayerCase& l : layers(bias)) {
      const Matrix m = written_out(l.layer, l.dims, true), taps = written_out(l.ones, l.dims, false);
      const Numbers top = wave({static_cast<std::int64_t>(m.out)}, 20).to_doubles();
      for (const RuleCase& r : rule_cases()) {
        if (r.rule.low.size() > 1 && l.dims.size() != 4) continue;
        for (const bool behind_relu : {false, true}) {
          SCOPED_TRACE(l.name + ", " + r.name + (bias ? ", bias" : "") + (behind_relu ? ", behind a ReLU" : ""));
          const Tensor x = wave(l.dims, 3);
          Numbers data = x.to_doubles();
          if (behind_relu) {
            for (double& v : data) v = up(v);
          }
          const Numbers want = by_loops(m, data, top, r.rule, taps);
          Recipe recipe{.convolution = r.rule, .dense = r.rule};
          const Numbers got = relevance_of(l, x, top, recipe, behind_relu);
          EXPECT_GT(largest(want), 1e-3);
          EXPECT_LE(largest_difference(got, want), 1e-12 * std::max(1.0, largest(want)));
          if (!bias) continue;
          Matrix bare = m;
          bare.b.clear();
          recipe.ignore_bias = true;
          EXPECT_LE(
              largest_difference(relevance_of(l, x, top, recipe, behind_relu), by_loops(bare, data, top, r.rule, taps)),
              1e-12 * std::max(1.0, largest(want)));
        }
      }
    }
  }
}

TEST(Lrp, IdentityNeedsOneShape) {
  const Recipe recipe{.dense = {.kind = Kind::kIdentity}};
  const LayerCase square{"square",
                         {1, 4},
                         [](Builder& b, ValueId x) {
                           return b.matmul(x, b.constant(wave({4, 4}, 1)));
                         },
                         {}};
  const Numbers top{1, -2, 3, 0.5};
  EXPECT_EQ(relevance_of(square, wave({1, 4}, 3), top, recipe, false), top);
  const LayerCase wide{"wide",
                       {1, 6},
                       [](Builder& b, ValueId x) {
                         b.context = "fc (Gemm)";
                         return b.matmul(x, b.constant(wave({6, 4}, 1)));
                       },
                       {}};
  const auto e = thrown_by([&] { (void)relevance_of(wide, wave({1, 6}, 3), top, recipe, false); });
  EXPECT_NE(e.text.find("fc (Gemm): the identity rule needs"), std::string::npos) << e.text;
}

// Relevance of x for sum(y), and the output itself.
struct Flow {
  Numbers relevance;
  double value = 0;
};
Flow flow(const std::function<ValueId(Builder&, ValueId)>& net, const Tensor& x, const Recipe& recipe) {
  Graph g;
  Builder b(g);
  const ValueId in = g.add_input("x", DType::f64, x.dims());
  const ValueId y = net(b, in);
  const RuleSet rules = lrp::rules_of(recipe);
  const auto d = gradient(b, {.seeds = {{y, y}}, .wrt = {in}, .rules = &rules});
  const auto out = compute(g, {d[0], y}, {x});
  return {out[0], total(out[1])};
}

ValueId dense(Builder& b, ValueId x, std::int64_t n, std::int64_t m, double phase) {
  return b.matmul(x, b.constant(wave({n, m}, phase)));
}

// Nothing is lost but what the stabilisers take.
TEST(Lrp, ConservesRelevanceThroughEverythingWithoutBias) {
  using Net = std::function<ValueId(Builder&, ValueId)>;
  const std::vector<std::pair<std::string, Net>> nets = {
      {"gelu", [](Builder& b, ValueId x) { return dense(b, b.op("gelu", {dense(b, x, 6, 5, 1)}), 5, 3, 2); }},
      {"residual",
       [](Builder& b, ValueId x) { return dense(b, b.add(b.op("relu", {dense(b, x, 6, 6, 1)}), x), 6, 3, 2); }},
      {"difference", [](Builder& b, ValueId x) { return b.sub(dense(b, x, 6, 3, 1), dense(b, x, 6, 3, 2)); }},
      {"gate",
       [](Builder& b, ValueId x) {
         return b.mul(b.op("tanh", {dense(b, x, 6, 3, 1)}), b.op("sigmoid", {dense(b, x, 6, 3, 2)}));
       }},
      {"one minus a gate",
       [](Builder& b, ValueId x) {
         const ValueId z = b.op("sigmoid", {dense(b, x, 6, 3, 2)});
         return b.add(b.mul(b.add(b.neg(z), 1.0), dense(b, x, 6, 3, 1)), b.mul(z, dense(b, x, 6, 3, 5)));
       }},
      {"square", [](Builder& b, ValueId x) { return b.mul(x, x); }},
      {"quotient",
       [](Builder& b, ValueId x) { return b.div(x, b.add(b.reduce("reduce_sum", b.mul(x, x), {1}, true), 1.0)); }},
      {"layer norm",
       [](Builder& b, ValueId x) {
         return dense(b,
                      b.op("layer_norm", {dense(b, x, 6, 5, 1), b.constant(wave({5}, 4))}, {{"axis", std::int64_t{1}}}),
                      5, 3, 2);
       }},
      {"rms norm",
       [](Builder& b, ValueId x) {
         return dense(b, b.op("rms_norm", {x}, {{"axis", std::int64_t{1}}}), 6, 3, 2);
       }},
      {"attention",
       [](Builder& b, ValueId x) {
         const ValueId t = b.reshape(x, {2, 2, 3});
         const ValueId a = b.op("softmax", {b.matmul(dense(b, t, 3, 3, 3), dense(b, t, 3, 3, 4), false, true)},
                                {{"axis", std::int64_t{2}}});
         return b.matmul(a, dense(b, t, 3, 3, 5));
       }},
      {"pooling",
       [](Builder& b, ValueId x) {
         const std::vector<std::int64_t> k{2};
         const ValueId v = b.reshape(dense(b, x, 6, 8, 1), {2, 1, 8});
         return b.add(b.op("max_pool", {v}, {{"kernel", k}}), b.op("avg_pool", {v}, {{"kernel", k}}));
       }},
      {"moves",
       [](Builder& b, ValueId x) {
         const ValueId t = b.transpose(b.reshape(x, {2, 3, 2}), {0, 2, 1});
         return b.reduce("reduce_mean", b.op("concat", {t, b.slice(t, 2, 0, 2)}, {{"axis", std::int64_t{2}}}), {2},
                         false);
       }},
      {"split",
       [](Builder& b, ValueId x) {
         const std::vector<std::int64_t> sizes{2, 2, 2};
         const auto parts = b.ops("split", {x}, {{"axis", std::int64_t{1}}, {"sizes", sizes}});
         return b.mul(b.op("sigmoid", {parts[0]}), b.add(parts[1], parts[2]));
       }},
      {"scaled and shifted",
       [](Builder& b, ValueId x) { return b.add(b.mul(x, b.constant(wave({6}, 4))), b.constant(wave({6}, 5))); }},
  };
  for (const auto& [name, net] : nets) {
    SCOPED_TRACE(name);
    const Recipe recipe{.convolution = {.stabilizer = 1e-10}, .dense = {.stabilizer = 1e-10}, .stabilizer = 1e-10};
    const Flow f = flow(net, wave({2, 6}, 3), recipe);
    EXPECT_GT(std::abs(f.value), 1e-2);
    EXPECT_NEAR(total(f.relevance), f.value, 1e-6);
  }
}

// R_i = x_i (R_i - y_i sum_j R_j), and halves of a matrix product in proportion to its terms.
TEST(Lrp, AttentionAsInAttnLrp) {
  const Recipe recipe{.products = lrp::Products::kHalves, .stabilizer = 0};
  const Tensor x = wave({1, 4}, 3);
  const Numbers v = x.to_doubles();
  double sum = 0;
  for (const double a : v) sum += std::exp(a);
  const Flow f = flow(
      [](Builder& b, ValueId in) {
        return b.op("softmax", {in}, {{"axis", std::int64_t{1}}});
      },
      x, recipe);
  for (std::size_t i = 0; i < 4; ++i) {
    const double y = std::exp(v[i]) / sum;
    EXPECT_NEAR(f.relevance[i], v[i] * (y - y * 1.0), 1e-14);  // the seed is y, whose sum is 1
  }
  // x x^T summed over all entries: every product of two elements gives half to each.
  const Flow g = flow(
      [](Builder& b, ValueId in) {
        const ValueId m = b.reshape(in, {2, 2});
        return b.matmul(m, m, false, true);
      },
      x, recipe);
  Numbers want(4, 0);
  for (std::size_t p = 0; p < 2; ++p) {
    for (std::size_t q = 0; q < 2; ++q) {
      for (std::size_t k = 0; k < 2; ++k) {
        want[p * 2 + k] += v[p * 2 + k] * v[q * 2 + k] / 2;
        want[q * 2 + k] += v[p * 2 + k] * v[q * 2 + k] / 2;
      }
    }
  }
  EXPECT_LE(largest_difference(g.relevance, want), 1e-13);
  EXPECT_NEAR(total(g.relevance), g.value, 1e-13);
}

TEST(Lrp, FirstLayersAndNamedLayersHaveTheirRules) {
  Graph g;
  Builder b(g);
  const Tensor x = wave({1, 6}, 3);
  const ValueId in = g.add_input("x", DType::f64, {1, 6});
  const ValueId h = b.op("relu", {dense(b, in, 6, 5, 1)});
  const ValueId mid = b.add(dense(b, h, 5, 5, 2), b.constant(wave({5}, 8)));
  g.set_name(mid, "mid");
  const ValueId y = dense(b, mid, 5, 3, 4);
  const LayerRule flat{.kind = Kind::kFlat, .stabilizer = 0}, plain{.stabilizer = 0};
  const RuleSet rules = lrp::rules_of(
      {.dense = plain, .first_dense = flat, .by_value = {{"mid", {.kind = Kind::kIdentity}}}, .stabilizer = 0});
  const auto d = gradient(b, {.seeds = {{y, y}}, .wrt = {in, h, mid}, .rules = &rules});
  const auto out = compute(g, {d[0], d[1], d[2], y}, {x});
  EXPECT_EQ(out[1], out[2]);  // identity
  EXPECT_NEAR(total(out[2]), total(out[3]), 1e-12);
  for (const double v : out[0]) EXPECT_NEAR(v, total(out[1]) / 6, 1e-12);  // flat
}

TEST(Lrp, RefusesByName) {
  const auto text = [](const std::function<ValueId(Builder&, ValueId)>& net) {
    return thrown_by([&] {
             (void)flow(
                 [&](Builder& b, ValueId x) {
                   b.context = "odd (Node)";
                   const ValueId y = net(b, x);
                   b.context.clear();
                   return y;
                 },
                 wave({2, 6}, 3), {});
           })
        .text;
  };
  EXPECT_NE(text([](Builder& b, ValueId x) { return b.reduce("reduce_prod", x, {1}, false); }).find("odd (Node)"),
            std::string::npos);
  const std::string softmax = text([](Builder& b, ValueId x) {
    return b.op("softmax", {x}, {{"axis", std::int64_t{1}}});
  });
  EXPECT_NE(softmax.find("odd (Node)"), std::string::npos) << softmax;
  EXPECT_NE(softmax.find("attn-lrp"), std::string::npos) << softmax;
  const Recipe box{.dense = {.kind = Kind::kZBox, .low = {0, 0, 0}, .high = {1}}};
  const auto e = thrown_by([&] {
    (void)flow([](Builder& b, ValueId x) { return dense(b, x, 6, 3, 1); }, wave({2, 6}, 3), box);
  });
  EXPECT_NE(e.text.find("low has 3 numbers, expected 1 or 6"), std::string::npos) << e.text;
}

}  // namespace
}  // namespace onnxray
