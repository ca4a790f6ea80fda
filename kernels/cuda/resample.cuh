// resample: interpolation along one axis as a sparse matrix.
#pragma once
#include "kernels/cuda/common.cuh"
#include "kernels/cuda/cuda.h"

namespace onnxray::cuda {

// A sparse matrix along one axis: y[o, k, e] = sum over j in [offsets[k], offsets[k + 1]) of weight[j] x[o, index[j],
// e].
template <class T>
ONNXRAY_KERNEL(void)
resample_kernel(std::int64_t n, std::int64_t nx, Divider ny, Divider inner, const std::int64_t* offsets,
                const std::int64_t* index, const T* weight, const T* x, T* y) {
  for (std::int64_t i = first_item(); i < n; i += item_step()) {
    auto rest = static_cast<std::uint32_t>(i);
    const std::int64_t e = inner.take(rest), k = ny.take(rest);
    const T* from = x + rest * nx * std::int64_t{inner.divisor} + e;
    T sum = T(0);
    for (std::int64_t j = offsets[k]; j < offsets[k + 1]; ++j) sum += weight[j] * from[index[j] * inner.divisor];
    y[i] = sum;
  }
}

template <class T>
Step resample_of(const PrepareCtx& c) {
  const auto axis = static_cast<std::size_t>(c.attrs.integer("axis", 0));
  const Dims &x = c.dims(0), &y = c.out_dims();
  const std::int64_t n = count_of(y), nx = x[axis];
  if (n >= kMaxElements) return {};
  if (n == 0) return no_work();
  const Tensor offsets = c.attrs.tensor("offsets"), index = c.attrs.tensor("index"), weight = c.attrs.tensor("weight");
  const auto o = offsets.data<std::int64_t>(), i = index.data<std::int64_t>();
  const auto w = weight.data<double>();
  // A zero weight skips its source, so that an infinity there does not become NaN.
  std::vector<std::int64_t> first{0}, source;
  std::vector<T> factor;
  for (std::size_t row = 0; row + 1 < o.size(); ++row) {
    for (auto j = static_cast<std::size_t>(o[row]); j < static_cast<std::size_t>(o[row + 1]); ++j) {
      if (w[j] == 0) continue;
      source.push_back(i[j]);
      factor.push_back(static_cast<T>(w[j]));
    }
    first.push_back(static_cast<std::int64_t>(source.size()));
  }
  const auto offset_table = device_table(c, first), index_table = device_table(c, source);
  const auto weight_table = device_table(c, factor);
  const Divider ny(y[axis]), inner(product(x, axis + 1, x.size()));
  return {[=](const RunArgs& a) {
    launch(resample_kernel<T>, grid_of(n), Dim3{kThreads}, 0, a.stream, n, nx, ny, inner, offset_table.get(),
           index_table.get(), weight_table.get(), static_cast<const T*>(a.in[0]), static_cast<T*>(a.out[0]));
  }};
}
inline Step resample(const PrepareCtx& c) {
  return visit_float(c.dtype(0), [&]<class T>() { return resample_of<T>(c); });
}

}  // namespace onnxray::cuda
