// gather_elements, scatter_elements, gather_nd, scatter_nd.
#include <algorithm>

#include "tests/ops/reference/walk.h"

namespace onnxray::testing {

void add_index_element_cases(std::vector<OpCase>& cases);

namespace {

using Ints = std::vector<std::int64_t>;

SampleInput index_input(Dims dims, double lo, double hi) {
  return {.dtype = DType::i64, .dims = std::move(dims), .lo = lo, .hi = hi, .constant = true};
}

SampleInput fixed_index(Dims dims, const Ints& values) {
  return {.dtype = DType::i64, .dims = dims, .fixed = Tensor::ints(values).reshaped(dims), .constant = true};
}

double fold(const std::string& reduction, double a, double b) {
  if (reduction == "add") return a + b;
  if (reduction == "mul") return a * b;
  if (reduction == "max") return std::max(a, b);
  if (reduction == "min") return std::min(a, b);
  return b;
}

// Where element i of the indices points into x.
Dims element_of(const Array& x, const Array& index, const Dims& i, std::size_t axis) {
  Dims to = i;
  to[axis] = wrap(get(index, i), x.dims[axis]);
  return to;
}

std::vector<Array> gather_elements(const std::vector<Array>& in, const Attrs& a) {
  const auto axis = static_cast<std::size_t>(a.integer("axis", 0));
  return {make(in[1].dims, [&](const Dims& i) { return get(in[0], element_of(in[0], in[1], i, axis)); })};
}

std::vector<Array> scatter_elements(const std::vector<Array>& in, const Attrs& a) {
  const auto axis = static_cast<std::size_t>(a.integer("axis", 0));
  Array out = in[0];
  walk(in[1].dims, [&](const Dims& i) {
    double& to = out.v[flat(out.dims, element_of(in[0], in[1], i, axis))];
    to = fold(a.text("reduction"), to, get(in[2], i));
  });
  return {out};
}

// Shape indices[:-1] + x[b + k:]; f(index in that shape, index in x).
template <class F>
void walk_nd(const Array& x, const Array& index, std::int64_t batch, F&& f) {
  const std::int64_t k = index.dims.back();
  const auto lead = static_cast<std::ptrdiff_t>(index.dims.size()) - 1;
  Dims shape(index.dims.begin(), index.dims.begin() + lead);
  shape.insert(shape.end(), x.dims.begin() + batch + k, x.dims.end());
  walk(shape, [&](const Dims& i) {
    Dims at(i.begin(), i.begin() + batch);
    for (std::int64_t e = 0; e < k; ++e) {
      Dims entry(i.begin(), i.begin() + lead);
      entry.push_back(e);
      at.push_back(wrap(get(index, entry), x.dims[static_cast<std::size_t>(batch + e)]));
    }
    at.insert(at.end(), i.begin() + lead, i.end());
    f(shape, i, at);
  });
}

std::vector<Array> gather_nd(const std::vector<Array>& in, const Attrs& a) {
  const std::int64_t k = in[1].dims.back(), batch = a.integer("batch_dims", 0);
  Array out{Dims(in[1].dims.begin(), in[1].dims.end() - 1), {}};
  out.dims.insert(out.dims.end(), in[0].dims.begin() + batch + k, in[0].dims.end());
  walk_nd(in[0], in[1], batch, [&](const Dims&, const Dims&, const Dims& at) { out.v.push_back(get(in[0], at)); });
  return {out};
}

std::vector<Array> scatter_nd(const std::vector<Array>& in, const Attrs& a) {
  Array out = in[0];
  walk_nd(in[0], in[1], a.integer("batch_dims", 0), [&](const Dims&, const Dims& i, const Dims& at) {
    double& to = out.v[flat(out.dims, at)];
    to = fold(a.text("reduction"), to, get(in[2], i));
  });
  return {out};
}

OpCase gather_elements_case() {
  const auto of = [](Dims x, Dims index, std::int64_t axis, DType t = DType::f64) {
    const double n =
        axis < static_cast<std::int64_t>(x.size()) ? static_cast<double>(x[static_cast<std::size_t>(axis)]) : 1;
    return OpSample{{{.dtype = t, .dims = x, .lo = 0}, index_input(std::move(index), -n, std::max(n, 1.0))},
                    {{"axis", axis}}};
  };
  OpCase c{.op = "gather_elements", .reference = gather_elements};
  c.samples = {of({7}, {5}, 0),
               of({3, 5}, {3, 2}, 1),
               of({5, 3}, {33, 3}, 0),
               of({2, 3, 4}, {2, 5, 4}, 1),
               of({2, 3, 4}, {1, 2, 6}, 2),
               of({1, 4}, {1, 4}, 0),
               of({3, 4}, {0, 4}, 0),
               of({4, 3}, {4, 1}, 1, DType::i64),
               of({4, 3}, {2, 3}, 0, DType::boolean)};
  c.errors = {of({3, 5}, {4, 5}, 1), of({3, 5}, {3}, 1), of({3}, {3}, 1), of({}, {}, 0), of({3}, {3}, 0)};
  c.errors.back().inputs[1].dtype = DType::i32;
  return c;
}

OpSample scatter_of(Dims x, SampleInput index, Dims updates, Attrs attrs, DType t = DType::f64) {
  return {{{.dtype = t, .dims = std::move(x)}, std::move(index), {.dtype = t, .dims = std::move(updates)}},
          std::move(attrs)};
}

OpCase scatter_elements_case() {
  const auto attrs = [](std::int64_t axis, const char* reduction) {
    return Attrs{{"axis", axis}, {"reduction", std::string(reduction)}};
  };
  OpCase c{.op = "scatter_elements", .reference = scatter_elements, .has_kinks = true, .reduction = 4};
  c.samples = {scatter_of({5}, fixed_index({3}, {4, -5, 2}), {3}, attrs(0, "none")),
               scatter_of({3, 4}, fixed_index({3, 2}, {0, 3, 2, 1, -1, 0}), {3, 2}, attrs(1, "none")),
               scatter_of({4, 3}, index_input({7, 3}, -4, 4), {7, 3}, attrs(0, "add")),
               scatter_of({2, 3, 4}, index_input({2, 5, 4}, 0, 3), {2, 5, 4}, attrs(1, "add")),
               scatter_of({3, 4}, index_input({3, 3}, 0, 4), {3, 3}, attrs(1, "mul")),
               scatter_of({5, 2}, index_input({4, 2}, -5, 5), {4, 2}, attrs(0, "max")),
               scatter_of({5, 2}, index_input({4, 1}, 0, 5), {4, 1}, attrs(0, "min")),
               scatter_of({3, 2}, index_input({0, 2}, 0, 1), {0, 2}, attrs(0, "add")),
               scatter_of({3, 3}, index_input({3, 2}, 0, 3), {3, 2}, attrs(1, "add"), DType::i64),
               scatter_of({4}, fixed_index({2}, {1, 2}), {2}, attrs(0, "none"), DType::boolean)};
  // Two zeros meet in one product, one alone in another.
  c.samples.push_back(scatter_of({3}, fixed_index({4}, {0, 0, 1, 2}), {4}, attrs(0, "mul")));
  c.errors = {scatter_of({3, 4}, index_input({3, 2}, 0, 1), {3, 3}, attrs(1, "none")),
              scatter_of({3, 4}, index_input({4, 2}, 0, 1), {4, 2}, attrs(1, "none")),
              scatter_of({3, 4}, index_input({3, 2}, 0, 1), {3, 2}, attrs(2, "none")),
              scatter_of({3, 4}, index_input({3, 2}, 0, 1), {3, 2}, attrs(1, "sum")),
              scatter_of({3}, index_input({3}, 0, 1), {3}, attrs(0, "add"))};
  c.errors.back().inputs[2].dtype = DType::i64;
  return c;
}

OpCase gather_nd_case() {
  const auto of = [](Dims x, Dims index, double n, std::int64_t batch = 0, DType t = DType::f64) {
    return OpSample{{{.dtype = t, .dims = std::move(x), .lo = 0}, index_input(std::move(index), -n, n)},
                    {{"batch_dims", batch}}};
  };
  OpCase c{.op = "gather_nd", .reference = gather_nd};
  c.samples = {of({5}, {3, 1}, 5),
               of({3, 4}, {5, 2}, 3),
               of({3, 4, 5}, {2, 3, 1}, 3),
               of({3, 4, 5}, {7, 2}, 3),
               of({3, 4, 5}, {3, 2, 1}, 4, 1),
               of({2, 3, 4, 5}, {2, 3, 2, 1}, 4, 2),
               of({2, 3}, {2}, 2),
               of({3, 4}, {2, 0}, 1),
               of({4, 0}, {3, 1}, 4),
               of({2, 3}, {2, 1}, 3, 1),
               of({5, 3}, {2, 1}, 5, 0, DType::i64)};
  c.errors = {of({3, 4}, {5, 3}, 1), of({3}, {}, 1),           of({3, 4}, {2, 1}, 1, 1),
              of({3}, {3}, 1, 1),    of({3, 4}, {3, 2}, 1, 1), of({3}, {3, 1}, 1, -1)};
  return c;
}

OpCase scatter_nd_case() {
  const auto attrs = [](const char* reduction, std::int64_t batch = 0) {
    return Attrs{{"batch_dims", batch}, {"reduction", std::string(reduction)}};
  };
  OpCase c{.op = "scatter_nd", .reference = scatter_nd, .has_kinks = true, .reduction = 4};
  c.samples = {scatter_of({7}, fixed_index({3, 1}, {6, -7, 3}), {3}, attrs("none")),
               scatter_of({3, 4, 5}, fixed_index({2, 2}, {0, 3, 2, -4}), {2, 5}, attrs("none")),
               scatter_of({3, 4}, fixed_index({2, 1}, {2, 0}), {2, 4}, attrs("none")),
               scatter_of({3, 4}, index_input({6, 1}, -3, 3), {6, 4}, attrs("add")),
               scatter_of({3, 4, 2}, index_input({3, 5, 1}, 0, 4), {3, 5, 2}, attrs("add", 1)),
               scatter_of({3, 2}, index_input({4, 1}, 0, 3), {4, 2}, attrs("mul")),
               scatter_of({4, 3}, index_input({5, 1}, 0, 4), {5, 3}, attrs("max")),
               scatter_of({4, 3}, index_input({5, 2}, 0, 3), {5}, attrs("min")),
               scatter_of({4, 3}, index_input({0, 1}, 0, 1), {0, 3}, attrs("none")),
               scatter_of({2, 2}, index_input({3, 2}, 0, 2), {3}, attrs("mul"), DType::i64),
               scatter_of({3}, fixed_index({1}, {1}), {}, attrs("none"), DType::boolean)};
  c.errors = {scatter_of({3, 4}, index_input({2, 1}, 0, 1), {2, 3}, attrs("none")),
              scatter_of({3, 4}, index_input({2, 3}, 0, 1), {2}, attrs("none")),
              scatter_of({3, 4}, index_input({2, 1}, 0, 1), {2, 4}, attrs("avg")),
              scatter_of({3, 4}, index_input({}, 0, 1), {2, 4}, attrs("none")),
              scatter_of({3, 4}, index_input({2, 1}, 0, 1), {2, 4}, attrs("none"))};
  c.errors.back().inputs[1].dtype = DType::i32;
  return c;
}

}  // namespace

void add_index_element_cases(std::vector<OpCase>& cases) {
  for (const auto make_case : {gather_elements_case, scatter_elements_case, gather_nd_case, scatter_nd_case}) {
    cases.push_back(make_case());
  }
}

}  // namespace onnxray::testing
