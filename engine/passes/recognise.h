// Patterns of nodes that exporters wrote for one composite, and how matchers read a graph. Internal to recognise.
#pragma once
#include <cmath>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/graph.h"
#include "engine/op.h"

namespace onnxray {

// What one node, the root, and nodes before it compute together.
struct CompositeMatch {
  std::string op;
  std::vector<ValueId> inputs;
  Attrs attrs;
  std::set<NodeId> inner;  // nodes it replaces besides the root
};

// layer_norm or rms_norm, with its parameters if it has them.
[[nodiscard]] std::optional<CompositeMatch> match_norm(const Graph& g, NodeId root);
// gelu, gelu_tanh, swish, hard_swish or mish. uses: Graph::use_counts.
[[nodiscard]] std::optional<CompositeMatch> match_activation(const Graph& g, const std::vector<int>& uses, NodeId root);

class PatternReader {
 public:
  PatternReader(const Graph& g, NodeId root) : g_(g) {
    const DType t = g.value(g.node(root).outputs[0]).dtype;
    tolerance_ = t == DType::f32 || t == DType::f64 ? 1e-6 : 1e-3;
  }

 protected:
  const Node* node(ValueId v, std::string_view op) const {
    const Node* n = v == kNoValue ? nullptr : g_.producer(v);
    return n != nullptr && n->op->name == op ? n : nullptr;
  }
  std::optional<double> scalar(ValueId v) const {
    if (!g_.is_constant(v) || !is_float(g_.value(v).dtype) || g_.value(v).constant.size() != 1) return std::nullopt;
    return g_.value(v).constant.to_doubles()[0];
  }
  bool is_scalar(ValueId v, double expected) const {
    const auto s = scalar(v);
    return s && near(*s, expected);
  }
  // Constants are rounded to the dtype of the file.
  bool near(double a, double b) const { return std::abs(a - b) <= tolerance_ * std::abs(b); }

  // Calls f(one operand, the other) both ways round until it accepts.
  template <class F>
  static bool either(const Node& n, F f) {
    return f(n.inputs[0], n.inputs[1]) || f(n.inputs[1], n.inputs[0]);
  }

  // Equal by name or because both are made by equal nodes (exporters repeat the subtraction of the mean).
  bool same(ValueId a, ValueId b) const {
    if (a == b) return true;
    const Node *na = g_.producer(a), *nb = g_.producer(b);
    return na != nullptr && nb != nullptr && na->op == nb->op && na->inputs == nb->inputs && na->attrs == nb->attrs;
  }

  const Graph& g_;

 private:
  double tolerance_;  // of constants, relative
};

}  // namespace onnxray
