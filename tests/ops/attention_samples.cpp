#include <algorithm>
#include <cmath>

#include "tests/ops/sample.h"

namespace onnxray::testing {
namespace {

// Shapes and element access; `first` is the position of q among the inputs.
struct Problem {
  const std::vector<Array>& in;
  std::size_t first, rank;
  std::int64_t batches = 1, queries, keys, head, value_head;
  double scale;
  bool masked;

  Problem(const std::vector<Array>& inputs, const Attrs& attrs, std::size_t first)
      : in(inputs), first(first), rank(inputs[first].dims.size()) {
    const Dims &q = in[first].dims, &k = in[first + 1].dims, &v = in[first + 2].dims;
    for (std::size_t i = 0; i + 2 < rank; ++i) batches *= q[i];
    queries = q[rank - 2];
    keys = k[rank - 2];
    head = q[rank - 1];
    value_head = v[rank - 1];
    scale = attrs.real("scale", 1);
    masked = attrs.integer("masked", 0) != 0;
  }

  [[nodiscard]] double at(std::size_t i, std::int64_t line, std::int64_t column, std::int64_t columns) const {
    return in[i].v[static_cast<std::size_t>(line * columns + column)];
  }
  [[nodiscard]] double q(std::int64_t z, std::int64_t i, std::int64_t c) const {
    return at(first, z * queries + i, c, head);
  }
  [[nodiscard]] double k(std::int64_t z, std::int64_t j, std::int64_t c) const {
    return at(first + 1, z * keys + j, c, head);
  }
  [[nodiscard]] double v(std::int64_t z, std::int64_t j, std::int64_t c) const {
    return at(first + 2, z * keys + j, c, value_head);
  }
  // numpy's broadcasting, from the right.
  [[nodiscard]] double mask(std::int64_t z, std::int64_t i, std::int64_t j) const {
    if (in.size() <= first + 3 || in[first + 3].v.empty()) return 0;
    const Array& m = in[first + 3];
    std::size_t flat = 0, step = 1;
    for (std::size_t a = 0; a < m.dims.size(); ++a) {
      const std::size_t own = m.dims.size() - 1 - a, axis = rank - 1 - a;
      std::int64_t position = a == 0 ? j : a == 1 ? i : 0;
      if (a >= 2) {
        position = z;
        for (std::size_t inner = axis + 1; inner + 2 < rank; ++inner) position /= in[first].dims[inner];
        position %= in[first].dims[axis];
      }
      if (m.dims[own] != 1) flat += static_cast<std::size_t>(position) * step;
      step *= static_cast<std::size_t>(m.dims[own]);
    }
    return m.v[flat];
  }
  [[nodiscard]] double score(std::int64_t z, std::int64_t i, std::int64_t j) const {
    double s = 0;
    for (std::int64_t c = 0; c < head; ++c) s += q(z, i, c) * k(z, j, c);
    return scale * s + mask(z, i, j);
  }
};

std::vector<Array> attention_reference(const std::vector<Array>& in, const Attrs& attrs) {
  const Problem p(in, attrs, 0);
  Array y{p.in[0].dims, {}}, lse{p.in[0].dims, {}};
  y.dims.back() = p.value_head;
  lse.dims.pop_back();
  for (std::int64_t z = 0; z < p.batches; ++z) {
    for (std::int64_t i = 0; i < p.queries; ++i) {
      double top = -INFINITY, sum = 0;
      for (std::int64_t j = 0; j < p.keys; ++j) top = std::max(top, p.score(z, i, j));
      const bool nothing_allowed = top == -INFINITY;
      for (std::int64_t j = 0; !nothing_allowed && j < p.keys; ++j) sum += std::exp(p.score(z, i, j) - top);
      lse.v.push_back(nothing_allowed ? -INFINITY : top + std::log(sum));
      for (std::int64_t c = 0; c < p.value_head; ++c) {
        double out = nothing_allowed && !p.masked ? NAN : 0;
        for (std::int64_t j = 0; !nothing_allowed && j < p.keys; ++j) {
          out += std::exp(p.score(z, i, j) - top) / sum * p.v(z, j, c);
        }
        y.v.push_back(out);
      }
    }
  }
  return {y, lse};
}

// With y and the log-sum-exp as they are given, not computed again.
std::vector<Array> attention_grad_reference(const std::vector<Array>& in, const Attrs& attrs) {
  const Problem p(in, attrs, 1);
  Array dq{in[1].dims, std::vector<double>(in[1].v.size(), 0)}, dk{in[2].dims, std::vector<double>(in[2].v.size(), 0)},
      dv{in[3].dims, std::vector<double>(in[3].v.size(), 0)};
  const auto add = [](Array& a, std::int64_t line, std::int64_t column, std::int64_t columns, double x) {
    a.v[static_cast<std::size_t>(line * columns + column)] += x;
  };
  for (std::int64_t z = 0; z < p.batches; ++z) {
    for (std::int64_t i = 0; i < p.queries; ++i) {
      const std::int64_t query = z * p.queries + i;
      const double lse = in[6].v[static_cast<std::size_t>(query)];
      double dot = 0;
      for (std::int64_t c = 0; c < p.value_head; ++c) {
        dot += p.at(0, query, c, p.value_head) * p.at(5, query, c, p.value_head);
      }
      for (std::int64_t j = 0; j < p.keys; ++j) {
        const std::int64_t key = z * p.keys + j;
        const double w = p.masked && lse == -INFINITY ? 0 : std::exp(p.score(z, i, j) - lse);
        double dw = -dot;
        for (std::int64_t c = 0; c < p.value_head; ++c) {
          dw += p.at(0, query, c, p.value_head) * p.v(z, j, c);
          add(dv, key, c, p.value_head, w * p.at(0, query, c, p.value_head));
        }
        for (std::int64_t c = 0; c < p.head; ++c) {
          add(dq, query, c, p.head, p.scale * w * dw * p.k(z, j, c));
          add(dk, key, c, p.head, p.scale * w * dw * p.q(z, i, c));
        }
      }
    }
  }
  return {dq, dk, dv};
}

SampleInput input(Dims dims, double lo = -1, double hi = 1) { return {.dims = std::move(dims), .lo = lo, .hi = hi}; }
SampleInput absent() { return {.absent = true}; }
SampleInput constant(Dims dims) { return {.dims = std::move(dims), .constant = true}; }

// Queries see the keys up to their own position; with `rows` the first rows see nothing.
SampleInput causal(std::int64_t n, std::int64_t blind) {
  std::vector<double> m;
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) m.push_back(j <= i && i >= blind ? 0 : -INFINITY);
  }
  return {.dims = {n, n}, .fixed = Tensor::from<double>({n, n}, m), .constant = true};
}

