// Rearranging kernels; they move bytes and never look at values.
#pragma once
#include <numeric>

#include "kernels/cuda/common.cuh"
#include "kernels/cuda/cuda.h"

namespace onnxray::cuda {

// y[y_start + i . y_strides] = x[x_start + i . x_strides] for every index i of an index space.
struct StridedCopy {
  Walk<2> walk;  // x, y
  std::int64_t count = 0, x_start = 0, y_start = 0;
  bool contiguous = false;
  // Elements lie side by side in x and in y in runs that begin at multiples of `run` and are multiples of it long.
  std::int64_t run = 1;
  // A transposition of the last axes: x runs along `rows` and y along `columns`, in `planes` planes.
  bool tiled = false;
  std::int32_t rows = 0, columns = 0, x_pitch = 0, y_pitch = 0;
  std::int64_t planes = 0;
};

// The copy in units of n elements; n divides `run`.
[[nodiscard]] inline StridedCopy in_units(StridedCopy s, std::int64_t n) {
  if (n == 1) return s;
  s.count /= n;
  s.x_start /= n;
  s.y_start /= n;
  if (s.contiguous) return s;
  const int last = s.walk.axes - 1;
  s.walk.extent[last] = Divider(s.walk.extent[last].divisor / n);
  for (auto& stride : s.walk.stride) {
    for (int d = 0; d < last; ++d) stride[d] /= static_cast<std::int32_t>(n);
  }
  return s;
}

template <class U>
ONNXRAY_KERNEL(void)
strided_copy_kernel(StridedCopy s, const U* x, U* y) {
  for (std::int64_t i = first_item(); i < s.count; i += item_step()) {
    std::int64_t at[2] = {i, i};
    if (!s.contiguous) s.walk.at(static_cast<std::uint32_t>(i), at);
    y[s.y_start + at[1]] = x[s.x_start + at[0]];
  }
}

inline constexpr int kTile = 32, kTileRows = 8;

struct Tiles {
  Divider across, down;
  std::int64_t count = 0;
};
[[nodiscard]] inline Tiles tiles_of(const StridedCopy& s) {
  const std::int64_t across = ceil_div(s.rows, kTile), down = ceil_div(s.columns, kTile);
  return {Divider(across), Divider(down), across * down * s.planes};
}

// Squares through shared memory, so that both sides move whole lines; the odd pitch keeps columns in distinct banks.
template <class U>
ONNXRAY_KERNEL(void)
transpose_kernel(StridedCopy s, Tiles tiles, const U* x, U* y) {
  ONNXRAY_SHARED(U, tile);
  const auto tx = static_cast<std::int32_t>(threadIdx.x), ty = static_cast<std::int32_t>(threadIdx.y);
  for (std::int64_t t = blockIdx.x; t < tiles.count; t += gridDim.x) {
    auto rest = static_cast<std::uint32_t>(t);
    const std::int32_t r0 = static_cast<std::int32_t>(tiles.across.take(rest)) * kTile;
    const std::int32_t c0 = static_cast<std::int32_t>(tiles.down.take(rest)) * kTile;
    std::int64_t at[2];
    s.walk.at(rest, at);
    const U* from = x + s.x_start + at[0] + r0 + tx;
    U* to = y + s.y_start + at[1] + c0 + tx;
#pragma unroll
    for (int k = 0; k < kTile; k += kTileRows) {
      const std::int32_t c = c0 + ty + k;
      if (r0 + tx < s.rows && c < s.columns) tile[(ty + k) * (kTile + 1) + tx] = from[std::int64_t{c} * s.x_pitch];
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kTile; k += kTileRows) {
      const std::int32_t r = r0 + ty + k;
      if (r < s.rows && c0 + tx < s.columns) to[std::int64_t{r} * s.y_pitch] = tile[tx * (kTile + 1) + ty + k];
    }
    __syncthreads();
  }
}

[[nodiscard]] inline std::optional<StridedCopy> strided_copy(const Dims& dims, const Dims& xs, const Dims& ys,
                                                             std::int64_t x_start = 0, std::int64_t y_start = 0) {
  StridedCopy s;
  s.count = count_of(dims);
  s.x_start = x_start;
  s.y_start = y_start;
  if (s.count == 0) return s;
  MergedAxes m = merged(dims, {xs, ys});
  s.contiguous = m.dims.empty() || (m.dims.size() == 1 && m.strides[0][0] == 1 && m.strides[1][0] == 1);
  if (s.contiguous) {
    s.run = std::gcd(s.count, std::gcd(x_start, y_start));
    return s;
  }
  const std::size_t last = m.dims.size() - 1;
  if (m.strides[0][last] == 1 && m.strides[1][last] == 1) {
    s.run = std::gcd(m.dims[last], std::gcd(x_start, y_start));
    for (std::size_t d = 0; d < last; ++d) s.run = std::gcd(s.run, std::gcd(m.strides[0][d], m.strides[1][d]));
  }
  // Where the last axis strides through x while another is contiguous there.
  if (m.strides[0][last] > 1 && m.strides[1][last] == 1 && s.count < kMaxElements) {
    for (std::size_t d = 0; d < last; ++d) {
      if (m.strides[0][d] != 1 || m.dims[d] < 4 || m.dims[last] < 4) continue;
      if (m.strides[0][last] >= kMaxElements || std::abs(m.strides[1][d]) >= kMaxElements) continue;
      s.tiled = true;
      s.rows = static_cast<std::int32_t>(m.dims[d]);
      s.columns = static_cast<std::int32_t>(m.dims[last]);
      s.x_pitch = static_cast<std::int32_t>(m.strides[0][last]);
      s.y_pitch = static_cast<std::int32_t>(m.strides[1][d]);
      for (Dims* v : {&m.dims, &m.strides[0], &m.strides[1]}) {
        v->pop_back();
        v->erase(v->begin() + static_cast<std::ptrdiff_t>(d));
      }
      s.planes = count_of(m.dims);
      break;
    }
  }
  const auto walk = walk_of<2>(m.dims, m.strides);
  if (!walk) return std::nullopt;
  s.walk = *walk;
  return s;
}

// Elements of `bytes` bytes.
inline void run_strided_copy(const StridedCopy& s, std::size_t bytes, const void* x, void* y, Stream stream) {
  if (s.count == 0) return;
  if (s.tiled) {
    visit_bytes(bytes, [&]<class U>() {
      const Tiles tiles = tiles_of(s);
      launch(transpose_kernel<U>, grid_of(tiles.count, 1), Dim3{kTile, kTileRows}, kTile * (kTile + 1) * sizeof(U),
             stream, s, tiles, static_cast<const U*>(x), static_cast<U*>(y));
    });
    return;
  }
  visit_widest(bytes, s.run, {x, y}, [&]<class U>(std::int64_t n) {
    const StridedCopy wide = in_units(s, n);
    launch(strided_copy_kernel<U>, grid_of(wide.count), Dim3{kThreads}, 0, stream, wide, static_cast<const U*>(x),
           static_cast<U*>(y));
  });
}

[[nodiscard]] inline Step copy_step(const std::optional<StridedCopy>& copy, DType t) {
  if (!copy) return {};
  return {
      [s = *copy, bytes = size_of(t)](const RunArgs& a) { run_strided_copy(s, bytes, a.in[0], a.out[0], a.stream); }};
}

template <class U>
ONNXRAY_KERNEL(void)
fill_kernel(std::int64_t n, U value, U* y) {
  for (std::int64_t i = first_item(); i < n; i += item_step()) y[i] = value;
}
template <class U>
void fill(U* y, std::int64_t n, U value, Stream stream) {
  if (n > 0) launch(fill_kernel<U>, grid_of(n), Dim3{kThreads}, 0, stream, n, value, y);
}

inline Step reshape(const PrepareCtx& c) {
  const Dims flat{count_of(c.out_dims())};
  return copy_step(strided_copy(flat, {1}, {1}), c.dtype(0));
}

inline Step transpose(const PrepareCtx& c) {
  const Dims in = strides_of(c.dims(0));
  Dims xs;
  for (const std::int64_t p : c.attrs.ints("perm")) xs.push_back(in[static_cast<std::size_t>(p)]);
  return copy_step(strided_copy(c.out_dims(), xs, strides_of(c.out_dims())), c.dtype(0));
}

inline Step expand(const PrepareCtx& c) {
  const Dims& out = c.out_dims();
  return copy_step(strided_copy(out, broadcast_strides(c.dims(0), out), strides_of(out)), c.dtype(0));
}

// Start and strides of x[starts + i * steps] in elements of the whole array.
[[nodiscard]] inline std::int64_t cut(const Dims& whole, const std::vector<std::int64_t>& starts,
                                      const std::vector<std::int64_t>& steps, const Dims& sizes, Dims& strides) {
  strides = strides_of(whole);
  std::int64_t start = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    if (sizes[i] == 0) return 0;
    start += starts[i] * strides[i];
    strides[i] = sizes[i] == 1 ? 0 : strides[i] * steps[i];
  }
  return start;
}

