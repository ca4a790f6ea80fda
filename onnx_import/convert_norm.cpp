// Normalisations and the Softmax family.
#include <algorithm>

#include "onnx_import/convert.h"
#include "onnx_import/convert_norm.h"

namespace onnxray::onnx_import {
namespace {

// Per-channel values [C] against [N, C, ...].
ValueId per_channel(Builder& b, ValueId v, std::size_t rank) {
  Dims d(rank - 1, 1);
  d[0] = b.dims(v)[0];
  return b.reshape(v, d);
}

// [C] of x's dtype, or an error.
ValueId channels(ConvertCtx& c, std::size_t i, std::int64_t expected) {
  ONNXRAY_CHECK(c.rank(i) == 1 && c.dims(i)[0] == expected, "input ", i, " has shape ", to_string(c.dims(i)),
                ", expected [", expected, "]");
  return c.b.cast(c.in(i), c.dtype(0));
}

ValueId mix(Builder& b, ValueId running, ValueId current, double momentum) {
  return b.add(b.mul(running, momentum), b.mul(current, 1 - momentum));
}

void batch_normalization(ConvertCtx& c) {
  Builder& b = c.b;
  const ValueId x = c.in(0);
  const std::size_t rank = c.rank(0);
  ONNXRAY_CHECK(rank >= 2, "X has shape ", to_string(c.dims(0)), ", expected [N, C, ...]");
  const double epsilon = c.attr_float("epsilon", 1e-5), momentum = c.attr_float("momentum", 0.9);
  // Before version 14 a request for the statistics is what tells training from inference.
  const bool training = c.version >= 14 ? c.attr_int("training_mode", 0) != 0
                                        : c.attr_int("is_test", 0) == 0 && (c.wants(1) || c.wants(2));
  if (c.version < 9 && c.attr_int("spatial", 1) == 0 && rank > 2) {
    // One statistic per activation: scale, bias, mean and variance have the shape of one example.
    ONNXRAY_CHECK(!training, "training mode with spatial = 0");
    const Dims all = c.dims(0);
    const Dims example(all.begin() + 1, all.end());
    std::vector<ValueId> p;
    for (std::size_t i = 1; i < 5; ++i) p.push_back(b.reshape(c.in(i), example));
    const ValueId a = b.div(p[0], b.op("sqrt", {b.add(p[3], epsilon)}));
    return c.out(b.add(b.mul(x, a), b.sub(p[1], b.mul(p[2], a))));
  }
  const std::int64_t n = c.dims(0)[1];
  const ValueId scale = channels(c, 1, n), bias = channels(c, 2, n);
  ValueId mean = channels(c, 3, n), var = channels(c, 4, n);
  if (training) {
    std::vector<std::int64_t> others{0};
    for (std::size_t i = 2; i < rank; ++i) others.push_back(static_cast<std::int64_t>(i));
    const ValueId m = b.reduce("reduce_mean", x, others, false);
    const ValueId d = b.sub(x, per_channel(b, m, rank));
    const ValueId v = b.reduce("reduce_mean", b.mul(d, d), others, false);
    const DType statistics = c.dtype(3);
    c.out(1, b.cast(mix(b, mean, m, momentum), statistics));
    c.out(2, b.cast(mix(b, var, v, momentum), statistics));
    c.out(3, b.cast(m, statistics));
    c.out(4, b.cast(v, statistics));
    mean = m, var = v;
  }
  c.out(b.op("batch_norm", {x, scale, bias, mean, var}, {{"epsilon", epsilon}}));
}

void instance_normalization(ConvertCtx& c) {
  Builder& b = c.b;
  const std::size_t rank = c.rank(0);
  ONNXRAY_CHECK(rank >= 3, "the input has shape ", to_string(c.dims(0)), ", expected [N, C, D1, ...]");
  const std::int64_t n = c.dims(0)[1];
  const ValueId scale = channels(c, 1, n), bias = channels(c, 2, n);
  const Attrs attrs{{"axis", std::int64_t{2}}, {"epsilon", c.attr_float("epsilon", 1e-5)}};
  const ValueId y = b.op("layer_norm", {c.in(0)}, attrs);
  c.out(b.add(b.mul(y, per_channel(b, scale, rank)), per_channel(b, bias, rank)));
}

// Version 18: scale and bias per group, 21: per channel.
void group_normalization(ConvertCtx& c) {
  Builder& b = c.b;
  const Dims d = c.dims(0);
  ONNXRAY_CHECK(d.size() >= 2, "X has shape ", to_string(d), ", expected [N, C, ...]");
  ONNXRAY_CHECK(c.has_attr("num_groups"), "attribute num_groups is missing");
  const std::int64_t groups = c.attr_int("num_groups", 1);
  ONNXRAY_CHECK(groups > 0 && d[1] % groups == 0, "num_groups is ", groups, ", which does not divide ", d[1],
                " channels");
  const std::int64_t size = d[1] / groups;
  const auto affine = [&](std::size_t i) {
    if (c.version >= 21) return channels(c, i, d[1]);
    const ValueId v = b.reshape(channels(c, i, groups), {groups, 1});
    return b.reshape(b.expand(v, {groups, size}), {d[1]});
  };
  const ValueId scale = affine(1), bias = affine(2);
  const Dims grouped{d[0], groups, size * product(d, 2, d.size())};
  const Attrs attrs{{"axis", std::int64_t{2}}, {"epsilon", c.attr_float("epsilon", 1e-5)}};
  const ValueId y = b.reshape(b.op("layer_norm", {b.reshape(c.in(0), grouped)}, attrs), d);
  c.out(b.add(b.mul(y, per_channel(b, scale, d.size())), per_channel(b, bias, d.size())));
}

void layer_normalization(ConvertCtx& c) {
  const Normalised n = layer_norm(c.b, c.in(0), c.in(1), c.has(2) ? c.in(2) : kNoValue, c.attr_int("axis", -1),
                                  c.attr_float("epsilon", 1e-5));
  c.out(0, n.y);
  const DType stash = float_type(c.attr_int("stash_type", 1));
  c.out(1, c.b.cast(n.mean, stash));
  c.out(2, c.b.cast(n.rstd, stash));
}

// Also SimplifiedLayerNormalization, which has the reciprocal root as a second output.
void rms_normalization(ConvertCtx& c) {
  const Normalised n = rms_norm(c.b, c.in(0), c.in(1), c.attr_int("axis", -1), c.attr_float("epsilon", 1e-5));
  c.out(0, n.y);
  c.out(1, c.b.cast(n.rstd, float_type(c.attr_int("stash_type", 1))));
}

void lp_normalization(ConvertCtx& c) {
  Builder& b = c.b;
  const ValueId x = c.in(0);
  const std::int64_t axis = normalize_axis(c.attr_int("axis", -1), c.rank(0), "LpNormalization");
  const std::int64_t p = c.attr_int("p", 2);
  ONNXRAY_CHECK(p == 1 || p == 2, "p is ", p, ", expected 1 or 2");
  const ValueId sum = b.reduce("reduce_sum", p == 1 ? b.op("abs", {x}) : b.mul(x, x), {axis}, true);
  // Where all elements are zero the result, and its gradient, is x itself. The root comes after, so that it is never
  // differentiated at zero.
  const ValueId safe = b.where(b.op("equal", {sum, b.scalar_like(x, 0)}), b.scalar_like(x, 1), sum);
  c.out(b.div(x, p == 1 ? safe : b.op("sqrt", {safe})));
}

void mean_variance_normalization(ConvertCtx& c) {
  Builder& b = c.b;
  const ValueId x = c.in(0);
  const auto axes = normalize_axes(c.attr_ints("axes", {0, 2, 3}), c.rank(0), "MeanVarianceNormalization");
  const ValueId d = b.sub(x, b.reduce("reduce_mean", x, axes, true));
  const ValueId deviation = b.op("sqrt", {b.reduce("reduce_mean", b.mul(d, d), axes, true)});
  c.out(b.div(d, b.add(deviation, 1e-9)));
}

// Applies `f` along the axis; before version 13 to all axes from `axis` on, flattened into one.
template <class F>
void along_axis(ConvertCtx& c, F f) {
  Builder& b = c.b;
  const ValueId x = c.in(0);
  const Dims d = c.dims(0);
  if (c.version >= 13) return c.out(f(x, normalize_axis(c.attr_int("axis", -1), d.size(), c.node.op_type.c_str())));
  const auto rank = static_cast<std::int64_t>(d.size());
  std::int64_t axis = c.attr_int("axis", 1);
  if (axis != rank) axis = normalize_axis(axis, d.size(), c.node.op_type.c_str());
  Dims flat(d.begin(), d.begin() + axis);
  flat.push_back(product(d, static_cast<std::size_t>(axis), d.size()));
  c.out(b.reshape(f(b.reshape(x, flat), axis), d));
}

void softmax(ConvertCtx& c) {
  along_axis(c, [&](ValueId x, std::int64_t axis) { return c.b.op("softmax", {x}, {{"axis", axis}}); });
}

void log_softmax(ConvertCtx& c) {
  along_axis(c, [&](ValueId x, std::int64_t axis) { return c.b.op("log_softmax", {x}, {{"axis", axis}}); });
}

// 1 at the first maximum, else 0.
void hardmax(ConvertCtx& c) {
  along_axis(c, [&](ValueId x, std::int64_t axis) {
    Builder& b = c.b;
    Dims d(b.rank(x), 1);
    const std::int64_t n = b.dims(x)[static_cast<std::size_t>(axis)];
    d[static_cast<std::size_t>(axis)] = n;
    std::vector<std::int64_t> positions;
    for (std::int64_t i = 0; i < n; ++i) positions.push_back(i);
    const ValueId best = b.op("argmax", {x}, {{"axis", axis}, {"keepdims", std::int64_t{1}}});
    return b.cast(b.op("equal", {b.constant(Tensor::ints(positions).reshaped(d)), best}), b.dtype(x));
  });
}

// com.microsoft: y = norm(input + skip + bias); outputs y, mean, inverse deviation, the sum.
template <bool kCentred>
void skip_normalization(ConvertCtx& c) {
  Builder& b = c.b;
  const std::size_t extra = kCentred ? 4 : 3;
  ValueId sum = b.add(c.in(0), c.in(1));
  if (c.has(extra)) sum = b.add(sum, c.in(extra));
  const double epsilon = c.attr_float("epsilon", 1e-12);
  const Normalised n = kCentred ? layer_norm(b, sum, c.in(2), c.has(3) ? c.in(3) : kNoValue, -1, epsilon)
                                : rms_norm(b, sum, c.in(2), -1, epsilon);
  c.out(0, n.y);
  c.out(1, n.mean);
  c.out(2, n.rstd);
  c.out(3, sum);
}

ValueId rows_of(Builder& b, ValueId table, ValueId ids) {
  return b.op("gather", {table, b.cast(ids, DType::i64)}, {{"axis", std::int64_t{0}}});
}

// com.microsoft: the embeddings of words, positions and segments, summed and normalised.
void embed_layer_normalization(ConvertCtx& c) {
  Builder& b = c.b;
  ONNXRAY_CHECK(c.rank(0) == 2, "input_ids has shape ", to_string(c.dims(0)), ", expected [batch, sequence]");
  ValueId sum = rows_of(b, c.in(2), c.in(0));  // [N, S, H]
  if (c.has(8)) {
    sum = b.add(sum, rows_of(b, c.in(3), c.in(8)));
  } else {
    const std::int64_t length = c.dims(0)[1];
    ONNXRAY_CHECK(c.rank(3) == 2 && c.dims(3)[0] >= length, "position_embedding has shape ", to_string(c.dims(3)),
                  ", expected at least ", length, " rows");
    sum = b.add(sum, b.slice(c.in(3), 0, 0, length));
  }
  if (c.has(1) && c.has(4)) sum = b.add(sum, rows_of(b, c.in(4), c.in(1)));
  c.out(0, layer_norm(b, sum, c.in(5), c.in(6), -1, c.attr_float("epsilon", 1e-12)).y);
  c.out(2, sum);
  // Output 1: how many leading entries of the mask are 1.
  if (c.has(7)) c.out(1, b.reduce("reduce_sum", b.cast(c.in(7), DType::i32), {1}, false));
  else c.out(1, b.zeros(DType::i32, {c.dims(0)[0]}));
}

// Scale or bias as the op wants it: exactly the normalised dims. kNoValue where it does not broadcast to them.
ValueId fitted(Builder& b, ValueId v, const Dims& normalised) {
  if (v == kNoValue) return v;
  Dims d = b.dims(v);
  while (d.size() > normalised.size() && d.front() == 1) d.erase(d.begin());
  if (d.size() > normalised.size() || broadcast(d, normalised) != normalised) return kNoValue;
  return b.expand(b.reshape(v, d), normalised);
}

Normalised norm(Builder& b, std::string_view op, ValueId x, ValueId scale, ValueId bias, std::int64_t axis,
                double epsilon) {
  const Dims d = b.dims(x);
  axis = normalize_axis(axis, d.size(), "normalisation");
  const Dims normalised(d.begin() + axis, d.end());
  for (ValueId* v : {&scale, &bias}) {
    if (*v != kNoValue) *v = b.cast(*v, b.dtype(x));
  }
  const ValueId s = fitted(b, scale, normalised), t = fitted(b, bias, normalised);
  const bool fit = (scale == kNoValue || s != kNoValue) && (bias == kNoValue || t != kNoValue);
  std::vector<ValueId> in{x};
  if (fit && (s != kNoValue || t != kNoValue)) in.push_back(s);
  if (fit && t != kNoValue) in.push_back(t);
  const std::vector<ValueId> out = b.ops(op, in, {{"axis", axis}, {"epsilon", epsilon}});
  ValueId y = out[0];
  if (!fit && scale != kNoValue) y = b.mul(y, scale);
  if (!fit && bias != kNoValue) y = b.add(y, bias);
  ONNXRAY_CHECK(b.dims(y) == d, "the scale or bias does not broadcast to the input's shape ", to_string(d));
  return {y, out.size() > 2 ? out[1] : kNoValue, out.back()};
}

}  // namespace

Normalised layer_norm(Builder& b, ValueId x, ValueId scale, ValueId bias, std::int64_t axis, double epsilon) {
  return norm(b, "layer_norm", x, scale, bias, axis, epsilon);
}

Normalised rms_norm(Builder& b, ValueId x, ValueId scale, std::int64_t axis, double epsilon) {
  return norm(b, "rms_norm", x, scale, kNoValue, axis, epsilon);
}

DType float_type(std::int64_t data_type) {
  switch (data_type) {
    case 1: return DType::f32;
    case 10: return DType::f16;
    case 11: return DType::f64;
    case 16: return DType::bf16;
    default: fail("data type ", data_type, " is no float type (1, 10, 11 or 16)");
  }
}

void add_norm_rows(OpTable& t) {
  t.add({.op_type = "BatchNormalization", .convert = batch_normalization});
  t.add({.op_type = "InstanceNormalization", .convert = instance_normalization});
  t.add({.op_type = "GroupNormalization", .since = 18, .convert = group_normalization});
  // Exporters wrote it below its version as well.
  t.add({.op_type = "LayerNormalization", .convert = layer_normalization});
  t.add({.op_type = "RMSNormalization", .since = 23, .convert = rms_normalization});
  t.add({.op_type = "SimplifiedLayerNormalization", .convert = rms_normalization});
  t.add({.op_type = "SimplifiedLayerNormalization", .convert = rms_normalization, .domain = "com.microsoft"});
  t.add({.op_type = "SkipLayerNormalization", .convert = skip_normalization<true>, .domain = "com.microsoft"});
  t.add(
      {.op_type = "SkipSimplifiedLayerNormalization", .convert = skip_normalization<false>, .domain = "com.microsoft"});
  t.add({.op_type = "EmbedLayerNormalization", .convert = embed_layer_normalization, .domain = "com.microsoft"});
  t.add({.op_type = "LpNormalization", .convert = lp_normalization});
  t.add({.op_type = "MeanVarianceNormalization", .since = 9, .convert = mean_variance_normalization});
  t.add({.op_type = "Softmax", .convert = softmax});
  t.add({.op_type = "LogSoftmax", .convert = log_softmax});
  t.add({.op_type = "Hardmax", .convert = hardmax, .has_gradient = false});
}

}  // namespace onnxray::onnx_import
