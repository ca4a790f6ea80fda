// NHWC inside: convolutions and pooling compute on channels-last data, and so does everything between them that can.
// Every value of the old graph has up to two twins in the new one, in NCHW ("plain") and in NHWC order; the second is
// made from the first by a transpose when somebody asks for it. Names and graph outputs stay with the plain twin.
#include "engine/passes/channels_last.h"

#include <algorithm>

#include "engine/passes/passes.h"

namespace onnxray {

std::vector<std::int64_t> entries_in_nhwc(const std::vector<std::int64_t>& v) {
  std::vector<std::int64_t> out = v;
  for (std::size_t i = 0; i < v.size(); ++i) {
    out[static_cast<std::size_t>(axis_in_nhwc(static_cast<std::int64_t>(i), v.size()))] = v[i];
  }
  return out;
}

bool channels_last_window(ChannelsLastCtx& c) {
  const std::string& op = c.node.op->name;
  const bool weights = op == "conv" || op == "conv_input_grad";
  for (std::size_t i = 0; i < c.takes.size(); ++i) c.takes[i] = !weights || (i != 1 && i != 2);
  for (char& g : c.gives) g = op != "conv_weight_grad";
  c.attrs.set("channels_last", std::int64_t{1});
  return true;
}

bool channels_last_axis(ChannelsLastCtx& c) {
  const std::size_t rank = c.dims(0).size();
  if (c.out_dims().size() != rank) return false;
  for (std::size_t i = 0; i < c.takes.size(); ++i)
    c.takes[i] = c.node.inputs[i] != kNoValue && c.dims(i).size() == rank;
  for (char& g : c.gives) g = 1;
  c.attrs.set("axis", axis_in_nhwc(c.attrs.integer("axis", 0), rank));
  return true;
}

bool channels_last_reduce(ChannelsLastCtx& c) {
  const std::size_t rank = c.dims(0).size();
  std::vector<std::int64_t> axes = c.attrs.ints("axes");
  const bool keepdims = c.attrs.integer("keepdims", 1) != 0;
  if (!keepdims) {
    // The channel axis may not have to pass kept spatial axes.
    const auto reduced = [&](std::int64_t a) { return std::find(axes.begin(), axes.end(), a) != axes.end(); };
    bool spatial = false;
    for (std::size_t a = 2; a < rank; ++a) spatial = spatial || !reduced(static_cast<std::int64_t>(a));
    if (spatial && !reduced(1)) return false;
  }
  c.takes[0] = 1;
  c.gives[0] = keepdims;
  for (std::int64_t& a : axes) a = axis_in_nhwc(a, rank);
  std::sort(axes.begin(), axes.end());
  c.attrs.set("axes", axes);
  return true;
}

bool channels_last_lists(ChannelsLastCtx& c) {
  if (c.out_dims().size() != c.dims(0).size()) return false;
  c.takes[0] = 1;
  c.gives[0] = 1;
  for (const auto& [name, value] : c.node.attrs.items()) {
    const auto* list = std::get_if<std::vector<std::int64_t>>(&value);
    if (list != nullptr) c.attrs.set(name, entries_in_nhwc(*list));
  }
  return true;
}

bool channels_last_transpose(ChannelsLastCtx& c) {
  std::vector<std::int64_t> perm = c.attrs.ints("perm");
  c.takes[0] = 1;
  for (std::int64_t& p : perm) p = axis_in_nhwc(p, perm.size());
  c.attrs.set("perm", perm);
  return true;
}

namespace {

bool fits(std::size_t rank) { return rank >= 3 && rank <= 5; }

// Same memory in either order.
bool order_free(const Dims& d) { return d[1] == 1 || product(d, 2, d.size()) == 1; }

class Pass {
 public:
  Pass(const Graph& g, const Evaluator& evaluate)
      : g_(g), rw_(g, evaluate), twin_(g.value_count(), kNoValue), native_(g.value_count(), 0) {}

  Graph run() {
    for (const Node& node : g_.nodes()) {
      if (!convert(node)) copy(node);
    }
    for (const ValueId v : g_.outputs()) (void)plain(v);
    return rw_.finish();
  }

 private:
  static std::size_t index(ValueId v) { return static_cast<std::size_t>(v); }

  ValueId plain(ValueId v) {
    if (v == kNoValue || rw_.mapped(v) || twin_[index(v)] == kNoValue) return rw_(v);
    const Dims& d = g_.value(v).dims;
    ValueId made = kNoValue;
    if (order_free(d)) {
      made = rw_.b.reshape(twin_[index(v)], d);
    } else {
      std::vector<std::int64_t> perm;
      for (std::size_t i = 0; i < d.size(); ++i) {
        perm.push_back(axis_in_nhwc(static_cast<std::int64_t>(i), d.size()));
      }
      made = rw_.b.transpose(twin_[index(v)], perm);
    }
    rw_.set(v, made);
    return made;
  }

