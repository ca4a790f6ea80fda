// Rows of a batch: gathered, added, repeated, folded into states. One thread owns an element of the result and takes
// the rows in their order, so that sums have the same bits on every run.
#pragma once
#include "kernels/cuda/broadcast.cuh"
#include "kernels/cuda/cuda.h"
#include "kernels/index_views.h"

namespace onnxray::cuda {

template <class U>
ONNXRAY_KERNEL(void)
gather_rows_kernel(std::int64_t n, std::int64_t in_rows, Divider block, Divider rows, FaultSlot fault, const U* x,
                   const std::int64_t* index, U* y) {
  for (std::int64_t i = first_item(); i < n; i += item_step()) {
    auto rest = static_cast<std::uint32_t>(i);
    const std::uint32_t e = block.take(rest), r = rows.take(rest);
    y[i] = x[(rest * in_rows + checked_index(index[r], in_rows, fault)) * block.divisor + e];
  }
}

inline Step gather_rows(const PrepareCtx& c) {
  const RowView in = row_view(c.dims(0), c.attrs), out = row_view(c.out_dims(), c.attrs);
  if (out.count() >= kMaxElements) return {};
  if (out.count() == 0) return no_work();
  return {[in, out, bytes = size_of(c.dtype(0))](const RunArgs& a) {
    visit_widest(bytes, out.block, {a.in[0], a.out[0]}, [&]<class U>(std::int64_t n) {
      launch(gather_rows_kernel<U>, grid_of(out.count() / n), Dim3{kThreads}, 0, a.stream, out.count() / n, in.rows,
             Divider(out.block / n), Divider(out.rows), fault_of(a), static_cast<const U*>(a.in[0]),
             static_cast<const std::int64_t*>(a.in[1]), static_cast<U*>(a.out[0]));
    });
  }};
}

template <class T>
ONNXRAY_KERNEL(void)
scatter_rows_kernel(RowView in, RowView out, FaultSlot fault, const T* x, const std::int64_t* index, T* y) {
  // An element of [outer, block], all its rows.
  for (std::int64_t i = first_item(); i < out.outer * out.block; i += item_step()) {
    const std::int64_t o = i / out.block, e = i % out.block;
    T* to = y + o * out.rows * out.block + e;
    for (std::int64_t r = 0; r < out.rows; ++r) to[r * out.block] = T(0);
    for (std::int64_t r = 0; r < in.rows; ++r) {
      to[checked_index(index[r], out.rows, fault) * out.block] += x[(o * in.rows + r) * in.block + e];
    }
  }
}

inline Step scatter_rows(const PrepareCtx& c) {
  const RowView in = row_view(c.dims(0), c.attrs), out = row_view(c.out_dims(), c.attrs);
  if (out.count() == 0) return no_work();
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    return {[=](const RunArgs& a) {
      launch(scatter_rows_kernel<T>, grid_of(out.outer * out.block), Dim3{kThreads}, 0, a.stream, in, out, fault_of(a),
             static_cast<const T*>(a.in[0]), static_cast<const std::int64_t*>(a.in[1]), static_cast<T*>(a.out[0]));
    }};
  });
}

template <class U>
ONNXRAY_KERNEL(void)
repeat_rows_kernel(std::int64_t n, Divider block, Divider count, const U* x, U* y) {
  for (std::int64_t i = first_item(); i < n; i += item_step()) {
    auto rest = static_cast<std::uint32_t>(i);
    const std::int64_t e = block.take(rest);
    y[i] = x[count.divide(rest) * std::int64_t{block.divisor} + e];
  }
}

inline Step repeat_rows(const PrepareCtx& c) {
  const auto axis = static_cast<std::size_t>(c.attrs.integer("axis", 0));
  const Dims& d = c.dims(0);
  const std::int64_t count = count_of(c.out_dims()), block = product(d, axis, d.size());
  const std::int64_t times = c.attrs.integer("count", 1);
  if (count >= kMaxElements) return {};
  if (count == 0) return no_work();
  return {[=, bytes = size_of(c.dtype(0))](const RunArgs& a) {
    visit_widest(bytes, block, {a.in[0], a.out[0]}, [&]<class U>(std::int64_t n) {
      launch(repeat_rows_kernel<U>, grid_of(count / n), Dim3{kThreads}, 0, a.stream, count / n, Divider(block / n),
             Divider(times), static_cast<const U*>(a.in[0]), static_cast<U*>(a.out[0]));
    });
  }};
}

// state[index[r]] += weight[r] x[r], row after row. A thread owns W neighbouring elements and keeps the state it adds
// to while the index stays; kAhead rows of x are on their way together.
template <class State, class T, int W>
ONNXRAY_KERNEL(void)
fold_rows_kernel(std::int64_t rows, std::int64_t examples, std::int64_t block, FaultSlot fault, State* state,
                 const T* x, const double* weight, const std::int64_t* index) {
  constexpr int kAhead = 4;
  for (std::int64_t i = first_item() * W; i < block; i += item_step() * W) {
    std::int64_t at = -1;
    State sum[W] = {};
    const auto keep = [&] {
      if (at < 0) return;
      for (int k = 0; k < W; ++k) state[at * block + i + k] = sum[k];
    };
    for (std::int64_t first = 0; first < rows; first += kAhead) {
      Pack<T, W> v[kAhead];
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        if (first + a < rows) v[a] = *reinterpret_cast<const Pack<T, W>*>(x + (first + a) * block + i);
      }
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        if (first + a >= rows || weight[first + a] == 0) continue;
        const auto w = static_cast<State>(weight[first + a]);
        const std::int64_t example = checked_index(index[first + a], examples, fault);
        if (example != at) {
          keep();
          at = example;
          for (int k = 0; k < W; ++k) sum[k] = state[at * block + i + k];
        }
        for (int k = 0; k < W; ++k) sum[k] += w * static_cast<State>(v[a].v[k]);
      }
    }
    keep();
  }
}

inline Step fold_rows(const PrepareCtx& c) {
  const std::int64_t rows = c.dims(1)[0], examples = c.dims(0)[0];
  const std::int64_t block = rows == 0 ? 0 : count_of(c.dims(1)) / rows;
  if (block == 0) return no_work();
  return visit_float(c.dtype(0), [&]<class State>() {
    return visit_float(c.dtype(1), [&]<class T>() -> Step {
      return {[=](const RunArgs& a) {
        constexpr int kWide = kWidth<T>;
        const bool wide = block % kWide == 0 && aligned16({a.in[1]});
        launch(wide ? fold_rows_kernel<State, T, kWide> : fold_rows_kernel<State, T, 1>,
               grid_of(wide ? block / kWide : block), Dim3{kThreads}, 0, a.stream, rows, examples, block, fault_of(a),
               static_cast<State*>(a.out[0]), static_cast<const T*>(a.in[1]), static_cast<const double*>(a.in[2]),
               static_cast<const std::int64_t*>(a.in[3]));
      }};
    });
  });
}

void register_rows(Backend& b) {
  b.add("gather_rows", gather_rows);
  b.add("scatter_rows", scatter_rows);
  b.add("repeat_rows", repeat_rows);
  b.add("fold_rows", fold_rows);
}

}  // namespace onnxray::cuda
