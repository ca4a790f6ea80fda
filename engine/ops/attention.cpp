// attention and its gradient: softmax(scale q k^T + mask) v without the probabilities in memory where a backend has
// kernels for it. passes/fuse_attention.cpp makes these nodes; nothing before it does, so rules, hooks and layer
// attributions see the products and the softmax.
#include <limits>

#include "engine/builder.h"
#include "engine/ops/families.h"

namespace onnxray {
namespace {

double scale_of(const Attrs& attrs) { return attrs.real("scale", 1); }

// The dims of `d` before the last two.
Dims batch_of(const Dims& d) { return {d.begin(), d.end() - 2}; }

Dims with(Dims batch, std::initializer_list<std::int64_t> last) {
  batch.insert(batch.end(), last);
  return batch;
}

// Inputs q, k, v from `first` on, the mask behind them.
void expect_attention(InferCtx& c, std::size_t first) {
  const std::size_t q = first, k = first + 1, v = first + 2, mask = first + 3;
  c.expect_float(q);
  c.expect_same_dtype(q, k);
  c.expect_same_dtype(q, v);
  const Dims &dq = c.dims(q), &dk = c.dims(k), &dv = c.dims(v);
  ONNXRAY_CHECK(dq.size() >= 2 && dq.size() == dk.size() && dq.size() == dv.size(), "q, k, v have shapes ",
                to_string(dq), ", ", to_string(dk), ", ", to_string(dv), ": one rank of at least 2 is needed");
  const std::size_t r = dq.size();
  ONNXRAY_CHECK(
      batch_of(dq) == batch_of(dk) && batch_of(dq) == batch_of(dv) && dq[r - 1] == dk[r - 1] && dk[r - 2] == dv[r - 2],
      "q, k, v have shapes ", to_string(dq), ", ", to_string(dk), ", ", to_string(dv),
      ", expected [.., Sq, D], [.., Sk, D], [.., Sk, Dv]");
  ONNXRAY_CHECK(dk[r - 2] > 0, "k has shape ", to_string(dk), ": there is no key");
  if (!c.has(mask)) return;
  c.expect_same_dtype(q, mask);
  const Dims scores = with(batch_of(dq), {dq[r - 2], dk[r - 2]});
  ONNXRAY_CHECK(c.dims(mask).size() <= r && broadcast(c.dims(mask), scores) == scores, "mask has shape ",
                to_string(c.dims(mask)), ", expected one that broadcasts to ", to_string(scores));
}

void infer_attention(InferCtx& c) {
  c.expect_inputs(3, 4);
  expect_attention(c, 0);
  const Dims &q = c.dims(0), &v = c.dims(2);
  const Dims batch = batch_of(q);
  c.output(c.dtype(0), with(batch, {q[q.size() - 2], v.back()}));
  c.output(c.dtype(0), with(batch, {q[q.size() - 2]}));
}

void infer_attention_grad(InferCtx& c) {
  ONNXRAY_CHECK(c.count() == 7, "expected dy, q, k, v, mask or none, y, log-sum-exp");
  for (const std::size_t i : {0, 1, 2, 3, 5, 6}) {
    ONNXRAY_CHECK(c.has(static_cast<std::size_t>(i)), "expected dy, q, k, v, mask or none, y, log-sum-exp");
    c.expect_same_dtype(1, static_cast<std::size_t>(i));
  }
  expect_attention(c, 1);
  const Dims &q = c.dims(1), &k = c.dims(2), &v = c.dims(3);
  const Dims y = with(batch_of(q), {q[q.size() - 2], v.back()}), rows(q.begin(), q.end() - 1);
  ONNXRAY_CHECK(c.dims(0) == y && c.dims(5) == y, "dy has shape ", to_string(c.dims(0)), ", y ", to_string(c.dims(5)),
                ", expected ", to_string(y));
  ONNXRAY_CHECK(c.dims(6) == rows, "the log-sum-exp has shape ", to_string(c.dims(6)), ", expected ", to_string(rows));
  c.output(c.dtype(1), q);
  c.output(c.dtype(1), k);
  c.output(c.dtype(1), v);
}

// Rows on a batch axis, the same for all inputs; a mask may be shared by them.
void rows_attention(RowsCtx& c, std::size_t mask) {
  const auto rank = static_cast<std::int64_t>(c.inputs[mask - 1].dims->size());
  const auto shift = [&](std::size_t i) {
    return i == mask ? rank - static_cast<std::int64_t>(c.inputs[i].dims->size()) : 0;
  };
  RowMap rows = RowMap::none();
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    const RowsCtx::Input& in = c.inputs[i];
    if (in.dims == nullptr || in.rows.is_none()) continue;
    if (in.rows.is_mixed()) return;
    const RowMap own = RowMap::rows(in.rows.axis + shift(i), in.rows.inner, in.rows.outer);
    if (own.axis >= rank - 2 || (rows.is_rows() && !(rows == own))) return;
    rows = own;
  }
  for (std::size_t i = 0; rows.is_rows() && i < c.inputs.size(); ++i) {
    const RowsCtx::Input& in = c.inputs[i];
    if (in.dims == nullptr || in.rows.is_rows()) continue;
    if (i != mask) {
      c.expand[i] = rows;
      continue;
    }
    const std::int64_t axis = rows.axis - shift(i);
    if (axis < 0 || (*in.dims)[static_cast<std::size_t>(axis)] == 1) continue;
    if (rows.outer != 1) return;
    c.expand[i] = RowMap::rows(axis, rows.inner);
  }
  for (RowMap& o : c.outputs) o = rows;
}

// scale q k^T + mask
ValueId scores_of(Builder& b, const Attrs& attrs, ValueId q, ValueId k, ValueId mask) {
  const ValueId s = b.mul(b.matmul(q, k, false, true), scale_of(attrs));
  return mask == kNoValue ? s : b.add(s, mask);
}

// Zero for -infinity: then exp(-infinity - it) is zero, not NaN.
ValueId finite_or_zero(Builder& b, ValueId v) {
  const ValueId lowest = b.scalar_like(v, -std::numeric_limits<double>::infinity());
  return b.where(b.op("equal", {v, lowest}), b.scalar_like(v, 0), v);
}

std::vector<ValueId> expand_attention(Builder& b, const Node& node, std::span<const ValueId> in) {
  const ValueId s = scores_of(b, node.attrs, in[0], in[1], in.size() > 3 ? in[3] : kNoValue);
  const auto last = static_cast<std::int64_t>(b.rank(s)) - 1;
  const ValueId p = b.op("softmax", {s}, {{"axis", last}, {"masked", node.attrs.integer("masked", 0)}});
  const ValueId top = finite_or_zero(b, b.reduce("reduce_max", s, {last}, true));
  const ValueId sum = b.reduce("reduce_sum", b.op("exp", {b.sub(s, top)}), {last}, true);
  const ValueId lse = b.add(top, b.op("log", {sum}));
  Dims rows = b.dims(s);
  rows.pop_back();
  return {b.matmul(p, in[2]), b.reshape(lse, rows)};
}

// With P = exp(scores - lse), D = rowsum(dy y) and dS = P (dy v^T - D): dq = scale dS k, dk = scale dS^T q, dv = P^T
// dy.
std::vector<ValueId> expand_attention_grad(Builder& b, const Node& node, std::span<const ValueId> in) {
  const ValueId dy = in[0], q = in[1], k = in[2], v = in[3];
  const ValueId s = scores_of(b, node.attrs, q, k, in[4]);
  const auto last = static_cast<std::int64_t>(b.rank(s)) - 1;
  ValueId lse = b.unsqueeze(in[6], last);
  if (node.attrs.integer("masked", 0) != 0) lse = finite_or_zero(b, lse);
  const ValueId p = b.op("exp", {b.sub(s, lse)});
  const ValueId d = b.reduce("reduce_sum", b.mul(dy, in[5]), {last}, true);
  const ValueId ds = b.mul(b.mul(p, b.sub(b.matmul(dy, v, false, true), d)), scale_of(node.attrs));
  return {b.matmul(ds, k), b.matmul(ds, q, true, false), b.matmul(p, dy, true, false)};
}

void grad_attention(GradCtx& c) {
  // Neither the mask nor the log-sum-exp is differentiated where models attend.
  if (c.dy(1) != kNoValue || c.wanted(3) || c.dy(0) == kNoValue) return grad_through_expansion(c);
  const bool masked = c.node.inputs.size() > 3 && c.node.inputs[3] != kNoValue;
  const std::vector<ValueId> d =
      c.b.ops("attention_grad", {c.dy(0), c.x(0), c.x(1), c.x(2), masked ? c.x(3) : kNoValue, c.y(0), c.y(1)}, c.attrs);
  for (std::size_t i = 0; i < d.size(); ++i) {
    if (c.wanted(i)) c.set(i, d[i]);
  }
}

}  // namespace

void register_attention_ops(OpRegistry& r) {
  // y = softmax(scale q k^T + mask) v [.., Sq, Dv] and the scores' log-sum-exp [.., Sq], for q [.., Sq, D], k [.., Sk,
  // D], v [.., Sk, Dv] and a mask that broadcasts to [.., Sq, Sk]. A query whose scores are all -infinity gets NaN,
  // with masked=1 zeros.
  r.add({.name = "attention",
         .infer = infer_attention,
         .grad = grad_attention,
         .rows = [](RowsCtx& c) { rows_attention(c, 3); },
         .expand = expand_attention});
  // dq, dk, dv from dy, q, k, v, mask or none, y and the log-sum-exp.
  r.add({.name = "attention_grad",
         .infer = infer_attention_grad,
         .grad = grad_through_expansion,
         .rows = [](RowsCtx& c) { rows_attention(c, 4); },
         .expand = expand_attention_grad});
}

}  // namespace onnxray
