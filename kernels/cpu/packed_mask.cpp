// Masks of one bit per element on the host, which computes such nodes for devices only: the kernels take masks as
// numbers, unpacked in front of them, and the result's mask is packed behind.
#include "engine/ops/packed_mask.h"

#include <algorithm>
#include <memory>
#include <unordered_map>

#include "kernels/cpu/cpu.h"

namespace onnxray::cpu {
namespace {

constexpr std::size_t kAlign = 64;
std::size_t aligned(std::size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

template <class T>
void unpack(const std::uint32_t* bits, T* mask, std::int64_t n) {
  parallel_for(n / kMaskBits, kGrain / kMaskBits, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * kMaskBits; i < end * kMaskBits; ++i) {
      mask[i] = (bits[i / kMaskBits] >> i % kMaskBits & 1) != 0 ? T(1) : T(0);
    }
  });
}

template <class T>
void pack(const T* y, std::uint32_t* bits, std::int64_t n) {
  parallel_for(n / kMaskBits, kGrain / kMaskBits, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t w = begin; w < end; ++w) {
      std::uint32_t word = 0;
      for (int k = 0; k < kMaskBits; ++k) word |= static_cast<std::uint32_t>(y[w * kMaskBits + k] > T(0)) << k;
      bits[w] = word;
    }
  });
}

// The node without packed masks in a graph of its own, and its step.
struct Unpacked {
  Graph graph;
  Step step;
  std::vector<std::size_t> masks;  // inputs that are unpacked
};

template <class T>
Step with_packed_masks(const PrepareCtx& c, PrepareFn plain) {
  const auto inner = std::make_shared<Unpacked>();
  const Dims& dims = c.out_dims();
  std::vector<ValueId> inputs;
  std::vector<Tensor> constants;
  for (std::size_t i = 0; i < c.node.inputs.size(); ++i) {
    const bool packed = c.has(i) && c.dtype(i) == DType::i32;
    constants.push_back(c.has(i) && !packed ? c.constant(i) : Tensor());
    if (packed) inner->masks.push_back(i);
    if (!c.has(i)) inputs.push_back(kNoValue);
    else if (packed) inputs.push_back(inner->graph.add_input("", c.out_dtype(), dims));
    else if (constants.back().defined()) inputs.push_back(inner->graph.add_constant(constants.back()));
    else inputs.push_back(inner->graph.add_input("", c.dtype(i), c.dims(i)));
  }
  Attrs attrs = c.attrs;
  attrs.erase("mask_output");
  inner->graph.add_node(*c.node.op, inputs, std::move(attrs), c.node.name);
  inner->step = plain(PrepareCtx(inner->graph, inner->graph.node(0), constants, {1}, nullptr));
  const std::int64_t n = count_of(dims);
  const bool gives = gives_mask_output(c.attrs);
  const std::size_t array = aligned(static_cast<std::size_t>(n) * sizeof(T));
  Step step;
  // The step's own scratch memory, the masks as numbers, a result that nobody reads.
  const std::size_t first = aligned(inner->step.scratch_bytes);
  step.scratch_bytes = first + (inner->masks.size() + (c.output_read(0) ? 0 : 1)) * array;
  step.run = [inner, n, gives, first, array](const RunArgs& a) {
    std::vector<const void*> in(a.in, a.in + inner->graph.node(0).inputs.size());
    std::byte* at = a.scratch + first;
    for (const std::size_t i : inner->masks) {
      unpack(static_cast<const std::uint32_t*>(in[i]), reinterpret_cast<T*>(at), n);
      in[i] = at;
      at += array;
    }
    void* y = a.out[0] != nullptr ? a.out[0] : at;
    inner->step.run({in.data(), &y, a.scratch});
    if (gives && a.out[1] != nullptr) pack(static_cast<const T*>(y), static_cast<std::uint32_t*>(a.out[1]), n);
  };
  return step;
}

std::unordered_map<std::string, PrepareFn>& plain_kernels() {
  static std::unordered_map<std::string, PrepareFn> table;
  return table;
}

Step prepare(const PrepareCtx& c) {
  const PrepareFn plain = plain_kernels().at(c.node.op->name);
  bool packed = gives_mask_output(c.attrs);
  for (std::size_t i = 0; i < c.node.inputs.size() && is_float(c.out_dtype()); ++i) {
    packed = packed || (c.has(i) && c.dtype(i) == DType::i32);
  }
  if (!packed) return plain(c);
  return c.out_dtype() == DType::f32 ? with_packed_masks<float>(c, plain) : with_packed_masks<double>(c, plain);
}

}  // namespace

void register_packed_masks(Backend& b) {
  for (const char* op : {"conv", "conv_input_grad", "matmul", "relu", "relu_grad", "map"}) {
    plain_kernels()[op] = b.find(op);
    b.add(op, prepare);
  }
}

}  // namespace onnxray::cpu
