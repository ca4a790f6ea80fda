#include "tests/ops/reference/mask_bits.h"

namespace onnxray::testing {
namespace {

std::vector<Array> matmul(const std::vector<Array>& in, const Attrs& attrs) {
  const bool ta = attrs.integer("trans_a", 0) != 0, tb = attrs.integer("trans_b", 0) != 0;
  const Dims &a = in[0].dims, &b = in[1].dims;
  const std::int64_t m = a[a.size() - (ta ? 1 : 2)], k = a[a.size() - (ta ? 2 : 1)], n = b[b.size() - (tb ? 2 : 1)];
  const Dims batch = broadcast(Dims(a.begin(), a.end() - 2), Dims(b.begin(), b.end() - 2));
  Array y{batch, {}};
  y.dims.push_back(m);
  y.dims.push_back(n);
  const auto start = [&](const Dims& d, std::int64_t flat) {
    std::int64_t at = 0, step = d[d.size() - 1] * d[d.size() - 2];
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const std::size_t axis = batch.size() - 1 - i;
      const std::int64_t index = flat % batch[axis];
      flat /= batch[axis];
      if (i + 2 >= d.size()) continue;
      const std::int64_t extent = d[d.size() - 3 - i];
      if (extent != 1) at += index * step;
      step *= extent;
    }
    return at;
  };
  const std::int64_t batches = count_of(batch);
  for (std::int64_t p = 0; p < batches; ++p)
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j) {
        double s = 0;
        for (std::int64_t q = 0; q < k; ++q) {
          s += in[0].v[static_cast<std::size_t>(start(a, p) + (ta ? q * m + i : i * k + q))] *
               in[1].v[static_cast<std::size_t>(start(b, p) + (tb ? j * k + q : q * n + j))];
        }
        if (in.size() > 2 && !in[2].v.empty()) s += in[2].v[static_cast<std::size_t>(j)];
        if (attrs.has("sum_input")) s += in[3].v[y.v.size()];
        if (attrs.integer("relu", 0) != 0 && s < 0) s = 0;
        y.v.push_back(s);
      }
  return with_mask(y, attrs);
}

SampleInput of(Dims d) { return {.dims = std::move(d)}; }
SampleInput constant(Dims d) { return {.dims = std::move(d), .constant = true}; }
SampleInput whole(DType t, Dims d, double lo, double hi) {
  return {.dtype = t, .dims = std::move(d), .lo = lo, .hi = hi};
}

}  // namespace

void add_matmul_cases(std::vector<OpCase>& cases) {
  const Attrs ta{{"trans_a", std::int64_t{1}}}, tb{{"trans_b", std::int64_t{1}}};
  const Attrs both{{"trans_a", std::int64_t{1}}, {"trans_b", std::int64_t{1}}};
  OpCase c{.op = "matmul", .reference = matmul, .has_kinks = true, .reduction = 300};
  c.samples = {
      {{of({1, 1}), of({1, 1})}, {}},
      {{of({3, 7}), of({7, 5})}, {}},
      {{of({7, 3}), of({7, 5})}, ta},
      {{of({3, 7}), of({5, 7})}, tb},
      {{of({7, 3}), of({5, 7})}, both},
      {{of({2, 3, 4}), constant({4, 5}), constant({5})}, {}},
      {{of({2, 3, 4}), of({2, 4, 5})}, {}},
      {{of({2, 1, 3, 4}), of({5, 4, 3}), of({3})}, {}},
      {{of({3, 4}), of({2, 5, 4})}, tb},
      {{of({2, 2, 4, 3}), of({1, 2, 4, 2})}, ta},
      {{of({3, 2, 4, 3}), of({2, 5, 4})}, both},
      {{of({13, 300}), constant({300, 37}), constant({37})}, {}},
      {{of({150, 200}), constant({200, 72})}, {}},
      {{of({3, 50, 72}), constant({136, 72}), constant({136})},
       {{"trans_b", std::int64_t{1}}, {"relu", std::int64_t{1}}}},
      {{of({3, 0}), of({0, 2})}, {}},
      {{of({0, 3}), of({3, 2}), of({2})}, {}},
      {{of({0, 2, 3}), of({0, 3, 2})}, {}},
      {{of({4, 6}), constant({6, 5}), constant({5})}, {{"relu", std::int64_t{1}}}},
      {{of({2, 4, 6}), constant({5, 6}), {.absent = true}, of({2, 4, 5})},
       {{"trans_b", std::int64_t{1}}, {"sum_input", std::int64_t{3}}}},
      {{of({5, 7}), of({7, 32})}, {{"mask_output", std::int64_t{1}}}},
      {{of({2, 3, 4}), of({2, 4, 64}), of({64}), of({2, 3, 64})},
       {{"relu", std::int64_t{1}}, {"sum_input", std::int64_t{3}}, {"mask_output", std::int64_t{1}}}},
      {{of({0, 3}), of({3, 32})}, {{"mask_output", std::int64_t{1}}}},
      {{whole(DType::i32, {2, 3}, -9, 9), whole(DType::i32, {3, 4}, -9, 9)}, {}},
      {{whole(DType::i64, {2, 2, 3}, -9, 9), whole(DType::i64, {3, 1}, -9, 9), whole(DType::i64, {1}, -9, 9)}, {}},
      {{whole(DType::u8, {2, 3}, 0, 6), whole(DType::u8, {3, 4}, 0, 6)}, {}},
      {{whole(DType::i8, {3, 2}, -5, 6), whole(DType::i8, {4, 3}, -5, 6)}, both},
  };
  c.errors = {
      {{of({3}), of({3, 2})}, {}},
      {{of({3, 2}), of({3, 2})}, {}},
      {{of({3, 2}), of({3, 2})}, both},
      {{of({2, 3, 2}), of({3, 2, 4})}, {}},
      {{of({3, 2}), of({2, 4}), of({3})}, {}},
      {{of({3, 2}), of({2, 4}), of({1, 4})}, {}},
      {{of({3, 2}), whole(DType::i64, {2, 4}, 0, 2)}, {}},
      {{of({3, 2}), of({2, 4})}, {{"sum_input", std::int64_t{3}}}},
      {{of({3, 2})}, {}},
      {{of({3, 2}), of({2, 33})}, {{"mask_output", std::int64_t{1}}}},
      {{whole(DType::i32, {2, 3}, -9, 9), whole(DType::i32, {3, 32}, -9, 9)}, {{"mask_output", std::int64_t{1}}}},
  };
  cases.push_back(std::move(c));
}

}  // namespace onnxray::testing
