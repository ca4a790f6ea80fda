#include <cstring>

#include "kernels/cpu/cpu.h"
#include "kernels/index_views.h"

namespace onnxray::cpu {
namespace {

void check_row(std::int64_t i, std::int64_t rows) {
  ONNXRAY_CHECK(i >= 0 && i < rows, "row index ", i, " is outside [0, ", rows, ")");
}

Step gather_rows(const PrepareCtx& c) {
  const RowView in = row_view(c.dims(0), c.attrs), out = row_view(c.out_dims(), c.attrs);
  const std::size_t bytes = static_cast<std::size_t>(in.block) * size_of(c.dtype(0));
  return {[=](const RunArgs& a) {
    const auto* x = static_cast<const std::byte*>(a.in[0]);
    const auto* index = static_cast<const std::int64_t*>(a.in[1]);
    auto* y = static_cast<std::byte*>(a.out[0]);
    for (std::int64_t r = 0; r < out.rows; ++r) check_row(index[r], in.rows);
    const std::int64_t grain = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, in.block));
    parallel_for(out.outer * out.rows, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t k = begin; k < end; ++k) {
        const std::int64_t o = k / out.rows, r = k % out.rows;
        std::memcpy(y + static_cast<std::size_t>(k) * bytes,
                    x + static_cast<std::size_t>(o * in.rows + index[r]) * bytes, bytes);
      }
    });
  }};
}

template <class T>
Step scatter_rows(const PrepareCtx& c) {
  const RowView in = row_view(c.dims(0), c.attrs), out = row_view(c.out_dims(), c.attrs);
  return {[=](const RunArgs& a) {
    const T* x = static_cast<const T*>(a.in[0]);
    const auto* index = static_cast<const std::int64_t*>(a.in[1]);
    T* y = static_cast<T*>(a.out[0]);
    std::memset(y, 0, static_cast<std::size_t>(out.outer * out.rows * out.block) * sizeof(T));
    for (std::int64_t r = 0; r < in.rows; ++r) check_row(index[r], out.rows);
    for (std::int64_t o = 0; o < in.outer; ++o) {
      for (std::int64_t r = 0; r < in.rows; ++r) {
        const T* from = x + (o * in.rows + r) * in.block;
        T* to = y + (o * out.rows + index[r]) * out.block;
        for (std::int64_t i = 0; i < in.block; ++i) to[i] += from[i];
      }
    }
  }};
}

Step repeat_rows(const PrepareCtx& c) {
  const auto axis = static_cast<std::size_t>(c.attrs.integer("axis", 0));
  const Dims d = c.dims(0);
  const std::int64_t outer = product(d, 0, axis), count = c.attrs.integer("count", 1);
  const std::size_t bytes = static_cast<std::size_t>(product(d, axis, d.size())) * size_of(c.dtype(0));
  return {[=](const RunArgs& a) {
    const auto* x = static_cast<const std::byte*>(a.in[0]);
    auto* y = static_cast<std::byte*>(a.out[0]);
    for (std::int64_t o = 0; o < outer; ++o) {
      for (std::int64_t k = 0; k < count; ++k) {
        std::memcpy(y + static_cast<std::size_t>(o * count + k) * bytes, x + static_cast<std::size_t>(o) * bytes,
                    bytes);
      }
    }
  }};
}

template <class State, class T>
Step fold_rows(const PrepareCtx& c) {
  const std::int64_t rows = c.dims(1)[0], examples = c.dims(0)[0];
  const std::int64_t block = rows == 0 ? 0 : count_of(c.dims(1)) / rows;
  return {[=](const RunArgs& a) {
    auto* state = static_cast<State*>(a.out[0]);
    const T* x = static_cast<const T*>(a.in[1]);
    const auto* weight = static_cast<const double*>(a.in[2]);
    const auto* index = static_cast<const std::int64_t*>(a.in[3]);
    for (std::int64_t r = 0; r < rows; ++r) check_row(index[r], examples);
    // Parallel over elements: the order over rows is the same for any partition.
    parallel_for(block, kGrain / 4, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = 0; r < rows; ++r) {
        if (weight[r] == 0) continue;
        State* to = state + index[r] * block;
        const T* from = x + r * block;
        const auto w = static_cast<State>(weight[r]);
        for (std::int64_t i = begin; i < end; ++i) to[i] += w * static_cast<State>(from[i]);
      }
    });
  }};
}

}  // namespace

void register_rows(Backend& b) {
  b.add("gather_rows", gather_rows);
  b.add("scatter_rows",
        [](const PrepareCtx& c) { return visit_float(c.dtype(0), [&]<class T>() { return scatter_rows<T>(c); }); });
  b.add("repeat_rows", repeat_rows);
  b.add("fold_rows", [](const PrepareCtx& c) {
    return visit_float(c.dtype(0), [&]<class State>() {
      return visit_float(c.dtype(1), [&]<class T>() { return fold_rows<State, T>(c); });
    });
  });
}

}  // namespace onnxray::cpu
