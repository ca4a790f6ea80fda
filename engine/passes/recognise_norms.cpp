// layer_norm and rms_norm as exporters write them: means, squares and roots in any spelling.
#include "engine/passes/recognise.h"

namespace onnxray {
namespace {

class NormMatcher : PatternReader {
 public:
  using PatternReader::PatternReader;

  std::optional<CompositeMatch> match(NodeId root) {
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
    CompositeMatch m{c->centred ? "layer_norm" : "rms_norm", {c->x}, {{"axis", c->axis}, {"epsilon", c->epsilon}}, {}};
    if (scale != kNoValue || bias != kNoValue) m.inputs.push_back(scale);
    if (bias != kNoValue) m.inputs.push_back(bias);
    return m;
  }

 private:
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
};

}  // namespace

std::optional<CompositeMatch> match_norm(const Graph& g, NodeId root) { return NormMatcher(g, root).match(root); }

}  // namespace onnxray
