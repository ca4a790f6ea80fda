// Pad and CenterCropPad: negative pads crop first; edge, reflect and wrap are selections by a constant index.
#include <algorithm>

#include "onnx_import/convert_layout.h"

namespace onnxray::onnx_import {
namespace {

std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

struct Pads {
  std::vector<std::int64_t> begins, ends;  // one per axis of the input
  explicit Pads(std::size_t rank) : begins(rank, 0), ends(rank, 0) {}
};

// The element of [0, n) that position p outside or inside it shows.
std::int64_t source(const std::string& mode, std::int64_t p, std::int64_t n) {
  if (mode == "edge") return std::clamp<std::int64_t>(p, 0, n - 1);
  const std::int64_t period = mode == "wrap" ? n : std::max<std::int64_t>(1, 2 * (n - 1));
  const std::int64_t q = ((p % period) + period) % period;
  return q < n ? q : period - q;
}

ValueId pad(Builder& b, ValueId x, Pads p, const std::string& mode, double value) {
  const Dims in = b.dims(x);
  std::vector<Cut> cuts;
  bool any = false;
  for (std::size_t i = 0; i < in.size(); ++i) {
    constexpr std::int64_t kLimit = std::int64_t{1} << 48;
    ONNXRAY_CHECK(std::max(std::abs(p.begins[i] / 2), std::abs(p.ends[i] / 2)) < kLimit, "pads of axis ", i,
                  " are huge");
    const std::int64_t out = in[i] + p.begins[i] + p.ends[i];
    ONNXRAY_CHECK(out >= 0, "pads ", p.begins[i], " and ", p.ends[i], " leave nothing of axis ", i, " of shape ",
                  to_string(in));
    const std::int64_t start = std::max<std::int64_t>(0, -p.begins[i]);
    const std::int64_t end = std::min(in[i], in[i] + p.ends[i]);
    const Cut cut{start < end ? start : 0, std::max<std::int64_t>(0, end - start), 1};
    cuts.push_back(cut);
    p.begins[i] = cut.size == 0 ? out : std::max<std::int64_t>(0, p.begins[i]);
    p.ends[i] = out - cut.size - p.begins[i];
    any = any || p.begins[i] != 0 || p.ends[i] != 0;
  }
  x = cut_axes(b, x, cuts);
  if (!any) return x;
  if (mode == "constant") return b.op("pad", {x}, {{"begins", p.begins}, {"ends", p.ends}, {"value", value}});
  for (std::size_t i = 0; i < in.size(); ++i) {
    const std::int64_t n = cuts[i].size, out = n + p.begins[i] + p.ends[i];
    if (out == n) continue;
    ONNXRAY_CHECK(n > 0, "mode '", mode, "' needs elements on axis ", i, " of shape ", to_string(in));
    check_table(out);
    std::vector<std::int64_t> index;
    for (std::int64_t k = 0; k < out; ++k) index.push_back(source(mode, k - p.begins[i], n));
    x = take(b, x, static_cast<std::int64_t>(i), index);
  }
  return x;
}

// Pads: attribute `paddings` (1), attribute `pads` (2), input 1 since 11; only `axes` (input 3) since 18.
void convert_pad(ConvertCtx& c) {
  const std::size_t rank = c.rank(0);
  const std::string mode = c.attr_string("mode", "constant");
  ONNXRAY_CHECK(mode == "constant" || mode == "edge" || mode == "reflect" || (mode == "wrap" && c.version >= 19),
                "unknown mode '", mode, "'");
  std::vector<std::int64_t> pads, axes;
  double value = 0;
  if (c.version < 11) {
    pads = c.attr_ints(c.version < 2 ? "paddings" : "pads");
    value = c.attr_float("value", 0);
  } else {
    pads = c.constant_ints(1);
    if (c.has(2) && mode == "constant") {
      const std::vector<double> v = c.constant(2).to_doubles();
      ONNXRAY_CHECK(v.size() <= 1, "the constant value has ", v.size(), " elements, expected one");
      if (!v.empty()) value = v[0];
    }
  }
  if (c.version >= 18 && c.has(3)) {
    axes = c.constant_ints(3);
    (void)normalize_axes(axes, rank, "Pad");  // refuses an axis given twice
  } else {
    for (std::size_t i = 0; i < rank; ++i) axes.push_back(static_cast<std::int64_t>(i));
  }
  ONNXRAY_CHECK(pads.size() == 2 * axes.size(), pads.size(), " pads for ", axes.size(), " axes");
  Pads p(rank);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const std::size_t a = at(normalize_axis(axes[i], rank, "Pad"));
    p.begins[a] = pads[i];
    p.ends[a] = pads[i + axes.size()];
  }
  c.out(pad(c.b, c.in(0), std::move(p), mode, value));
}

// Crops or zero-pads to a shape; the odd element goes to the end.
void center_crop_pad(ConvertCtx& c) {
  const Dims in = c.dims(0);
  const std::vector<std::int64_t> shape = c.constant_ints(1);
  std::vector<std::int64_t> axes = c.attr_ints("axes");
  if (!c.has_attr("axes")) {
    for (std::size_t i = 0; i < in.size(); ++i) axes.push_back(static_cast<std::int64_t>(i));
  }
  (void)normalize_axes(axes, in.size(), "CenterCropPad");
  ONNXRAY_CHECK(shape.size() == axes.size(), "a target of ", shape.size(), " extents for ", axes.size(), " axes");
  Pads p(in.size());
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const std::size_t a = at(normalize_axis(axes[i], in.size(), "CenterCropPad"));
    ONNXRAY_CHECK(shape[i] >= 0, "the target ", to_string(shape), " holds a negative extent");
    const std::int64_t more = shape[i] - in[a];
    p.begins[a] = more / 2;  // towards zero for a crop too
    p.ends[a] = more - p.begins[a];
  }
  c.out(pad(c.b, c.in(0), std::move(p), "constant", 0));
}

}  // namespace

void check_table(std::int64_t extent) {
  ONNXRAY_CHECK(extent >= 0 && extent <= (std::int64_t{1} << 26), "an axis of extent ", extent, " is too long");
}

void add_pad_rows(OpTable& t) {
  t.add({.op_type = "Pad", .convert = convert_pad});
  t.add({.op_type = "CenterCropPad", .since = 18, .convert = center_crop_pad});
}

}  // namespace onnxray::onnx_import
