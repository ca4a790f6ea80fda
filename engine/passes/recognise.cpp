// Finds the composites that exporters decomposed: layer_norm, rms_norm, gelu, gelu_tanh, swish, hard_swish, mish.
// A pattern is replaced only when nothing outside it reads its inner values. Patterns are tried from the last node to
// the first, so that the largest one wins (a layer_norm with its bias before one without).
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <set>

#include "engine/passes/passes.h"

namespace onnxray {
namespace {

constexpr double kSqrtHalf = 0.70710678118654752440;
constexpr double kSqrtTwoOverPi = 0.79788456080286535588;

struct Match {
  std::string op;
  std::vector<ValueId> inputs;
  Attrs attrs;
  std::set<NodeId> inner;  // nodes it replaces besides the root
};

// Coefficients of 1, t, t^2, t^3.
using Cubic = std::array<double, 4>;

class Matcher {
 public:
  explicit Matcher(const Graph& g) : g_(g), uses_(g.use_counts()) {}

  // What the node computes as the last one of a pattern.
  std::optional<Match> match(NodeId root) {
    const std::string& op = g_.node(root).op->name;
    if (op != "add" && op != "mul" && op != "div") return std::nullopt;
    const DType t = g_.value(g_.node(root).outputs[0]).dtype;
    tolerance_ = t == DType::f32 || t == DType::f64 ? 1e-6 : 1e-3;
    for (const auto pattern : {&Matcher::layer_norm, &Matcher::activation}) {
      std::optional<Match> m = (this->*pattern)(root);
      if (!m || g_.value(m->inputs[0]).dims != g_.value(g_.node(root).outputs[0]).dims) continue;
      if (find_inner(root, *m)) return m;
    }
    return std::nullopt;
  }

 private:
  // --- Reading the graph.

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
  bool same(ValueId a, ValueId b) {
    if (a == b) return true;
    const Node *na = g_.producer(a), *nb = g_.producer(b);
    return na != nullptr && nb != nullptr && na->op == nb->op && na->inputs == nb->inputs && na->attrs == nb->attrs;
  }

  // Fills m.inner: the nodes between the root and the inputs. False if anything else reads their values.
  bool find_inner(NodeId root, Match& m) const {
    std::vector<NodeId> todo{root};
    std::unordered_map<ValueId, int> inside;  // reads by the pattern
    while (!todo.empty()) {
      const NodeId n = todo.back();
      todo.pop_back();
      for (const ValueId v : g_.node(n).inputs) {
        if (v == kNoValue || g_.is_constant(v) || std::find(m.inputs.begin(), m.inputs.end(), v) != m.inputs.end()) {
          continue;
        }
        ++inside[v];
        const NodeId producer = g_.value(v).producer;
        if (producer < 0 || m.inner.size() > 32) return false;
        if (m.inner.insert(producer).second) todo.push_back(producer);
      }
    }
    for (const NodeId n : m.inner) {
      for (const ValueId v : g_.node(n).outputs) {
        if (uses_[static_cast<std::size_t>(v)] != inside[v]) return false;
      }
    }
    return true;
  }

  // --- layer_norm and rms_norm

  struct Core {
    ValueId x;
    bool centred;
    std::int64_t axis;
    double epsilon;
  };

  // The mean of v over trailing axes, keeping dims.
  const Node* mean(ValueId v, std::int64_t& axis) {
    const Node* m = node(v, "reduce_mean");
    if (m == nullptr || m->attrs.integer("keepdims", 1) == 0) return nullptr;
    const std::vector<std::int64_t> axes = m->attrs.ints("axes");
    const auto rank = static_cast<std::int64_t>(g_.value(m->inputs[0]).dims.size());
    if (axes.empty() || axes.back() != rank - 1 || axes.front() != rank - static_cast<std::int64_t>(axes.size())) {
      return nullptr;
    }
    axis = axes.front();
    return m;
  }

  // v = mean(d^2) + epsilon; returns d.
  std::optional<ValueId> mean_square(ValueId v, std::int64_t& axis, double& epsilon) {
    const Node* sum = node(v, "add");
    std::optional<ValueId> found;
    if (sum == nullptr) return found;
    either(*sum, [&](ValueId square, ValueId e) {
      const auto s = scalar(e);
      const Node* m = s && *s >= 0 ? mean(square, axis) : nullptr;
      if (m == nullptr) return false;
      epsilon = *s;
      if (const Node* p = node(m->inputs[0], "pow"); p != nullptr && is_scalar(p->inputs[1], 2)) {
        found = p->inputs[0];
      } else if (const Node* q = node(m->inputs[0], "mul"); q != nullptr && same(q->inputs[0], q->inputs[1])) {
        found = q->inputs[0];
      }
      return found.has_value();
    });
    return found;
  }