inline Step slice(const PrepareCtx& c) {
  Dims xs;
  const std::int64_t start = cut(c.dims(0), c.attrs.ints("starts"), c.attrs.ints("steps"), c.out_dims(), xs);
  return copy_step(strided_copy(c.out_dims(), xs, strides_of(c.out_dims()), start), c.dtype(0));
}

// x into a part of y, whose other elements are `value`.
[[nodiscard]] inline Step place(const PrepareCtx& c, std::int64_t start, const Dims& ys, const Tensor& value) {
  const auto copy = strided_copy(c.dims(0), strides_of(c.dims(0)), ys, 0, start);
  if (!copy) return {};
  const std::int64_t n = count_of(c.out_dims());
  return visit_bytes(size_of(c.dtype(0)), [&]<class U>() -> Step {
    U bits{};
    std::memcpy(&bits, value.raw(), sizeof(U));
    return {[s = *copy, n, bits](const RunArgs& a) {
      fill<U>(static_cast<U*>(a.out[0]), n, bits, a.stream);
      run_strided_copy(s, sizeof(U), a.in[0], a.out[0], a.stream);
    }};
  });
}

inline Step unslice(const PrepareCtx& c) {
  Dims ys;
  const std::int64_t start = cut(c.out_dims(), c.attrs.ints("starts"), c.attrs.ints("steps"), c.dims(0), ys);
  return place(c, start, ys, Tensor::full(c.dtype(0), {}, 0));
}

