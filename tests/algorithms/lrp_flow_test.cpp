// How relevance passes what is no linear layer, and which rule each layer gets: nothing is lost, attention shares as in
// AttnLRP, what has no rule is refused by name.
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
using testing::largest_difference;
using testing::thrown_by;
using testing::total;
using testing::wave;
using Numbers = std::vector<double>;
using Kind = LayerRule::Kind;

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
