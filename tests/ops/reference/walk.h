// Multi-index loops for the references of ops that move elements.
#pragma once
#include "tests/ops/sample.h"

namespace onnxray::testing {

inline std::int64_t count(const Dims& d) {
  std::int64_t n = 1;
  for (const std::int64_t e : d) n *= e;
  return n;
}

// Position of index i in a row-major array of shape d.
inline std::size_t flat(const Dims& d, const Dims& i) {
  std::int64_t n = 0;
  for (std::size_t k = 0; k < d.size(); ++k) n = n * d[k] + i[k];
  return static_cast<std::size_t>(n);
}

// f(i) for every index i of shape d, in row-major order.
template <class F>
void walk(const Dims& d, F&& f) {
  Dims i(d.size(), 0);
  for (std::int64_t n = count(d); n > 0; --n) {
    f(static_cast<const Dims&>(i));
    for (std::size_t k = d.size(); k-- > 0;) {
      if (++i[k] < d[k]) break;
      i[k] = 0;
    }
  }
}

// The array of shape d whose element at index i is f(i).
template <class F>
Array make(const Dims& d, F&& f) {
  Array a{d, {}};
  walk(d, [&](const Dims& i) { a.v.push_back(f(i)); });
  return a;
}

inline double get(const Array& a, const Dims& i) { return a.v[flat(a.dims, i)]; }

inline std::int64_t wrap(double index, std::int64_t n) {
  const auto i = static_cast<std::int64_t>(index);
  return i < 0 ? i + n : i;
}

}  // namespace onnxray::testing
