// Overrides of gradients (engine/rules.h): guided backprop, LRP and DeepLIFT on small nets against loops over their
// formulas.
#include "engine/rules.h"

#include <gtest/gtest.h>

#include "engine/autodiff.h"
#include "tests/algorithms/graph_values.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using testing::compute;
using testing::largest_difference;
using testing::thrown_by;
using testing::total;
using testing::wave;
using Numbers = std::vector<double>;

// a [rows, n] times b [n, m], either one transposed by swapping the caller's index.
Numbers times(const Numbers& a, const Numbers& b, std::size_t rows, std::size_t n, std::size_t m,
              bool transpose_b = false) {
  Numbers out(rows * m, 0);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t j = 0; j < m; ++j) {
      for (std::size_t i = 0; i < n; ++i) out[r * m + j] += a[r * n + i] * (transpose_b ? b[j * n + i] : b[i * m + j]);
    }
  }
  return out;
}

constexpr std::int64_t kIn = 5, kHidden = 5, kOut = 3;
const Tensor kW = wave({kIn, kHidden}, 1), kV = wave({kHidden, kOut}, 2);

// x [rows, 5] -> first (x W) -> act -> (+ x) -> second (r V), every value carrying rows on axis 0.
struct Net {
  Graph g;
  Builder b{g};
  ValueId x = kNoValue, z = kNoValue, h = kNoValue, r = kNoValue, y = kNoValue;

  explicit Net(std::int64_t rows, const char* activation, bool residual) {
    x = g.add_input("x", DType::f64, {rows, kIn}, RowMap::rows(0));
    std::tie(z, h, r, y) = forward(x, activation, residual);
  }
  std::tuple<ValueId, ValueId, ValueId, ValueId> forward(ValueId in, const char* activation, bool residual) {
    b.context = "first (MatMul)";
    const ValueId z0 = b.matmul(in, b.constant(kW));
    b.context = "act (Activation)";
    const ValueId h0 = b.op(activation, {z0});
    b.context = "sum (Add)";
    const ValueId r0 = residual ? b.add(h0, in) : h0;
    b.context = "second (MatMul)";
    const ValueId y0 = b.matmul(r0, b.constant(kV));
    b.context.clear();
    for (const ValueId v : {z0, h0, r0, y0}) g.value(v).rows = g.value(in).rows;
    return {z0, h0, r0, y0};
  }
};

Tensor one_hot(std::int64_t rows, std::int64_t at) {
  Tensor t = Tensor::zeros(DType::f64, {rows, kOut});
  for (std::int64_t r = 0; r < rows; ++r) t.mutable_data<double>()[static_cast<std::size_t>(r * kOut + at)] = 1;
  return t;
}

bool is(const Node& node, const char* op) { return node.op->name == op; }
Rule rule_for(const char* op, std::function<void(RuleCtx&)> apply) {
  return {op, [op](const Graph&, const Node& n) { return is(n, op); }, std::move(apply)};
}
// Relevance passes an activation unchanged.
Rule pass_through(const char* op) {
  return rule_for(op, [](RuleCtx& c) { c.set(0, c.dy(0)); });
}

TEST(Rules, GuidedBackpropAndDeconvnet) {
  const Tensor x = wave({2, kIn}, 7);
  for (const bool guided : {true, false}) {
    Net net(2, "relu", false);
    const RuleSet rules{.rules = {rule_for("relu", [guided](RuleCtx& c) {
                          const ValueId positive = c.b.op("relu", {c.dy(0)});
                          const ValueId open = c.b.op("greater", {c.x(0), c.b.scalar_like(c.x(0), 0)});
                          c.set(0, guided ? c.b.where(open, positive, c.b.scalar_like(positive, 0)) : positive);
                        })}};
    const auto d =
        gradient(net.b, {.seeds = {{net.y, net.b.constant(one_hot(2, 1))}}, .wrt = {net.x}, .rules = &rules});
    const Numbers got = compute(net.g, d, {x})[0];
    const Numbers z = times(x.to_doubles(), kW.to_doubles(), 2, kIn, kHidden);
    Numbers dh = times(one_hot(2, 1).to_doubles(), kV.to_doubles(), 2, kOut, kHidden, true);
    for (std::size_t i = 0; i < dh.size(); ++i) dh[i] = dh[i] > 0 && (!guided || z[i] > 0) ? dh[i] : 0;
    EXPECT_LE(largest_difference(got, times(dh, kW.to_doubles(), 2, kHidden, kIn, true)), 1e-14) << guided;
  }
}

