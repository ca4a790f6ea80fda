// Inference batch normalisation is y = a x + s per channel, a = scale / sqrt(var + eps), s = bias - mean a. Behind a
// convolution or matrix product it scales that node's weights; elsewhere it becomes a multiply and an add.
#include <cmath>

#include "engine/passes/passes.h"

namespace onnxray {
namespace {

struct Affine {
  std::vector<double> a, s;  // per channel
};

bool known(const Graph& g, const Node& node) {
  for (std::size_t i = 1; i < node.inputs.size(); ++i) {
    if (!g.is_constant(node.inputs[i])) return false;
  }
  return true;
}

Affine affine_of(const Graph& g, const Node& node) {
  const auto values = [&](std::size_t i) { return g.value(node.inputs[i]).constant.to_doubles(); };
  const std::vector<double> scale = values(1), bias = values(2), mean = values(3), var = values(4);
  const double epsilon = node.attrs.real("epsilon", 1e-5);
  Affine f;
  for (std::size_t c = 0; c < scale.size(); ++c) {
    f.a.push_back(scale[c] / std::sqrt(var[c] + epsilon));
    f.s.push_back(bias[c] - mean[c] * f.a[c]);
  }
  return f;
}

// Which output channel an element of the weight belongs to.
using ChannelOf = std::function<std::int64_t(std::int64_t flat)>;

// For a node whose weight (input 1) can absorb a scale of its output's axis 1; empty for others.
ChannelOf channels_of(const Graph& g, const Node& node) {
  const Dims w = g.value(node.inputs[1]).dims;
  if (node.op->name == "conv") {
    const std::int64_t block = product(w, 1, w.size());
    return [=](std::int64_t i) { return i / block; };
  }
  if (node.op->name == "conv_input_grad") {
    const std::int64_t taps = product(w, 2, w.size()), per_group = w[1];
    const std::int64_t in_group = w[0] / node.attrs.integer("group", 1) * per_group * taps;
    return [=](std::int64_t i) { return i / in_group * per_group + i / taps % per_group; };
  }
  if (node.op->name == "matmul" && w.size() == 2 && g.value(node.outputs[0]).dims.size() == 2) {
    const bool transposed = node.attrs.integer("trans_b", 0) != 0;
    const std::int64_t cols = w[1];
    return [=](std::int64_t i) { return transposed ? i / cols : i % cols; };
  }
  return nullptr;
}

bool plain(const Node& node) {
  for (const char* name : {"relu", "sum_input", "mask_input", "channels_last"}) {
    if (node.attrs.has(name)) return false;
  }
  return true;
}

}  // namespace

Graph fold_batch_norm(const Graph& g, const Evaluator& evaluate) {
  const std::vector<int> uses = g.use_counts();
  // The node before each batch_norm that takes it in, by its output.
  std::vector<const Node*> absorbed(g.value_count(), nullptr);
  for (const Node& node : g.nodes()) {
    if (node.op->name != "batch_norm" || !known(g, node)) continue;
    const Node* before = g.producer(node.inputs[0]);
    if (before == nullptr || uses[static_cast<std::size_t>(node.inputs[0])] != 1) continue;
    if (before->inputs.size() < 2 || !g.is_constant(before->inputs[1]) || !plain(*before)) continue;
    const bool bias = before->inputs.size() > 2 && before->inputs[2] != kNoValue;
    if (bias && !g.is_constant(before->inputs[2])) continue;
    if (!is_float(g.value(before->inputs[1]).dtype) || !channels_of(g, *before)) continue;
    absorbed[static_cast<std::size_t>(node.inputs[0])] = &node;
  }

  Rewriter rw(g, evaluate);
  const auto constant = [&](DType dtype, Dims dims, const std::vector<double>& values) {
    // Kept in float64, whatever the value's dtype, so that a float64 plan loses nothing.
    const ValueId v = rw.to.add_constant(Tensor::from<double>(std::move(dims), values));
    rw.to.value(v).dtype = dtype;
    return v;
  };
  for (const Node& node : g.nodes()) {
    if (absorbed[static_cast<std::size_t>(node.outputs[0])] != nullptr) continue;
    if (node.op->name != "batch_norm" || !known(g, node)) {
      rw.copy(node);
      continue;
    }
    const Affine f = affine_of(g, node);
    const auto channels = static_cast<std::int64_t>(f.a.size());
    const DType dtype = g.value(node.outputs[0]).dtype;
    if (absorbed[static_cast<std::size_t>(node.inputs[0])] == &node) {
      const Node& before = *g.producer(node.inputs[0]);
      const Value& weight = g.value(before.inputs[1]);
      const ChannelOf channel = channels_of(g, before);
      std::vector<double> w = weight.constant.to_doubles(), bias = f.s;
      for (std::size_t i = 0; i < w.size(); ++i) {
        w[i] *= f.a[static_cast<std::size_t>(channel(static_cast<std::int64_t>(i)))];
      }
      if (before.inputs.size() > 2 && before.inputs[2] != kNoValue) {
        const std::vector<double> own = g.value(before.inputs[2]).constant.to_doubles();
        for (std::size_t c = 0; c < bias.size(); ++c) bias[c] += own[c] * f.a[c];
      }
      std::vector<ValueId> inputs{rw(before.inputs[0]), constant(weight.dtype, weight.dims, w),
                                  constant(dtype, {channels}, bias)};
      const std::vector<ValueId> outs = rw.b.add_node(*before.op, inputs, before.attrs, before.name);
      rw.set(node.outputs[0], outs[0]);
      continue;
    }
    Dims dims(g.value(node.outputs[0]).dims.size() - 1, 1);
    dims[0] = channels;
    rw.b.context = node.name;
    const ValueId scaled = rw.b.mul(rw(node.inputs[0]), constant(dtype, dims, f.a));
    rw.set(node.outputs[0], rw.b.add(scaled, constant(dtype, dims, f.s)));
  }
  return rw.finish();
}

}  // namespace onnxray
