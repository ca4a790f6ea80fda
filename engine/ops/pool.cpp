// Pooling over 1 to 3 spatial axes of [N, C, spatial...] (or [N, spatial..., C] with channels_last).
//   max_pool       y, argmax: int64 flat index within the spatial plane of x, -1 where the window holds padding only
//   max_pool_grad  dx[argmax] += dy; max_pool_pick is its transpose, y = x[argmax]. The window's attributes are a hint
//                  that each argmax lies in its window
//   argmax_taps=1 on a float max_pool gives the argmax as uint8: the tap of the window, kernel order, kNoTap for -1.
//                  max_pool_grad and max_pool_pick take one where they have the window; taps beyond x's border count as
//                  -1
//   avg_pool       mean over the window; attribute `divisor` > 0 divides by a fixed number instead (1: a sum)
#include "engine/builder.h"
#include "engine/ops/conv_window.h"
#include "engine/ops/families.h"
#include "engine/ops/pool_taps.h"
#include "engine/passes/channels_last.h"
#include "engine/passes/window.h"

namespace onnxray {
namespace {

Window pool_window(const InferCtx& c) {
  const Window w = read_window(c.attrs, c.attrs.ints("kernel"));
  for (std::size_t i = 0; i < 3; ++i) {
    ONNXRAY_CHECK(w.begin[i] >= 0 && w.end[i] >= 0 && w.begin[i] < w.reach(i) && w.end[i] < w.reach(i), "pads ",
                  to_string(c.attrs.ints("pads")), " must lie in [0, kernel)");
  }
  return w;
}

std::vector<std::int64_t> positions(const Window& w, std::span<const std::int64_t> space) {
  const Extents out = w.positions(align3(space, 1));
  std::vector<std::int64_t> v(out.begin() + static_cast<std::ptrdiff_t>(3 - space.size()), out.end());
  for (const std::int64_t n : v) {
    ONNXRAY_CHECK(n > 0, "the pooling window does not fit into the padded input ", to_string(space));
  }
  return v;
}

Dims pooled(const InferCtx& c) {
  const bool last = is_channels_last(c.attrs);
  const SpatialDims x = spatial_dims(c.dims(0), last);
  ONNXRAY_CHECK(c.attrs.ints("kernel").size() == x.space.size(), "kernel ", to_string(c.attrs.ints("kernel")),
                " for the ", x.space.size(), " spatial axes of ", to_string(c.dims(0)));
  return join_dims(x.batch, x.channels, positions(pool_window(c), x.space), last);
}

void infer_max_pool(InferCtx& c) {
  c.expect_inputs(1, 1);
  ONNXRAY_CHECK(c.dtype(0) != DType::boolean, "max_pool of booleans");
  const Dims out = pooled(c);
  c.output(c.dtype(0), out);
  if (gives_argmax_taps(c.attrs)) {
    c.expect_float(0);
    ONNXRAY_CHECK(taps_fit(c.attrs), "argmax_taps: the window ", to_string(c.attrs.ints("kernel")), " has more than ",
                  kNoTap, " taps");
  }
  c.output(gives_argmax_taps(c.attrs) ? DType::u8 : DType::i64, out);
}

void infer_avg_pool(InferCtx& c) {
  c.expect_inputs(1, 1);
  c.expect_float(0);
  c.output(c.dtype(0), pooled(c));
}

// [N, C, input_spatial] for a dy of [N, C, ...].
Dims unpooled(const InferCtx& c) {
  const bool last = is_channels_last(c.attrs);
  const SpatialDims dy = spatial_dims(c.dims(0), last);
  const std::vector<std::int64_t> in = c.attrs.ints("input_spatial");
  ONNXRAY_CHECK(in.size() == dy.space.size(), "input_spatial ", to_string(in), " has another rank than ",
                to_string(dy.space));
  return join_dims(dy.batch, dy.channels, in, last);
}

// An argmax of taps belongs to the window's positions over `x`.
void check_taps(const InferCtx& c, const Dims& x, const Dims& y) {
  const bool last = is_channels_last(c.attrs);
  const std::vector<std::int64_t> in = spatial_dims(x, last).space, kernel = c.attrs.ints("kernel");
  ONNXRAY_CHECK(kernel.size() == in.size() && taps_fit(c.attrs), "an argmax of taps needs a window of at most ", kNoTap,
                " taps, got ", to_string(kernel));
  ONNXRAY_CHECK(positions(pool_window(c), in) == spatial_dims(y, last).space, "a window over ", to_string(in),
                " does not have the positions of ", to_string(y));
}

void infer_max_pool_grad(InferCtx& c) {
  c.expect_inputs(2, 2);
  c.expect_float(0);
  const bool taps = c.dtype(1) == DType::u8;
  ONNXRAY_CHECK((taps || c.dtype(1) == DType::i64) && c.dims(1) == c.dims(0), "argmax must be int64",
                to_string(c.dims(0)), ", got ", name_of(c.dtype(1)), to_string(c.dims(1)));
  const Dims out = unpooled(c);
  (void)count_of(out);
  if (taps) check_taps(c, out, c.dims(0));
  c.output(c.dtype(0), out);
}

void infer_max_pool_pick(InferCtx& c) {
  c.expect_inputs(2, 2);
  const bool taps = c.dtype(1) == DType::u8;
  ONNXRAY_CHECK((taps || c.dtype(1) == DType::i64) && c.rank(1) == c.rank(0), "argmax must be int64 of rank ",
                c.rank(0));
  const bool last = is_channels_last(c.attrs);
  const SpatialDims x = spatial_dims(c.dims(0), last), y = spatial_dims(c.dims(1), last);
  ONNXRAY_CHECK(x.batch == y.batch && x.channels == y.channels, "x ", to_string(c.dims(0)), " and argmax ",
                to_string(c.dims(1)), " differ in batch or channels");
  if (taps) check_taps(c, c.dims(0), c.dims(1));
  c.output(c.dtype(0), c.dims(1));
}

void infer_avg_pool_grad(InferCtx& c) {
  c.expect_inputs(1, 1);
  c.expect_float(0);
  const Dims out = unpooled(c);
  (void)count_of(out);
  const std::vector<std::int64_t> in = c.attrs.ints("input_spatial"), kernel = c.attrs.ints("kernel");
  ONNXRAY_CHECK(kernel.size() == in.size(), "kernel ", to_string(kernel), " for input_spatial ", to_string(in));
  const SpatialDims dy = spatial_dims(c.dims(0), is_channels_last(c.attrs));
  ONNXRAY_CHECK(positions(pool_window(c), in) == dy.space, "a window over ", to_string(in),
                " does not have the positions ", to_string(dy.space));
  c.output(c.dtype(0), out);
}

std::vector<std::int64_t> space_of(const Dims& d, const Attrs& a) { return spatial_dims(d, is_channels_last(a)).space; }

Attrs layout_only(const Attrs& a) {
  Attrs out;
  if (is_channels_last(a)) out.set("channels_last", std::int64_t{1});
  return out;
}

void grad_max_pool(GradCtx& c) {
  if (c.dy() == kNoValue) return;
  // With the window, so that a kernel need look at those positions of dy alone whose window covers an element.
  Attrs attrs = c.attrs;
  attrs.erase("argmax_taps");
  attrs.set("input_spatial", space_of(c.dims(0), c.attrs));
  c.set(0, c.b.op("max_pool_grad", {c.dy(), c.y(1)}, std::move(attrs)));
}

// Of an argmax's transpose: taps need their window.
Attrs transposed(GradCtx& c) {
  if (c.b.graph.value(c.x(1)).dtype != DType::u8) return layout_only(c.attrs);
  Attrs attrs = c.attrs;
  attrs.erase("input_spatial");
  return attrs;
}

void grad_max_pool_grad(GradCtx& c) { c.set(0, c.b.op("max_pool_pick", {c.dy(), c.x(1)}, transposed(c))); }

void grad_max_pool_pick(GradCtx& c) {
  Attrs attrs = transposed(c);
  attrs.set("input_spatial", space_of(c.dims(0), c.attrs));
  c.set(0, c.b.op("max_pool_grad", {c.dy(), c.x(1)}, std::move(attrs)));
}

void grad_avg_pool(GradCtx& c) {
  Attrs attrs = c.attrs;
  attrs.set("input_spatial", space_of(c.dims(0), c.attrs));
  c.set(0, c.b.op("avg_pool_grad", {c.dy()}, std::move(attrs)));
}

void grad_avg_pool_grad(GradCtx& c) {
  Attrs attrs = c.attrs;
  attrs.erase("input_spatial");
  c.set(0, c.b.op("avg_pool", {c.dy()}, std::move(attrs)));
}

// Rows on the batch axis or on the channels, which are independent of each other too; all inputs alike.
void rows_pool(RowsCtx& c) {
  const RowMap x = c.inputs[0].rows;
  const auto channel = is_channels_last(c.attrs) ? static_cast<std::int64_t>(c.inputs[0].dims->size()) - 1 : 1;
  if (x.is_mixed() || (x.is_rows() && x.axis != 0 && x.axis != channel)) return;
  for (const RowsCtx::Input& in : c.inputs) {
    if (in.dims != nullptr && in.rows != x) return;
  }
  for (RowMap& o : c.outputs) o = x;
}

}  // namespace

void register_pool_ops(OpRegistry& r) {
  r.add({.name = "max_pool",
         .infer = infer_max_pool,
         .grad = grad_max_pool,
         .rows = rows_pool,
         .channels_last = channels_last_window,
         .window = window_max_pool,
         .traits = {.moves = true}});
  r.add({.name = "max_pool_grad",
         .infer = infer_max_pool_grad,
         .grad = grad_max_pool_grad,
         .rows = rows_pool,
         .channels_last = channels_last_window,
         .traits = {.linear = true}});
  r.add({.name = "max_pool_pick",
         .infer = infer_max_pool_pick,
         .grad = grad_max_pool_pick,
         .rows = rows_pool,
         .channels_last = channels_last_window,
         .traits = {.linear = true, .moves = true}});
  r.add({.name = "avg_pool",
         .infer = infer_avg_pool,
         .grad = grad_avg_pool,
         .rows = rows_pool,
         .channels_last = channels_last_window,
         .window = window_avg_pool,
         .traits = {.linear = true}});
  r.add({.name = "avg_pool_grad",
         .infer = infer_avg_pool_grad,
         .grad = grad_avg_pool_grad,
         .rows = rows_pool,
         .channels_last = channels_last_window,
         .traits = {.linear = true}});
}

}  // namespace onnxray