TEST(Rules, NoRulesIsTheGradient) {
  const Tensor x = wave({2, kIn}, 7);
  const RuleSet none;
  Net a(2, "tanh", true), b(2, "tanh", true);
  const auto d = gradient(a.b, {.seeds = {{a.y, a.b.constant(one_hot(2, 0))}}, .wrt = {a.x}});
  const auto e = gradient(b.b, {.seeds = {{b.y, b.b.constant(one_hot(2, 0))}}, .wrt = {b.x}, .rules = &none});
  EXPECT_EQ(compute(a.g, d, {x}), compute(b.g, e, {x}));
}

TEST(Rules, LrpEpsilonConservesRelevanceThroughAResidualAdd) {
  const std::int64_t rows = 2;
  const Tensor x = wave({rows, kIn}, 9);
  Net net(rows, "relu", true);
  const RuleSet rules{
      .carries = Carries::kRelevance, .rules = {pass_through("relu")}, .otherwise = RuleSet::Otherwise::kError};
  const ValueId seed = net.b.mul(net.y, net.b.constant(one_hot(rows, 2)));
  const auto d = gradient(net.b, {.seeds = {{net.y, seed}}, .wrt = {net.x, net.r, net.h}, .rules = &rules});
  const auto out = compute(net.g, {d[0], d[1], d[2], net.y, net.r, net.h}, {x});
  const Numbers &rx = out[0], &rr = out[1], &rh = out[2], &y = out[3], &r = out[4], &h = out[5];
  const Numbers in = x.to_doubles(), w = kW.to_doubles(), v = kV.to_doubles();
  const Numbers z = times(in, w, rows, kIn, kHidden);
  for (std::size_t e = 0; e < rows; ++e) {
    double sum_x = 0, sum_r = 0;
    for (std::size_t i = 0; i < kIn; ++i) {
      sum_x += rx[e * kIn + i];
      sum_r += rr[e * kIn + i];
      // R_r = r V_k (y_k / y_k), R_h = h / r R_r, R_x = x / r R_r + sum_j x W_ij / z_j R_h_j
      const double want_r = r[e * kIn + i] * v[i * kOut + 2];
      EXPECT_NEAR(rr[e * kIn + i], want_r, 1e-7);
      EXPECT_NEAR(rh[e * kIn + i], h[e * kIn + i] / r[e * kIn + i] * want_r, 1e-7);
      double want_x = in[e * kIn + i] / r[e * kIn + i] * want_r;
      for (std::size_t j = 0; j < kHidden; ++j) {
        want_x += in[e * kIn + i] * w[i * kHidden + j] / z[e * kHidden + j] * rh[e * kHidden + j];
      }
      EXPECT_NEAR(rx[e * kIn + i], want_x, 1e-7);
    }
    EXPECT_NEAR(sum_r, y[e * kOut + 2], 1e-7);
    EXPECT_NEAR(sum_x, y[e * kOut + 2], 1e-7) << "relevance is lost";
  }
}

// LRP-gamma: R_i = x_i sum_j (w + gamma w+)_ij R_j / z'_j, with z' from the changed weights.
Rule lrp_gamma(double gamma) {
  return rule_for("matmul", [gamma](RuleCtx& c) {
    const ValueId w = c.x(1);
    const ValueId changed = c.b.add(w, c.b.mul(c.b.op("relu", {w}), gamma));
    const ValueId y = c.b.clone(c.node, {c.x(0), changed})[0];
    const ValueId d = c.vjp_of(y, c.b.div(c.dy(0), y))[0];
    c.set(0, c.b.mul(c.x(0), d));
  });
}