  // v = sqrt(u); returns u.
  ValueId root_of(ValueId v) {
    if (const Node* s = node(v, "sqrt")) return s->inputs[0];
    const Node* p = node(v, "pow");
    return p != nullptr && is_scalar(p->inputs[1], 0.5) ? p->inputs[0] : kNoValue;
  }
  // v = 1 / sqrt(u); returns u.
  ValueId inverse_root_of(ValueId v) {
    if (const Node* r = node(v, "reciprocal")) return root_of(r->inputs[0]);
    if (const Node* q = node(v, "div"); q != nullptr && is_scalar(q->inputs[0], 1)) return root_of(q->inputs[1]);
    const Node* p = node(v, "pow");
    return p != nullptr && is_scalar(p->inputs[1], -0.5) ? p->inputs[0] : kNoValue;
  }

  // v = d / sqrt(mean(d^2) + epsilon), d = x - mean(x) or x.
  std::optional<Core> core(ValueId v) {
    std::optional<Core> found;
    const auto attempt = [&](ValueId d, ValueId variance) {
      std::int64_t axis = 0, mean_axis = 0;
      double epsilon = 0;
      const auto squared = variance == kNoValue ? std::nullopt : mean_square(variance, axis, epsilon);
      if (!squared || !same(*squared, d)) return false;
      const Node* s = node(d, "sub");
      const Node* m = s == nullptr ? nullptr : mean(s->inputs[1], mean_axis);
      if (m != nullptr && m->inputs[0] == s->inputs[0] && mean_axis == axis) {
        found = Core{s->inputs[0], true, axis, epsilon};
      } else if (*squared == d) {
        found = Core{d, false, axis, epsilon};
      }
      return found.has_value();
    };
    if (const Node* q = node(v, "div")) {
      attempt(q->inputs[0], root_of(q->inputs[1]));
    } else if (const Node* p = node(v, "mul")) {
      either(*p, [&](ValueId d, ValueId r) { return attempt(d, inverse_root_of(r)); });
    }
    return found;
  }

  // A constant of the normalised shape, leading extents of 1 aside.
  bool is_parameter(ValueId v, const Core& c) const {
    if (!g_.is_constant(v)) return false;
    const Dims& x = g_.value(c.x).dims;
    const Dims wanted(x.begin() + c.axis, x.end());
    return trimmed(g_.value(v).dims, wanted.size()) == wanted && g_.value(v).dtype == g_.value(c.x).dtype;
  }
  static Dims trimmed(Dims d, std::size_t rank) {
    while (d.size() > rank && d.front() == 1) d.erase(d.begin());
    return d;
  }

  // v = core * scale, or the core alone.
  std::optional<Core> scaled_core(ValueId v, ValueId& scale) {
    if (const Node* m = node(v, "mul")) {
      std::optional<Core> c;
      either(*m, [&](ValueId inner, ValueId w) {
        if (!g_.is_constant(w)) return false;
        c = core(inner);
        if (!c || !is_parameter(w, *c)) c.reset();
        if (c) scale = w;
        return c.has_value();
      });
      if (c) return c;
    }
    return core(v);
  }

  std::optional<Match> layer_norm(NodeId root) {
    const ValueId y = g_.node(root).outputs[0];
    ValueId scale = kNoValue, bias = kNoValue;
    std::optional<Core> c;
    if (const Node* sum = node(y, "add")) {
      either(*sum, [&](ValueId inner, ValueId b) {
        if (!g_.is_constant(b)) return false;
        c = scaled_core(inner, scale);
        if (c && (!c->centred || !is_parameter(b, *c))) c.reset();
        bias = b;
        return c.has_value();
      });
    } else {
      c = scaled_core(y, scale);
    }
    if (!c) return std::nullopt;
    Match m{c->centred ? "layer_norm" : "rms_norm", {c->x}, {{"axis", c->axis}, {"epsilon", c->epsilon}}, {}};
    if (scale != kNoValue || bias != kNoValue) m.inputs.push_back(scale);
    if (bias != kNoValue) m.inputs.push_back(bias);
    return m;
  }

  // --- Activations: c x h(x) with the factors in any order.

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

