// Reduction of a contiguous run in a fixed order: plainly in index order where rounding makes the order visible and the
// type is float64, else in kLanes interleaved accumulators that are then folded in halves.
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace onnxray::cpu {

inline constexpr std::int64_t kLanes = 32;

// Signed overflow wraps, as in numpy.
template <class T, class F>
T wrapped(T a, T b, F f) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(f(std::uint64_t{static_cast<U>(a)}, std::uint64_t{static_cast<U>(b)}));
  } else {
    return f(a, b);
  }
}

struct Sum {
  static constexpr bool kRounds = true;
  template <class T>
  static T start() {
    return T(0);
  }
  template <class T>
  static T f(T a, T b) {
    return wrapped(a, b, [](auto x, auto y) { return x + y; });
  }
};
struct Prod {
  static constexpr bool kRounds = true;
  template <class T>
  static T start() {
    return T(1);
  }
  template <class T>
  static T f(T a, T b) {
    return wrapped(a, b, [](auto x, auto y) { return x * y; });
  }
};
// NaN wins, as in numpy.
struct Max {
  static constexpr bool kRounds = false;
  template <class T>
  static T start() {
    if constexpr (std::numeric_limits<T>::has_infinity) return -std::numeric_limits<T>::infinity();
    else return std::numeric_limits<T>::lowest();
  }
  template <class T>
  static T f(T a, T b) {
    return b > a || b != b ? b : a;
  }
};
struct Min {
  static constexpr bool kRounds = false;
  template <class T>
  static T start() {
    if constexpr (std::numeric_limits<T>::has_infinity) return std::numeric_limits<T>::infinity();
    else return std::numeric_limits<T>::max();
  }
  template <class T>
  static T f(T a, T b) {
    return b < a || b != b ? b : a;
  }
};

template <class F, class T>
inline constexpr bool kPlain = !std::is_same_v<T, float> && F::kRounds;

// Folds term(0), ..., term(n - 1) into `total`.
template <class F, class T, class Term>
T reduce_terms(std::int64_t n, T total, Term term) {
  std::int64_t i = 0;
  if constexpr (!kPlain<F, T>) {
    // Blocks, so that the rounding error of a long sum grows with their number only.
    constexpr std::int64_t kRun = 256 * kLanes;
    while (n - i >= kLanes) {
      const std::int64_t end = std::min(n, i + kRun);
      T lane[kLanes];
      for (std::int64_t k = 0; k < kLanes; ++k) lane[k] = term(i + k);
      for (i += kLanes; i + kLanes <= end; i += kLanes) {
        for (std::int64_t k = 0; k < kLanes; ++k) lane[k] = F::f(lane[k], term(i + k));
      }
      for (std::int64_t width = kLanes / 2; width > 0; width /= 2) {
        for (std::int64_t k = 0; k < width; ++k) lane[k] = F::f(lane[k], lane[k + width]);
      }
      total = F::f(total, lane[0]);
    }
  }
  for (; i < n; ++i) total = F::f(total, term(i));
  return total;
}

// One contiguous run of n terms.
template <class F, class T>
T reduce_run(const T* x, std::int64_t n, T total) {
  return reduce_terms<F, T>(n, total, [x](std::int64_t i) { return x[i]; });
}

}  // namespace onnxray::cpu
