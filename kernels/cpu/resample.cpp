#include <algorithm>

#include "kernels/cpu/index.h"

namespace onnxray::cpu {
namespace {

// A zero weight skips its source, so that an infinity there does not become NaN.
template <class T>
Step resample(const PrepareCtx& c) {
  const auto axis = static_cast<std::size_t>(c.attrs.integer("axis", 0));
  const Dims &x_dims = c.dims(0), &y_dims = c.out_dims();
  const std::int64_t outer = product(x_dims, 0, axis), inner = product(x_dims, axis + 1, x_dims.size());
  const std::int64_t nx = x_dims[axis], ny = y_dims[axis];
  struct Table {
    std::vector<std::int64_t> offsets, index;
    std::vector<T> weight;
  };
  auto table = std::make_shared<Table>();
  const Tensor offsets = c.attrs.tensor("offsets"), index = c.attrs.tensor("index"), weight = c.attrs.tensor("weight");
  const auto o = offsets.data<std::int64_t>(), i = index.data<std::int64_t>();
  const auto w = weight.data<double>();
  table->offsets.push_back(0);
  for (std::size_t row = 0; row + 1 < o.size(); ++row) {
    for (auto j = static_cast<std::size_t>(o[row]); j < static_cast<std::size_t>(o[row + 1]); ++j) {
      if (w[j] == 0) continue;
      table->index.push_back(i[j]);
      table->weight.push_back(static_cast<T>(w[j]));
    }
    table->offsets.push_back(static_cast<std::int64_t>(table->index.size()));
  }
  if (count_of(y_dims) == 0) return {[](const RunArgs&) {}};
  if (inner == 1) {
    return {[=](const RunArgs& a) {
      const T* x = static_cast<const T*>(a.in[0]);
      T* y = static_cast<T*>(a.out[0]);
      const std::int64_t *off = table->offsets.data(), *idx = table->index.data();
      const T* wt = table->weight.data();
      parallel_for(outer, std::max<std::int64_t>(1, kGrain / ny), [=](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r) {
          for (std::int64_t k = 0; k < ny; ++k) {
            std::int64_t j = off[k];
            // Starts like the other loop, so that the two agree to the bit.
            T sum = j < off[k + 1] ? wt[j] * x[r * nx + idx[j]] : T{0};
            while (++j < off[k + 1]) sum += wt[j] * x[r * nx + idx[j]];
            y[r * ny + k] = sum;
          }
        }
      });
    }};
  }
  return {[=](const RunArgs& a) {
    const T* x = static_cast<const T*>(a.in[0]);
    T* y = static_cast<T*>(a.out[0]);
    const std::int64_t *off = table->offsets.data(), *idx = table->index.data();
    const T* wt = table->weight.data();
    parallel_for(outer * ny, std::max<std::int64_t>(1, kGrain / inner), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        T* to = y + r * inner;
        const T* from = x + r / ny * nx * inner;
        const std::int64_t k = r % ny;
        std::int64_t j = off[k];
        if (j == off[k + 1]) {
          std::fill_n(to, inner, T{0});
          continue;
        }
        const T* first = from + idx[j] * inner;
        const T w0 = wt[j];
        for (std::int64_t q = 0; q < inner; ++q) to[q] = w0 * first[q];
        for (++j; j < off[k + 1]; ++j) {
          const T* source = from + idx[j] * inner;
          const T wj = wt[j];
          for (std::int64_t q = 0; q < inner; ++q) to[q] += wj * source[q];
        }
      }
    });
  }};
}

}  // namespace

void register_resample(Backend& b) {
  b.add("resample",
        [](const PrepareCtx& c) { return visit_float(c.dtype(0), [&]<class T>() { return resample<T>(c); }); });
}

}  // namespace onnxray::cpu
