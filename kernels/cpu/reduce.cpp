// Reductions. The order of summation depends on the shape of one reduction alone, never on how many there are or on the
// number of threads. float64 sums run plainly in index order; float32 sums run in kLanes interleaved accumulators along
// a contiguous axis, or in blocks of kBlock terms per column, which also keeps their rounding error small.
#include <algorithm>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/reduce_run.h"

namespace onnxray::cpu {
namespace {

constexpr std::int64_t kTile = 64;    // columns accumulated together
constexpr std::int64_t kBlock = 256;  // terms per partial sum of a column

// Adjacent axes that are all kept or all reduced are one group. Extents of 1 count like others, so that the path taken
// does not depend on the number of rows.
struct Group {
  std::int64_t extent, stride;
};
struct Layout {
  std::vector<Group> kept, reduced;  // outermost first
  std::int64_t outputs = 1, terms = 1;
  bool inner_reduced = false;  // the contiguous group is reduced
};

Layout layout_of(const Dims& dims, const std::vector<std::int64_t>& axes) {
  Layout l;
  const Dims strides = strides_of(dims);
  int last = -1;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const bool reduce = std::find(axes.begin(), axes.end(), static_cast<std::int64_t>(i)) != axes.end();
    (reduce ? l.terms : l.outputs) *= dims[i];
    std::vector<Group>& groups = reduce ? l.reduced : l.kept;
    if (last == static_cast<int>(reduce)) groups.back() = {groups.back().extent * dims[i], strides[i]};
    else groups.push_back({dims[i], strides[i]});
    last = static_cast<int>(reduce);
  }
  l.inner_reduced = last != 0;
  return l;
}

// The offset of index i in a space of groups.
std::int64_t offset_of(const std::vector<Group>& groups, std::size_t count, std::int64_t i) {
  std::int64_t offset = 0;
  for (std::size_t g = count; g-- > 0;) {
    offset += i % groups[g].extent * groups[g].stride;
    i /= groups[g].extent;
  }
  return offset;
}

// `finish` turns a total into the result.
template <class F, class T, class Finish>
Step reduce(const PrepareCtx& c, Finish finish) {
  const Layout l = layout_of(c.dims(0), c.attrs.ints("axes"));
  if (l.outputs == 0) return {[](const RunArgs&) {}};
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, l.terms));
  if (l.terms == 0) {
    return {
        [=](const RunArgs& a) { std::fill_n(static_cast<T*>(a.out[0]), l.outputs, finish(F::template start<T>())); }};
  }
  if (l.inner_reduced) {
    const std::int64_t run = l.reduced.empty() ? 1 : l.reduced.back().extent, runs = l.terms / run;
    const std::size_t outer = l.reduced.empty() ? 0 : l.reduced.size() - 1;
    return {[=](const RunArgs& a) {
      const T* x = static_cast<const T*>(a.in[0]);
      T* y = static_cast<T*>(a.out[0]);
      parallel_for(l.outputs, grain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t o = begin; o < end; ++o) {
          const T* base = x + offset_of(l.kept, l.kept.size(), o);
          T total = F::template start<T>();
          for (std::int64_t r = 0; r < runs; ++r) {
            const T* p = base + offset_of(l.reduced, outer, r);
            // A partial result per run, so that the rounding error does not grow with their number.
            total = kPlain<F, T> ? reduce_run<F, T>(p, run, total)
                                 : F::f(total, reduce_run<F, T>(p, run, F::template start<T>()));
          }
          y[o] = finish(total);
        }
      });
    }};
  }
  // The contiguous group is kept: tiles of its columns are accumulated row after row.
  const std::int64_t inner = l.kept.back().extent, tiles = (inner + kTile - 1) / kTile;
  const Group last = l.reduced.empty() ? Group{1, 0} : l.reduced.back();
  const std::int64_t run = last.extent, stride = last.stride;
  return {[=](const RunArgs& a) {
    const T* x = static_cast<const T*>(a.in[0]);
    T* y = static_cast<T*>(a.out[0]);
    const std::int64_t tile_grain = std::max<std::int64_t>(1, grain / std::min(inner, kTile));
    parallel_for(l.outputs / inner * tiles, tile_grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) {
        const std::int64_t row = t / tiles, column = t % tiles * kTile, width = std::min(kTile, inner - column);
        const T* base = x + offset_of(l.kept, l.kept.size() - 1, row) + column;
        T total[kTile], block[kTile];
        std::fill_n(total, kTile, F::template start<T>());
        for (std::int64_t r0 = 0; r0 < l.terms; r0 += kBlock) {
          const std::int64_t r1 = std::min(l.terms, r0 + kBlock);
          T* sum = kPlain<F, T> ? total : block;
          if (sum == block) std::fill_n(block, kTile, F::template start<T>());
          std::int64_t left = 0;  // terms before the next jump
          const T* p = nullptr;
          for (std::int64_t r = r0; r < r1; ++r, p += stride, --left) {
            if (left == 0 || p == nullptr) {
              p = base + offset_of(l.reduced, l.reduced.size(), r);
              left = run - r % run;
            }
            if (width == kTile) {
              for (std::int64_t k = 0; k < kTile; ++k) sum[k] = F::f(sum[k], p[k]);
            } else {
              for (std::int64_t k = 0; k < width; ++k) sum[k] = F::f(sum[k], p[k]);
            }
          }
          if (sum == block) {
            for (std::int64_t k = 0; k < width; ++k) total[k] = F::f(total[k], block[k]);
          }
        }
        T* out = y + row * inner + column;
        for (std::int64_t k = 0; k < width; ++k) out[k] = finish(total[k]);
      }
    });
  }};
}

