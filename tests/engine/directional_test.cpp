// Forward-mode derivatives against central differences in float64.
#include "engine/autodiff.h"
#include "tests/engine/passes_util.h"

namespace onnxray {
namespace {

// Two values on the way (hidden, out) of a net with matrix products, softmax, a maximum and products of values.
struct Net {
  ValueId x, hidden, out;
};

Net net(Builder& b, ValueId x) {
  const ValueId w = b.constant(testing::random_floats(DType::f64, {4, 6}, 1));
  const ValueId v = b.constant(testing::random_floats(DType::f64, {6, 3}, 2));
  const ValueId hidden = b.op("tanh", {b.matmul(x, w)});
  const ValueId soft = b.op("softmax", {hidden}, {{"axis", std::int64_t{1}}});
  const ValueId most = b.op("relu", {b.add(hidden, 0.1)});
  return {x, hidden, b.matmul(b.mul(soft, b.add(most, hidden)), v)};
}

std::vector<std::vector<double>> run(const Graph& g, const std::vector<Tensor>& inputs) {
  PlanRun run(Plan::compile(clean(g), cpu_backend(), nullptr));
  for (std::size_t i = 0; i < inputs.size(); ++i) run.bind(i, inputs[i]);
  run.execute();
  std::vector<std::vector<double>> out;
  for (std::size_t i = 0; i < g.outputs().size(); ++i) out.push_back(run.output(i).to_doubles());
  return out;
}

TEST(DirectionalDerivative, EqualsCentralDifferencesOfEveryValue) {
  const Tensor x = testing::random_floats(DType::f64, {5, 4}, 3), d = testing::random_floats(DType::f64, {5, 4}, 4);
  Graph g;
  Builder b(g);
  const Net n = net(b, g.add_input("x", DType::f64, {5, 4}));
  const ValueId direction = g.add_input("d", DType::f64, {5, 4});
  const std::vector<ValueId> t = directional_derivative(b, {n.hidden, n.out, n.x}, {{n.x, direction}});
  g.set_outputs(t);
  g.verify();
  const auto got = run(g, {x, d});

  Graph plain;
  Builder p(plain);
  const Net m = net(p, plain.add_input("x", DType::f64, {5, 4}));
  plain.set_outputs({m.hidden, m.out});
  const double h = 1e-5;
  const auto moved = [&](double by) {
    Tensor y(DType::f64, {5, 4});
    for (std::size_t i = 0; i < 20; ++i) y.mutable_data<double>()[i] = x.data<double>()[i] + by * d.data<double>()[i];
    return run(plain, {y});
  };
  const auto up = moved(h), down = moved(-h);
  for (std::size_t o = 0; o < 2; ++o) {
    for (std::size_t i = 0; i < got[o].size(); ++i) {
      EXPECT_NEAR(got[o][i], (up[o][i] - down[o][i]) / (2 * h), 1e-8) << o << " " << i;
    }
  }
  EXPECT_EQ(got[2], d.to_doubles());  // the value itself moves along the direction
}

TEST(DirectionalDerivative, AddsSeveralDirectionsAndKnowsWhatDoesNotMove) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f64, {3}), y = g.add_input("y", DType::f64, {3}),
                z = g.add_input("z", DType::f64, {3});
  const ValueId product = b.mul(x, y), other = b.op("exp", {z});
  const std::vector<ValueId> t = directional_derivative(b, {product, other}, {{x, b.zeros(DType::f64, {3})}, {y, z}});
  EXPECT_EQ(t[1], kNoValue);
  g.set_outputs({t[0]});
  const Tensor a = Tensor::from<double>({3}, {1, 2, 3}), c = Tensor::from<double>({3}, {5, 7, 11});
  EXPECT_EQ(run(g, {a, a, c})[0], (std::vector<double>{5, 14, 33}));
}

}  // namespace
}  // namespace onnxray
