// TopK, OneHot, NonZero, Trilu, Compress, ReverseSequence.
#include <algorithm>

#include "onnx_import/convert_layout.h"

namespace onnxray::onnx_import {
namespace {

std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

// A tensor's only element.
std::int64_t only_int(const Tensor& t, const char* what) {
  ONNXRAY_CHECK(t.size() == 1, what, " has shape ", to_string(t.dims()), ", expected one number");
  return t.to_ints()[0];
}

Tensor iota(std::int64_t n) {
  check_table(n);
  std::vector<std::int64_t> v;
  for (std::int64_t i = 0; i < n; ++i) v.push_back(i);
  return Tensor::ints(v);
}

bool is_compute(DType t) {
  return t == DType::f32 || t == DType::f64 || t == DType::i64 || t == DType::i32 || t == DType::i8 || t == DType::u8 ||
         t == DType::boolean || t == DType::f16 || t == DType::bf16;
}

// k: attribute before 10, input 1 since; `largest` and `sorted` since 11.
void top_k(ConvertCtx& c) {
  const std::int64_t axis = normalize_axis(c.attr_int("axis", -1), c.rank(0), "TopK");
  ONNXRAY_CHECK(c.version >= 10 || c.has_attr("k"), "attribute 'k' is missing");
  const std::int64_t k = c.version < 10 ? c.attr_int("k", 0) : only_int(c.constant(1), "k");
  const std::int64_t largest = c.version < 11 ? 1 : c.attr_int("largest", 1);
  const DType dtype = c.dtype(0);
  const ValueId x = is_compute(dtype) ? c.in(0) : c.b.cast(c.in(0), DType::i64);
  const std::vector<ValueId> y =
      c.b.ops("top_k", {x},
              {{"axis", axis}, {"k", k}, {"largest", std::int64_t{largest != 0}}, {"sorted", c.attr_int("sorted", 1)}});
  c.out(0, c.b.cast(y[0], dtype));
  c.out(1, y[1]);
}

// values = [off, on]; an index outside [-depth, depth) gives a row of off.
void one_hot(ConvertCtx& c) {
  Builder& b = c.b;
  const std::int64_t depth = only_int(c.constant(1), "depth");
  ONNXRAY_CHECK(depth > 0, "depth is ", depth);
  ONNXRAY_CHECK(c.dims(2) == Dims{2}, "values have shape ", to_string(c.dims(2)), ", expected [2]");
  const std::size_t rank = c.rank(0) + 1;
  const std::int64_t axis = normalize_axis(c.attr_int("axis", -1), rank, "OneHot");
  const ValueId index = c.b.cast(c.in(0), DType::i64);
  const ValueId negative = b.op("less", {index, b.scalar_like(index, 0)});
  const ValueId wrapped = b.where(negative, b.add(index, b.scalar_like(index, static_cast<double>(depth))), index);
  Dims classes(rank - at(axis), 1);
  classes[0] = depth;
  const ValueId hit = b.op("equal", {b.unsqueeze(wrapped, axis), b.constant(iota(depth).reshaped(std::move(classes)))});
  const ValueId off = b.slice(c.in(2), 0, 0, 1), on = b.slice(c.in(2), 0, 1, 2);
  c.out(b.where(hit, on, off));
}

// [rank, count], the indices of a scalar being [0, count].
void non_zero(ConvertCtx& c) {
  const Tensor x = c.constant(0);
  const Dims& d = x.dims();
  const std::vector<double> v = x.to_doubles();
  std::vector<std::int64_t> hits;
  for (std::size_t i = 0; i < v.size(); ++i) {
    if (v[i] != 0) hits.push_back(static_cast<std::int64_t>(i));
  }
  Tensor out(DType::i64, {static_cast<std::int64_t>(d.size()), static_cast<std::int64_t>(hits.size())});
  const auto o = out.mutable_data<std::int64_t>();
  const Dims strides = strides_of(d);
  for (std::size_t a = 0; a < d.size(); ++a) {
    for (std::size_t i = 0; i < hits.size(); ++i) o[a * hits.size() + i] = hits[i] / strides[a] % d[a];
  }
  c.out(c.b.constant(out));
}

// Keeps x[.., i, j] with j - i >= k (upper) or <= k (lower).
void trilu(ConvertCtx& c) {
  ONNXRAY_CHECK(c.rank(0) >= 2, "expected a matrix, got shape ", to_string(c.dims(0)));
  const std::int64_t k = c.has(1) ? only_int(c.constant(1), "k") : 0;
  const bool upper = c.attr_int("upper", 1) != 0;
  const Dims all = c.dims(0);
  const Dims dims(all.end() - 2, all.end());
  Tensor keep(DType::boolean, dims);
  const auto m = keep.mutable_data<bool>();
  // j - i lies in (-rows, columns); a k beyond that keeps all or nothing.
  const std::int64_t bound = std::clamp<std::int64_t>(k, -dims[0] - 1, dims[1] + 1);
  for (std::int64_t i = 0; i < dims[0]; ++i) {
    for (std::int64_t j = 0; j < dims[1]; ++j) {
      m[at(i * dims[1] + j)] = upper ? j - i >= bound : j - i <= bound;
    }
  }
  c.out(c.b.where(c.b.constant(keep), c.in(0), c.b.scalar_like(c.in(0), 0)));
}

// Along `axis`, or of the flattened input.
void compress(ConvertCtx& c) {
  const bool flat = !c.has_attr("axis");
  const ValueId x = flat ? c.b.reshape(c.in(0), {count_of(c.dims(0))}) : c.in(0);
  const std::int64_t axis = flat ? 0 : normalize_axis(c.attr_int("axis", 0), c.rank(0), "Compress");
  const std::vector<std::int64_t> keep = c.constant_ints(1);
  const std::int64_t extent = c.b.dims(x)[at(axis)];
  ONNXRAY_CHECK(static_cast<std::int64_t>(keep.size()) <= extent, "a condition of ", keep.size(),
                " elements for an extent of ", extent);
  std::vector<std::int64_t> index;
  for (std::size_t i = 0; i < keep.size(); ++i) {
    if (keep[i] != 0) index.push_back(static_cast<std::int64_t>(i));
  }
  c.out(take(c.b, x, axis, index));
}

// The first lens[i] steps of sequence i run backwards: [batch, time, ..] selected by (lens - 1 - t, or t behind).
void reverse_sequence(ConvertCtx& c) {
  Builder& b = c.b;
  const std::size_t rank = c.rank(0);
  const std::int64_t time = c.attr_int("time_axis", 0), batch = c.attr_int("batch_axis", 1);
  ONNXRAY_CHECK(rank >= 2 && time + batch == 1 && time * batch == 0, "axes time ", time, " and batch ", batch,
                " of rank ", rank, "; expected 0 and 1");
  const std::int64_t steps = c.dims(0)[at(time)], count = c.dims(0)[at(batch)];
  ONNXRAY_CHECK(c.dims(1) == Dims{count}, "sequence_lens have shape ", to_string(c.dims(1)), ", expected [", count,
                "]");
  std::vector<std::int64_t> swap;
  for (std::size_t i = 0; i < rank; ++i) swap.push_back(static_cast<std::int64_t>(i));
  if (time == 0) std::swap(swap[0], swap[1]);
  const ValueId lens = b.unsqueeze(int64_input(c, 1), 1);
  const ValueId t = b.constant(iota(steps).reshaped({1, steps}));
  const ValueId inside = b.op("less", {t, lens});
  const ValueId back = b.sub(b.sub(lens, t), b.scalar_like(lens, 1));
  const ValueId index = b.unsqueeze(b.where(inside, back, t), 2);  // [batch, time, 1]
  const ValueId y = b.op("gather_nd", {b.transpose(c.in(0), swap), index}, {{"batch_dims", std::int64_t{1}}});
  c.out(b.transpose(y, swap));
}

}  // namespace

void add_select_rows(OpTable& t) {
  t.add({.op_type = "TopK", .convert = top_k});
  t.add({.op_type = "OneHot", .since = 9, .convert = one_hot, .has_gradient = false});
  t.add({.op_type = "NonZero", .since = 9, .convert = non_zero, .has_gradient = false});
  t.add({.op_type = "Trilu", .since = 14, .convert = trilu});
  t.add({.op_type = "Compress", .since = 9, .convert = compress});
  t.add({.op_type = "ReverseSequence", .since = 10, .convert = reverse_sequence});
}

}  // namespace onnxray::onnx_import
