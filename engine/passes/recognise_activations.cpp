// Activations c x h(x), with the factors in any order and polynomials in any spelling.
#include <array>

#include "engine/passes/recognise.h"

namespace onnxray {
namespace {

constexpr double kSqrtHalf = 0.70710678118654752440;
constexpr double kSqrtTwoOverPi = 0.79788456080286535588;

// Coefficients of 1, t, t^2, t^3.
using Cubic = std::array<double, 4>;

class ActivationMatcher : PatternReader {
 public:
  ActivationMatcher(const Graph& g, const std::vector<int>& uses, NodeId root) : PatternReader(g, root), uses_(uses) {}

  std::optional<CompositeMatch> match(NodeId root) {
    std::vector<ValueId> f;
    double constant = 1;
    factors(g_.node(root).outputs[0], true, f, constant);
    if (f.size() != 2) return std::nullopt;
    for (const auto& [x, h] : {std::pair{f[0], f[1]}, std::pair{f[1], f[0]}}) {
      for (const auto form : {&ActivationMatcher::gelu, &ActivationMatcher::gelu_tanh, &ActivationMatcher::swish,
                              &ActivationMatcher::hard_swish, &ActivationMatcher::mish}) {
        std::optional<CompositeMatch> m = (this->*form)(x, h, constant);
        if (m) return m;
      }
    }
    return std::nullopt;
  }

 private:
  using PatternReader::near;

  // The factors of a product that are not constants, and the product of those that are.
  void factors(ValueId v, bool first, std::vector<ValueId>& out, double& constant) {
    if (const auto s = scalar(v)) {
      constant *= *s;
      return;
    }
    const bool open = first || uses_[static_cast<std::size_t>(v)] == 1;
    if (const Node* m = open ? node(v, "mul") : nullptr) {
      for (const ValueId f : m->inputs) factors(f, false, out, constant);
    } else if (const Node* q = open ? node(v, "div") : nullptr; q != nullptr && scalar(q->inputs[1])) {
      constant /= *scalar(q->inputs[1]);
      factors(q->inputs[0], false, out, constant);
    } else {
      out.push_back(v);
    }
  }

  // v as a polynomial of t.
  std::optional<Cubic> polynomial(ValueId v, ValueId t, int depth = 0) {
    if (v == t) return Cubic{0, 1, 0, 0};
    if (const auto s = scalar(v)) return Cubic{*s, 0, 0, 0};
    const Node* n = v == kNoValue ? nullptr : g_.producer(v);
    if (n == nullptr || depth > 8) return std::nullopt;
    const std::string& op = n->op->name;
    if (op != "add" && op != "sub" && op != "mul" && op != "div" && op != "pow" && op != "neg") return std::nullopt;
    const auto a = polynomial(n->inputs[0], t, depth + 1);
    if (!a) return a;
    if (op == "neg") return product(*a, {-1, 0, 0, 0});
    const auto b = polynomial(n->inputs[1], t, depth + 1);
    if (!b) return b;
    Cubic c{};
    if (op == "add" || op == "sub") {
      for (std::size_t i = 0; i < 4; ++i) c[i] = (*a)[i] + (op == "add" ? (*b)[i] : -(*b)[i]);
      return c;
    }
    if (op == "mul") return product(*a, *b);
    if ((*b)[1] != 0 || (*b)[2] != 0 || (*b)[3] != 0) return std::nullopt;
    if (op == "div") return product(*a, {1 / (*b)[0], 0, 0, 0});
    if ((*b)[0] == 2) return product(*a, *a);
    if ((*b)[0] != 3) return std::nullopt;
    const auto square = product(*a, *a);
    return square ? product(*square, *a) : square;
  }
  static std::optional<Cubic> product(const Cubic& a, const Cubic& b) {
    Cubic c{};
    for (std::size_t i = 0; i < 4; ++i) {
      for (std::size_t k = 0; k < 4; ++k) {
        if (a[i] == 0 || b[k] == 0) continue;
        if (i + k > 3) return std::nullopt;
        c[i + k] += a[i] * b[k];
      }
    }
    return c;
  }
  bool near(const std::optional<Cubic>& a, const Cubic& b) const {
    if (!a) return false;
    for (std::size_t i = 0; i < 4; ++i) {
      if (b[i] == 0 ? (*a)[i] != 0 : !near((*a)[i], b[i])) return false;
    }
    return true;
  }