template <class V>
Step visit_number(DType t, V&& v) {
  return visit_compute(t, [&]<class T>() -> Step {
    if constexpr (std::is_same_v<T, bool>) fail_unsupported("no arithmetic in bool");
    else return v.template operator()<T>();
  });
}

template <class F>
Step numbers(const PrepareCtx& c) {
  return visit_number(c.dtype(0), [&]<class T>() { return reduce<F, T>(c, [](T v) { return v; }); });
}

template <class F>
Step extremum(const PrepareCtx& c) {
  return visit_compute(c.dtype(0), [&]<class T>() { return reduce<F, T>(c, [](T v) { return v; }); });
}

Step mean(const PrepareCtx& c) {
  const std::int64_t n = layout_of(c.dims(0), c.attrs.ints("axes")).terms;
  return visit_number(c.dtype(0), [&]<class T>() -> Step {
    if constexpr (std::is_integral_v<T>) {
      ONNXRAY_ASSERT(n > 0 || count_of(c.out_dims()) == 0, "integer mean of nothing");
      return reduce<Sum, T>(c, [n](T v) { return static_cast<T>(static_cast<std::int64_t>(v) / n); });
    } else {
      return reduce<Sum, T>(c, [n](T v) { return v / static_cast<T>(n); });
    }
  });
}

template <bool kMax>
Step arg(const PrepareCtx& c) {
  const Dims& d = c.dims(0);
  const auto axis = static_cast<std::size_t>(c.attrs.integer("axis", 0));
  const std::int64_t n = d[axis], inner = product(d, axis + 1, d.size()), outputs = count_of(c.out_dims());
  const bool last = c.attrs.integer("select_last", 0) != 0;
  return visit_compute(c.dtype(0), [&]<class T>() -> Step {
    return {[=](const RunArgs& a) {
      const T* x = static_cast<const T*>(a.in[0]);
      auto* y = static_cast<std::int64_t*>(a.out[0]);
      parallel_for(outputs, std::max<std::int64_t>(1, kGrain / n), [=](std::int64_t begin, std::int64_t end) {
        for (std::int64_t o = begin; o < end; ++o) {
          const T* p = x + o / inner * n * inner + o % inner;
          T best = p[0];
          std::int64_t at = 0;
          for (std::int64_t i = 1; i < n; ++i) {
            const T v = p[i * inner];
            // A NaN beats every number.
            const bool nan = v != v, best_nan = best != best;
            const bool better = nan ? !best_nan : !best_nan && (kMax ? v > best : v < best);
            if (better || (last && (v == best || (nan && best_nan)))) {
              best = v;
              at = i;
            }
          }
          y[o] = at;
        }
      });
    }};
  });
}

Step cumsum(const PrepareCtx& c) {
  const Dims& d = c.dims(0);
  const auto axis = static_cast<std::size_t>(c.attrs.integer("axis", 0));
  const std::int64_t n = d[axis], inner = product(d, axis + 1, d.size()), lines = n == 0 ? 0 : count_of(d) / n;
  const bool exclusive = c.attrs.integer("exclusive", 0) != 0, reverse = c.attrs.integer("reverse", 0) != 0;
  return visit_number(c.dtype(0), [&]<class T>() -> Step {
    return {[=](const RunArgs& a) {
      const T* x = static_cast<const T*>(a.in[0]);
      T* y = static_cast<T*>(a.out[0]);
      parallel_for(lines, std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, n)),
                   [=](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t l = begin; l < end; ++l) {
                       const std::int64_t base = l / inner * n * inner + l % inner;
                       T sum = T(0);
                       for (std::int64_t k = 0; k < n; ++k) {
                         const std::int64_t i = base + (reverse ? n - 1 - k : k) * inner;
                         const T v = x[i];
                         if (exclusive) y[i] = sum;
                         sum = Sum::f(sum, v);
                         if (!exclusive) y[i] = sum;
                       }
                     }
                   });
    }};
  });
}

}  // namespace

void register_reduce(Backend& b) {
  b.add("reduce_sum", numbers<Sum>);
  b.add("reduce_prod", numbers<Prod>);
  b.add("reduce_mean", mean);
  b.add("reduce_max", extremum<Max>);
  b.add("reduce_min", extremum<Min>);
  b.add("argmax", arg<true>);
  b.add("argmin", arg<false>);
  b.add("cumsum", cumsum);
}

}  // namespace onnxray::cpu
