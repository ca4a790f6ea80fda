// Rules of layer-wise relevance propagation against loops over their formulas, on matrix products, convolutions and
// transposed convolutions written out as matrices.
#include <gtest/gtest.h>

#include "algorithms/attribution/lrp/lrp_rules.h"
#include "engine/autodiff.h"
#include "tests/algorithms/graph_values.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using lrp::LayerRule;
using lrp::Recipe;
using testing::compute;
using testing::largest;
using testing::largest_difference;
using testing::thrown_by;
using testing::wave;
using Numbers = std::vector<double>;
using Kind = LayerRule::Kind;

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

}  // namespace
}  // namespace onnxray
