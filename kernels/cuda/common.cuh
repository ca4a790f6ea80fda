// What the kernels of this folder share: division by invariant numbers, walks over strided arrays, launch shapes,
// faults.
//
// A prepare function that returns a Step without `run` declines the node: the plan runs it on the host. Kernels here
// decline arrays of 2^31 elements and more, and more than kMaxAxes axes that do not merge.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <vector>

#include "engine/backend.h"
#include "kernels/cuda/portable.cuh"
#include "kernels/vector_math.h"

namespace onnxray::cuda {

inline constexpr unsigned kThreads = 256;
inline constexpr std::int64_t kMaxElements = std::int64_t{1} << 31;
inline constexpr int kMaxAxes = 8;

[[nodiscard]] inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// The grid of a grid-stride loop over `items`. Enough blocks to fill the largest device several times; more would only
// cost their start.
[[nodiscard]] inline Dim3 grid_of(std::int64_t items, unsigned threads = kThreads) {
  constexpr std::int64_t kMost = 132 * 16;
  return {static_cast<unsigned>(std::clamp<std::int64_t>(ceil_div(items, threads), 1, kMost))};
}

// A step with nothing to do.
[[nodiscard]] inline Step no_work() {
  return {[](const RunArgs&) {}};
}

// n / d and n % d for n < 2^31 by one multiplication (Granlund and Montgomery, "Division by invariant integers using
// multiplication", PLDI 1994).
struct Divider {
  std::uint32_t divisor = 1, multiplier = 0, shift = 0;

  Divider() = default;
  explicit Divider(std::int64_t d) : divisor(static_cast<std::uint32_t>(d)) {
    while ((std::uint64_t{1} << shift) < divisor) ++shift;
    multiplier = static_cast<std::uint32_t>((((std::uint64_t{1} << shift) - divisor) << 32) / divisor + 1);
  }
  ONNXRAY_HD std::uint32_t divide(std::uint32_t n) const {
    return (static_cast<std::uint32_t>((std::uint64_t{n} * multiplier) >> 32) + n) >> shift;
  }
  // n becomes n / d; the remainder is returned.
  ONNXRAY_HD std::uint32_t take(std::uint32_t& n) const {
    const std::uint32_t q = divide(n), r = n - q * divisor;
    n = q;
    return r;
  }
};

// The offsets of K arrays at position i of an index space, row-major.
template <int K>
struct Walk {
  int axes = 0;
  Divider extent[kMaxAxes];
  std::int32_t stride[K][kMaxAxes] = {};

  ONNXRAY_HD void at(std::uint32_t i, std::int64_t (&offset)[K]) const {
    for (int k = 0; k < K; ++k) offset[k] = 0;
    for (int d = axes - 1; d >= 0; --d) {
      const auto r = static_cast<std::int32_t>(d == 0 ? i : extent[d].take(i));
      for (int k = 0; k < K; ++k) offset[k] += std::int64_t{r} * stride[k][d];
    }
  }
  // The offset of array k alone.
  ONNXRAY_HD std::int64_t at(std::uint32_t i, int k) const {
    std::int64_t offset = 0;
    for (int d = axes - 1; d >= 0; --d) {
      const auto r = static_cast<std::int32_t>(d == 0 ? i : extent[d].take(i));
      offset += std::int64_t{r} * stride[k][d];
    }
    return offset;
  }
};

// Extents of 1 left out, neighbours that every array walks alike merged.
struct MergedAxes {
  Dims dims;
  std::vector<Dims> strides;
};
[[nodiscard]] inline MergedAxes merged(const Dims& dims, const std::vector<Dims>& strides) {
  MergedAxes m;
  m.strides.resize(strides.size());
  for (std::size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] == 1) continue;
    bool merges = !m.dims.empty();
    for (std::size_t k = 0; k < strides.size(); ++k) {
      merges = merges && m.strides[k].back() == strides[k][d] * dims[d];
    }
    if (!merges) {
      m.dims.push_back(1);
      for (Dims& s : m.strides) s.push_back(0);
    }
    m.dims.back() *= dims[d];
    for (std::size_t k = 0; k < strides.size(); ++k) m.strides[k].back() = strides[k][d];
  }
  return m;
}

// Of at most K arrays. None where the kernels decline.
template <int K>
[[nodiscard]] std::optional<Walk<K>> walk_of(const Dims& dims, const std::vector<Dims>& strides) {
  const MergedAxes m = merged(dims, strides);
  if (m.dims.size() > kMaxAxes || count_of(dims) >= kMaxElements) return std::nullopt;
  Walk<K> w;
  w.axes = static_cast<int>(m.dims.size());
  for (std::size_t d = 0; d < m.dims.size(); ++d) {
    if (m.dims[d] > 0) w.extent[d] = Divider(m.dims[d]);
    for (std::size_t k = 0; k < m.strides.size(); ++k) {
      if (std::abs(m.strides[k][d]) >= kMaxElements) return std::nullopt;
      w.stride[k][d] = static_cast<std::int32_t>(m.strides[k][d]);
    }
  }
  return w;
}