Numbers gamma_by_loops(const Numbers& x, const Numbers& w, const Numbers& relevance, std::size_t n, std::size_t m,
                       double gamma) {
  Numbers out(n, 0);
  for (std::size_t j = 0; j < m; ++j) {
    double z = 0;
    for (std::size_t i = 0; i < n; ++i) z += x[i] * (w[i * m + j] + gamma * std::max(0.0, w[i * m + j]));
    for (std::size_t i = 0; i < n; ++i) {
      out[i] += x[i] * (w[i * m + j] + gamma * std::max(0.0, w[i * m + j])) * relevance[j] / z;
    }
  }
  return out;
}

TEST(Rules, LrpGammaChangesWeightsInAClone) {
  const double gamma = 0.25;
  const Tensor x = wave({1, kIn}, 9);
  const RuleSet rules{.carries = Carries::kRelevance,
                      .rules = {lrp_gamma(gamma), pass_through("relu")},
                      .otherwise = RuleSet::Otherwise::kError};
  Net net(1, "relu", false);
  const ValueId seed = net.b.mul(net.y, net.b.constant(one_hot(1, 0)));
  const auto d = gradient(net.b, {.seeds = {{net.y, seed}}, .wrt = {net.x}, .rules = &rules});
  const auto out = compute(net.g, {d[0], net.h, net.y}, {x});
  const Numbers top{out[2][0], 0, 0};
  const Numbers rh = gamma_by_loops(out[1], kV.to_doubles(), top, kHidden, kOut, gamma);
  const Numbers rx = gamma_by_loops(x.to_doubles(), kW.to_doubles(), rh, kIn, kHidden, gamma);
  EXPECT_LE(largest_difference(out[0], rx), 1e-12);
  EXPECT_NEAR(total(out[0]), out[2][0], 1e-12);
}

// Several targets of one example: backward rows read their forward row, in rules and in clones too.
TEST(Rules, ServeSeveralTargetsOfOneForwardPass) {
  const double gamma = 0.5;
  const Tensor x = wave({2, kIn}, 9);
  const RuleSet rules{.carries = Carries::kRelevance,
                      .rules = {lrp_gamma(gamma), pass_through("relu")},
                      .otherwise = RuleSet::Otherwise::kError};
  const auto single = [&](std::int64_t example, std::int64_t target) {
    Net net(1, "relu", false);
    const ValueId seed = net.b.mul(net.y, net.b.constant(one_hot(1, target)));
    const auto d = gradient(net.b, {.seeds = {{net.y, seed}}, .wrt = {net.x}, .rules = &rules});
    return compute(net.g, d, {x.rows(example, example + 1)})[0];
  };
  Net net(2, "relu", false);
  const std::vector<std::pair<std::int64_t, std::int64_t>> rows = {{1, 0}, {0, 2}, {1, 1}, {0, 0}, {1, 2}};
  std::vector<std::int64_t> index;
  Tensor hot = Tensor::zeros(DType::f64, {5, kOut});
  for (std::size_t r = 0; r < rows.size(); ++r) {
    index.push_back(rows[r].first);
    hot.mutable_data<double>()[r * kOut + static_cast<std::size_t>(rows[r].second)] = 1;
  }
  const ValueId row_index = net.g.add_input("rows", DType::i64, {5});
  const ValueId seed =
      net.b.mul(net.b.op("gather_rows", {net.y, row_index}, {{"axis", std::int64_t{0}}}), net.b.constant(hot));
  const auto d = gradient(net.b, {.seeds = {{net.y, seed}}, .wrt = {net.x}, .row_index = row_index, .rules = &rules});
  const Numbers got = compute(net.g, d, {x, Tensor::ints(index)})[0];
  ASSERT_EQ(got.size(), 5u * kIn);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const Numbers row(got.begin() + static_cast<std::ptrdiff_t>(r * kIn),
                      got.begin() + static_cast<std::ptrdiff_t>((r + 1) * kIn));
    EXPECT_LE(largest_difference(row, single(rows[r].first, rows[r].second)), 1e-12) << r;
  }
}

