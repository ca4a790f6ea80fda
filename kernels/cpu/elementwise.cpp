// Float arithmetic: every op of functors.h runs its flat loop over the longest runs that broadcasting leaves.
#include "kernels/cpu/broadcast.h"
#include "kernels/cpu/elementwise_family.h"
#include "kernels/cpu/elementwise_loops.h"

namespace onnxray::cpu {
namespace {

template <class T>
Step unary_float(const PrepareCtx& c) {
  const UnaryLoop<T>* loop = find_unary_loop<T>(c.node.op->name);
  ONNXRAY_ASSERT(loop != nullptr, "no loop for ", c.node.op->name);
  const fn::Params<T> p = params_of<T>(loop->specs, c.attrs);
  const std::int64_t count = count_of(c.out_dims());
  return {[count, p, run = loop->run](const RunArgs& a) {
    const T* x = static_cast<const T*>(a.in[0]);
    T* y = static_cast<T*>(a.out[0]);
    parallel_for(count, kGrain,
                 [=](std::int64_t begin, std::int64_t end) { run(x + begin, y + begin, end - begin, p); });
  }};
}

// Runs shorter than this cost less when the broadcast operand is copied out into blocks.
constexpr std::int64_t kShortestRun = 32;

template <class T>
Step binary_runs(const MergedAxes& m, typename BinaryLoop<T>::Run run, const fn::Params<T>& p) {
  const std::size_t last = m.dims.size() - 1;
  const std::int64_t inner = m.dims[last], rows = product(m.dims, 0, last);
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / inner);
  return {[=](const RunArgs& a) {
    const T* x = static_cast<const T*>(a.in[0]);
    const T* y = static_cast<const T*>(a.in[1]);
    T* z = static_cast<T*>(a.out[0]);
    parallel_for(rows, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        std::int64_t rest = r, ox = 0, oy = 0;
        for (std::size_t d = last; d-- > 0;) {
          const std::int64_t k = rest % m.dims[d];
          rest /= m.dims[d];
          ox += k * m.strides[0][d];
          oy += k * m.strides[1][d];
        }
        run(x + ox, y + oy, z + r * inner, inner, p);
      }
    });
  }};
}

template <class T>
Step binary_blocks(const PrepareCtx& c, typename BinaryLoop<T>::Run run, const fn::Params<T>& p) {
  const std::int64_t count = count_of(c.out_dims());
  const Operand ox(c.dims(0), c.out_dims()), oy(c.dims(1), c.out_dims());
  return {[=](const RunArgs& a) {
    T* z = static_cast<T*>(a.out[0]);
    for_blocks(count, [&](std::int64_t begin, std::int64_t n) {
      T bx[kBlock], by[kBlock];
      run(ox.fetch(a.in[0], begin, n, bx), oy.fetch(a.in[1], begin, n, by), z + begin, n, p);
    });
  }};
}

template <class T>
Step binary_loop(const PrepareCtx& c, const BinaryLoop<T>& loop) {
  const fn::Params<T> p = params_of<T>(loop.specs, c.attrs);
  if (count_of(c.out_dims()) == 0) return {[](const RunArgs&) {}};
  MergedAxes m = merge_axes(c.out_dims(), {c.dims(0), c.dims(1)});
  const bool scalar_x = m.strides[0].back() == 0, scalar_y = m.strides[1].back() == 0;
  const auto run = scalar_x ? loop.left_scalar : (scalar_y ? loop.right_scalar : loop.both);
  if (m.dims.size() == 1) {
    // One run: cut into pieces for the threads.
    const std::int64_t count = m.dims[0], sx = m.strides[0][0], sy = m.strides[1][0];
    return {[=](const RunArgs& a) {
      const T* x = static_cast<const T*>(a.in[0]);
      const T* y = static_cast<const T*>(a.in[1]);
      T* z = static_cast<T*>(a.out[0]);
      parallel_for(count, kGrain, [=](std::int64_t begin, std::int64_t end) {
        run(x + begin * sx, y + begin * sy, z + begin, end - begin, p);
      });
    }};
  }
  if (m.dims.back() >= kShortestRun) return binary_runs<T>(m, run, p);
  return binary_blocks<T>(c, loop.both, p);
}

// A power whose exponent is one small constant needs no logarithm.
template <class T>
const T* constant_exponent(const PrepareCtx& c, T& value) {
  const Tensor t = c.constant(1);
  if (!t.defined() || t.size() != 1 || t.dtype() != c.dtype(0)) return nullptr;
  value = static_cast<const T*>(t.raw())[0];
  return &value;
}

template <class T>
Step pow_float(const PrepareCtx& c) {
  T e{};
  if (constant_exponent(c, e) != nullptr && count_of(c.out_dims()) == count_of(c.dims(0))) {
    if (e == T(1)) return unary_step<T (*)(T), T, T>(c, [](T x) { return x; });
    const auto with = [&](auto f) { return unary_step<decltype(f), T, T>(c, f); };
    if (e == T(2)) return with([](T x) { return x * x; });
    if (e == T(3)) return with([](T x) { return x * x * x; });
    if (e == T(-1)) return with([](T x) { return T(1) / x; });
    if (e == T(0)) return with([](T) { return T(1); });
  }
  return binary_loop<T>(c, *find_binary_loop<T>("pow"));
}

template <class T>
Step binary_float(const PrepareCtx& c) {
  std::string_view op = c.node.op->name;
  if (op == "mod" && c.attrs.integer("fmod", 0) != 0) op = "fmod";
  const BinaryLoop<T>* loop = find_binary_loop<T>(op);
  ONNXRAY_ASSERT(loop != nullptr, "no loop for ", op);
  return binary_loop<T>(c, *loop);
}

template <class F>
struct Ternary {
  template <class T>
  T operator()(T x, T y, T z) const {
    return F::f(x, y, z);
  }
};

}  // namespace

Step prepare_unary(const PrepareCtx& c) {
  if (is_integer(c.dtype(0))) return prepare_unary_integer(c);
  return visit_float(c.dtype(0), [&]<class T>() { return unary_float<T>(c); });
}

Step prepare_binary(const PrepareCtx& c) {
  if (!is_float(c.dtype(0))) return prepare_binary_integer(c);
  return visit_float(c.dtype(0),
                     [&]<class T>() { return c.node.op->name == "pow" ? pow_float<T>(c) : binary_float<T>(c); });
}

void register_elementwise(Backend& b) {
  for (const char* op :
       {"neg", "abs", "sign", "sqrt", "exp",  "log",  "reciprocal", "erf",  "floor", "ceil",  "round",
        "sin", "cos", "tan",  "asin", "acos", "atan", "sinh",       "cosh", "asinh", "acosh", "atanh"}) {
    b.add(op, prepare_unary);
  }
  for (const char* op : {"add", "sub", "mul", "div", "pow", "max", "min", "mod"}) b.add(op, prepare_binary);
  b.add("max_grad", [](const PrepareCtx& c) {
    return visit_float(c.dtype(0), [&]<class T>() { return ternary_step<Ternary<fn::MaxGrad>, T, T, T>(c, {}); });
  });
  register_logic(b);
  register_cast(b);
  register_map(b);
}

}  // namespace onnxray::cpu
