#include <limits>

#include "tests/ops/reference/walk.h"

namespace onnxray::testing {
namespace {

using Ints = std::vector<std::int64_t>;

OpSample of(Dims dims, Attrs attrs, DType dtype = DType::f64) {
  const double lo = dtype == DType::boolean || dtype == DType::u8 ? 0 : -2;
  return {{{.dtype = dtype, .dims = std::move(dims), .lo = lo, .hi = 2}}, std::move(attrs)};
}

std::vector<Array> reshape(const std::vector<Array>& in, const Attrs& a) { return {{a.ints("shape"), in[0].v}}; }

std::vector<Array> transpose(const std::vector<Array>& in, const Attrs& a) {
  const Ints perm = a.ints("perm");
  Dims out;
  for (const auto p : perm) out.push_back(in[0].dims[static_cast<std::size_t>(p)]);
  return {make(out, [&](const Dims& i) {
    Dims from(i.size());
    for (std::size_t k = 0; k < i.size(); ++k) from[static_cast<std::size_t>(perm[k])] = i[k];
    return get(in[0], from);
  })};
}

std::vector<Array> expand(const std::vector<Array>& in, const Attrs& a) {
  const Dims& d = in[0].dims;
  return {make(a.ints("shape"), [&](const Dims& i) {
    Dims from(d.size());
    for (std::size_t k = 0; k < d.size(); ++k) from[k] = d[k] == 1 ? 0 : i[k + i.size() - d.size()];
    return get(in[0], from);
  })};
}

std::vector<Array> slice(const std::vector<Array>& in, const Attrs& a) {
  const Ints starts = a.ints("starts"), steps = a.ints("steps");
  return {make(a.ints("sizes"), [&](const Dims& i) {
    Dims from = i;
    for (std::size_t k = 0; k < i.size(); ++k) from[k] = starts[k] + i[k] * steps[k];
    return get(in[0], from);
  })};
}

std::vector<Array> unslice(const std::vector<Array>& in, const Attrs& a) {
  const Ints starts = a.ints("starts"), steps = a.ints("steps");
  Array out = make(a.ints("shape"), [](const Dims&) { return 0.0; });
  walk(in[0].dims, [&](const Dims& i) {
    Dims to = i;
    for (std::size_t k = 0; k < i.size(); ++k) to[k] = starts[k] + i[k] * steps[k];
    out.v[flat(out.dims, to)] = get(in[0], i);
  });
  return {out};
}

std::vector<Array> pad(const std::vector<Array>& in, const Attrs& a) {
  const Ints begins = a.ints("begins"), ends = a.ints("ends");
  Dims out = in[0].dims;
  for (std::size_t k = 0; k < out.size(); ++k) out[k] += begins[k] + ends[k];
  return {make(out, [&](const Dims& i) {
    Dims from = i;
    for (std::size_t k = 0; k < i.size(); ++k) {
      from[k] -= begins[k];
      if (from[k] < 0 || from[k] >= in[0].dims[k]) return a.real("value", 0);
    }
    return get(in[0], from);
  })};
}

std::vector<Array> concat(const std::vector<Array>& in, const Attrs& a) {
  const auto axis = static_cast<std::size_t>(a.integer("axis", 0));
  Dims out = in[0].dims;
  out[axis] = 0;
  for (const Array& x : in) out[axis] += x.dims[axis];
  return {make(out, [&](const Dims& i) {
    Dims from = i;
    std::size_t k = 0;
    while (from[axis] >= in[k].dims[axis]) from[axis] -= in[k++].dims[axis];
    return get(in[k], from);
  })};
}

OpSample concat_of(const std::vector<Dims>& dims, std::int64_t axis, DType dtype = DType::f64) {
  OpSample s{{}, {{"axis", axis}}};
  for (const Dims& d : dims) s.inputs.push_back({.dtype = dtype, .dims = d, .lo = 0});
  return s;
}

OpCase reshape_case() {
  const auto to = [](Dims from, Dims shape, DType t = DType::f64) {
    return of(std::move(from), {{"shape", shape}}, t);
  };
  OpCase c{.op = "reshape", .reference = reshape};
  c.samples = {to({1, 12}, {1, 3, 4}),
               to({5, 1, 6}, {5, 1, 2, 3}),
               to({5, 1, 6}, {5, 6}),
               to({1, 4, 3, 2, 3, 5}, {8, 9, 5}),  // not windows (no transpose before), but the same memory
               to({8, 9, 5}, {1, 4, 2, 3, 3, 5}),
               to({4, 1, 5}, {20}),
               to({1, 7}, {7}),
               to({}, {1, 1}),
               to({1}, {}),
               to({0, 3}, {5, 0, 2}),
               to({2, 3}, {6}, DType::boolean),
               to({33, 3}, {3, 33}, DType::i64)};
  c.samples.push_back(of({1, 1, 6}, {{"shape", Ints{1, 1, 2, 3}}, {"keeps", Ints{0, 1, -1, -1}}}));
  c.samples.push_back(of({3, 5}, {{"shape", Ints{1, 3, 5}}, {"keeps", Ints{-1, 0, 1}}}));
  c.errors = {to({2, 3}, {7}), to({2, 3}, {-1, 6}), to({2, 3}, {std::int64_t{1} << 40, std::int64_t{1} << 40}),
              of({2}, {{"shape", Ints{2, 1}}, {"keeps", Ints{0}}})};
  return c;
}

OpCase transpose_case() {
  const auto by = [](Dims from, Ints perm, DType t = DType::f64) { return of(std::move(from), {{"perm", perm}}, t); };
  OpCase c{.op = "transpose", .reference = transpose};
  c.samples = {by({3, 5, 7, 9}, {0, 2, 3, 1}),
               by({2, 7, 9, 3}, {0, 3, 1, 2}),
               by({1, 33, 65}, {0, 2, 1}),
               by({2, 3, 4, 5}, {0, 2, 1, 3}),
               by({2, 3, 4, 5}, {3, 2, 1, 0}),
               by({2, 1, 3, 2, 3, 2}, {0, 1, 3, 2, 4, 5}),
               by({}, {}),
               by({0, 3}, {1, 0}),
               by({37, 70}, {1, 0}, DType::i64),
               by({5, 6, 7}, {2, 0, 1}, DType::boolean),
               by({3, 40, 5}, {1, 0, 2}),
               by({6}, {0}),
               by({4, 3, 2}, {1, 2, 0}, DType::i32)};
  c.errors = {by({2, 3}, {0}), by({2, 3}, {0, 0}), by({2, 3}, {0, 2}), by({2, 3}, {-1, 0})};
  return c;
}

OpCase expand_case() {
  const auto to = [](Dims from, Dims shape, DType t = DType::f64) {
    return of(std::move(from), {{"shape", shape}}, t);
  };
  OpCase c{.op = "expand", .reference = expand};
  c.samples = {to({1, 3}, {5, 3}),
               to({3, 1}, {2, 3, 4}),
               to({}, {3, 5}),
               to({1, 1, 7}, {2, 9, 7}),
               to({2, 3}, {2, 3}),
               to({1}, {0}),
               to({0, 1}, {0, 4}),
               to({5, 1, 3, 1}, {5, 4, 3, 2}),
               to({1, 6}, {3, 6}, DType::i64),
               to({4, 1}, {4, 33}, DType::boolean)};
  c.errors = {to({2, 3}, {3}), to({2}, {3}), to({2, 3}, {2, -3}),
              to({1}, {std::int64_t{1} << 40, std::int64_t{1} << 40})};
  return c;
}

Attrs cut(Ints starts, Ints sizes, Ints steps, const char* last = "sizes") {
  return {{"starts", std::move(starts)}, {last, std::move(sizes)}, {"steps", std::move(steps)}};
}

OpCase slice_case() {
  OpCase c{.op = "slice", .reference = slice};
  c.samples = {of({7}, cut({1}, {3}, {2})),
               of({7}, cut({6}, {7}, {-1})),
               of({5, 9}, cut({0, 8}, {5, 3}, {1, -3})),
               of({3, 5, 7}, cut({0, 1, 0}, {3, 3, 7}, {1, 1, 1})),
               of({3, 5, 7}, cut({1, 0, 2}, {1, 5, 4}, {1, 1, 1})),
               of({}, cut({}, {}, {})),
               of({4}, cut({9}, {0}, {1})),
               of({0, 3}, cut({0, 1}, {0, 2}, {1, 1})),
               of({1, 6}, cut({0, 2}, {1, 1}, {-1, 5})),
               of({33, 3}, cut({32, 0}, {17, 3}, {-2, 1}), DType::i64),
               of({5, 4}, cut({1, 0}, {2, 2}, {2, 3}), DType::boolean)};
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  c.samples.push_back(of({5}, cut({2}, {1}, {kMin})));
  c.errors = {of({5}, cut({0}, {6}, {1})),    of({5}, cut({-1}, {1}, {1})),   of({5}, cut({5}, {1}, {1})),
              of({5}, cut({0}, {2}, {-1})),   of({5}, cut({0}, {2}, {5})),    of({5}, cut({0}, {2}, {0})),
              of({5}, cut({0}, {-1}, {1})),   of({5}, cut({0}, {2}, {kMax})), of({5}, cut({4}, {2}, {kMin})),
              of({5, 2}, cut({0}, {1}, {1})), of({5}, cut({kMax}, {1}, {1})), of({5}, cut({0}, {kMax}, {1}))};
  return c;
}

OpCase unslice_case() {
  const auto into = [](Ints starts, Ints shape, Ints steps) { return cut(starts, shape, steps, "shape"); };
  OpCase c{.op = "unslice", .reference = unslice};
  c.samples = {of({3}, into({1}, {7}, {2})),
               of({7}, into({6}, {7}, {-1})),
               of({5, 3}, into({0, 8}, {5, 9}, {1, -3})),
               of({3, 3, 7}, into({0, 1, 0}, {3, 5, 7}, {1, 1, 1})),
               of({}, into({}, {}, {})),
               of({0, 2}, into({0, 0}, {3, 2}, {1, 1})),
               of({1, 2}, into({3, 0}, {4, 33}, {-9, 32})),
               of({2, 3}, into({0, 1}, {4, 5}, {2, 1}), DType::i64)};
  c.errors = {of({6}, into({0}, {5}, {1})), of({2}, into({4}, {5}, {1})), of({2}, into({0, 0}, {5, 5}, {1, 1})),
              of({2}, into({0}, {-5}, {1}))};
  return c;
}

OpCase pad_case() {
  const auto by = [](Ints begins, Ints ends, double value = 0) {
    return Attrs{{"begins", std::move(begins)}, {"ends", std::move(ends)}, {"value", value}};
  };
  OpCase c{.op = "pad", .reference = pad};
  c.samples = {of({3}, by({1}, {2})),
               of({3, 5}, by({0, 2}, {0, 1}, -1.5)),
               of({2, 3, 5, 7}, by({0, 0, 1, 1}, {0, 0, 1, 2})),
               of({2, 3}, by({0, 0}, {0, 0}, 3)),
               of({}, by({}, {}, 1)),
               of({0, 2}, by({1, 0}, {1, 33}, 7)),
               of({2, 3}, by({0, 4}, {5, 0}, 2.5)),
               of({3, 4}, by({1, 0}, {0, 1}, -3), DType::i64),
               of({3, 4}, by({0, 1}, {0, 1}, 1), DType::boolean)};
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  c.errors = {of({3}, by({-1}, {2})), of({3}, by({1}, {-2})), of({3}, by({1, 0}, {0, 1})), of({3}, by({kMax}, {kMax})),
              of({3}, by({1}, {}))};
  return c;
}

OpCase concat_case() {
  OpCase c{.op = "concat", .reference = concat};
  c.samples = {concat_of({{3}, {5}}, 0),
               concat_of({{2, 3}, {2, 1}, {2, 7}}, 1),
               concat_of({{3, 1, 5}, {3, 9, 5}}, 1),
               concat_of({{2, 3}}, 0),
               concat_of({{0, 3}, {4, 3}}, 0),
               concat_of({{2, 0}, {2, 0}}, 1),
               concat_of({{5, 2, 3}, {5, 2, 3}, {5, 2, 3}, {5, 2, 3}}, 2),
               concat_of({{1, 4, 2}, {1, 33, 2}}, 1, DType::i64),
               concat_of({{3, 1}, {3, 1}}, 1, DType::boolean)};
  c.errors = {concat_of({{2, 3}, {3, 3}}, 1), concat_of({{2, 3}, {2}}, 0), concat_of({{2, 3}}, 2),
              concat_of({{2, 3}}, -1),        concat_of({{}, {}}, 0),      concat_of({}, 0)};
  c.errors.push_back(concat_of({{2}, {2}}, 0));
  c.errors.back().inputs[1].dtype = DType::i64;
  return c;
}

}  // namespace

void add_layout_cases(std::vector<OpCase>& cases) {
  for (const auto make_case :
       {reshape_case, transpose_case, expand_case, slice_case, unslice_case, pad_case, concat_case}) {
    cases.push_back(make_case());
  }
}

}  // namespace onnxray::testing
