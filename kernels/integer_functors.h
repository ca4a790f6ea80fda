// Integer arithmetic: one source for CPU and CUDA. It wraps around, division truncates towards zero and by zero gives
// 0.
#pragma once
#include <type_traits>

#include "kernels/vector_math.h"

namespace onnxray::integer {

template <class T>
using Unsigned = std::make_unsigned_t<T>;

template <class T>
ONNXRAY_HD T wrap_neg(T x) {
  return static_cast<T>(Unsigned<T>{0} - static_cast<Unsigned<T>>(x));
}

struct Add {
  template <class T>
  ONNXRAY_HD T operator()(T x, T y) const {
    return static_cast<T>(static_cast<Unsigned<T>>(x) + static_cast<Unsigned<T>>(y));
  }
};
struct Sub {
  template <class T>
  ONNXRAY_HD T operator()(T x, T y) const {
    return static_cast<T>(static_cast<Unsigned<T>>(x) - static_cast<Unsigned<T>>(y));
  }
};
struct Mul {
  template <class T>
  ONNXRAY_HD T operator()(T x, T y) const {
    return static_cast<T>(static_cast<Unsigned<T>>(x) * static_cast<Unsigned<T>>(y));
  }
};
struct Div {
  template <class T>
  ONNXRAY_HD T operator()(T x, T y) const {
    if (y == 0) return 0;
    return y == -1 ? wrap_neg(x) : x / y;
  }
};
// The sign of the divisor, as in Python.
struct FloorMod {
  template <class T>
  ONNXRAY_HD T operator()(T x, T y) const {
    if (y == 0 || y == -1) return 0;
    const T r = x % y;
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
  }
};
// The sign of the dividend, as in C.
struct Fmod {
  template <class T>
  ONNXRAY_HD T operator()(T x, T y) const {
    return y == 0 || y == -1 ? T{0} : static_cast<T>(x % y);
  }
};
struct Max {
  template <class T>
  ONNXRAY_HD T operator()(T x, T y) const {
    return x > y ? x : y;
  }
};
struct Min {
  template <class T>
  ONNXRAY_HD T operator()(T x, T y) const {
    return x < y ? x : y;
  }
};
struct Pow {
  template <class T>
  ONNXRAY_HD T operator()(T x, T y) const {
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
  ONNXRAY_HD T operator()(T x) const {
    return wrap_neg(x);
  }
};
struct Abs {
  template <class T>
  ONNXRAY_HD T operator()(T x) const {
    return x < 0 ? wrap_neg(x) : x;
  }
};
struct Sign {
  template <class T>
  ONNXRAY_HD T operator()(T x) const {
    return static_cast<T>((x > 0) - (x < 0));
  }
};
struct Relu {
  template <class T>
  ONNXRAY_HD T operator()(T x) const {
    return x > 0 ? x : T{0};
  }
};

}  // namespace onnxray::integer
