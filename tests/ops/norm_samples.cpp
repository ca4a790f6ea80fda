#include <cmath>

#include "tests/ops/sample.h"

namespace onnxray::testing {

void add_sequence_cases(std::vector<OpCase>& cases);  // norm_samples_sequence.cpp

namespace {

// [outer, n, inner] around one axis.
struct Lines {
  std::int64_t outer = 1, n = 1, inner = 1;
  Lines(const Dims& d, const Attrs& attrs) {
    const auto axis = static_cast<std::size_t>(attrs.integer("axis", 0));
    for (std::size_t i = 0; i < axis; ++i) outer *= d[i];
    n = d[axis];
    for (std::size_t i = axis + 1; i < d.size(); ++i) inner *= d[i];
  }
  [[nodiscard]] std::size_t at(std::int64_t o, std::int64_t k, std::int64_t i) const {
    return static_cast<std::size_t>((o * n + k) * inner + i);
  }
};

std::vector<Array> softmax_reference(const std::vector<Array>& in, const Attrs& attrs, bool log) {
  const Array& x = in[0];
  const Lines l(x.dims, attrs);
  Array y{x.dims, std::vector<double>(x.v.size())};
  for (std::int64_t o = 0; o < l.outer; ++o) {
    for (std::int64_t i = 0; i < l.inner; ++i) {
      double top = -INFINITY, sum = 0;
      for (std::int64_t k = 0; k < l.n; ++k) top = std::max(top, x.v[l.at(o, k, i)]);
      for (std::int64_t k = 0; k < l.n; ++k) sum += std::exp(x.v[l.at(o, k, i)] - top);
      const bool nothing_allowed = attrs.integer("masked", 0) != 0 && top == -INFINITY;
      for (std::int64_t k = 0; k < l.n; ++k) {
        const double z = x.v[l.at(o, k, i)] - top;
        if (nothing_allowed) continue;
        y.v[l.at(o, k, i)] = log ? z - std::log(sum) : std::exp(z) / sum;
      }
    }
  }
  return {y};
}

// J^T dy with J = diag(y) - y y^T, as a product with the matrix.
std::vector<Array> softmax_grad_reference(const std::vector<Array>& in, const Attrs& attrs) {
  const Array &dy = in[0], &y = in[1];
  const Lines l(y.dims, attrs);
  Array dx{y.dims, std::vector<double>(y.v.size(), 0)};
  for (std::int64_t o = 0; o < l.outer; ++o) {
    for (std::int64_t i = 0; i < l.inner; ++i) {
      for (std::int64_t k = 0; k < l.n; ++k) {
        for (std::int64_t j = 0; j < l.n; ++j) {
          const double yk = y.v[l.at(o, k, i)], yj = y.v[l.at(o, j, i)];
          dx.v[l.at(o, k, i)] += dy.v[l.at(o, j, i)] * ((j == k ? yj : 0) - yj * yk);
        }
      }
    }
  }
  return {dx};
}

// Splits [axis..] off: lines of n elements, and the shape of their statistics.
struct Normalised {
  std::int64_t count = 1, n = 1;
  Dims statistics;
  Normalised(const Dims& d, const Attrs& attrs) : statistics(d) {
    const auto axis = static_cast<std::size_t>(attrs.integer("axis", 0));
    for (std::size_t i = 0; i < d.size(); ++i) (i < axis ? count : n) *= d[i];
    for (std::size_t i = axis; i < d.size(); ++i) statistics[i] = 1;
  }
};

double element(const std::vector<Array>& in, std::size_t i, std::size_t at, double otherwise) {
  return i < in.size() && !in[i].v.empty() ? in[i].v[at] : otherwise;
}

std::vector<Array> norm_reference(const std::vector<Array>& in, const Attrs& attrs, bool centred) {
  const Array& x = in[0];
  const Normalised l(x.dims, attrs);
  const double epsilon = attrs.real("epsilon", 1e-5), n = static_cast<double>(l.n);
  Array y{x.dims, std::vector<double>(x.v.size())}, means{l.statistics, {}}, rstds{l.statistics, {}};
  for (std::int64_t r = 0; r < l.count; ++r) {
    const double* p = x.v.data() + r * l.n;
    double mean = 0, square = 0;
    for (std::int64_t i = 0; centred && i < l.n; ++i) mean += p[i] / n;
    for (std::int64_t i = 0; i < l.n; ++i) square += (p[i] - mean) * (p[i] - mean) / n;
    means.v.push_back(mean);
    rstds.v.push_back(1 / std::sqrt(square + epsilon));
    for (std::int64_t i = 0; i < l.n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      y.v[static_cast<std::size_t>(r * l.n + i)] =
          (p[i] - mean) * rstds.v.back() * element(in, 1, at, 1) + element(in, 2, at, 0);
    }
  }
  if (!centred) return {y, rstds};
  return {y, means, rstds};
}

// With m and r given (not recomputed from x): dx_i = r (g_i - sum_j (1 + xh_i xh_j) g_j / n), without the 1 for RMS.
std::vector<Array> layer_norm_grad_reference(const std::vector<Array>& in, const Attrs& attrs) {
  const Array &dy = in[0], &x = in[1], &rstd = in[4];
  const Normalised l(x.dims, attrs);
  const bool centred = !in[3].v.empty() || x.v.empty();
  Array dx{x.dims, std::vector<double>(x.v.size())};
  for (std::int64_t r = 0; r < l.count; ++r) {
    const double s = rstd.v[static_cast<std::size_t>(r)];
    const double mean = centred ? in[3].v[static_cast<std::size_t>(r)] : 0;
    const auto flat = [&](std::int64_t i) { return static_cast<std::size_t>(r * l.n + i); };
    const auto g = [&](std::int64_t i) { return dy.v[flat(i)] * element(in, 2, static_cast<std::size_t>(i), 1); };
    const auto xh = [&](std::int64_t i) { return (x.v[flat(i)] - mean) * s; };
    for (std::int64_t i = 0; i < l.n; ++i) {
      double sum = 0;
      for (std::int64_t j = 0; j < l.n; ++j) sum += ((centred ? 1 : 0) + xh(i) * xh(j)) * g(j);
      dx.v[flat(i)] = s * (g(i) - sum / static_cast<double>(l.n));
    }
  }
  return {dx};
}

std::vector<Array> batch_norm_reference(const std::vector<Array>& in, const Attrs& attrs) {
  const Array& x = in[0];
  const auto channels = static_cast<std::size_t>(x.dims[1]);
  std::size_t inner = 1;
  for (std::size_t d = 2; d < x.dims.size(); ++d) inner *= static_cast<std::size_t>(x.dims[d]);
  Array y{x.dims, {}};
  for (std::size_t i = 0; i < x.v.size(); ++i) {
    const std::size_t c = i / inner % channels;
    y.v.push_back((x.v[i] - in[3].v[c]) / std::sqrt(in[4].v[c] + attrs.real("epsilon", 1e-5)) * in[1].v[c] +
                  in[2].v[c]);
  }
  return {y};
}

SampleInput input(Dims dims, double lo = -2, double hi = 2) { return {.dims = std::move(dims), .lo = lo, .hi = hi}; }
SampleInput absent() { return {.absent = true}; }
SampleInput integers(Dims dims) { return {.dtype = DType::i64, .dims = std::move(dims)}; }

Attrs along(std::int64_t axis) { return {{"axis", axis}}; }
Attrs along(std::int64_t axis, double epsilon) { return {{"axis", axis}, {"epsilon", epsilon}}; }

void add_softmax_cases(std::vector<OpCase>& cases) {
  const std::vector<Dims> shapes = {{7}, {3, 5, 7}, {1, 257}, {2, 33, 3}, {2, 1, 3}, {3, 0}, {0, 3}, {2, 3, 70}};
  std::vector<OpSample> one, two;
  for (const Dims& d : shapes) {
    for (std::size_t axis = 0; axis < d.size(); ++axis) {
      const Attrs attrs = along(static_cast<std::int64_t>(axis));
      one.push_back({{input(d, -5, 5)}, attrs});
      two.push_back({{input(d), input(d, 0, 1)}, attrs});
    }
  }
  one.push_back({{input({2, 3}, 80, 90)}, along(1)});
  const std::vector<OpSample> errors = {
      {{input({3, 5})}, along(2)},
      {{input({3, 5})}, along(-1)},
      {{input({})}, along(0)},
      {{integers({3})}, along(0)},
  };
  // A line where nothing is allowed, along a contiguous axis and another.
  const double x = -INFINITY;
  const SampleInput masked{.dims = {2, 3}, .fixed = Tensor::from<double>({2, 3}, {x, 1, x, x, 2, x})};
  const SampleInput line{.dims = {2, 3}, .fixed = Tensor::from<double>({2, 3}, {1, x, 3, x, x, x})};
  std::vector<OpSample> with_masks = one;
  with_masks.push_back({{masked}, {{"axis", std::int64_t{0}}, {"masked", std::int64_t{1}}}});
  with_masks.push_back({{line}, {{"axis", std::int64_t{1}}, {"masked", std::int64_t{1}}}});
  for (const bool log : {false, true}) {
    cases.push_back({.op = log ? "log_softmax" : "softmax",
                     .reference = [log](const auto& in, const Attrs& a) { return softmax_reference(in, a, log); },
                     .samples = log ? one : with_masks,
                     .errors = errors,
                     .reduction = 257});
  }
  cases.push_back({.op = "softmax_grad",
                   .reference = softmax_grad_reference,
                   .samples = two,
                   .errors = {{{input({3, 5}), input({3, 4})}, along(1)},
                              {{input({3, 5}), input({3, 5})}, along(2)},
                              {{input({3, 5})}, along(1)}},
                   .reduction = 257});
}

void add_layer_norm_cases(std::vector<OpCase>& cases) {
  OpCase layer{.op = "layer_norm",
               .reference = [](const auto& in, const Attrs& a) { return norm_reference(in, a, true); }};
  layer.samples = {
      {{input({3, 5, 7}), input({7}), input({7})}, along(2)},
      {{input({3, 5, 7}), input({5, 7}), input({5, 7})}, along(1, 1e-3)},
      {{input({3, 33}), input({33})}, along(1)},
      {{input({3, 33})}, along(1)},
      {{input({3, 5}), absent(), input({5})}, along(1)},
      {{input({2, 3, 257}), input({257}), input({257})}, along(2)},
      {{input({5, 3}), input({5, 3}), input({5, 3})}, along(0, 0.1)},
      {{input({0, 3}), input({3}), input({3})}, along(1)},
      {{input({2, 1}), input({1}), input({1})}, along(1, 0.5)},
  };
  layer.errors = {
      {{input({3, 5})}, along(2)},
      {{input({3, 5}), input({4})}, along(1)},
      {{input({3, 5}), input({5}), input({1})}, along(1)},
      {{input({3, 5})}, along(1, -1)},
      {{integers({3, 5})}, along(1)},
      {{input({3, 5}), integers({5})}, along(1)},
  };
  layer.gradient_outputs = {0, 1, 2};
  layer.reduction = 257;
  cases.push_back(layer);

  OpCase rms{.op = "rms_norm",
             .reference = [](const auto& in, const Attrs& a) { return norm_reference(in, a, false); }};
  rms.samples = {
      {{input({3, 5, 7}), input({7})}, along(2)},     {{input({3, 5, 7}), input({5, 7})}, along(1, 1e-3)},
      {{input({3, 33}), input({33})}, along(1)},      {{input({3, 33})}, along(1)},
      {{input({2, 3, 257}), input({257})}, along(2)}, {{input({5, 3}), input({5, 3})}, along(0, 0.1)},
      {{input({0, 3}), input({3})}, along(1)},        {{input({2, 1}), input({1})}, along(1, 0.5)},
  };
  rms.errors = {
      {{input({3, 5})}, along(2)},
      {{input({3, 5}), input({4})}, along(1)},
      {{integers({3, 5})}, along(1)},
  };
  rms.gradient_outputs = {0, 1};
  rms.reduction = 257;
  cases.push_back(rms);

  const SampleInput positive3 = input({3, 1}, 0.5, 2);
  OpCase grad{.op = "layer_norm_grad", .reference = layer_norm_grad_reference};
  grad.samples = {
      {{input({3, 7}), input({3, 7}), input({7}), input({3, 1}), positive3}, along(1)},
      {{input({3, 7}), input({3, 7}), absent(), input({3, 1}), positive3}, along(1)},
      {{input({3, 7}), input({3, 7}), input({7}), absent(), positive3}, along(1)},
      {{input({3, 65}), input({3, 65}), absent(), absent(), positive3}, along(1)},
      {{input({2, 3, 5}), input({2, 3, 5}), input({3, 5}), input({2, 1, 1}), input({2, 1, 1}, 0.5, 2)}, along(1)},
      {{input({3, 1}), input({3, 1}), input({1}), input({3, 1}), positive3}, along(1)},
  };
  grad.errors = {
      {{input({3, 7}), input({3, 6}), absent(), absent(), positive3}, along(1)},
      {{input({3, 7}), input({3, 7}), input({3}), absent(), positive3}, along(1)},
      {{input({3, 7}), input({3, 7}), absent(), input({3}), positive3}, along(1)},
      {{input({3, 7}), input({3, 7}), absent(), absent(), absent()}, along(1)},
      {{input({3, 7}), input({3, 7}), absent(), absent(), positive3}, along(2)},
  };
  grad.reduction = 65;
  cases.push_back(grad);
}

OpSample batch_norm_sample(const Dims& d, double epsilon) {
  const Dims c{d[1]};
  return {{input(d), input(c), input(c), input(c), input(c, 0.2, 2)}, {{"epsilon", epsilon}}};
}

}  // namespace

void add_norm_cases(std::vector<OpCase>& cases) {
  add_softmax_cases(cases);
  add_layer_norm_cases(cases);
  add_sequence_cases(cases);
  OpCase batch{.op = "batch_norm", .reference = batch_norm_reference};
  for (const Dims& d : std::vector<Dims>{{2, 3}, {3, 5, 7}, {2, 3, 5, 4}, {1, 33, 1, 3}, {2, 1, 3, 3}, {2, 3, 0}}) {
    batch.samples.push_back(batch_norm_sample(d, d.size() % 2 == 0 ? 1e-5 : 1e-2));
  }
  batch.errors = {
      {{input({3}), input({3}), input({3}), input({3}), input({3}, 1, 2)}, {}},
      {{input({2, 3}), input({2}), input({3}), input({3}), input({3}, 1, 2)}, {}},
      {{input({2, 3}), input({3}), input({3}), input({3})}, {}},
      {{input({2, 3}), input({3}), input({3}), input({3}), input({3}, 1, 2)}, {{"epsilon", -1.0}}},
  };
  cases.push_back(batch);
}

}  // namespace onnxray::testing
