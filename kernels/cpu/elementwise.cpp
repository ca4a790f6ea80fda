// Elementwise loops over functors.h. Equal shapes and scalar operands run flat; other broadcasts walk an index.
#include "kernels/cpu/cpu.h"
#include "kernels/functors.h"

namespace onnxray::cpu {
namespace {

template <class F, class T>
Step unary(const PrepareCtx& c) {
  const std::int64_t n = count_of(c.out_dims());
  return {[n](const RunArgs& a) {
    const T* x = static_cast<const T*>(a.in[0]);
    T* y = static_cast<T*>(a.out[0]);
    parallel_for(n, kGrain, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) y[i] = F::f(x[i]);
    });
  }};
}

// Strides of an operand in the output's index space; 0 where it is broadcast.
Dims broadcast_strides(const Dims& dims, const Dims& out) {
  const Dims own = strides_of(dims);
  Dims s(out.size(), 0);
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const std::size_t o = i + out.size() - dims.size();
    s[o] = dims[i] == 1 ? 0 : own[i];
  }
  return s;
}

template <class F, class T, class R>
Step binary(const PrepareCtx& c) {
  const Dims out = c.out_dims(), da = c.dims(0), db = c.dims(1);
  const std::int64_t n = count_of(out), na = count_of(da), nb = count_of(db);
  if (na == n && nb == n) {
    return {[n](const RunArgs& a) {
      const T* x = static_cast<const T*>(a.in[0]);
      const T* y = static_cast<const T*>(a.in[1]);
      R* z = static_cast<R*>(a.out[0]);
      parallel_for(n, kGrain, [=](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) z[i] = F::f(x[i], y[i]);
      });
    }};
  }
  const Dims sa = broadcast_strides(da, out), sb = broadcast_strides(db, out);
  // The innermost axis is a plain loop with strides 0 or 1 per operand; the outer ones are unravelled per row.
  const std::int64_t inner = out.empty() ? 1 : out.back();
  const std::int64_t ia = out.empty() ? 0 : sa.back(), ib = out.empty() ? 0 : sb.back();
  return {[=](const RunArgs& a) {
    const T* x = static_cast<const T*>(a.in[0]);
    const T* y = static_cast<const T*>(a.in[1]);
    R* z = static_cast<R*>(a.out[0]);
    const std::int64_t rows = inner == 0 ? 0 : n / inner;
    parallel_for(rows, std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, inner)),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t r = begin; r < end; ++r) {
                     std::int64_t rest = r, oa = 0, ob = 0;
                     for (std::size_t d = out.size() - 1; d-- > 0;) {
                       const std::int64_t k = rest % out[d];
                       rest /= out[d];
                       oa += k * sa[d];
                       ob += k * sb[d];
                     }
                     R* row = z + r * inner;
                     for (std::int64_t i = 0; i < inner; ++i) row[i] = F::f(x[oa + i * ia], y[ob + i * ib]);
                   }
                 });
  }};
}

template <class F>
Step arithmetic(const PrepareCtx& c) {
  switch (c.dtype(0)) {
    case DType::f32: return binary<F, float, float>(c);
    case DType::f64: return binary<F, double, double>(c);
    case DType::i64: return binary<F, std::int64_t, std::int64_t>(c);
    case DType::i32: return binary<F, std::int32_t, std::int32_t>(c);
    default: fail_unsupported("no arithmetic in ", name_of(c.dtype(0)));
  }
}

template <class F>
Step unary_float(const PrepareCtx& c) {
  return visit_float(c.dtype(0), [&]<class T>() { return unary<F, T>(c); });
}

}  // namespace

void register_elementwise(Backend& b) {
  b.add("add", arithmetic<fn::Add>);
  b.add("sub", arithmetic<fn::Sub>);
  b.add("mul", arithmetic<fn::Mul>);
  b.add("div", arithmetic<fn::Div>);
  b.add("neg", unary_float<fn::Neg>);
  b.add("exp", unary_float<fn::Exp>);
}

}  // namespace onnxray::cpu