  // In NHWC order, with leading ones up to `rank`. All-ones shapes are taken as they are.
  ValueId last(ValueId v, std::size_t rank) {
    const Dims& d = g_.value(v).dims;
    if (count_of(d) == 1 && d.size() < rank) return plain(v);
    if (d.size() < rank) {
      Dims full(rank - d.size(), 1);
      full.insert(full.end(), d.begin(), d.end());
      return reordered(rw_.b.reshape(plain(v), full));
    }
    ValueId& slot = twin_[index(v)];
    if (slot == kNoValue) slot = reordered(plain(v));
    return slot;
  }

  ValueId reordered(ValueId fresh) {
    const Dims d = rw_.b.dims(fresh);
    if (order_free(d)) return rw_.b.reshape(fresh, entries_in_nhwc(d));
    std::vector<std::int64_t> perm(d.size());
    for (std::size_t i = 0; i < d.size(); ++i) perm[i] = static_cast<std::int64_t>(i);
    return rw_.b.transpose(fresh, entries_in_nhwc(perm));
  }

  void copy(const Node& node) {
    for (const ValueId v : node.inputs) (void)plain(v);
    rw_.copy(node);
  }

  // Whether the node should compute in NHWC: convolutions and pooling always, others to stay where their data is.
  bool wanted(const Node& node) const {
    const Value& out = g_.value(node.outputs[0]);
    if (node.op->channels_last == channels_last_window) {
      return g_.value(node.inputs[0]).dtype == DType::f32 && !is_last_already(node);
    }
    for (const ValueId v : node.inputs) {
      if (v == kNoValue || native_[index(v)] == 0) continue;
      if (node.op->channels_last != nullptr || count_of(g_.value(v).dims) == count_of(out.dims)) return true;
    }
    // The gradient of global pooling: [N, C, 1, 1] spread over space.
    if (node.op->name == "expand" && fits(out.dims.size()) && !g_.is_constant(node.inputs[0])) {
      const Dims& in = g_.value(node.inputs[0]).dims;
      return in.size() == out.dims.size() && in[1] > 1 && product(in, 2, in.size()) == 1;
    }
    return false;
  }

  static bool is_last_already(const Node& node) { return node.attrs.integer("channels_last", 0) != 0; }

  bool elementwise(ChannelsLastCtx& c) const {
    const std::size_t rank = c.out_dims().size();
    for (std::size_t i = 0; i < c.takes.size(); ++i) {
      if (c.node.inputs[i] == kNoValue) continue;
      c.takes[i] = 1;
      // A value that lives in NHWC order and broadcasts to a higher rank has its channels elsewhere there.
      if (native_[index(c.node.inputs[i])] != 0 && c.dims(i).size() != rank) return false;
    }
    for (char& g : c.gives) g = 1;
    for (const ValueId v : c.node.outputs) {
      if (g_.value(v).dims.size() != rank) return false;
    }
    return true;
  }

  bool convert(const Node& node) {
    if (node.op->channels_last == nullptr && !node.op->traits.elementwise) return false;
    if (node.inputs.empty() || node.inputs[0] == kNoValue || !wanted(node)) return false;
    const std::size_t rank =
        node.op->traits.elementwise ? g_.value(node.outputs[0]).dims.size() : g_.value(node.inputs[0]).dims.size();
    if (!fits(rank)) return false;
    ChannelsLastCtx c{g_, node, node.attrs, std::vector<char>(node.inputs.size(), 0),
                      std::vector<char>(node.outputs.size(), 0)};
    const bool ok = node.op->channels_last != nullptr ? node.op->channels_last(c) : elementwise(c);
    if (!ok) return false;
    std::vector<ValueId> inputs;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId v = node.inputs[i];
      inputs.push_back(v == kNoValue || c.takes[i] == 0 ? plain(v) : last(v, rank));
    }
    const std::vector<ValueId> outs = rw_.b.add_node(*node.op, inputs, c.attrs, node.name);
    for (std::size_t i = 0; i < outs.size(); ++i) {
      const ValueId old = node.outputs[i];
      if (c.gives[i] == 0) {
        rw_.set(old, outs[i]);
        continue;
      }
      twin_[index(old)] = outs[i];
      native_[index(old)] = 1;
      RowMap rows = g_.value(old).rows;
      if (rows.is_rows()) rows.axis = axis_in_nhwc(rows.axis, g_.value(old).dims.size());
      rw_.to.value(outs[i]).rows = rows;
    }
    return true;
  }

  const Graph& g_;
  Rewriter rw_;
  std::vector<ValueId> twin_;
  std::vector<char> native_;  // made in NHWC order
};

}  // namespace

Graph channels_last(const Graph& g, const Evaluator& evaluate) {
  const bool any = std::any_of(g.nodes().begin(), g.nodes().end(), [&](const Node& n) {
    return (n.op->name == "conv" || n.op->name == "conv_input_grad") && g.value(n.inputs[0]).dtype == DType::f32;
  });
  if (!any) return g;
  return Pass(g, evaluate).run();
}

}  // namespace onnxray
