// slice{starts, sizes, steps}, its gradient unslice{starts, steps, shape}, and pad{begins, ends, value}.
#include "engine/builder.h"
#include "engine/ops/layout.h"
#include "engine/passes/channels_last.h"
#include "engine/passes/window.h"

namespace onnxray {
namespace {

std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

// start + i * step for i < size must lie in [0, extent); `steps` may be negative.
void check_range(const char* what, const Dims& whole, const std::vector<std::int64_t>& starts, const Dims& sizes,
                 const std::vector<std::int64_t>& steps) {
  ONNXRAY_CHECK(starts.size() == whole.size() && sizes.size() == whole.size() && steps.size() == whole.size(), what,
                ": shape ", to_string(whole), " with starts ", to_string(starts), ", sizes ", to_string(sizes),
                ", steps ", to_string(steps), "; expected one of each per axis");
  for (std::size_t i = 0; i < whole.size(); ++i) {
    const std::int64_t n = whole[i], start = starts[i], size = sizes[i], step = steps[i];
    ONNXRAY_CHECK(size >= 0 && step != 0, what, ": size ", size, " and step ", step, " on axis ", i);
    if (size == 0) continue;
    bool inside = start >= 0 && start < n;
    if (inside) inside = step > 0 ? size - 1 <= (n - 1 - start) / step : size - 1 <= -(start / step);
    ONNXRAY_CHECK(inside, what, ": start ", start, ", size ", size, ", step ", step, " on axis ", i,
                  " leave the extent ", n);
  }
}

bool whole_axis(std::int64_t start, std::int64_t size, std::int64_t step, std::int64_t extent) {
  return size == extent && (size <= 1 || (start == 0 && step == 1));
}

// Sets entry `axis` of an integer-array attribute.
void set_entry(Attrs& attrs, const char* name, std::int64_t axis, std::int64_t value) {
  std::vector<std::int64_t> v = attrs.ints(name);
  v[at(axis)] = value;
  attrs.set(name, std::move(v));
}

void infer_slice(InferCtx& c) {
  c.expect_inputs(1, 1);
  Dims sizes = c.attrs.ints("sizes");
  check_range("slice", c.dims(0), c.attrs.ints("starts"), sizes, c.attrs.ints("steps"));
  c.output(c.dtype(0), std::move(sizes));
}

void grad_slice(GradCtx& c) {
  c.set(0, c.b.op("unslice", {c.dy()},
                  {{"starts", c.attrs.ints("starts")}, {"steps", c.attrs.ints("steps")}, {"shape", c.dims(0)}}));
}

void infer_unslice(InferCtx& c) {
  c.expect_inputs(1, 1);
  Dims shape = c.attrs.ints("shape");
  (void)count_of(shape);
  check_range("unslice", shape, c.attrs.ints("starts"), c.dims(0), c.attrs.ints("steps"));
  c.output(c.dtype(0), std::move(shape));
}

void grad_unslice(GradCtx& c) {
  c.set(0, c.b.op("slice", {c.dy()},
                  {{"starts", c.attrs.ints("starts")}, {"steps", c.attrs.ints("steps")}, {"sizes", c.dims(0)}}));
}

// The row axis may only be taken whole; `extents` is the attribute that holds the output's extent there.
void rows_cut(RowsCtx& c, const Dims& whole, const Dims& part, const char* extents) {
  const RowMap in = c.inputs[0].rows;
  if (!in.is_rows()) return;
  const std::size_t a = at(in.axis);
  if (!whole_axis(c.attrs.ints("starts")[a], part[a], c.attrs.ints("steps")[a], whole[a])) return;
  set_entry(c.attrs, "starts", in.axis, 0);
  set_entry(c.attrs, "steps", in.axis, 1);
  set_entry(c.attrs, extents, in.axis, (*c.output_dims[0])[a] * c.count);
  c.outputs[0] = in;
}

void infer_pad(InferCtx& c) {
  c.expect_inputs(1, 1);
  const std::vector<std::int64_t> begins = c.attrs.ints("begins"), ends = c.attrs.ints("ends");
  Dims out = c.dims(0);
  ONNXRAY_CHECK(begins.size() == out.size() && ends.size() == out.size(), "pad: begins ", to_string(begins),
                " and ends ", to_string(ends), " for shape ", to_string(out));
  constexpr std::int64_t kLimit = std::int64_t{1} << 48;
  for (std::size_t i = 0; i < out.size(); ++i) {
    ONNXRAY_CHECK(begins[i] >= 0 && ends[i] >= 0 && begins[i] <= kLimit && ends[i] <= kLimit, "pad: begins ",
                  to_string(begins), " and ends ", to_string(ends), " must be neither negative nor huge");
    out[i] += begins[i] + ends[i];
  }
  (void)c.attrs.real("value", 0);
  (void)count_of(out);
  c.output(c.dtype(0), std::move(out));
}

void grad_pad(GradCtx& c) {
  const Dims sizes = c.dims(0);
  c.set(0, c.b.op("slice", {c.dy()},
                  {{"starts", c.attrs.ints("begins")},
                   {"sizes", sizes},
                   {"steps", std::vector<std::int64_t>(sizes.size(), 1)}}));
}

void rows_pad(RowsCtx& c) {
  const RowMap in = c.inputs[0].rows;
  if (!in.is_rows() || c.attrs.ints("begins")[at(in.axis)] != 0 || c.attrs.ints("ends")[at(in.axis)] != 0) return;
  c.outputs[0] = in;
}

}  // namespace

void register_cut_ops(OpRegistry& r) {
  r.add({.name = "slice",
         .infer = infer_slice,
         .grad = grad_slice,
         .rows = [](RowsCtx& c) { rows_cut(c, *c.inputs[0].dims, *c.output_dims[0], "sizes"); },
         .channels_last = channels_last_lists,
         .traits = {.linear = true, .moves = true}});
  r.add({.name = "unslice",
         .infer = infer_unslice,
         .grad = grad_unslice,
         .rows = [](RowsCtx& c) { rows_cut(c, *c.output_dims[0], *c.inputs[0].dims, "shape"); },
         .channels_last = channels_last_lists,
         .traits = {.linear = true, .moves = true}});
  r.add({.name = "pad",
         .infer = infer_pad,
         .grad = grad_pad,
         .rows = rows_pad,
         .channels_last = channels_last_lists,
         .window = window_pad,
         .traits = {.linear = true, .moves = true}});
}

}  // namespace onnxray