inline Step pad(const PrepareCtx& c) {
  Dims ys;
  const std::int64_t start = cut(c.out_dims(), c.attrs.ints("begins"), Dims(c.out_dims().size(), 1), c.dims(0), ys);
  return place(c, start, ys, Tensor::full(c.dtype(0), {}, c.attrs.real("value", 0)));
}

template <class MakeCopy>
[[nodiscard]] std::optional<std::vector<StridedCopy>> slabs(std::size_t count, MakeCopy&& make) {
  std::vector<StridedCopy> copies;
  for (std::size_t i = 0; i < count; ++i) {
    const std::optional<StridedCopy> s = make(i);
    if (!s) return std::nullopt;
    copies.push_back(*s);
  }
  return copies;
}

inline Step concat(const PrepareCtx& c) {
  const auto axis = static_cast<std::size_t>(c.attrs.integer("axis", 0));
  const Dims& out = c.out_dims();
  const std::int64_t outer = product(out, 0, axis), pitch = product(out, axis, out.size());
  std::int64_t begin = 0;
  const auto copies = slabs(c.node.inputs.size(), [&](std::size_t i) {
    const std::int64_t width = product(c.dims(i), axis, c.dims(i).size());
    const auto s = strided_copy({outer, width}, {width, 1}, {pitch, 1}, 0, begin);
    begin += width;
    return s;
  });
  if (!copies) return {};
  return {[copies = *copies, bytes = size_of(c.dtype(0))](const RunArgs& a) {
    for (std::size_t i = 0; i < copies.size(); ++i) run_strided_copy(copies[i], bytes, a.in[i], a.out[0], a.stream);
  }};
}

inline Step split(const PrepareCtx& c) {
  const auto axis = static_cast<std::size_t>(c.attrs.integer("axis", 0));
  const Dims& in = c.dims(0);
  const std::int64_t outer = product(in, 0, axis), pitch = product(in, axis, in.size());
  std::int64_t begin = 0;
  const auto copies = slabs(c.node.outputs.size(), [&](std::size_t i) {
    const std::int64_t width = product(c.out_dims(i), axis, in.size());
    const auto s = strided_copy({outer, width}, {pitch, 1}, {width, 1}, begin);
    begin += width;
    return s;
  });
  if (!copies) return {};
  return {[copies = *copies, bytes = size_of(c.dtype(0))](const RunArgs& a) {
    for (std::size_t i = 0; i < copies.size(); ++i) {
      if (a.out[i] != nullptr) run_strided_copy(copies[i], bytes, a.in[0], a.out[i], a.stream);
    }
  }};
}

void register_layout(Backend& b) {
  b.add("reshape", reshape);
  b.add("transpose", transpose);
  b.add("expand", expand);
  b.add("slice", slice);
  b.add("unslice", unslice);
  b.add("pad", pad);
  b.add("concat", concat);
  b.add("split", split);
}

}  // namespace onnxray::cuda