// DeepLIFT's Rescale rule: the slope between the reference and the value, the gradient where they meet.
Rule rescale(const char* op) {
  return rule_for(op, [](RuleCtx& c) {
    Builder& b = c.b;
    const ValueId dx = b.sub(c.x(0), c.x_ref(0)), dy = b.sub(c.y(0), c.y_ref(0));
    const ValueId tiny = b.op("less", {b.op("abs", {dx}), b.scalar_like(dx, 1e-10)});
    const ValueId slope = b.div(dy, b.where(tiny, b.scalar_like(dx, 1), dx));
    c.set(0, b.where(tiny, c.vjp(c.dy(0))[0], b.mul(c.dy(0), slope)));
  });
}

TEST(Rules, DeepLiftRescaleIsComplete) {
  const std::int64_t rows = 2;
  const Tensor x = wave({rows, kIn}, 3);
  Tensor ref = wave({rows, kIn}, 60);
  for (const char* activation : {"relu", "tanh", "sigmoid"}) {
    for (const bool residual : {false, true}) {
      SCOPED_TRACE(activation);
      Net net(rows, activation, residual);
      const ValueId x_ref = net.g.add_input("x_ref", DType::f64, {rows, kIn}, RowMap::rows(0));
      const auto [z, h, r, y] = net.forward(x_ref, activation, residual);
      const std::map<ValueId, ValueId> twin = {{net.x, x_ref}, {net.z, z}, {net.h, h}, {net.r, r}, {net.y, y}};
      const RuleSet rules{.carries = Carries::kMultiplier,
                          .reference = true,
                          .rules = {rescale(activation)},
                          .otherwise = RuleSet::Otherwise::kError};
      const auto d = gradient(net.b, {.seeds = {{net.y, net.b.constant(one_hot(rows, 1))}},
                                      .wrt = {net.x},
                                      .rules = &rules,
                                      .reference = [&](ValueId v) { return twin.at(v); }});
      const auto out = compute(net.g, {d[0], net.y, y, net.z, z, net.h, h}, {x, ref});
      const Numbers a = x.to_doubles(), a_ref = ref.to_doubles(), w = kW.to_doubles(), v = kV.to_doubles();
      for (std::size_t e = 0; e < rows; ++e) {
        double sum = 0;
        for (std::size_t i = 0; i < kIn; ++i) {
          double m = residual ? v[i * kOut + 1] : 0;
          for (std::size_t j = 0; j < kHidden; ++j) {
            const std::size_t at = e * kHidden + j;
            m += w[i * kHidden + j] * (out[5][at] - out[6][at]) / (out[3][at] - out[4][at]) * v[j * kOut + 1];
          }
          EXPECT_NEAR(out[0][e * kIn + i], m, 1e-12);
          sum += out[0][e * kIn + i] * (a[e * kIn + i] - a_ref[e * kIn + i]);
        }
        EXPECT_NEAR(sum, out[1][e * kOut + 1] - out[2][e * kOut + 1], 1e-12);
      }
      // At the reference itself the multipliers are the gradient.
      Net plain(rows, activation, residual);
      const auto g = gradient(plain.b, {.seeds = {{plain.y, plain.b.constant(one_hot(rows, 1))}}, .wrt = {plain.x}});
      EXPECT_LE(largest_difference(compute(net.g, d, {x, x})[0], compute(plain.g, g, {x})[0]), 1e-12);
    }
  }
}

