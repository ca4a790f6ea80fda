// Exporters' decompositions become composites, near misses do not, and outputs stay the same.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "engine/passes/passes.h"
#include "engine/plan.h"
#include "kernels/cpu/cpu.h"

namespace onnxray {
namespace {

const Dims kDims{2, 3, 5};

Tensor values(const Dims& dims, double phase) {
  Tensor t(DType::f64, dims);
  double k = phase;
  for (double& v : t.mutable_data<double>()) v = 2 * std::sin(k += 1.7);
  return t;
}

struct Pattern {
  const char* name;
  const char* op;  // the composite, or empty where nothing may change
  std::function<ValueId(Builder&, ValueId)> build;
};

ValueId mean(Builder& b, ValueId v, std::vector<std::int64_t> axes = {2}) {
  return b.reduce("reduce_mean", v, std::move(axes), true);
}
ValueId pow(Builder& b, ValueId v, double e) { return b.op("pow", {v, b.scalar_like(v, e)}); }
ValueId sqrt(Builder& b, ValueId v) { return b.op("sqrt", {v}); }
ValueId param(Builder& b, Dims dims, double phase) { return b.constant(values(dims, phase)); }

ValueId torch_layer_norm(Builder& b, ValueId x, std::vector<std::int64_t> axes) {
  const ValueId d = b.sub(x, mean(b, x, axes));
  return b.div(d, sqrt(b, b.add(mean(b, pow(b, d, 2), axes), 1e-5)));
}

ValueId erf_gate(Builder& b, ValueId x, double root) {
  return b.add(b.op("erf", {b.div(x, b.scalar_like(x, root))}), 1.0);
}

ValueId tanh_gate(Builder& b, ValueId x) {
  const ValueId cubic = b.add(x, b.mul(pow(b, x, 3), 0.044715));
  return b.add(b.op("tanh", {b.mul(cubic, std::sqrt(2 / M_PI))}), 1.0);
}

const std::vector<Pattern>& patterns() {
  static const std::vector<Pattern> all = {
      {"layer_norm of torch", "layer_norm",
       [](Builder& b, ValueId x) {
         const ValueId y = torch_layer_norm(b, x, {2});
         return b.add(b.mul(y, param(b, {5}, 1)), param(b, {5}, 2));
       }},
      {"layer_norm over two axes, parameters first", "layer_norm",
       [](Builder& b, ValueId x) {
         const ValueId y = torch_layer_norm(b, x, {1, 2});
         return b.add(param(b, {3, 5}, 2), b.mul(param(b, {3, 5}, 1), y));
       }},
      {"layer_norm without parameters", "layer_norm",
       [](Builder& b, ValueId x) { return torch_layer_norm(b, x, {2}); }},
      {"layer_norm by a reciprocal, the difference made twice, squared by mul", "layer_norm",
       [](Builder& b, ValueId x) {
         const ValueId m = mean(b, x), d = b.sub(x, m), again = b.sub(x, m);
         const ValueId r = b.op("reciprocal", {sqrt(b, b.add(mean(b, b.mul(d, d)), 1e-3))});
         return b.mul(b.mul(again, r), param(b, {5}, 1));
       }},
      {"layer_norm by a power", "layer_norm",
       [](Builder& b, ValueId x) {
         const ValueId d = b.sub(x, mean(b, x));
         return b.mul(pow(b, b.add(mean(b, b.mul(d, d)), 1e-3), -0.5), d);
       }},
      {"rms_norm", "rms_norm",
       [](Builder& b, ValueId x) {
         const ValueId root = sqrt(b, b.add(mean(b, pow(b, x, 2)), 1e-6));
         return b.mul(param(b, {5}, 1), b.mul(x, b.div(b.scalar_like(x, 1), root)));
       }},
      {"rms_norm of a value read twice", "rms_norm",
       [](Builder& b, ValueId x) { return b.div(x, sqrt(b, b.add(mean(b, b.mul(x, x)), 1e-6))); }},
      {"gelu, half last", "gelu",
       [](Builder& b, ValueId x) { return b.mul(b.mul(x, erf_gate(b, x, std::sqrt(2))), 0.5); }},
      {"gelu, half first", "gelu",
       [](Builder& b, ValueId x) { return b.mul(b.mul(x, 0.5), erf_gate(b, x, std::sqrt(2))); }},
      {"gelu, half with the gate, product of the root", "gelu",
       [](Builder& b, ValueId x) {
         const ValueId e = b.op("erf", {b.mul(x, std::sqrt(0.5))});
         return b.mul(x, b.mul(b.add(e, 1.0), 0.5));
       }},
      {"gelu by halves", "gelu",
       [](Builder& b, ValueId x) {
         const ValueId e = b.op("erf", {b.mul(x, std::sqrt(0.5))});
         return b.mul(b.add(b.mul(e, 0.5), 0.5), x);
       }},
      {"gelu by division", "gelu",
       [](Builder& b, ValueId x) { return b.div(b.mul(x, erf_gate(b, x, std::sqrt(2))), b.scalar_like(x, 2)); }},
      {"gelu_tanh", "gelu_tanh", [](Builder& b, ValueId x) { return b.mul(b.mul(x, 0.5), tanh_gate(b, x)); }},
      {"gelu_tanh, cube by products", "gelu_tanh",
       [](Builder& b, ValueId x) {
         const ValueId inner = b.add(b.mul(b.mul(b.mul(x, 0.044715), x), b.scalar_like(x, 1)), 1.0);
         const ValueId u = b.mul(b.mul(x, std::sqrt(2 / M_PI)), inner);
         return b.mul(b.mul(b.add(b.op("tanh", {u}), 1.0), x), 0.5);
       }},
      {"silu", "swish", [](Builder& b, ValueId x) { return b.mul(x, b.op("sigmoid", {x})); }},
      {"silu, scaled", "swish", [](Builder& b, ValueId x) { return b.mul(b.op("sigmoid", {b.mul(x, 1.702)}), x); }},
      {"hard_swish", "hard_swish",
       [](Builder& b, ValueId x) {
         return b.mul(x, b.op("hard_sigmoid", {x}, {{"alpha", 1.0 / 6}, {"beta", 0.5}}));
       }},
      {"hard_swish by clip", "hard_swish",
       [](Builder& b, ValueId x) {
         const ValueId c = b.op("clip", {b.add(x, 3.0)}, {{"min", 0.0}, {"max", 6.0}});
         return b.div(b.mul(x, c), b.scalar_like(x, 6));
       }},
      {"mish", "mish", [](Builder& b, ValueId x) { return b.mul(x, b.op("tanh", {b.op("softplus", {x})})); }},

      {"variance of something else", "",
       [](Builder& b, ValueId x) {
         const ValueId d = b.sub(x, mean(b, x));
         return b.div(b.sub(x, b.op("tanh", {x})), sqrt(b, b.add(mean(b, pow(b, d, 2)), 1e-5)));
       }},
      {"means over other axes", "",
       [](Builder& b, ValueId x) {
         const ValueId d = b.sub(x, mean(b, x, {1, 2}));
         return b.div(b.op("tanh", {d}), sqrt(b, b.add(mean(b, pow(b, d, 2)), 1e-5)));
       }},
      {"not the last axes", "", [](Builder& b, ValueId x) { return torch_layer_norm(b, x, {1}); }},
      {"power of three", "",
       [](Builder& b, ValueId x) { return b.div(x, sqrt(b, b.add(mean(b, pow(b, x, 3)), 30.0))); }},
      {"erf of another scale", "", [](Builder& b, ValueId x) { return b.mul(b.mul(x, 0.5), erf_gate(b, x, 1.5)); }},
      {"gelu of another value", "",
       [](Builder& b, ValueId x) { return b.mul(b.op("exp", {b.mul(x, 0.5)}), erf_gate(b, x, std::sqrt(2))); }},
      {"whole, not half", "", [](Builder& b, ValueId x) { return b.mul(x, erf_gate(b, x, std::sqrt(2))); }},
      {"sigmoid of another value", "",
       [](Builder& b, ValueId x) { return b.mul(x, b.op("sigmoid", {b.add(x, 1.0)})); }},
      {"another hard_sigmoid", "", [](Builder& b, ValueId x) { return b.mul(x, b.op("hard_sigmoid", {x})); }},
  };
  return all;
}

std::vector<double> run(const Graph& g, const Tensor& x) {
  PlanRun r(Plan::compile(clean(g), cpu_backend(), nullptr));
  r.bind(0, x);
  r.execute();
  return r.output(0).to_doubles();
}

struct Made {
  Graph g;
  Made(const Pattern& p, bool pin_all) {
    Builder b(g);
    const ValueId x = g.add_input("x", DType::f64, kDims);
    const ValueId y = p.build(b, b.op("neg", {x}));
    std::vector<ValueId> outputs{b.op("exp", {b.mul(y, 0.25)})};
    if (pin_all) {
      for (std::size_t n = 1; n + 3 < g.nodes().size(); ++n) outputs.push_back(g.nodes()[n].outputs[0]);
    }
    g.set_outputs(outputs);
  }
};

TEST(Recognise, ReplacesDecompositions) {
  const Evaluator evaluate = evaluator_of(cpu_backend());
  for (const Pattern& p : patterns()) {
    SCOPED_TRACE(p.name);
    const Made made(p, false);
    const Graph after = recognise_composites(made.g, evaluate);
    after.verify();
    const std::string text = after.to_text();
    const Tensor x = values(kDims, 0.3);
    const std::vector<double> expected = run(made.g, x), got = run(after, x);
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-6 * std::abs(expected[i]));
    if (std::string(p.op).empty()) {
      EXPECT_EQ(text, recognise_composites(after, evaluate).to_text());
      EXPECT_EQ(after.nodes().size(), made.g.nodes().size()) << text;
      continue;
    }
    EXPECT_EQ(after.nodes().size(), 4U) << text;  // neg, the composite, mul, exp
    EXPECT_NE(text.find("= " + std::string(p.op) + "("), std::string::npos) << text;
  }
}

TEST(Recognise, KeepsValuesThatAreReadElsewhere) {
  const Evaluator evaluate = evaluator_of(cpu_backend());
  for (const Pattern& p : patterns()) {
    SCOPED_TRACE(p.name);
    const Made made(p, true);
    const Graph after = recognise_composites(made.g, evaluate);
    EXPECT_EQ(after.nodes().size(), made.g.nodes().size()) << after.to_text();
  }
}

TEST(Recognise, NamesOfTheResultStay) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f32, kDims, RowMap::rows(0));
  const ValueId gate = b.op("sigmoid", {x});
  g.set_name(gate, "gate");
  const ValueId y = b.mul(x, gate);
  g.set_name(y, "y");
  g.set_outputs({y});
  const Graph after = recognise_composites(g, evaluator_of(cpu_backend()));
  EXPECT_EQ(after.find("gate"), kNoValue);
  EXPECT_EQ(after.find("y"), after.outputs()[0]);
}

}  // namespace
}  // namespace onnxray