  std::optional<Match> activation(NodeId root) {
    std::vector<ValueId> f;
    double constant = 1;
    factors(g_.node(root).outputs[0], true, f, constant);
    if (f.size() != 2) return std::nullopt;
    for (const auto& [x, h] : {std::pair{f[0], f[1]}, std::pair{f[1], f[0]}}) {
      for (const auto form :
           {&Matcher::gelu, &Matcher::gelu_tanh, &Matcher::swish, &Matcher::hard_swish, &Matcher::mish}) {
        std::optional<Match> m = (this->*form)(x, h, constant);
        if (m) return m;
      }
    }
    return std::nullopt;
  }

  // x (1 + erf(x / sqrt 2)) / 2
  std::optional<Match> gelu(ValueId x, ValueId h, double constant) {
    Cubic line;
    const Node* erf = affine_in(h, "erf", line);
    if (erf == nullptr || !near(line[0] * constant, 0.5) || !near(line[1] * constant, 0.5)) return std::nullopt;
    if (!near(polynomial(erf->inputs[0], x), {0, kSqrtHalf, 0, 0})) return std::nullopt;
    return Match{"gelu", {x}, {}, {}};
  }

  // x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
  std::optional<Match> gelu_tanh(ValueId x, ValueId h, double constant) {
    Cubic line;
    const Node* tanh = affine_in(h, "tanh", line);
    if (tanh == nullptr || !near(line[0] * constant, 0.5) || !near(line[1] * constant, 0.5)) return std::nullopt;
    if (!near(polynomial(tanh->inputs[0], x), {0, kSqrtTwoOverPi, 0, kSqrtTwoOverPi * 0.044715})) return std::nullopt;
    return Match{"gelu_tanh", {x}, {}, {}};
  }

  // x sigmoid(alpha x)
  std::optional<Match> swish(ValueId x, ValueId h, double constant) {
    const Node* s = node(h, "sigmoid");
    if (s == nullptr || constant != 1) return std::nullopt;
    const auto p = polynomial(s->inputs[0], x);
    if (!p || (*p)[0] != 0 || (*p)[1] == 0 || (*p)[2] != 0 || (*p)[3] != 0) return std::nullopt;
    return Match{"swish", {x}, {{"alpha", (*p)[1]}}, {}};
  }

  // x hard_sigmoid(x; 1/6, 1/2), or x clip(x + 3, 0, 6) / 6
  std::optional<Match> hard_swish(ValueId x, ValueId h, double constant) {
    const Match found{"hard_swish", {x}, {}, {}};
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
  std::optional<Match> mish(ValueId x, ValueId h, double constant) {
    const Node* t = node(h, "tanh");
    const Node* s = t == nullptr ? nullptr : node(t->inputs[0], "softplus");
    if (s == nullptr || s->inputs[0] != x || constant != 1) return std::nullopt;
    return Match{"mish", {x}, {}, {}};
  }

  const Graph& g_;
  std::vector<int> uses_;
  double tolerance_ = 1e-6;  // of constants, relative
};

}  // namespace

Graph recognise_composites(const Graph& g, const Evaluator& evaluate) {
  Matcher matcher(g);
  std::vector<std::optional<Match>> found(g.nodes().size());
  std::vector<char> replaced(g.nodes().size(), 0);
  for (std::size_t n = g.nodes().size(); n-- > 0;) {
    if (replaced[n] != 0) continue;
    found[n] = matcher.match(static_cast<NodeId>(n));
    if (!found[n]) continue;
    for (const NodeId i : found[n]->inner) replaced[static_cast<std::size_t>(i)] = 1;
  }
  Rewriter rw(g, evaluate);
  for (std::size_t n = 0; n < g.nodes().size(); ++n) {
    const Node& node = g.nodes()[n];
    if (replaced[n] != 0) continue;
    if (!found[n]) {
      rw.copy(node);
      continue;
    }
    rw.b.context = node.name;
    Match& m = *found[n];
    std::vector<ValueId> inputs = rw.map(m.inputs);
    const bool norm = m.op == "layer_norm" || m.op == "rms_norm";
    for (std::size_t i = 1; norm && i < inputs.size(); ++i) {
      if (inputs[i] == kNoValue) continue;
      const Dims x = rw.b.dims(inputs[0]);
      inputs[i] = rw.b.reshape(inputs[i], Dims(x.begin() + m.attrs.integer("axis", 0), x.end()));
    }
    rw.set(node.outputs[0], rw.b.op(m.op, inputs, m.attrs));
  }
  return rw.finish();
}

}  // namespace onnxray