// Whether W neighbours along the last axis of a walk, from a multiple of W on, stay in one line of it and lie side by
// side in every array, or are one element there.
template <int K>
[[nodiscard]] bool walks_in_groups(const Walk<K>& w, int width) {
  const int last = w.axes - 1;
  if (last < 0 || (last > 0 && w.extent[last].divisor % static_cast<unsigned>(width) != 0)) return false;
  return std::all_of(w.stride, w.stride + K, [&](const auto& s) { return s[last] == 0 || s[last] == 1; });
}
// Whether array k's groups begin at multiples of W.
template <int K>
[[nodiscard]] bool groups_are_aligned(const Walk<K>& w, int width, int k) {
  return std::all_of(w.stride[k], w.stride[k] + std::max(0, w.axes - 1), [&](auto s) { return s % width == 0; });
}

// An operand's strides in the index space of the result; 0 where it is broadcast.
[[nodiscard]] inline Dims broadcast_strides(const Dims& dims, const Dims& out) {
  const Dims own = strides_of(dims);
  Dims s(out.size(), 0);
  for (std::size_t i = 0; i < dims.size(); ++i) s[i + out.size() - dims.size()] = dims[i] == 1 ? 0 : own[i];
  return s;
}

// Calls f.template operator()<U>() with an unsigned type of `bytes` bytes: movement does not look at values.
template <class F>
decltype(auto) visit_bytes(std::size_t bytes, F&& f) {
  switch (bytes) {
    case 8: return f.template operator()<std::uint64_t>();
    case 4: return f.template operator()<std::uint32_t>();
    case 2: return f.template operator()<std::uint16_t>();
    default: return f.template operator()<std::uint8_t>();
  }
}

// W neighbours, moved by one instruction where they are aligned.
template <class T, int W>
struct alignas(sizeof(T) * W) Pack {
  T v[W];
};

// Calls f.template operator()<U>(n) with the widest unsigned type or pack U of up to 16 bytes that holds n whole
// elements of `bytes` bytes, where runs of elements are multiples of `run` long and the pointers are aligned to U.
template <class F>
void visit_widest(std::size_t bytes, std::int64_t run, std::initializer_list<const void*> pointers, F&& f) {
  const auto fits = [&](std::size_t width) {
    return width >= bytes && run * static_cast<std::int64_t>(bytes) % static_cast<std::int64_t>(width) == 0 &&
           std::all_of(pointers.begin(), pointers.end(),
                       [&](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % width == 0; });
  };
  if (fits(16)) return f.template operator()<Pack<std::uint64_t, 2>>(static_cast<std::int64_t>(16 / bytes));
  for (const std::size_t width : {8, 4, 2}) {
    if (!fits(width)) continue;
    return visit_bytes(width, [&]<class U>() { f.template operator()<U>(static_cast<std::int64_t>(width / bytes)); });
  }
  f.template operator()<std::uint8_t>(std::int64_t{1});
}

// A table for a kernel in the device's memory, from the host's; lives as long as the step that holds it.
template <class T>
[[nodiscard]] std::shared_ptr<const T> device_table(const PrepareCtx& c, const std::vector<T>& values) {
  const Device& device = *c.device();
  const std::size_t bytes = values.size() * sizeof(T);
  const std::shared_ptr<void> memory = device.allocate(bytes);
  const std::shared_ptr<void> stream = device.create_stream();
  device.upload(memory.get(), values.data(), bytes, stream.get());
  device.synchronise(stream.get());
  return {memory, static_cast<const T*>(memory.get())};
}

// Where kernels report indices out of range.
struct FaultSlot {
  Fault* fault;
  std::int32_t step;
};
[[nodiscard]] inline FaultSlot fault_of(const RunArgs& a) { return {a.fault, a.step}; }

ONNXRAY_DEVICE void report(FaultSlot slot, std::int64_t value) {
  if (atomicCAS(&slot.fault->step, 0, slot.step) == 0) slot.fault->value = value;
}
// An index as ONNX means it: negative counts from the end. Out of range: 0, and a fault.
ONNXRAY_DEVICE std::int64_t wrapped_index(std::int64_t i, std::int64_t n, FaultSlot slot) {
  if (i < -n || i >= n) {
    report(slot, i);
    return 0;
  }
  return i < 0 ? i + n : i;
}
// An index in [0, n). Out of range: 0, and a fault.
ONNXRAY_DEVICE std::int64_t checked_index(std::int64_t i, std::int64_t n, FaultSlot slot) {
  if (i < 0 || i >= n) {
    report(slot, i);
    return 0;
  }
  return i;
}

// The flat index of the thread in a grid-stride loop, and its step.
ONNXRAY_DEVICE std::int64_t first_item() { return std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
ONNXRAY_DEVICE std::int64_t item_step() { return std::int64_t{gridDim.x} * blockDim.x; }

}  // namespace onnxray::cuda
