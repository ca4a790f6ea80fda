// The rules of weighted layers. Each is one or more linear maps forward (the layer on parts of x and w) and their
// transposes backward, so one code serves convolutions of any rank, transposed ones and matrix products.
#include "algorithms/attribution/lrp/lrp_rules.h"
#include "engine/builder.h"

namespace onnxray::lrp {
namespace {

// The constant operand of an elementwise sum, or kNoValue.
ValueId constant_operand(const Graph& g, const Node& node, ValueId other) {
  if (node.inputs.size() != 2) return kNoValue;
  for (std::size_t i = 0; i < 2; ++i) {
    if (node.inputs[i] == other && g.is_constant(node.inputs[1 - i])) return node.inputs[1 - i];
  }
  return kNoValue;
}

// Nothing below zero by construction.
bool non_negative(const Graph& g, ValueId v, int depth = 0) {
  const Node* p = v == kNoValue || depth > 16 ? nullptr : g.producer(v);
  if (p == nullptr) return false;
  const std::string& op = p->op->name;
  if (op == "relu" || op == "sigmoid" || op == "hard_sigmoid" || op == "softmax" || op == "exp") return true;
  if (op == "clip") return p->attrs.real("min", -1) >= 0;
  const bool passes = op == "max_pool" || op == "avg_pool" || op == "reduce_mean" || op == "reduce_max" ||
                      p->op->traits.view || op == "transpose" || op == "slice" || op == "gather" || op == "split";
  if (passes) return non_negative(g, p->inputs[0], depth + 1);
  if (op != "concat" && op != "add") return false;
  for (const ValueId in : p->inputs) {
    if (!non_negative(g, in, depth + 1)) return false;
  }
  return true;
}

class Layer {
 public:
  Layer(RuleCtx& c, bool ignore_bias) : c_(c), b_(c.b), active_(c.wanted(0) ? 0 : 1) {
    x = c.x(active_);
    w = c.x(1 - active_);
    y = c.y();
    relevance = c.dy();
    collect_bias(ignore_bias);
    if (non_negative(b_.graph, c.node.inputs[active_])) {
      rise = x;
    } else {
      rise = b_.op("relu", {x});
      fall = b_.sub(x, rise);
    }
  }

  // The layer without bias on another data input and weight.
  ValueId forward(ValueId data, ValueId weight) {
    std::vector<ValueId> in(2);
    in[active_] = data;
    in[1 - active_] = weight;
    Node bare = c_.node;
    bare.inputs.resize(2);
    return b_.clone(bare, in)[0];
  }
  // Its transpose for a weight: s_j -> sum_j w_ij s_j.
  ValueId back(ValueId weight, ValueId s) { return c_.vjp_of(forward(x, weight), s)[active_]; }

  // The linear map with weight p on x+ and q on x-, and back: the two halves of alpha-beta and gamma.
  ValueId split_forward(ValueId p, ValueId q, ValueId with_bias) {
    ValueId z = forward(rise, p);
    if (fall != kNoValue) z = b_.add(z, forward(fall, q));
    return with_bias == kNoValue ? z : b_.add(z, with_bias);
  }
  ValueId split_back(ValueId p, ValueId q, ValueId s) {
    const ValueId up = b_.mul(rise, back(p, s));
    return fall == kNoValue ? up : b_.add(up, b_.mul(fall, back(q, s)));
  }

  void set(ValueId cotangent) { c_.set(active_, cotangent); }
  // The bias takes `share` of each of its units, a value in the shape of y.
  void bias_takes(ValueId part, ValueId share) {
    if (part != kNoValue && c_.accounts()) c_.absorb(b_.mul(part, share));
  }
  // Units whose part z has no contributions at all share nothing: their bias alone drives them, and `factor` of their
  // relevance stays with it.
  void stays_at_zero(ValueId z, double factor) {
    if (!c_.accounts()) return;
    const ValueId zero = b_.scalar_like(z, 0);
    c_.absorb(b_.mul(b_.where(b_.op("equal", {z, zero}), relevance, zero), factor));
  }
  Dims data_dims() const { return c_.dims(active_); }