struct Shape {
  Dims batch;
  std::int64_t queries, keys, head, value_head;
  SampleInput mask = absent();
  double scale = 0.3;
  bool masked = false;
};

Dims with(Dims batch, std::initializer_list<std::int64_t> last) {
  batch.insert(batch.end(), last);
  return batch;
}

}  // namespace

void add_attention_cases(std::vector<OpCase>& cases) {
  const std::vector<Shape> shapes = {
      {{1, 2}, 5, 7, 8, 4},
      {{}, 3, 3, 4, 4, absent(), 1},
      {{2, 3}, 4, 5, 4, 8, input({2, 1, 1, 5}, -3, 3)},
      {{2, 3}, 6, 6, 4, 4, constant({3, 6, 6})},
      {{3}, 1, 9, 12, 12, input({1, 9})},
      {{2}, 9, 1, 4, 4},
      {{}, 70, 67, 8, 8, input({70, 1})},  // two blocks of rows, three of columns
      {{}, 18, 35, 64, 64, absent(), 0.125},
      {{2}, 3, 4, 3, 5},  // no multiple of 4
      {{}, 5, 33, 80, 80, absent(), 0.1},
      {{}, 18, 21, 128, 100, absent(), 0.1},  // both halves of 32 lines
      {{2}, 35, 35, 4, 4, causal(35, 0)},
      {{1, 2}, 6, 6, 4, 4, causal(6, 2), 0.3, true},
      {{2, 0}, 3, 3, 4, 4},
      {{2}, 0, 3, 4, 4},
  };
  OpCase forward{.op = "attention", .reference = attention_reference, .reduction = 128};
  OpCase backward{.op = "attention_grad", .reference = attention_grad_reference, .reduction = 128};
  backward.gradient_outputs = {0, 1, 2};
  for (const Shape& s : shapes) {
    Attrs attrs{{"scale", s.scale}};
    if (s.masked) attrs.set("masked", std::int64_t{1});
    const SampleInput q = input(with(s.batch, {s.queries, s.head})), k = input(with(s.batch, {s.keys, s.head})),
                      v = input(with(s.batch, {s.keys, s.value_head})),
                      y = input(with(s.batch, {s.queries, s.value_head}));
    forward.samples.push_back({{q, k, v}, attrs});
    if (!s.mask.absent) forward.samples.back().inputs.push_back(s.mask);
    // A log-sum-exp that makes weights of the size of probabilities.
    const double size = std::log(static_cast<double>(s.keys));
    backward.samples.push_back({{y, q, k, v, s.mask, y, input(with(s.batch, {s.queries}), size, size + 1)}, attrs});
  }
  // No rows that see nothing: the other samples' log-sum-exp is theirs.
  const double none = -INFINITY;
  backward.samples.push_back(
      {{input({3, 4}), input({3, 4}), input({2, 4}), input({2, 4}),
        SampleInput{
            .dims = {3, 2}, .fixed = Tensor::from<double>({3, 2}, {0, none, none, none, 1, 2}), .constant = true},
        input({3, 4}), SampleInput{.dims = {3}, .fixed = Tensor::from<double>({3}, {1, none, 2})}},
       {{"masked", std::int64_t{1}}}});

  forward.errors = {
      {{input({3, 4}), input({3, 4})}, {}},
      {{input({3, 4}), input({3, 5}), input({3, 4})}, {}},
      {{input({3, 4}), input({2, 4}), input({3, 4})}, {}},
      {{input({2, 3, 4}), input({3, 4}), input({3, 4})}, {}},
      {{input({2, 3, 4}), input({1, 3, 4}), input({1, 3, 4})}, {}},
      {{input({3, 4}), input({0, 4}), input({0, 4})}, {}},
      {{input({3, 4}), input({5, 4}), input({5, 4}), input({4, 5})}, {}},
      {{input({3, 4}), input({5, 4}), input({5, 4}), input({2, 3, 5})}, {}},
      {{input({4}), input({4}), input({4})}, {}},
  };
  backward.errors = {
      {{input({3, 4}), input({3, 4}), input({3, 4}), input({3, 4}), absent(), input({3, 4})}, {}},
      {{input({3, 5}), input({3, 4}), input({3, 4}), input({3, 4}), absent(), input({3, 4}), input({3})}, {}},
      {{input({3, 4}), input({3, 4}), input({3, 4}), input({3, 4}), absent(), input({3, 4}), input({3, 1})}, {}},
      {{input({3, 4}), input({3, 4}), input({3, 4}), input({3, 4}), absent(), absent(), input({3})}, {}},
  };
  cases.push_back(std::move(forward));
  cases.push_back(std::move(backward));
}

}  // namespace onnxray::testing
