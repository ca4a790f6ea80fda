// conv, conv_input_grad and matmul take over what follows them, as their kernels compute it in the same pass:
// a bias, a residual sum, ReLU, and in backward passes the ReLU mask (relu_grad).
#include <algorithm>

#include "engine/passes/passes.h"

namespace onnxray {
namespace {

// A node and what it takes in, found in this order.
struct Chain {
  const Node* base = nullptr;
  ValueId bias = kNoValue, sum = kNoValue, mask = kNoValue;
  bool relu = false;
  std::int64_t bias_channels = 0;
  ValueId end = kNoValue;  // the value the fused node computes
};

class Pass {
 public:
  explicit Pass(const Graph& g) : g_(g), uses_(g.use_counts()), reader_(g.value_count(), nullptr), rw_(g) {
    for (const Node& node : g.nodes()) {
      for (const ValueId v : node.inputs) {
        if (v != kNoValue) reader_[index(v)] = &node;
      }
    }
  }

  Graph run() {
    // Later nodes first: of two convolutions that are summed, the one computed last takes the sum.
    for (std::size_t n = g_.nodes().size(); n-- > 0;) find(g_.nodes()[n]);
    for (const Node& node : g_.nodes()) {
      const ValueId v = node.outputs[0];
      if (const auto it = ends_.find(v); it != ends_.end()) emit(chains_[it->second]);
      else if (!inside_.contains(v)) rw_.copy(node);
    }
    return rw_.finish();
  }

 private:
  static std::size_t index(ValueId v) { return static_cast<std::size_t>(v); }

  // The only reader of v, if there is just one and v is no output.
  const Node* only_reader(ValueId v) const { return uses_[index(v)] == 1 ? reader_[index(v)] : nullptr; }

  void find(const Node& node) {
    const std::string& op = node.op->name;
    const bool matmul = op == "matmul";
    if (!matmul && op != "conv" && op != "conv_input_grad") return;
    if (!is_float(g_.value(node.outputs[0]).dtype)) return;
    for (const char* name : {"relu", "sum_input", "mask_input", "channels_last"}) {
      if (node.attrs.has(name)) return;
    }
    Chain c;
    c.base = &node;
    c.end = node.outputs[0];
    const Dims& dims = g_.value(c.end).dims;
    const bool own_bias = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
    c.bias_channels = dims[matmul ? dims.size() - 1 : 1];
    std::vector<ValueId> passed{c.end};
    while (const Node* next = only_reader(c.end)) {
      if (inside_.contains(next->outputs[0]) || ends_.contains(next->outputs[0])) break;
      if (!step(c, *next, own_bias, matmul)) break;
      c.end = next->outputs[0];
      passed.push_back(c.end);
    }
    if (passed.size() == 1) return;
    passed.pop_back();
    inside_.insert(passed.begin(), passed.end());
    ends_.emplace(c.end, chains_.size());
    chains_.push_back(c);
  }

  bool step(Chain& c, const Node& next, bool own_bias, bool matmul) const {
    const std::string& op = next.op->name;
    const Dims& dims = g_.value(c.end).dims;
    if (g_.value(next.outputs[0]).dims != dims) return false;
    if (op == "relu" && !c.relu && c.mask == kNoValue) {
      c.relu = true;
      return true;
    }
    if (op == "relu_grad" && !matmul && c.mask == kNoValue && next.inputs[0] == c.end && next.inputs[1] != c.end &&
        g_.value(next.inputs[1]).dims == dims) {
      c.mask = next.inputs[1];
      return true;
    }
    if (op != "add" || c.relu || c.mask != kNoValue || next.inputs[0] == next.inputs[1]) return false;
    const ValueId other = next.inputs[0] == c.end ? next.inputs[1] : next.inputs[0];
    if (!own_bias && c.bias == kNoValue && c.sum == kNoValue && per_channel(other, dims.size(), matmul)) {
      c.bias = other;
      return true;
    }
    if (c.sum == kNoValue && g_.value(other).dims == dims && !g_.is_constant(other)) {
      c.sum = other;
      return true;
    }
    return false;
  }

  // A constant with one number per channel of a result of that rank.
  bool per_channel(ValueId v, std::size_t rank, bool matmul) const {
    if (!g_.is_constant(v)) return false;
    const Dims& d = g_.value(v).dims;
    const std::size_t behind = matmul ? 0 : rank - 2;  // axes after the channel
    if (d.size() <= behind) return false;
    const std::size_t at = d.size() - 1 - behind;
    for (std::size_t i = 0; i < d.size(); ++i) {
      if (i != at && d[i] != 1) return false;
    }
    return true;
  }

  void emit(const Chain& c) {
    const Node& node = *c.base;
    Attrs attrs = node.attrs;
    std::vector<ValueId> inputs = rw_.map(node.inputs);
    if (c.bias != kNoValue) {
      const Value& bias = g_.value(c.bias);
      Tensor t = bias.constant;
      if (t.size() != c.bias_channels) {
        // One number for all channels.
        t = Tensor::full(t.dtype(), {c.bias_channels}, t.to_doubles()[0]);
      }
      const ValueId v = rw_.to.add_constant(t.reshaped({c.bias_channels}));
      rw_.to.value(v).dtype = bias.dtype;
      inputs.resize(2);
      inputs.push_back(v);
    }
    const auto attach = [&](const char* name, ValueId v) {
      if (v == kNoValue) return;
      inputs.resize(std::max<std::size_t>(inputs.size(), 3), kNoValue);
      attrs.set(name, static_cast<std::int64_t>(inputs.size()));
      inputs.push_back(rw_(v));
    };
    attach("sum_input", c.sum);
    attach("mask_input", c.mask);
    if (c.relu) attrs.set("relu", std::int64_t{1});
    const std::vector<ValueId> outs = rw_.b.add_node(*node.op, inputs, std::move(attrs), node.name);
    rw_.set(c.end, outs[0]);
  }

  const Graph& g_;
  std::vector<int> uses_;
  std::vector<const Node*> reader_;
  Rewriter rw_;
  std::vector<Chain> chains_;
  std::unordered_map<ValueId, std::size_t> ends_;
  std::unordered_set<ValueId> inside_;
};

}  // namespace

Graph fuse_epilogues(const Graph& g) { return Pass(g).run(); }

}  // namespace onnxray
