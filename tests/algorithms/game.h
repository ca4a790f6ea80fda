// A small game for the tests of perturbation methods: a model of two values, features across both, and the worth of
// every coalition by evaluating the model on what is written out by hand.
#pragma once
#include <gtest/gtest.h>

#include <vector>

#include "tests/algorithms/support.h"

namespace onnxray::testing::game {

// y = sigmoid(tanh(x W + z Z) V): nothing is additive. x [N, 2, 3], z [N, 2].
inline const Model& net() {
  static const Model model = [] {
    ModelBuilder m;
    m.input("x", {"N", 2, 3}, DType::f64).input("z", {"N", 2}, DType::f64).output("y", {"N", 2}, DType::f64);
    m.initializer("w", wave({6, 5}, 1)).initializer("u", wave({2, 5}, 2)).initializer("v", wave({5, 2}, 3));
    m.node("Flatten", {"x"}, {"flat"});
    m.node("MatMul", {"flat", "w"}, {"a"});
    m.node("MatMul", {"z", "u"}, {"b"});
    m.node("Add", {"a", "b"}, {"s"});
    m.node("Tanh", {"s"}, {"h"});
    m.node("MatMul", {"h", "v"}, {"o"});
    m.node("Sigmoid", {"o"}, {"y"});
    return testing::model_of(m);
  }();
  return model;
}

inline constexpr std::int64_t kExamples = 3;
inline const NamedTensors& inputs() {
  static const NamedTensors t{{"x", wave({kExamples, 2, 3}, 7, 2)}, {"z", wave({kExamples, 2}, 8, 2)}};
  return t;
}
inline Request request(std::uint64_t seed = 0) {
  Request r{.inputs = inputs(), .to = {output(1)}, .from = {"x", "z"}};
  r.compute.seed = seed;
  return r;
}
inline constexpr double kBaseline = 0.25;
inline Baselines constant_baseline() {
  Baselines b;
  b.constant = kBaseline;
  return b;
}
// x's six elements in three features, z's two in the second of them and one more: feature 1 spans both values.
inline FeatureMask groups() {
  FeatureMask m{.kind = FeatureMask::Kind::kTensors};
  m.tensors["x"] = Tensor::from<std::int64_t>({2, 3}, {0, 0, 1, 2, 1, 2});
  m.tensors["z"] = Tensor::from<std::int64_t>({2}, {1, 3});
  return m;
}
inline constexpr std::size_t kFeatures = 4;
inline const std::vector<std::vector<std::size_t>> kMembersOfX = {{0, 1}, {2, 4}, {3, 5}, {}};
inline const std::vector<std::vector<std::size_t>> kMembersOfZ = {{}, {0}, {}, {1}};

// The explained scalar of every example whose features hold `keep` of their contents, the rest baseline.
inline std::vector<double> worth(const std::vector<double>& keep) {
  NamedTensors changed;
  for (const auto& [name, members] : {std::pair("x", &kMembersOfX), std::pair("z", &kMembersOfZ)}) {
    std::vector<double> v = inputs().at(name).to_doubles();
    const std::size_t row = v.size() / kExamples;
    for (std::size_t e = 0; e < kExamples; ++e) {
      for (std::size_t f = 0; f < kFeatures; ++f) {
        for (const std::size_t k : (*members)[f]) {
          double& at = v[e * row + k];
          at = keep[f] * at + (1 - keep[f]) * kBaseline;
        }
      }
    }
    changed[name] = Tensor::from<double>(inputs().at(name).dims(), v);
  }
  const auto y = evaluate(net(), changed, {"y"}).values.at("y").to_doubles();
  std::vector<double> out;
  for (std::size_t e = 0; e < kExamples; ++e) out.push_back(y[2 * e + 1]);
  return out;
}

// Every element has its feature's score: score(e, f).
template <class Score>
void expect_scores(const Attribution& a, Score score, double tolerance) {
  const auto x = a.attributions.at("x").to_doubles(), z = a.attributions.at("z").to_doubles();
  for (std::size_t e = 0; e < kExamples; ++e) {
    for (std::size_t f = 0; f < kFeatures; ++f) {
      const double want = score(e, f);
      for (const std::size_t k : kMembersOfX[f]) EXPECT_NEAR(x[e * 6 + k], want, tolerance) << e << " x feature " << f;
      for (const std::size_t k : kMembersOfZ[f]) EXPECT_NEAR(z[e * 2 + k], want, tolerance) << e << " z feature " << f;
    }
  }
}

inline std::vector<double> all_but(std::size_t f) {
  std::vector<double> keep(kFeatures, 1);
  keep[f] = 0;
  return keep;
}

}  // namespace onnxray::testing::game
