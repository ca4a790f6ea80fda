#include <cmath>
#include <limits>

#include "tests/ops/sample.h"

namespace onnxray::testing {
namespace {

using Ints = std::vector<std::int64_t>;

// Multi-index of a flat index.
Ints unravel(std::int64_t flat, const Dims& dims) {
  Ints index(dims.size());
  for (std::size_t d = dims.size(); d-- > 0;) {
    index[d] = flat % dims[d];
    flat /= dims[d];
  }
  return index;
}

std::size_t ravel(const Ints& index, const Dims& dims) {
  std::int64_t flat = 0;
  for (std::size_t d = 0; d < dims.size(); ++d) flat = flat * dims[d] + index[d];
  return static_cast<std::size_t>(flat);
}

bool contains(const Ints& v, std::int64_t x) {
  for (const std::int64_t e : v) {
    if (e == x) return true;
  }
  return false;
}

// Dims with the axes at 1, and the shape to report.
std::pair<Dims, Dims> result_dims(const Dims& in, const Ints& axes, bool keepdims) {
  Dims ones, reported;
  for (std::size_t d = 0; d < in.size(); ++d) {
    const bool reduced = contains(axes, static_cast<std::int64_t>(d));
    ones.push_back(reduced ? 1 : in[d]);
    if (!reduced || keepdims) reported.push_back(ones.back());
  }
  return {ones, reported};
}

template <class Fold>
Reference reduction(double start, Fold fold, bool mean = false) {
  return [=](const std::vector<Array>& in, const Attrs& attrs) {
    const Array& x = in[0];
    const Ints axes = attrs.ints("axes");
    const auto [ones, reported] = result_dims(x.dims, axes, attrs.integer("keepdims", 1) != 0);
    Array y{reported, std::vector<double>(static_cast<std::size_t>(count_of(ones)), start)};
    for (std::size_t i = 0; i < x.v.size(); ++i) {
      Ints index = unravel(static_cast<std::int64_t>(i), x.dims);
      for (const std::int64_t a : axes) index[static_cast<std::size_t>(a)] = 0;
      double& total = y.v[ravel(index, ones)];
      total = fold(total, x.v[i]);
    }
    double n = 1;
    for (const std::int64_t a : axes) n *= static_cast<double>(x.dims[static_cast<std::size_t>(a)]);
    if (mean) {
      for (double& v : y.v) v /= n;
    }
    return std::vector<Array>{y};
  };
}

template <class Better>
Reference arg_reference(Better better) {
  return [=](const std::vector<Array>& in, const Attrs& attrs) {
    const Array& x = in[0];
    const std::int64_t axis = attrs.integer("axis", 0);
    const auto [ones, reported] = result_dims(x.dims, {axis}, attrs.integer("keepdims", 1) != 0);
    const bool last = attrs.integer("select_last", 0) != 0;
    Array y{reported, std::vector<double>(static_cast<std::size_t>(count_of(ones)), 0)};
    for (std::size_t o = 0; o < y.v.size(); ++o) {
      Ints index = unravel(static_cast<std::int64_t>(o), ones);
      double best = 0;
      for (std::int64_t k = 0; k < x.dims[static_cast<std::size_t>(axis)]; ++k) {
        index[static_cast<std::size_t>(axis)] = k;
        const double v = x.v[ravel(index, x.dims)];
        if (k == 0 || better(v, best) || (last && v == best)) {
          best = v;
          y.v[o] = static_cast<double>(k);
        }
      }
    }
    return std::vector<Array>{y};
  };
}

std::vector<Array> cumsum_reference(const std::vector<Array>& in, const Attrs& attrs) {
  const Array& x = in[0];
  const auto axis = static_cast<std::size_t>(attrs.integer("axis", 0));
  const bool exclusive = attrs.integer("exclusive", 0) != 0, reverse = attrs.integer("reverse", 0) != 0;
  Array y{x.dims, std::vector<double>(x.v.size(), 0)};
  for (std::size_t i = 0; i < x.v.size(); ++i) {
    Ints index = unravel(static_cast<std::int64_t>(i), x.dims);
    const std::int64_t here = index[axis];
    for (std::int64_t k = 0; k < x.dims[axis]; ++k) {
      const bool before = reverse ? k > here : k < here;
      if (!before && !(k == here && !exclusive)) continue;
      index[axis] = k;
      y.v[i] += x.v[ravel(index, x.dims)];
    }
  }
  return {y};
}

SampleInput input(Dims dims, double lo = -2, double hi = 2) { return {.dims = std::move(dims), .lo = lo, .hi = hi}; }
SampleInput typed(DType t, Dims dims, double lo, double hi) {
  return {.dtype = t, .dims = std::move(dims), .lo = lo, .hi = hi};
}
SampleInput values(Dims dims, std::vector<double> v) {
  return {.dims = dims, .fixed = Tensor::from<double>(dims, std::span<const double>(v))};
}

Attrs over(Ints axes, std::int64_t keepdims = 1) { return {{"axes", std::move(axes)}, {"keepdims", keepdims}}; }

std::vector<OpSample> reduction_samples() {
  return {
      {{input({3, 5, 7})}, over({1})},
      {{input({3, 5, 7})}, over({0, 2}, 0)},
      {{input({2, 3, 4, 5})}, over({1, 3})},
      {{input({2, 3, 4, 5})}, over({0, 1, 2, 3}, 0)},
      {{input({257})}, over({0}, 0)},
      {{input({3, 33, 65})}, over({1}, 0)},
      {{input({})}, over({})},
      {{input({3, 2})}, over({})},
      {{input({1, 1, 3})}, over({0, 1})},
      {{input({0, 3})}, over({1})},
  };
}

std::vector<OpSample> reduction_errors() {
  return {
      {{input({3, 5})}, over({2})},
      {{input({3, 5})}, over({-1})},
      {{input({3, 5})}, over({1, 1})},
      {{input({3}), input({3})}, over({0})},
  };
}

std::vector<OpSample> axis_errors() {
  return {
      {{input({3, 5})}, {{"axis", std::int64_t{2}}}},
      {{input({3, 5})}, {{"axis", std::int64_t{-1}}}},
      {{input({})}, {{"axis", std::int64_t{0}}}},
  };
}

OpCase reduction_case(const std::string& op, Reference reference) {
  return {.op = op,
          .reference = std::move(reference),
          .samples = reduction_samples(),
          .errors = reduction_errors(),
          .reduction = 120};
}

}  // namespace

void add_reduce_cases(std::vector<OpCase>& cases) {
  const double inf = std::numeric_limits<double>::infinity();
  const auto plus = [](double a, double b) { return a + b; };

  OpCase sum = reduction_case("reduce_sum", reduction(0, plus));
  sum.samples.push_back({{input({3, 0})}, over({1})});
  sum.samples.push_back({{typed(DType::i64, {3, 4}, -9, 9)}, over({0})});
  sum.samples.push_back({{typed(DType::i32, {3, 4}, -9, 9)}, over({1}, 0)});
  sum.errors.push_back({{typed(DType::boolean, {3}, 0, 2)}, over({0})});
  cases.push_back(sum);

  OpCase mean = reduction_case("reduce_mean", reduction(0, plus, true));
  mean.errors.push_back({{typed(DType::i64, {3, 0}, 0, 2)}, over({1})});
  cases.push_back(mean);

  OpCase max = reduction_case("reduce_max", reduction(-inf, [](double a, double b) { return std::max(a, b); }));
  OpCase min = reduction_case("reduce_min", reduction(inf, [](double a, double b) { return std::min(a, b); }));
  for (OpCase* c : {&max, &min}) {
    c->has_kinks = true;
    c->samples.push_back({{typed(DType::i64, {3, 4}, -9, 9)}, over({0})});
    c->samples.push_back({{typed(DType::i32, {3, 4}, -9, 9)}, over({1})});
    c->samples.push_back({{typed(DType::i8, {3, 4}, -9, 9)}, over({1})});
    c->samples.push_back({{typed(DType::u8, {3, 4}, 0, 9)}, over({1})});
    c->samples.push_back({{typed(DType::boolean, {3, 4}, 0, 2)}, over({1})});
    cases.push_back(*c);
  }

  OpCase prod = reduction_case("reduce_prod", reduction(1, [](double a, double b) { return a * b; }));
  prod.samples = {
      {{input({3, 5, 4})}, over({1})},
      {{input({2, 3, 3})}, over({0, 2}, 0)},
      {{input({7})}, over({0}, 0)},
      {{input({})}, over({})},
      {{input({1, 3})}, over({0})},
      {{input({3, 0})}, over({1})},
      // The gradient where one or two factors are zero.
      {{values({2, 3}, {0, 2, 3, 0, 5, 0})}, over({1})},
      {{values({2, 2, 2}, {0, 2, 3, 4, 0, 6, 0, -1})}, over({0, 2})},
      {{typed(DType::i64, {3, 4}, -3, 3)}, over({0})},
  };
  prod.errors.push_back({{typed(DType::boolean, {3}, 0, 2)}, over({0})});
  cases.push_back(prod);

  const std::vector<OpSample> arg_samples = {
      {{input({3, 5, 7})}, {{"axis", std::int64_t{1}}, {"keepdims", std::int64_t{0}}}},
      {{input({3, 5, 7})}, {{"axis", std::int64_t{0}}}},
      {{input({257})}, {{"axis", std::int64_t{0}}, {"keepdims", std::int64_t{0}}}},
      {{typed(DType::i64, {4, 9}, 0, 3)}, {{"axis", std::int64_t{1}}, {"select_last", std::int64_t{1}}}},
      {{typed(DType::i32, {4, 9}, 0, 3)}, {{"axis", std::int64_t{0}}, {"select_last", std::int64_t{0}}}},
      {{typed(DType::u8, {1, 9, 2}, 0, 3)}, {{"axis", std::int64_t{1}}, {"select_last", std::int64_t{1}}}},
      {{input({0, 3})}, {{"axis", std::int64_t{1}}}},
  };
  std::vector<OpSample> arg_errors = axis_errors();
  arg_errors.push_back({{input({3, 0})}, {{"axis", std::int64_t{1}}}});
  const auto arg_case = [&](const char* op, Reference reference) {
    OpCase c{.op = op, .reference = std::move(reference), .samples = arg_samples, .errors = arg_errors};
    c.gradient_outputs = {};
    cases.push_back(c);
  };
  arg_case("argmax", arg_reference([](double a, double b) { return a > b; }));
  arg_case("argmin", arg_reference([](double a, double b) { return a < b; }));

  OpCase cumsum{.op = "cumsum", .reference = cumsum_reference, .errors = axis_errors(), .reduction = 33};
  for (const std::int64_t exclusive : {0, 1}) {
    for (const std::int64_t reverse : {0, 1}) {
      const Attrs flags{{"exclusive", exclusive}, {"reverse", reverse}};
      Attrs first = flags, second = flags;
      first.set("axis", std::int64_t{0});
      second.set("axis", std::int64_t{1});
      cumsum.samples.push_back({{input({33})}, first});
      cumsum.samples.push_back({{input({2, 5, 3})}, second});
    }
  }
  cumsum.samples.push_back({{typed(DType::i64, {3, 4}, -9, 9)}, {{"axis", std::int64_t{1}}}});
  cumsum.samples.push_back({{typed(DType::i32, {1, 4}, -9, 9)}, {{"axis", std::int64_t{0}}}});
  cumsum.samples.push_back({{input({3, 0})}, {{"axis", std::int64_t{1}}}});
  cumsum.errors.push_back({{typed(DType::boolean, {3}, 0, 2)}, {{"axis", std::int64_t{0}}}});
  cases.push_back(cumsum);
}

}  // namespace onnxray::testing
