#include "tests/ops/reference/walk.h"

namespace onnxray::testing {
namespace {

SampleInput index_input(Dims dims, double lo, double hi) {
  return {.dtype = DType::i64, .dims = std::move(dims), .lo = lo, .hi = hi, .constant = true};
}

// [pre, extent, post] around `axis` of x, and index j of `count`.
std::vector<Array> gather(const std::vector<Array>& in, const Attrs& a) {
  const auto axis = a.integer("axis", 0);
  const Array &x = in[0], &index = in[1];
  Dims out(x.dims.begin(), x.dims.begin() + axis);
  out.insert(out.end(), index.dims.begin(), index.dims.end());
  out.insert(out.end(), x.dims.begin() + axis + 1, x.dims.end());
  const auto rank = static_cast<std::ptrdiff_t>(index.dims.size());
  return {make(out, [&](const Dims& i) {
    const auto j = get(index, Dims(i.begin() + axis, i.begin() + axis + rank));
    Dims from(i.begin(), i.begin() + axis);
    from.push_back(wrap(j, x.dims[static_cast<std::size_t>(axis)]));
    from.insert(from.end(), i.begin() + axis + rank, i.end());
    return get(x, from);
  })};
}

std::vector<Array> index_add(const std::vector<Array>& in, const Attrs& a) {
  const auto axis = a.integer("axis", 0), extent = a.integer("extent", 0);
  const Array &dy = in[0], &index = in[1];
  const auto rank = static_cast<std::ptrdiff_t>(index.dims.size());
  Dims dims(dy.dims.begin(), dy.dims.begin() + axis);
  dims.push_back(extent);
  dims.insert(dims.end(), dy.dims.begin() + axis + rank, dy.dims.end());
  Array out = make(dims, [](const Dims&) { return 0.0; });
  walk(dy.dims, [&](const Dims& i) {
    const auto j = get(index, Dims(i.begin() + axis, i.begin() + axis + rank));
    Dims to(i.begin(), i.begin() + axis);
    to.push_back(wrap(j, extent));
    to.insert(to.end(), i.begin() + axis + rank, i.end());
    out.v[flat(dims, to)] += get(dy, i);
  });
  return {out};
}

OpCase gather_case() {
  const auto of = [](Dims x, Dims index, std::int64_t axis, double lo, double hi, DType t = DType::f64) {
    return OpSample{{{.dtype = t, .dims = std::move(x), .lo = 0}, index_input(std::move(index), lo, hi)},
                    {{"axis", axis}}};
  };
  OpCase c{.op = "gather", .reference = gather};
  c.samples = {of({7, 3}, {5}, 0, 0, 7),
               of({7, 3}, {2, 3}, 0, -7, 7),
               of({3, 5, 7}, {4}, 1, -5, 5),
               of({3, 5, 7}, {}, 2, 0, 7),
               of({3, 5}, {1, 33}, 1, 0, 5),
               of({9}, {}, 0, -9, 0),
               of({0, 3}, {0}, 0, 0, 1),
               of({4, 0}, {2}, 0, 0, 4),
               of({1, 4, 3}, {2}, 0, 0, 1),
               of({5, 3}, {3, 1}, 0, 0, 5, DType::i64),
               of({5, 3}, {2}, 1, 0, 3, DType::boolean)};
  c.errors = {of({3}, {2}, 1, 0, 1), of({3}, {2}, -1, 0, 1), of({}, {2}, 0, 0, 1), of({3}, {2}, 0, 0, 1)};
  c.errors.back().inputs[1].dtype = DType::i32;
  return c;
}

OpCase index_add_case() {
  const auto of = [](Dims dy, Dims index, std::int64_t axis, std::int64_t extent, DType t = DType::f64) {
    const auto n = static_cast<double>(extent);
    return OpSample{{{.dtype = t, .dims = std::move(dy)}, index_input(std::move(index), -n, n)},
                    {{"axis", axis}, {"extent", extent}}};
  };
  OpCase c{.op = "index_add", .reference = index_add, .reduction = 16};
  c.samples = {of({5, 3}, {5}, 0, 7),       of({2, 3, 4}, {2, 3}, 0, 3),
               of({3, 4, 7}, {4}, 1, 5),    of({3, 5}, {}, 2, 4),
               of({2, 33}, {33}, 1, 2),     of({}, {}, 0, 3),
               of({0, 3}, {0}, 0, 2),       of({2, 0}, {2}, 0, 4),
               of({3, 2, 1500}, {2}, 1, 1), of({6, 2}, {6}, 0, 3, DType::i64)};
  c.errors = {of({5, 3}, {4}, 0, 7), of({5, 3}, {5}, 1, 7), of({5}, {5, 3}, 0, 7),
              of({5}, {5}, 0, -1),   of({5}, {5}, -1, 3),   of({5}, {5}, 0, std::int64_t{1} << 60)};
  c.errors[3].inputs[1].hi = 1;
  return c;
}

std::vector<Array> top_k(const std::vector<Array>& in, const Attrs& a) {
  const auto axis = static_cast<std::size_t>(a.integer("axis", 0));
  const bool largest = a.integer("largest", 1) != 0;
  Dims out = in[0].dims;
  const std::int64_t n = out[axis];
  out[axis] = a.integer("k", 1);
  // The element of rank r is the one that r others precede.
  const Array indices = make(out, [&](const Dims& i) {
    const auto at = [&](std::int64_t j) {
      Dims from = i;
      from[axis] = j;
      return get(in[0], from);
    };
    const auto precedes = [&](std::int64_t p, std::int64_t q) {
      if (at(p) == at(q)) return p < q;
      return largest ? at(p) > at(q) : at(p) < at(q);
    };
    for (std::int64_t j = 0; j < n; ++j) {
      std::int64_t before = 0;
      for (std::int64_t q = 0; q < n; ++q) before += q != j && precedes(q, j);
      if (before == i[axis]) return static_cast<double>(j);
    }
    return -1.0;
  });
  const Array values = make(out, [&](const Dims& i) {
    Dims from = i;
    from[axis] = static_cast<std::int64_t>(get(indices, i));
    return get(in[0], from);
  });
  return {values, indices};
}

OpCase top_k_case() {
  const auto of = [](Dims x, std::int64_t axis, std::int64_t k, std::int64_t largest = 1, DType t = DType::f64) {
    return OpSample{
        {{.dtype = t, .dims = std::move(x), .lo = t == DType::boolean || t == DType::u8 ? 0.0 : -3.0, .hi = 3}},
        {{"axis", axis}, {"k", k}, {"largest", largest}, {"sorted", std::int64_t{1}}}};
  };
  OpCase c{.op = "top_k", .reference = top_k, .has_kinks = true};
  c.samples = {of({7}, 0, 3),
               of({3, 9}, 1, 4),
               of({5, 3}, 0, 2, 0),
               of({2, 7, 3}, 1, 7),
               of({4, 0}, 0, 2),
               of({3, 5}, 1, 0),
               of({1}, 0, 1),
               of({0}, 0, 0),
               of({33, 2}, 0, 5, 1, DType::i64),
               of({2, 9}, 1, 9, 0, DType::i32),
               of({5, 4}, 0, 3, 0, DType::boolean)};
  c.errors = {of({3}, 0, 4), of({3}, 1, 1), of({3}, 0, -1), of({}, 0, 1), of({3}, -1, 1)};
  return c;
}

std::vector<Array> resample(const std::vector<Array>& in, const Attrs& a) {
  const auto axis = static_cast<std::size_t>(a.integer("axis", 0));
  const auto offsets = a.tensor("offsets").to_ints(), index = a.tensor("index").to_ints();
  const auto weight = a.tensor("weight").to_doubles();
  Dims out = in[0].dims;
  out[axis] = static_cast<std::int64_t>(offsets.size()) - 1;
  return {make(out, [&](const Dims& i) {
    double sum = 0;
    const auto o = static_cast<std::size_t>(i[axis]);
    for (auto j = static_cast<std::size_t>(offsets[o]); j < static_cast<std::size_t>(offsets[o + 1]); ++j) {
      Dims from = i;
      from[axis] = index[j];
      sum += weight[j] * get(in[0], from);
    }
    return sum;
  })};
}

OpCase resample_case() {
  using Ints = std::vector<std::int64_t>;
  const auto of = [](Dims x, std::int64_t axis, const Ints& offsets, const Ints& index,
                     const std::vector<double>& weight) {
    return OpSample{{{.dims = std::move(x)}},
                    {{"axis", axis},
                     {"offsets", Tensor::ints(offsets)},
                     {"index", Tensor::ints(index)},
                     {"weight", Tensor::from<double>({static_cast<std::int64_t>(weight.size())}, weight)}}};
  };
  OpCase c{.op = "resample", .reference = resample, .reduction = 4};
  c.samples = {of({3}, 0, {0, 1, 3, 5, 6}, {0, 0, 1, 1, 2, 2}, {1, 0.25, 0.75, 0.5, 0.5, 1}),
               of({2, 5, 3}, 1, {0, 2, 4}, {0, 4, 1, 1}, {0.5, -0.5, 2, 1}),
               of({3, 7}, 1, {0, 1, 1, 2}, {6, 3}, {1, -1}),
               of({5, 33}, 0, {0, 3, 3}, {4, 0, 2}, {0.1, 0.2, 0.7}),
               of({1, 1}, 0, {0, 1, 2, 3}, {0, 0, 0}, {1, 0, 1}),
               of({0, 3}, 1, {0, 1}, {2}, {1}),
               of({4, 2}, 0, {0}, {}, {}),
               of({3, 1, 4}, 2, {0, 4, 5}, {0, 1, 2, 3, 3}, {0.25, 0.25, 0.25, 0.25, 1})};
  c.errors = {of({3}, 1, {0, 1}, {0}, {1}),    of({3}, 0, {0, 1}, {3}, {1}), of({3}, 0, {0, 1}, {-1}, {1}),
              of({3}, 0, {0, 2, 1}, {0}, {1}), of({3}, 0, {0, 2}, {0}, {1}), of({3}, 0, {1, 1}, {0}, {1}),
              of({3}, 0, {0, 1}, {0}, {1, 1}), of({3}, 0, {}, {}, {}),       of({3}, 0, {0, 1}, {0}, {1})};
  c.errors.back().inputs[0].dtype = DType::i64;
  return c;
}

}  // namespace

void add_index_element_cases(std::vector<OpCase>& cases);

void add_index_cases(std::vector<OpCase>& cases) {
  cases.push_back(gather_case());
  cases.push_back(index_add_case());
  cases.push_back(top_k_case());
  cases.push_back(resample_case());
  add_index_element_cases(cases);
}

}  // namespace onnxray::testing
