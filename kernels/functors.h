// Elementwise arithmetic: ONE source for CPU float32, CPU float64 and CUDA. Each functor has `f`, a pure function of
// scalars. Integer types are used where the functor makes sense for them.
#pragma once
#include <cmath>

#if defined(__CUDACC__)
#define ONNXRAY_HD __host__ __device__ __forceinline__
#else
#define ONNXRAY_HD inline
#endif

namespace onnxray::fn {

struct Add {
  template <class T>
  ONNXRAY_HD static T f(T a, T b) {
    return a + b;
  }
};
struct Sub {
  template <class T>
  ONNXRAY_HD static T f(T a, T b) {
    return a - b;
  }
};
struct Mul {
  template <class T>
  ONNXRAY_HD static T f(T a, T b) {
    return a * b;
  }
};
struct Div {
  template <class T>
  ONNXRAY_HD static T f(T a, T b) {
    return a / b;
  }
};
struct Neg {
  template <class T>
  ONNXRAY_HD static T f(T a) {
    return -a;
  }
};
struct Exp {
  template <class T>
  ONNXRAY_HD static T f(T a) {
    return std::exp(a);
  }
};

}  // namespace onnxray::fn
