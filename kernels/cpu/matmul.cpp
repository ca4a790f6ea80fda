// Matrix products: our own blocked loops in float64 and where oneDNN declines, plain loops for integers.
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/onednn/kernels.h"

namespace onnxray::cpu {
namespace {

// Batches of [m, k] x [k, n] with element steps for any transposition.
struct Problem {
  std::int64_t batches = 1, m = 0, n = 0, k = 0;
  std::int64_t a_row = 0, a_k = 0, b_k = 0, b_col = 0;  // element steps
  std::vector<std::int64_t> a_batch, b_batch;           // element offsets per batch
  bool bias = false, relu = false, sum = false;
};

Problem problem_of(const PrepareCtx& c) {
  Problem p;
  const Dims &a = c.dims(0), &b = c.dims(1), &out = c.out_dims();
  const bool ta = c.attrs.integer("trans_a", 0) != 0, tb = c.attrs.integer("trans_b", 0) != 0;
  const std::size_t rank = out.size();
  p.m = out[rank - 2];
  p.n = out[rank - 1];
  p.k = a[a.size() - (ta ? 2 : 1)];
  p.a_row = ta ? 1 : p.k;
  p.a_k = ta ? p.m : 1;
  p.b_k = tb ? 1 : p.n;
  p.b_col = tb ? p.k : 1;
  p.bias = c.has(2);
  p.relu = c.attrs.integer("relu", 0) != 0;
  p.sum = c.attrs.has("sum_input");
  p.batches = product(out, 0, rank - 2);
  // One matrix b for all batches of a plain a: a tall product.
  if (!ta && product(b, 0, b.size() - 2) == 1 && product(a, 0, a.size() - 2) == p.batches) {
    p.m *= p.batches;
    p.batches = std::min<std::int64_t>(p.batches, 1);
  }
  const auto offsets = [&](const Dims& d) {
    std::vector<std::int64_t> v(static_cast<std::size_t>(p.batches), 0);
    if (p.batches <= 1) return v;
    const Dims own = strides_of(d);
    for (std::int64_t i = 0; i < p.batches; ++i) {
      std::int64_t rest = i;
      for (std::size_t axis = rank - 2; axis-- > 0;) {
        const std::int64_t at = rest % out[axis];
        rest /= out[axis];
        if (axis + d.size() < rank) continue;
        const std::size_t k = axis + d.size() - rank;
        if (d[k] != 1) v[static_cast<std::size_t>(i)] += at * own[k];
      }
    }
    return v;
  };
  p.a_batch = offsets(a);
  p.b_batch = offsets(b);
  return p;
}

template <class T>
Step blocked(const PrepareCtx& c) {
  const Problem p = problem_of(c);
  const std::int64_t mb = ceil_div(p.m, kGemmM), nb = ceil_div(p.n, kGemmN);
  const std::int64_t tasks = p.batches * mb * nb;
  const std::int64_t workers = std::max<std::int64_t>(1, std::min<std::int64_t>(max_threads(), tasks));
  Step step;
  step.scratch_bytes = static_cast<std::size_t>(workers * kGemmScratch) * sizeof(T);
  step.run = [p, mb, nb, tasks, workers](const RunArgs& args) {
    const T* a = static_cast<const T*>(args.in[0]);
    const T* b = static_cast<const T*>(args.in[1]);
    const T* bias = p.bias ? static_cast<const T*>(args.in[2]) : nullptr;
    const T* sum = p.sum ? static_cast<const T*>(args.in[3]) : nullptr;
    T* y = static_cast<T*>(args.out[0]);
    T* scratch = reinterpret_cast<T*>(args.scratch);
    for_tasks(workers, tasks, [&](std::int64_t worker, std::int64_t task) {
      const std::int64_t batch = task / (mb * nb), m0 = task / nb % mb * kGemmM, n0 = task % nb * kGemmN;
      const T* ab = a + p.a_batch[static_cast<std::size_t>(batch)];
      const T* bb = b + p.b_batch[static_cast<std::size_t>(batch)];
      const std::int64_t base = batch * p.m * p.n;
      gemm_block<T>(
          m0, std::min(p.m, m0 + kGemmM), n0, std::min(p.n, n0 + kGemmN), p.k, scratch + worker * kGemmScratch,
          [&](T* dst, std::int64_t mr, std::int64_t m, std::int64_t rows, std::int64_t k0, std::int64_t kc) {
            pack_strided(dst, mr, rows, kc, ab + m * p.a_row + k0 * p.a_k, p.a_row, p.a_k);
          },
          [&](T* dst, std::int64_t nr, std::int64_t n, std::int64_t cols, std::int64_t k0, std::int64_t kc) {
            pack_strided(dst, nr, cols, kc, bb + n * p.b_col + k0 * p.b_k, p.b_col, p.b_k);
          },
          [&](std::int64_t m, std::int64_t n, std::int64_t cols, const T* row) {
            const std::int64_t at = base + m * p.n + n;
            for (std::int64_t j = 0; j < cols; ++j) {
              T v = row[j];
              if (bias != nullptr) v += bias[n + j];
              if (sum != nullptr) v += sum[at + j];
              y[at + j] = p.relu && !(v > 0) && v == v ? T{0} : v;
            }
          });
    });
  };
  return step;
}

template <class T>
Step plain(const PrepareCtx& c) {
  const Problem p = problem_of(c);
  return {[p](const RunArgs& args) {
    const T* a = static_cast<const T*>(args.in[0]);
    const T* b = static_cast<const T*>(args.in[1]);
    const T* bias = p.bias ? static_cast<const T*>(args.in[2]) : nullptr;
    T* y = static_cast<T*>(args.out[0]);
    using U = std::make_unsigned_t<T>;  // wraps around instead of overflowing
    const std::int64_t grain = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, p.n * p.k));
    parallel_for(p.batches * p.m, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const T* row = a + p.a_batch[static_cast<std::size_t>(r / p.m)] + r % p.m * p.a_row;
        const T* bb = b + p.b_batch[static_cast<std::size_t>(r / p.m)];
        for (std::int64_t n = 0; n < p.n; ++n) {
          std::uint64_t s = bias != nullptr ? static_cast<U>(bias[n]) : 0;
          for (std::int64_t k = 0; k < p.k; ++k) {
            s += static_cast<std::uint64_t>(static_cast<U>(row[k * p.a_k])) *
                 static_cast<std::uint64_t>(static_cast<U>(bb[k * p.b_k + n * p.b_col]));
          }
          y[r * p.n + n] = static_cast<T>(static_cast<U>(s));
        }
      }
    });
  }};
}

Step matmul(const PrepareCtx& c) {
  if (auto step = onednn::matmul(c)) return *std::move(step);
  switch (c.dtype(0)) {
    case DType::f32: return blocked<float>(c);
    case DType::f64: return blocked<double>(c);
    case DType::i64: return plain<std::int64_t>(c);
    case DType::i32: return plain<std::int32_t>(c);
    case DType::i8: return plain<std::int8_t>(c);
    case DType::u8: return plain<std::uint8_t>(c);
    default: fail_unsupported("no matmul in ", name_of(c.dtype(0)));
  }
}

}  // namespace

void register_matmul(Backend& b) { b.add("matmul", matmul); }

}  // namespace onnxray::cpu