  ValueId x, w, y, relevance;
  ValueId bias = kNoValue;        // broadcasts against y
  ValueId rise, fall = kNoValue;  // x+ and x-; no x- where it is known to be zero

 private:
  void collect_bias(bool ignore) {
    const Node& node = c_.node;
    if (node.inputs.size() > 2 && node.inputs[2] != kNoValue) {
      bias = c_.x(2);
      if (node.op->name != "matmul") {
        Dims d(b_.rank(y) - 1, 1);
        d[0] = b_.dims(bias)[0];
        bias = b_.reshape(bias, d);
      }
    }
    if (const NodeId n = bias_behind(c_); n >= 0) {
      const Node behind = b_.graph.node(n);
      ValueId more = constant_operand(b_.graph, behind, node.outputs[0]);
      if (behind.op->name == "sub") more = b_.neg(more);
      bias = bias == kNoValue ? more : b_.add(bias, more);
      y = c_.value(behind.outputs[0]);
    }
    if (ignore && bias != kNoValue) {
      y = b_.sub(y, bias);
      bias = kNoValue;
    }
  }

  RuleCtx& c_;
  Builder& b_;
  std::size_t active_;
};

void gamma(Builder& b, Layer& l, const LayerRule& r) {
  const ValueId up = b.op("relu", {l.w}), down = b.sub(l.w, up), zero = b.scalar_like(l.y, 0);
  const ValueId p = b.add(l.w, b.mul(up, r.gamma)), q = b.add(l.w, b.mul(down, r.gamma));
  ValueId bias_up = l.bias, bias_down = l.bias;
  if (l.bias != kNoValue) {
    const ValueId over = b.op("relu", {l.bias});
    bias_up = b.add(l.bias, b.mul(over, r.gamma));
    bias_down = b.add(l.bias, b.mul(b.sub(l.bias, over), r.gamma));
  }
  const auto share = [&](const char* side, ValueId z) {
    return b.where(b.op(side, {l.y, zero}), b.div(l.relevance, stabilised(b, z, r.stabilizer)), zero);
  };
  const ValueId s = share("greater", l.split_forward(p, q, bias_up));
  const ValueId t = share("less", l.split_forward(q, p, bias_down));
  l.bias_takes(bias_up, s);
  l.bias_takes(bias_down, t);
  l.set(b.add(l.split_back(p, q, s), l.split_back(q, p, t)));
}

void alpha_beta(Builder& b, Layer& l, const LayerRule& r) {
  const ValueId up = b.op("relu", {l.w}), down = b.sub(l.w, up);
  const ValueId bias_up = l.bias == kNoValue ? kNoValue : b.op("relu", {l.bias});
  const ValueId rise = l.split_forward(up, down, bias_up);
  const ValueId s = b.div(l.relevance, stabilised(b, rise, r.stabilizer));
  l.stays_at_zero(rise, r.alpha);
  ValueId result = l.split_back(up, down, s);
  l.bias_takes(bias_up, r.alpha == 1 ? s : b.mul(s, r.alpha));
  if (r.alpha != 1) result = b.mul(result, r.alpha);
  if (r.beta != 0) {
    const ValueId bias_down = l.bias == kNoValue ? kNoValue : b.sub(l.bias, bias_up);
    const ValueId fall = l.split_forward(down, up, bias_down);
    const ValueId t = b.div(l.relevance, stabilised(b, fall, r.stabilizer));
    l.stays_at_zero(fall, -r.beta);
    result = b.sub(result, b.mul(l.split_back(down, up, t), r.beta));
    l.bias_takes(bias_down, b.mul(t, -r.beta));
  }
  l.set(result);
}

// One bound for all, or one per channel: axis 1 of convolutions, the last one of matrix products.
ValueId bound(RuleCtx& c, Layer& l, const std::vector<double>& values, const char* name) {
  Builder& b = c.b;
  const Dims dims = l.data_dims();
  const std::size_t axis = c.node.op->name == "matmul" ? dims.size() - 1 : 1;
  ONNXRAY_CHECK(values.size() == 1 || static_cast<std::int64_t>(values.size()) == dims[axis], "z-box: ", name, " has ",
                values.size(), " numbers, expected 1 or ", dims[axis], " (the channels that ", c.node.name, " reads)");
  Dims shape(dims.size(), 1);
  shape[axis] = static_cast<std::int64_t>(values.size());
  const ValueId v = b.constant(Tensor::from<double>(shape, values).to(b.dtype(l.x)));
  return b.expand(v, dims);
}

void z_box(RuleCtx& c, Layer& l, const LayerRule& r) {
  Builder& b = c.b;
  const ValueId low = bound(c, l, r.low, "low"), high = bound(c, l, r.high, "high");
  const ValueId up = b.op("relu", {l.w}), down = b.sub(l.w, up);
  const ValueId z = b.sub(b.sub(l.forward(l.x, l.w), l.forward(low, up)), l.forward(high, down));
  const ValueId s = b.div(l.relevance, stabilised(b, z, r.stabilizer));
  l.set(b.sub(b.sub(b.mul(l.x, l.back(l.w, s)), b.mul(low, l.back(up, s))), b.mul(high, l.back(down, s))));
}

void ones_through(RuleCtx& c, Layer& l, const LayerRule& r, bool squares) {
  Builder& b = c.b;
  const ValueId ones = b.expand(b.scalar_like(l.x, 1), l.data_dims());
  const ValueId w = squares ? b.mul(l.w, l.w) : b.expand(b.scalar_like(l.w, 1), b.dims(l.w));
  ValueId z = l.forward(ones, w);
  const ValueId bias = squares && l.bias != kNoValue ? b.mul(l.bias, l.bias) : kNoValue;
  if (bias != kNoValue) z = b.add(z, bias);
  const ValueId s = b.div(l.relevance, stabilised(b, z, r.stabilizer));
  l.bias_takes(bias, s);
  l.set(l.back(w, s));
}

}  // namespace

bool is_layer(const Node& node) {
  const std::string& op = node.op->name;
  return op == "conv" || op == "conv_input_grad" || op == "matmul";
}

NodeId bias_behind(const RuleCtx& c) {
  const NodeId n = c.handed_by(c.node.outputs[0]);
  if (n < 0) return -1;
  const Graph& g = c.b.graph;
  const Node& node = g.node(n);
  const bool sum = node.op->name == "add" || (node.op->name == "sub" && node.inputs[0] == c.node.outputs[0]);
  const bool same_shape = g.value(node.outputs[0]).dims == g.value(c.node.outputs[0]).dims;
  return sum && same_shape && constant_operand(g, node, c.node.outputs[0]) != kNoValue ? n : -1;
}

ValueId stabilised(Builder& b, ValueId z, double e) {
  if (e == 0) return z;
  const ValueId positive = b.op("greater_equal", {z, b.scalar_like(z, 0)});
  return b.add(z, b.where(positive, b.scalar_like(z, e), b.scalar_like(z, -e)));
}

void apply_layer(RuleCtx& c, const LayerRule& rule, bool ignore_bias) {
  Builder& b = c.b;
  Layer l(c, ignore_bias);
  switch (rule.kind) {
    case LayerRule::Kind::kEpsilon: {
      const ValueId s = b.div(l.relevance, stabilised(b, l.y, rule.stabilizer));
      l.bias_takes(l.bias, s);
      return l.set(b.mul(l.x, l.back(l.w, s)));
    }
    case LayerRule::Kind::kGamma: return gamma(b, l, rule);
    case LayerRule::Kind::kAlphaBeta: return alpha_beta(b, l, rule);
    case LayerRule::Kind::kZBox: return z_box(c, l, rule);
    case LayerRule::Kind::kWSquare: return ones_through(c, l, rule, true);
    case LayerRule::Kind::kFlat: return ones_through(c, l, rule, false);
    case LayerRule::Kind::kIdentity:
      ONNXRAY_CHECK(l.data_dims() == b.dims(l.relevance), "node ", c.node.name,
                    ": the identity rule needs a layer whose input and output have one shape, got ",
                    to_string(l.data_dims()), " and ", to_string(b.dims(l.relevance)));
      return l.set(l.relevance);
  }
}

}  // namespace onnxray::lrp
