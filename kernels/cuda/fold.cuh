// Folding many terms into one result by a team of threads. Lane l of a team takes terms l, l + lanes, ... in ascending
// order, then the lanes are folded in halves. The number of lanes depends on the number of terms alone, so the result
// has the same bits however many results there are.
#pragma once
#include <limits>

#include "kernels/cuda/common.cuh"

namespace onnxray::cuda {

// Signed overflow wraps, as in numpy.
template <class T, class F>
ONNXRAY_HD T wrapped(T a, T b, F f) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(f(std::uint64_t{static_cast<U>(a)}, std::uint64_t{static_cast<U>(b)}));
  } else {
    return f(a, b);
  }
}
struct Plus {
  template <class T>
  ONNXRAY_HD T operator()(T x, T y) const {
    return x + y;
  }
};
struct Times {
  template <class T>
  ONNXRAY_HD T operator()(T x, T y) const {
    return x * y;
  }
};

struct SumOf {
  template <class T>
  static T start() {
    return T(0);
  }
  template <class T>
  ONNXRAY_HD static T f(T a, T b) {
    return wrapped(a, b, Plus{});
  }
};
struct ProductOf {
  template <class T>
  static T start() {
    return T(1);
  }
  template <class T>
  ONNXRAY_HD static T f(T a, T b) {
    return wrapped(a, b, Times{});
  }
};
// NaN wins, as in numpy.
struct Greatest {
  template <class T>
  static T start() {
    if constexpr (std::numeric_limits<T>::has_infinity) return -std::numeric_limits<T>::infinity();
    else return std::numeric_limits<T>::lowest();
  }
  template <class T>
  ONNXRAY_HD static T f(T a, T b) {
    return b > a || b != b ? b : a;
  }
};
struct Least {
  template <class T>
  static T start() {
    if constexpr (std::numeric_limits<T>::has_infinity) return std::numeric_limits<T>::infinity();
    else return std::numeric_limits<T>::max();
  }
  template <class T>
  ONNXRAY_HD static T f(T a, T b) {
    return b < a || b != b ? b : a;
  }
};

// A power of two: at least four terms for each lane, so that folding the lanes stays the smaller part.
[[nodiscard]] inline unsigned lanes_for(std::int64_t terms) {
  unsigned lanes = 1;
  while (lanes < kThreads && std::int64_t{lanes} * 4 < terms) lanes *= 2;
  return lanes;
}

// A block of kThreads threads cut into teams of `lanes`.
struct Team {
  unsigned lanes, teams, lane, number, step;  // step: from a lane's thread to the next lane's

  // adjacent: the threads of a team are neighbours, for terms that lie side by side; else neighbours belong to
  // neighbouring teams, for results that do.
  ONNXRAY_DEVICE Team(unsigned lanes_, bool adjacent)
      : lanes(lanes_),
        teams(kThreads / lanes_),
        lane(adjacent ? threadIdx.x % lanes_ : threadIdx.x / teams),
        number(adjacent ? threadIdx.x / lanes_ : threadIdx.x % teams),
        step(adjacent ? 1 : teams) {}

  // The fold over the lanes of the team, in every lane. All threads of the block call it; part: kThreads elements.
  template <class F, class T>
  ONNXRAY_DEVICE T fold(T* part, T value) const {
    if (lanes == 1) return value;
    part[threadIdx.x] = value;
    __syncthreads();
    for (unsigned width = lanes / 2; width > 0; width /= 2) {
      if (lane < width) part[threadIdx.x] = F::f(part[threadIdx.x], part[threadIdx.x + width * step]);
      __syncthreads();
    }
    const T result = part[threadIdx.x - lane * step];
    __syncthreads();
    return result;
  }
};

// Lines along one axis: [outer, n, inner].
struct Lines {
  std::int64_t count = 0, n = 0, inner = 1;

  // The first element of line l; the others follow at steps of `inner`.
  ONNXRAY_HD std::int64_t begin(std::int64_t l) const { return l / inner * n * inner + l % inner; }
  // The element i of line l.
  ONNXRAY_HD std::int64_t at(std::int64_t l, std::int64_t i) const { return begin(l) + i * inner; }
};
[[nodiscard]] inline Lines lines_of(const Dims& d, std::int64_t axis) {
  const auto a = static_cast<std::size_t>(axis);
  Lines l{0, d[a], product(d, a + 1, d.size())};
  l.count = product(d, 0, a) * l.inner;
  return l;
}

}  // namespace onnxray::cuda
