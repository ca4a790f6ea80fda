// The only place where oneDNN's API is used; nothing outside this folder includes this header.
// Primitives and memory descriptors are made when a node is prepared and never change; memory objects are made per run
// around the run's pointers, and scratchpads come from the caller, so a Step may run on any number of threads at once.
#pragma once
#include <dnnl.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/cpu/cpu.h"

namespace onnxray::cpu::onednn {

using Md = dnnl::memory::desc;
using MdDims = dnnl::memory::dims;

[[nodiscard]] const dnnl::engine& engine();

// Runs f and turns oneDNN's exceptions into Error.
template <class F>
decltype(auto) guarded(const char* what, F&& f) {
  try {
    return f();
  } catch (const dnnl::error& e) {
    throw Error(ErrorKind::kInternal, detail::concat("oneDNN: ", what, ": ", e.what(), " (status ", e.status, ")"));
  }
}

// The result of f, or nothing where oneDNN declines the shape or would use its slow reference loops.
template <class F>
auto accepted(F&& f) -> std::optional<decltype(f())> {
  try {
    auto desc = f();
    if (std::string(desc.impl_info_str()).starts_with("ref")) return std::nullopt;
    return desc;
  } catch (const dnnl::error& e) {
    if (e.status == dnnl_unimplemented || e.status == dnnl_invalid_arguments) return std::nullopt;
    throw Error(ErrorKind::kInternal, detail::concat("oneDNN: ", e.what(), " (status ", e.status, ")"));
  }
}

// A descriptor of float32 data with explicit strides.
[[nodiscard]] Md strided(const MdDims& dims, const MdDims& strides);
[[nodiscard]] Md any(const MdDims& dims);

// Offsets into a Step's scratch memory, 64-byte aligned.
class Scratch {
 public:
  std::size_t take(std::size_t bytes) {
    const std::size_t at = bytes_;
    bytes_ += (bytes + 63) / 64 * 64;
    return at;
  }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_ = 0;
};

// A constant in a primitive's own layout, owning its memory.
struct Packed {
  std::shared_ptr<std::byte> data;
};
[[nodiscard]] std::shared_ptr<const Packed> pack(const Md& from, const void* data, const Md& to);
// A text that tells layouts apart, for PreparedConstants.
[[nodiscard]] std::string layout_key(const Md& md);

// Converts between layouts at run time.
class Reorder {
 public:
  Reorder(const Md& from, const Md& to, Scratch& scratch);
  void run(dnnl::stream& s, const void* from, void* to, std::byte* scratch) const;

 private:
  Md from_, to_, pad_;
  std::size_t pad_at_ = 0;
  dnnl::reorder primitive_;
};

// Rewrites a weight before it is packed: from the node's data to `elements` floats.
struct Transform {
  std::string key;
  std::int64_t elements = 0;
  std::function<void(const float*, float*)> apply;
};

// The weights of a primitive: packed once when constant, else transformed and reordered in every run.
class Weights {
 public:
  // `user` describes input `i` as the node has it, or what `transform` makes of it.
  Weights(const PrepareCtx& c, std::size_t i, const Md& user, const Md& wanted, Scratch& scratch,
          Transform transform = {});
  [[nodiscard]] const void* get(dnnl::stream& s, const void* input, std::byte* scratch) const;

 private:
  std::shared_ptr<const Packed> packed_;
  std::optional<Reorder> reorder_;
  Transform transform_;
  std::size_t at_ = 0, transformed_at_ = 0;
};

[[nodiscard]] dnnl::memory memory(const Md& md, const void* data);

}  // namespace onnxray::cpu::onednn
