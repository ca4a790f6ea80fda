// Integer arithmetic in int64 and int32: it wraps around, division truncates towards zero and by zero gives 0.
#include <limits>
#include <type_traits>

#include "kernels/cpu/broadcast.h"
#include "kernels/cpu/elementwise_family.h"

namespace onnxray::cpu {
namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;

template <class T>
T wrap_neg(T x) {
  return static_cast<T>(Unsigned<T>{0} - static_cast<Unsigned<T>>(x));
}

struct Add {
  template <class T>
  T operator()(T x, T y) const {
    return static_cast<T>(static_cast<Unsigned<T>>(x) + static_cast<Unsigned<T>>(y));
  }
};
struct Sub {
  template <class T>
  T operator()(T x, T y) const {
    return static_cast<T>(static_cast<Unsigned<T>>(x) - static_cast<Unsigned<T>>(y));
  }
};
struct Mul {
  template <class T>
  T operator()(T x, T y) const {
    return static_cast<T>(static_cast<Unsigned<T>>(x) * static_cast<Unsigned<T>>(y));
  }
};
struct Div {
  template <class T>
  T operator()(T x, T y) const {
    if (y == 0) return 0;
    return y == -1 ? wrap_neg(x) : x / y;
  }
};
// The sign of the divisor, as in Python.
struct FloorMod {
  template <class T>
  T operator()(T x, T y) const {
    if (y == 0 || y == -1) return 0;
    const T r = x % y;
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
  }
};
// The sign of the dividend, as in C.
struct Fmod {
  template <class T>
  T operator()(T x, T y) const {
    return y == 0 || y == -1 ? T{0} : static_cast<T>(x % y);
  }
};
struct Max {
  template <class T>
  T operator()(T x, T y) const {
    return x > y ? x : y;
  }
};
struct Min {
  template <class T>
  T operator()(T x, T y) const {
    return x < y ? x : y;
  }
};
struct Pow {
  template <class T>
  T operator()(T x, T y) const {
    if (y < 0) {
      // 1 / x^|y|, truncated.
      if (x == 1) return 1;
      if (x == -1) return y % 2 == 0 ? 1 : -1;
      return 0;
    }
    T result = 1, base = x;
    for (; y > 0; y /= 2) {
      if (y % 2 != 0) result = Mul{}(result, base);
      base = Mul{}(base, base);
    }
    return result;
  }
};
struct Neg {
  template <class T>
  T operator()(T x) const {
    return wrap_neg(x);
  }
};
struct Abs {
  template <class T>
  T operator()(T x) const {
    return x < 0 ? wrap_neg(x) : x;
  }
};
struct Sign {
  template <class T>
  T operator()(T x) const {
    return static_cast<T>((x > 0) - (x < 0));
  }
};
struct Relu {
  template <class T>
  T operator()(T x) const {
    return x > 0 ? x : T{0};
  }
};

template <class F>
Step with_type(const PrepareCtx& c, F&& f) {
  switch (c.dtype(0)) {
    case DType::i64: return f.template operator()<std::int64_t>();
    case DType::i32: return f.template operator()<std::int32_t>();
    default: fail_unsupported("no kernel of '", c.node.op->name, "' in ", name_of(c.dtype(0)));
  }
}

template <class F>
Step binary(const PrepareCtx& c) {
  return with_type(c, [&]<class T>() { return binary_step<F, T, T, T>(c, {}); });
}

template <class F>
Step unary(const PrepareCtx& c) {
  return with_type(c, [&]<class T>() { return unary_step<F, T, T>(c, {}); });
}

}  // namespace

Step prepare_binary_integer(const PrepareCtx& c) {
  const std::string& op = c.node.op->name;
  if (op == "add") return binary<Add>(c);
  if (op == "sub") return binary<Sub>(c);
  if (op == "mul") return binary<Mul>(c);
  if (op == "div") return binary<Div>(c);
  if (op == "max") return binary<Max>(c);
  if (op == "min") return binary<Min>(c);
  if (op == "pow") return binary<Pow>(c);
  if (op == "mod") return c.attrs.integer("fmod", 0) != 0 ? binary<Fmod>(c) : binary<FloorMod>(c);
  fail_unsupported("no kernel of '", op, "' in ", name_of(c.dtype(0)));
}

Step prepare_unary_integer(const PrepareCtx& c) {
  const std::string& op = c.node.op->name;
  if (op == "neg") return unary<Neg>(c);
  if (op == "abs") return unary<Abs>(c);
  if (op == "sign") return unary<Sign>(c);
  if (op == "relu") return unary<Relu>(c);
  fail_unsupported("no kernel of '", op, "' in ", name_of(c.dtype(0)));
}

}  // namespace onnxray::cpu