  // The node `op` that v, an affine function a t + b, is made from.
  const Node* affine_in(ValueId v, std::string_view op, Cubic& line) {
    std::vector<ValueId> todo{v};
    for (int steps = 0; !todo.empty() && steps < 16; ++steps) {
      const ValueId t = todo.back();
      todo.pop_back();
      if (node(t, op) != nullptr) {
        const auto p = polynomial(v, t);
        if (!p) return nullptr;
        line = *p;
        return node(t, op);
      }
      for (const std::string_view step : {"add", "mul"}) {
        if (const Node* n = node(t, step)) todo.insert(todo.end(), n->inputs.begin(), n->inputs.end());
      }
    }
    return nullptr;
  }

  // x (1 + erf(x / sqrt 2)) / 2
  std::optional<CompositeMatch> gelu(ValueId x, ValueId h, double constant) {
    Cubic line;
    const Node* erf = affine_in(h, "erf", line);
    if (erf == nullptr || !near(line[0] * constant, 0.5) || !near(line[1] * constant, 0.5)) return std::nullopt;
    if (!near(polynomial(erf->inputs[0], x), {0, kSqrtHalf, 0, 0})) return std::nullopt;
    return CompositeMatch{"gelu", {x}, {}, {}};
  }

  // x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
  std::optional<CompositeMatch> gelu_tanh(ValueId x, ValueId h, double constant) {
    Cubic line;
    const Node* tanh = affine_in(h, "tanh", line);
    if (tanh == nullptr || !near(line[0] * constant, 0.5) || !near(line[1] * constant, 0.5)) return std::nullopt;
    if (!near(polynomial(tanh->inputs[0], x), {0, kSqrtTwoOverPi, 0, kSqrtTwoOverPi * 0.044715})) return std::nullopt;
    return CompositeMatch{"gelu_tanh", {x}, {}, {}};
  }

  // x sigmoid(alpha x)
  std::optional<CompositeMatch> swish(ValueId x, ValueId h, double constant) {
    const Node* s = node(h, "sigmoid");
    if (s == nullptr || constant != 1) return std::nullopt;
    const auto p = polynomial(s->inputs[0], x);
    if (!p || (*p)[0] != 0 || (*p)[1] == 0 || (*p)[2] != 0 || (*p)[3] != 0) return std::nullopt;
    return CompositeMatch{"swish", {x}, {{"alpha", (*p)[1]}}, {}};
  }

  // x hard_sigmoid(x; 1/6, 1/2), or x clip(x + 3, 0, 6) / 6
  std::optional<CompositeMatch> hard_swish(ValueId x, ValueId h, double constant) {
    const CompositeMatch found{"hard_swish", {x}, {}, {}};
    if (const Node* s = node(h, "hard_sigmoid")) {
      if (s->inputs[0] != x || constant != 1 || !near(s->attrs.real("alpha", 0.2), 1.0 / 6) ||
          !near(s->attrs.real("beta", 0.5), 0.5)) {
        return std::nullopt;
      }
      return found;
    }
    const Node* c = node(h, "clip");
    if (c == nullptr || !near(constant, 1.0 / 6) || c->attrs.real("min", -HUGE_VAL) != 0 ||
        c->attrs.real("max", HUGE_VAL) != 6 || !near(polynomial(c->inputs[0], x), {3, 1, 0, 0})) {
      return std::nullopt;
    }
    return found;
  }

  // x tanh(softplus(x))
  std::optional<CompositeMatch> mish(ValueId x, ValueId h, double constant) {
    const Node* t = node(h, "tanh");
    const Node* s = t == nullptr ? nullptr : node(t->inputs[0], "softplus");
    if (s == nullptr || s->inputs[0] != x || constant != 1) return std::nullopt;
    return CompositeMatch{"mish", {x}, {}, {}};
  }

  const std::vector<int>& uses_;
};

}  // namespace

std::optional<CompositeMatch> match_activation(const Graph& g, const std::vector<int>& uses, NodeId root) {
  return ActivationMatcher(g, uses, root).match(root);
}

}  // namespace onnxray
