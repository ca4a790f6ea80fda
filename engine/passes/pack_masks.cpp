// What a backward pass wants of a ReLU's output y is whether it is positive. The node that computes y gives that as one
// bit per element (engine/ops/packed_mask.h), and the backward nodes read the bits: y dies after its last forward
// reader. Of max pooling it wants the winners, which are taps of their windows (engine/ops/pool_taps.h): one byte each
// instead of eight.
#include <algorithm>

#include "engine/ops/map_program.h"
#include "engine/ops/packed_mask.h"
#include "engine/ops/pool_taps.h"
#include "engine/passes/passes.h"

namespace onnxray {
namespace {

class Pass {
 public:
  explicit Pass(const Graph& g)
      : g_(g),
        rw_(g),
        mask_readers_(g.value_count(), 0),
        readers_(g.use_counts()),
        last_reader_(g.value_count(), kNobody) {}

  Graph run() {
    // Backwards, so that the readers of a gather_rows are known before it is.
    for (const ValueId v : g_.outputs()) last_reader_[index(v)] = kReadsNumbers;
    for (std::size_t n = g_.nodes().size(); n-- > 0;) {
      const Node& node = g_.nodes()[n];
      for (std::size_t i = 0; i < node.inputs.size(); ++i) {
        const ValueId v = node.inputs[i];
        if (v == kNoValue) continue;
        const bool mask = reads_mask(node, i);
        mask_readers_[index(v)] += mask;
        if (last_reader_[index(v)] == kNobody) last_reader_[index(v)] = mask ? kReadsMask : kReadsNumbers;
      }
    }
    packed_.assign(g_.value_count(), kNoValue);
    for (const Node& node : g_.nodes()) emit(node);
    return rw_.finish();
  }

 private:
  static std::size_t index(ValueId v) { return static_cast<std::size_t>(v); }

  // The pooling whose argmax v is, or rows of it; null: another value.
  const Node* pooling(ValueId v) const {
    const Node* node = g_.producer(v);
    while (node != nullptr && node->op->name == "gather_rows") node = g_.producer(v = node->inputs[0]);
    if (node == nullptr || node->op->name != "max_pool" || node->outputs[1] != v) return nullptr;
    return g_.value(node->outputs[0]).dtype == DType::f32 && taps_fit(node->attrs) ? node : nullptr;
  }

  // Whether input i matters to the node by its mask alone, or as the taps of its own window.
  bool reads_mask(const Node& node, std::size_t i) const {
    const Value& y = g_.value(node.inputs[i]);
    const std::string& op = node.op->name;
    if (op == "max_pool_grad" && i == 1) {
      const Node* pool = pooling(node.inputs[i]);
      Attrs window = node.attrs;
      window.erase("input_spatial");
      return pool != nullptr && window == pool->attrs;
    }
    if (op == "gather_rows") return i == 0 && is_gathered_mask(node);
    if (y.dtype != DType::f32 || !can_pack_mask(y.dims)) return false;
    if (y.dims != g_.value(node.outputs[0]).dims) return false;
    if (op == "relu_grad") return i == 1 && g_.value(node.inputs[0]).dims == y.dims;
    if (op == "conv" || op == "conv_input_grad") {
      return node.attrs.has("mask_input") && node.attrs.integer("mask_input", 0) == static_cast<std::int64_t>(i);
    }
    if (op != "map") return false;
    bool read = false, only = true;
    for (const MapStep& step : MapProgram::parse(node.attrs, node.inputs.size()).steps) {
      for (std::size_t k = 0; k < step.args.size(); ++k) {
        if (step.args[k] != static_cast<int>(i)) continue;
        read = true;
        only = only && step.op == "relu_grad" && k == 1;
      }
    }
    return read && only;
  }

  // Rows of y for several targets of one example, read as masks only: rows of the mask do.
  bool is_gathered_mask(const Node& node) const {
    const ValueId v = node.outputs[0];
    const auto axis = node.attrs.integer("axis", 0), last = static_cast<std::int64_t>(g_.value(v).dims.size()) - 1;
    return axis != last && masks_only(v);
  }
  bool masks_only(ValueId v) const { return readers_[index(v)] > 0 && mask_readers_[index(v)] == readers_[index(v)]; }

  static bool gives_mask(const Node& node) {
    const std::string& op = node.op->name;
    return op == "conv" || op == "conv_input_grad" || op == "matmul" || op == "relu" || op == "map";
  }

  void emit(const Node& node) {
    if (node.op->name == "gather_rows" && is_gathered_mask(node) && packed_[index(node.inputs[0])] != kNoValue) {
      packed_[index(node.outputs[0])] =
          rw_.b.add_node(*node.op, {packed_[index(node.inputs[0])], rw_(node.inputs[1])}, node.attrs, node.name)[0];
      return;
    }
    Attrs attrs = node.attrs;
    const ValueId y = node.outputs[0];
    const bool gives = gives_mask(node) && mask_readers_[index(y)] > 0;
    if (gives) attrs.set("mask_output", std::int64_t{1});
    const bool taps = node.op->name == "max_pool" && masks_only(node.outputs[1]) && pooling(node.outputs[1]) != nullptr;
    if (taps) attrs.set("argmax_taps", std::int64_t{1});
    std::vector<ValueId> inputs;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId v = node.inputs[i];
      const bool packed = v != kNoValue && packed_[index(v)] != kNoValue && reads_mask(node, i);
      inputs.push_back(packed ? packed_[index(v)] : rw_(v));
    }
    const std::vector<ValueId> outs = rw_.b.add_node(*node.op, inputs, std::move(attrs), node.name);
    for (std::size_t i = 0; i < node.outputs.size(); ++i) rw_.set(node.outputs[i], outs[i]);
    if (gives) packed_[index(y)] = outs[1];
    // Another node's result: a kernel that reads it for its mask alone pays if it then dies earlier.
    if (!gives && mask_readers_[index(y)] > 0 && last_reader_[index(y)] == kReadsMask &&
        g_.value(y).dtype == DType::f32) {
      packed_[index(y)] = rw_.b.add_node(op("relu"), {outs[0]}, {{"mask_output", std::int64_t{1}}}, node.name)[1];
    }
    if (taps) packed_[index(node.outputs[1])] = outs[1];
  }

  const Graph& g_;
  Rewriter rw_;
  enum Reader : char { kNobody, kReadsNumbers, kReadsMask };
  std::vector<int> mask_readers_, readers_;  // per value: reads of its mask, all reads
  std::vector<Reader> last_reader_;          // per value: what its last reader wants
  std::vector<ValueId> packed_;              // per value of the old graph: its mask in the new one
};

}  // namespace

Graph pack_masks(const Graph& g) { return Pass(g).run(); }

}  // namespace onnxray
