// Attention and RotaryEmbedding.
#include <cmath>
#include <limits>

#include "onnx_import/convert_norm.h"
#include "onnx_import/convert_sequence.h"

namespace onnxray::onnx_import {
namespace {

// [N, S, heads * D] -> [N, heads, S, D]; four axes stay as they are.
ValueId with_heads(ConvertCtx& c, std::size_t i, const char* heads_attribute) {
  Builder& b = c.b;
  const Dims d = c.dims(i);
  if (d.size() == 4) return c.in(i);
  ONNXRAY_CHECK(d.size() == 3, "input ", i, " has shape ", to_string(d), ", expected three or four axes");
  const std::int64_t heads = c.attr_int(heads_attribute, 0);
  ONNXRAY_CHECK(heads > 0 && d[2] % heads == 0, heads_attribute, " is ", heads, ", which does not divide ", d[2]);
  return b.transpose(b.reshape(c.in(i), {d[0], d[1], heads, d[2] / heads}), {0, 2, 1, 3});
}

// 0, 1, ..., n - 1 along `axis` of a rank-4 shape.
ValueId positions(Builder& b, std::int64_t n, std::size_t axis, std::int64_t first = 0) {
  std::vector<std::int64_t> v;
  for (std::int64_t i = 0; i < n; ++i) v.push_back(first + i);
  Dims d(4, 1);
  d[axis] = n;
  return b.constant(Tensor::ints(v).reshaped(d));
}

class Attention {
 public:
  explicit Attention(ConvertCtx& c) : c_(c), b_(c.b) {
    q_ = with_heads(c, 0, "q_num_heads");
    k_ = with_heads(c, 1, "kv_num_heads");
    v_ = with_heads(c, 2, "kv_num_heads");
    if (c.has(4)) {
      ONNXRAY_CHECK(c.has(5) && c.rank(4) == 4 && c.rank(5) == 4, "past_key and past_value must come together, [N, H, ",
                    "S, D] each");
      past_ = c.dims(4)[2];
      k_ = b_.op("concat", {c.in(4), k_}, {{"axis", std::int64_t{2}}});
      v_ = b_.op("concat", {c.in(5), v_}, {{"axis", std::int64_t{2}}});
    }
    const Dims q = b_.dims(q_), k = b_.dims(k_), v = b_.dims(v_);
    ONNXRAY_CHECK(q.size() == 4 && k.size() == 4 && v.size() == 4 && q[0] == k[0] && q[0] == v[0] && k[1] == v[1] &&
                      k[2] == v[2] && q[3] == k[3],
                  "Q, K and V have shapes ", to_string(q), ", ", to_string(k), " and ", to_string(v));
    ONNXRAY_CHECK(k[1] > 0 && q[1] % k[1] == 0, q[1], " query heads are no multiple of ", k[1], " key heads");
    batch_ = q[0], heads_ = q[1], length_ = q[2], total_ = k[2], groups_ = k[1];
  }

  void run() {
    const Dims q = b_.dims(q_), v = b_.dims(v_);
    const double scale = c_.attr_float("scale", 1 / std::sqrt(static_cast<double>(q[3])));
    // The query heads that share a key head are neighbours: they become more queries of that head.
    const std::int64_t lines = heads_ / groups_ * length_;
    const Dims grouped{batch_, groups_, lines, total_}, full{batch_, heads_, length_, total_};
    const ValueId queries = b_.reshape(b_.mul(q_, scale), {batch_, groups_, lines, q[3]});
    ValueId scores = b_.reshape(b_.matmul(queries, k_, false, true), full);
    const ValueId raw = scores;
    const double softcap = c_.attr_float("softcap", 0);
    if (softcap != 0) scores = b_.mul(b_.op("tanh", {b_.mul(scores, 1 / softcap)}), softcap);
    const ValueId capped = scores;
    scores = masked(scores);
    // Probabilities of a query that may see no key are zero.
    const DType dtype = b_.dtype(scores);
    const DType inner = c_.has_attr("softmax_precision") ? float_type(c_.attr_int("softmax_precision", 1)) : dtype;
    const ValueId p = b_.cast(
        b_.op("softmax", {b_.cast(scores, inner)}, {{"axis", std::int64_t{3}}, {"masked", std::int64_t{1}}}), dtype);
    ValueId y = b_.matmul(b_.reshape(p, grouped), v_);
    y = b_.reshape(y, {batch_, heads_, length_, v[3]});
    if (c_.rank(0) == 3) y = b_.reshape(b_.transpose(y, {0, 2, 1, 3}), {batch_, length_, heads_ * v[3]});
    c_.out(0, y);
    c_.out(1, k_);
    c_.out(2, v_);
    const std::int64_t mode = c_.attr_int("qk_matmul_output_mode", 0);
    ONNXRAY_CHECK(mode >= 0 && mode <= 3, "qk_matmul_output_mode is ", mode, ", expected 0 to 3");
    c_.out(3, mode == 0 ? raw : mode == 1 ? capped : mode == 2 ? scores : p);
  }

