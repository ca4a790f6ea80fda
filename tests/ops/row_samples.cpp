// Row ops: a value with row map (axis, inner) is [outer, rows * inner, rest].
#include "tests/ops/reference/walk.h"

namespace onnxray::testing {
namespace {

using Ints = std::vector<std::int64_t>;

SampleInput index_input(std::int64_t n, double rows) {
  return {.dtype = DType::i64, .dims = {n}, .lo = 0, .hi = rows, .constant = true};
}

// Row r, offset o within the row <-> position along the axis.
struct Rows {
  std::size_t axis;
  std::int64_t inner;
  explicit Rows(const Attrs& a) : axis(static_cast<std::size_t>(a.integer("axis", 0))), inner(a.integer("inner", 1)) {}
  [[nodiscard]] std::int64_t row(const Dims& i) const { return i[axis] / inner; }
  [[nodiscard]] Dims at(Dims i, std::int64_t row) const {
    i[axis] = row * inner + i[axis] % inner;
    return i;
  }
};

std::vector<Array> gather_rows(const std::vector<Array>& in, const Attrs& a) {
  const Rows r(a);
  Dims out = in[0].dims;
  out[r.axis] = in[1].dims[0] * r.inner;
  return {make(out, [&](const Dims& i) {
    return get(in[0], r.at(i, static_cast<std::int64_t>(in[1].v[static_cast<std::size_t>(r.row(i))])));
  })};
}

std::vector<Array> scatter_rows(const std::vector<Array>& in, const Attrs& a) {
  const Rows r(a);
  Dims dims = in[0].dims;
  dims[r.axis] = a.integer("rows", 0) * r.inner;
  Array out = make(dims, [](const Dims&) { return 0.0; });
  walk(in[0].dims, [&](const Dims& i) {
    const auto to = static_cast<std::int64_t>(in[1].v[static_cast<std::size_t>(r.row(i))]);
    out.v[flat(dims, r.at(i, to))] += get(in[0], i);
  });
  return {out};
}

std::vector<Array> repeat_rows(const std::vector<Array>& in, const Attrs& a) {
  const auto axis = static_cast<std::size_t>(a.integer("axis", 0));
  Dims out = in[0].dims;
  out[axis] *= a.integer("count", 1);
  return {make(out, [&](Dims i) {
    i[axis] %= in[0].dims[axis];
    return get(in[0], i);
  })};
}

// Inputs: state [E, ...], x [R, ...], weight [R], index [R].
std::vector<Array> fold_rows(const std::vector<Array>& in, const Attrs&) {
  Array state = in[0];
  walk(in[1].dims, [&](const Dims& i) {
    const auto row = static_cast<std::size_t>(i[0]);
    Dims to = i;
    to[0] = static_cast<std::int64_t>(in[3].v[row]);
    state.v[flat(state.dims, to)] += in[2].v[row] * get(in[1], i);
  });
  return {state};
}

Attrs rows_at(std::int64_t axis, std::int64_t inner) { return {{"axis", axis}, {"inner", inner}}; }

OpCase gather_rows_case() {
  const auto of = [](Dims x, std::int64_t axis, std::int64_t inner, std::int64_t n, DType t = DType::f64) {
    const auto a = static_cast<std::size_t>(axis);
    const double rows = inner > 0 && a < x.size() ? static_cast<double>(x[a] / inner) : 1;
    return OpSample{{{.dtype = t, .dims = x, .lo = 0}, index_input(n, rows)}, rows_at(axis, inner)};
  };
  OpCase c{.op = "gather_rows", .reference = gather_rows};
  c.samples = {of({3, 5}, 0, 1, 7),
               of({6, 2}, 0, 2, 4),
               of({2, 9, 3}, 1, 3, 5),
               of({4}, 0, 1, 1),
               of({3, 33}, 0, 1, 0),
               of({5, 0}, 0, 1, 3),
               of({3, 4}, 1, 4, 3),
               of({3, 7}, 0, 1, 2, DType::i64),
               of({2, 3}, 0, 1, 5, DType::boolean)};
  c.errors = {of({3, 5}, 2, 1, 2), of({3, 5}, 0, 2, 2), of({3, 5}, 0, 0, 2), of({3}, -1, 1, 2), of({3}, 0, 1, 2)};
  c.errors.back().inputs[1].dims = {2, 1};
  return c;
}

OpCase scatter_rows_case() {
  const auto of = [](Dims x, std::int64_t axis, std::int64_t inner, std::int64_t n, std::int64_t rows) {
    Attrs attrs = rows_at(axis, inner);
    attrs.set("rows", rows);
    return OpSample{{{.dims = std::move(x)}, index_input(n, static_cast<double>(rows))}, attrs};
  };
  OpCase c{.op = "scatter_rows", .reference = scatter_rows, .reduction = 8};
  c.samples = {of({7, 5}, 0, 1, 7, 3), of({8, 2}, 0, 2, 4, 3),   of({2, 9, 3}, 1, 3, 3, 5), of({1}, 0, 1, 1, 4),
               of({0, 3}, 0, 1, 0, 2), of({33, 3}, 0, 1, 33, 1), of({5, 0}, 0, 1, 5, 2)};
  c.errors = {of({7, 5}, 0, 1, 6, 3), of({7, 5}, 2, 1, 7, 3), of({7, 5}, 0, 2, 3, 3), of({3}, 0, 1, 3, -1)};
  c.errors.back().inputs[1].hi = 1;
  return c;
}

OpCase repeat_rows_case() {
  const auto of = [](Dims x, std::int64_t axis, std::int64_t inner, std::int64_t count, DType t = DType::f64) {
    Attrs attrs = rows_at(axis, inner);
    attrs.set("count", count);
    return OpSample{{{.dtype = t, .dims = std::move(x), .lo = 0}}, attrs};
  };
  OpCase c{.op = "repeat_rows", .reference = repeat_rows};
  c.samples = {of({1, 5}, 0, 1, 3), of({4, 2}, 0, 4, 2), of({3, 1, 2}, 1, 1, 33),        of({2, 3, 1}, 1, 3, 1),
               of({1}, 0, 1, 7),    of({1, 0}, 0, 1, 3), of({2, 1}, 1, 1, 3, DType::i64)};
  c.errors = {of({1, 5}, 2, 1, 3), of({3, 5}, 0, 2, 3), of({1}, 0, 1, -1)};
  return c;
}

OpCase fold_rows_case() {
  const auto of = [](Dims state, Dims x, DType state_type = DType::f64) {
    const std::int64_t rows = x.empty() ? 0 : x[0];
    const double examples = state.empty() ? 1 : static_cast<double>(state[0]);
    return OpSample{{{.dtype = state_type, .dims = std::move(state), .keep_dtype = true},
                     {.dims = std::move(x)},
                     {.dims = {rows}, .keep_dtype = true},
                     index_input(rows, examples)},
                    {}};
  };
  OpCase c{.op = "fold_rows", .reference = fold_rows, .reduction = 8};
  c.samples = {of({3, 5}, {7, 5}), of({1}, {4}),       of({2, 3, 4}, {1, 3, 4}), of({4, 33}, {2, 33}),
               of({2, 3}, {0, 3}), of({2, 0}, {3, 0}), of({1, 9}, {33, 9})};
  c.samples[3].inputs[2].fixed = Tensor::from<double>({2}, {0.0, 1.5});
  c.errors = {of({3, 5}, {7, 4}), of({}, {7}), of({3, 5}, {}), of({3}, {7})};
  c.errors.back().inputs[2].dtype = DType::i64;
  return c;
}

}  // namespace

void add_row_cases(std::vector<OpCase>& cases) {
  for (const auto make_case : {gather_rows_case, scatter_rows_case, repeat_rows_case, fold_rows_case}) {
    cases.push_back(make_case());
  }
}

}  // namespace onnxray::testing