// Multipliers of several targets per example: reference values are read in backward rows, too.
TEST(Rules, ReferencesFollowBackwardRows) {
  const Tensor x = wave({2, kIn}, 3), ref = wave({2, kIn}, 60);
  Net net(2, "tanh", false);
  const ValueId x_ref = net.g.add_input("x_ref", DType::f64, {2, kIn}, RowMap::rows(0));
  const ValueId row_index = net.g.add_input("rows", DType::i64, {6});
  const auto [z, h, r, y] = net.forward(x_ref, "tanh", false);
  const std::map<ValueId, ValueId> twin = {{net.x, x_ref}, {net.z, z}, {net.h, h}, {net.y, y}};
  const RuleSet rules{.carries = Carries::kMultiplier,
                      .reference = true,
                      .rules = {rescale("tanh")},
                      .otherwise = RuleSet::Otherwise::kError};
  Tensor hot = Tensor::zeros(DType::f64, {6, kOut});
  for (std::size_t k = 0; k < 6; ++k) hot.mutable_data<double>()[k * kOut + k % 3] = 1;
  const auto d = gradient(net.b, {.seeds = {{net.y, net.b.constant(hot)}},
                                  .wrt = {net.x},
                                  .row_index = row_index,
                                  .rules = &rules,
                                  .reference = [&](ValueId v) { return twin.at(v); }});
  const std::vector<std::int64_t> index = {0, 0, 0, 1, 1, 1};
  const auto out = compute(net.g, {d[0], net.y, y}, {x, ref, Tensor::ints(index)});
  const Numbers a = x.to_doubles(), b = ref.to_doubles();
  for (std::size_t k = 0; k < 6; ++k) {
    double sum = 0;
    for (std::size_t i = 0; i < kIn; ++i) sum += out[0][k * kIn + i] * (a[k / 3 * kIn + i] - b[k / 3 * kIn + i]);
    EXPECT_NEAR(sum, out[1][k] - out[2][k], 1e-12) << k;
  }
}

TEST(Rules, ErrorNamesTheNodeWithoutARule) {
  for (const Carries carries : {Carries::kRelevance, Carries::kMultiplier}) {
    Net net(1, "tanh", false);
    const RuleSet rules{.carries = carries, .otherwise = RuleSet::Otherwise::kError};
    const auto e = thrown_by([&] {
      (void)gradient(net.b, {.seeds = {{net.y, net.b.constant(one_hot(1, 0))}}, .wrt = {net.x}, .rules = &rules});
    });
    EXPECT_EQ(e.kind, ErrorKind::kUnsupported);
    EXPECT_NE(e.text.find("act (Activation)"), std::string::npos) << e.text;
    EXPECT_NE(e.text.find("'tanh'"), std::string::npos) << e.text;
  }
  // A product of two active values is linear in neither together.
  Net net(1, "tanh", false);
  net.b.context = "gate (Mul)";
  const ValueId gate = net.b.mul(net.x, net.x);
  const RuleSet rules{.carries = Carries::kRelevance, .otherwise = RuleSet::Otherwise::kError};
  const auto e = thrown_by([&] { (void)gradient(net.b, {.seeds = {{gate, gate}}, .wrt = {net.x}, .rules = &rules}); });
  EXPECT_NE(e.text.find("gate (Mul)"), std::string::npos) << e.text;
}

TEST(Rules, TheFirstMatchWinsAndFirstLinearIsOfTheWholeModel) {
  Net net(1, "relu", true);
  std::vector<std::string> seen;
  const RuleSet rules{.rules = {rule_for("matmul",
                                         [&](RuleCtx& c) {
                                           seen.push_back(c.node.name + (c.first_linear() ? " first" : ""));
                                           c.set(0, c.vjp(c.dy(0))[0]);
                                         }),
                                {"never", [](const Graph&, const Node& n) { return is(n, "matmul"); },
                                 [](RuleCtx&) { fail("the second match"); }}}};
  const auto d = gradient(net.b, {.seeds = {{net.y, net.b.constant(one_hot(1, 0))}}, .wrt = {net.x}, .rules = &rules});
  EXPECT_NE(d[0], kNoValue);
  EXPECT_EQ(seen, (std::vector<std::string>{"second (MatMul)", "first (MatMul) first"}));
  // Asked from an inner value on, the first layer of the model is not the first one after it.
  seen.clear();
  (void)gradient(net.b, {.seeds = {{net.y, net.b.constant(one_hot(1, 0))}}, .wrt = {net.h}, .rules = &rules});
  EXPECT_EQ(seen, (std::vector<std::string>{"second (MatMul)"}));
}

}  // namespace
}  // namespace onnxray