 private:
  // Scores with the bias added and -infinity where a query may not look.
  ValueId masked(ValueId scores) {
    ValueId allowed = kNoValue;
    const auto also = [&](ValueId v) { allowed = allowed == kNoValue ? v : b_.op("and", {allowed, v}); };
    if (c_.has(3)) {
      const ValueId mask = padded_mask();
      if (b_.dtype(mask) == DType::boolean) also(mask);
      else scores = b_.add(scores, b_.cast(mask, b_.dtype(scores)));
    }
    // Key j is where query i stands when j = i + offset.
    const ValueId keys = positions(b_, total_, 3);
    const std::int64_t left = c_.attr_int("left_window_size", -1), right = c_.attr_int("right_window_size", -1);
    const bool causal = c_.attr_int("is_causal", 0) != 0;
    ValueId lengths = kNoValue;  // [N, 1, 1, 1]
    if (c_.has(6)) {
      ONNXRAY_CHECK(c_.rank(6) == 1 && c_.dims(6)[0] == batch_, "nonpad_kv_seqlen has shape ", to_string(c_.dims(6)),
                    ", expected [", batch_, "]");
      lengths = b_.reshape(b_.cast(c_.in(6), DType::i64), {batch_, 1, 1, 1});
      also(b_.op("less", {keys, lengths}));
    }
    if (causal || left >= 0 || right >= 0) {
      ValueId here = positions(b_, length_, 2, past_);
      if (lengths != kNoValue && !c_.has(4)) here = b_.add(positions(b_, length_, 2, -length_), lengths);
      if (causal) also(b_.op("less_equal", {keys, here}));
      if (right >= 0) also(b_.op("less_equal", {b_.add(keys, -static_cast<double>(right)), here}));
      if (left >= 0) also(b_.op("less_equal", {here, b_.add(keys, static_cast<double>(left))}));
    }
    if (allowed == kNoValue) return scores;
    return b_.where(allowed, scores, b_.scalar_like(scores, -std::numeric_limits<double>::infinity()));
  }

  // A mask may be shorter than the keys: what it does not reach is disallowed.
  ValueId padded_mask() {
    const ValueId mask = c_.in(3);
    Dims d = b_.dims(mask);
    ONNXRAY_CHECK(!d.empty(), "the attention mask has no axes");
    const std::int64_t given = d.back();
    if (given >= total_ || given == 1) return mask;
    d.back() = total_ - given;
    const bool boolean = b_.dtype(mask) == DType::boolean;
    const double fill = boolean ? 0 : -std::numeric_limits<double>::infinity();
    const ValueId rest = b_.constant(Tensor::full(b_.dtype(mask), d, fill));
    return b_.op("concat", {mask, rest}, {{"axis", static_cast<std::int64_t>(d.size()) - 1}});
  }

  ConvertCtx& c_;
  Builder& b_;
  ValueId q_ = kNoValue, k_ = kNoValue, v_ = kNoValue;  // [N, heads, S, D], [N, groups, L, D], [N, groups, L, Dv]
  std::int64_t batch_ = 0, heads_ = 0, length_ = 0, total_ = 0, groups_ = 0, past_ = 0;
};

}  // namespace

void attention(ConvertCtx& c) { Attention(c).run(); }

// Rotates pairs of features by the angle of their position.
void rotary_embedding(ConvertCtx& c) {
  Builder& b = c.b;
  const Dims declared = c.dims(0);
  ONNXRAY_CHECK(declared.size() == 3 || declared.size() == 4, "the input has shape ", to_string(declared),
                ", expected three or four axes");
  // With three axes heads are last but one ([N, S, heads, D]), with four they come first ([N, heads, S, D]).
  ValueId x = c.in(0);
  if (declared.size() == 3) {
    const std::int64_t heads = c.attr_int("num_heads", 0);
    ONNXRAY_CHECK(heads > 0 && declared[2] % heads == 0, "num_heads is ", heads, ", which does not divide ",
                  declared[2]);
    x = b.reshape(x, {declared[0], declared[1], heads, declared[2] / heads});
  }
  const Dims d = b.dims(x);
  const std::int64_t batch = d[0], length = declared.size() == 3 ? d[1] : d[2], size = d[3];
  std::int64_t rotated = c.attr_int("rotary_embedding_dim", 0);
  if (rotated == 0) rotated = size;
  ONNXRAY_CHECK(rotated > 0 && rotated <= size && rotated % 2 == 0, "rotary_embedding_dim ", rotated,
                " does not fit heads of size ", size);
  const std::int64_t half = rotated / 2;
  const auto table = [&](std::size_t i) {
    ValueId t = c.in(i);
    if (c.has(3)) t = b.op("gather", {t, b.cast(c.in(3), DType::i64)}, {{"axis", std::int64_t{0}}});
    ONNXRAY_CHECK(b.dims(t) == Dims({batch, length, half}), "input ", i, " gives angles of shape ",
                  to_string(b.dims(t)), ", expected ", to_string(Dims{batch, length, half}));
    return b.reshape(t, declared.size() == 3 ? Dims{batch, length, 1, half} : Dims{batch, 1, length, half});
  };
  const ValueId cosine = table(1), sine = table(2);
  const bool interleaved = c.attr_int("interleaved", 0) != 0;
  const ValueId turning = b.slice(x, 3, 0, rotated);
  const ValueId first = interleaved ? b.slice(turning, 3, 0, rotated - 1, 2) : b.slice(turning, 3, 0, half);
  const ValueId second = interleaved ? b.slice(turning, 3, 1, rotated, 2) : b.slice(turning, 3, half, rotated);
  ValueId re = b.sub(b.mul(first, cosine), b.mul(second, sine));
  ValueId im = b.add(b.mul(first, sine), b.mul(second, cosine));
  ValueId y;
  if (interleaved) {
    y = b.op("concat", {b.unsqueeze(re, 4), b.unsqueeze(im, 4)}, {{"axis", std::int64_t{4}}});
    Dims joined = b.dims(re);
    joined[3] = rotated;
    y = b.reshape(y, joined);
  } else {
    y = b.op("concat", {re, im}, {{"axis", std::int64_t{3}}});
  }
  if (rotated < size) y = b.op("concat", {y, b.slice(x, 3, rotated, size)}, {{"axis", std::int64_t{3}}});
  c.out(b.reshape(y, declared));
}

}  // namespace onnxray::onnx_import
