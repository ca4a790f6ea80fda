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

}  // namespace

void add_index_cases(std::vector<OpCase>& cases) {
  cases.push_back(gather_case());
  cases.push_back(index_add_case());
}

}  // namespace onnxray::testing
