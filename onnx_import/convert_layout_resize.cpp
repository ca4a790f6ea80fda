// Resize and Upsample: every mode is linear resampling, axis by axis. An axis gets a table of source indices and
// weights; nearest neighbours, which need no arithmetic and so work on any dtype, are a gather.
#include <algorithm>
#include <cmath>

#include "onnx_import/convert_layout.h"

namespace onnxray::onnx_import {
namespace {

std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

struct Settings {
  std::string mode = "nearest", coordinates = "asymmetric", nearest = "simple";
  double cubic_a = -0.75, extrapolation = 0;
  bool exclude_outside = false, antialias = false;
};

struct Axis {
  std::int64_t in = 1, out = 1;
  double scale = 1;       // as given, or out / in
  bool from_size = true;  // the scale is exactly out / in
  double roi_start = 0, roi_end = 1;
};

// Rows of (source, weight); sources lie in [0, in). Empty rows are extrapolated.
struct Table {
  std::vector<std::int64_t> offsets{0}, index;
  std::vector<double> weight;
  std::vector<char> outside;
};

// p / scale. Scales are float32 in the file; the quotient is rounded likewise, so that 11 / 1.1 is 10.
double unscaled(const Axis& a, double p) {
  if (a.from_size) return p * static_cast<double>(a.in) / static_cast<double>(a.out);
  return static_cast<double>(static_cast<float>(p / a.scale));
}

// Where in the input output position `o` lies.
double coordinate(const Settings& s, const Axis& a, std::int64_t o) {
  const auto x = static_cast<double>(o), in = static_cast<double>(a.in), out = static_cast<double>(a.out);
  const double resized = a.from_size ? out : in * a.scale;  // may have a fraction
  if (s.coordinates == "half_pixel") return unscaled(a, x + 0.5) - 0.5;
  if (s.coordinates == "pytorch_half_pixel") return a.out > 1 ? unscaled(a, x + 0.5) - 0.5 : 0;
  if (s.coordinates == "half_pixel_symmetric") {
    return in / 2 * (1 - out / resized) + unscaled(a, x + 0.5) - 0.5;
  }
  if (s.coordinates == "align_corners") return a.out > 1 ? x * (in - 1) / (resized - 1) : 0;
  if (s.coordinates == "tf_half_pixel_for_nn") return unscaled(a, x + 0.5);
  if (s.coordinates == "tf_crop_and_resize") {
    if (a.out <= 1) return 0.5 * (a.roi_start + a.roi_end) * (in - 1);
    return a.roi_start * (in - 1) + x * (a.roi_end - a.roi_start) * (in - 1) / (out - 1);
  }
  return unscaled(a, x);  // asymmetric
}

std::int64_t nearest(const Settings& s, const Axis& a, double x) {
  const double low = std::floor(x), fraction = x - low;
  bool up = fraction > 0.5;  // round_prefer_floor
  if (s.nearest == "round_prefer_ceil") up = fraction >= 0.5;
  if (s.nearest == "floor") up = false;
  if (s.nearest == "ceil") up = fraction > 0;
  if (s.nearest == "simple") up = fraction > 0 && a.scale < 1;  // before opset 11
  return static_cast<std::int64_t>(low) + (up ? 1 : 0);
}

// The weight of a source at distance d (in units of the input, or of the output where antialiasing shrinks).
double kernel(const Settings& s, double d) {
  d = std::abs(d);
  if (s.mode == "linear") return std::max(0.0, 1 - d);
  const double a = s.cubic_a;
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? a * (((d - 5) * d + 8) * d - 4) : 0;
}

// Sources and weights of one output position, unnormalised sources outside included; `w` is room to work in.
void add_row(const Settings& s, const Axis& a, std::int64_t o, Table& t, std::vector<double>& w) {
  const double x = std::clamp(coordinate(s, a, o), -1e15, 1e15);
  const auto finish = [&](bool outside) {
    t.offsets.push_back(static_cast<std::int64_t>(t.index.size()));
    t.outside.push_back(outside);
  };
  const auto last = static_cast<double>(a.in - 1);
  if (s.coordinates == "tf_crop_and_resize" && !(x >= 0 && x <= last)) return finish(true);
  const auto inside = [&](std::int64_t i) { return std::clamp<std::int64_t>(i, 0, a.in - 1); };
  if (s.mode == "nearest") {
    t.index.push_back(inside(nearest(s, a, x)));
    t.weight.push_back(1);
    return finish(false);
  }
  // An integer x belongs to the interval on its left: x = low + ratio with ratio in (0, 1].
  const double low = std::ceil(x) - 1, ratio = x - low;
  const double shrink = s.antialias ? std::min(1.0, a.scale) : 1.0;
  const double radius = (s.mode == "linear" ? 1 : 2) / shrink;
  ONNXRAY_CHECK(radius * static_cast<double>(a.out) <= 0x1p28, "scale ", a.scale, " to an extent of ", a.out,
                " reads too many elements");
  const auto first = static_cast<std::int64_t>(std::floor(-radius)) + 1;
  w.clear();
  double sum = 0;
  for (std::int64_t i = first; i <= 1 - first; ++i) {
    const std::int64_t source = static_cast<std::int64_t>(low) + i;
    const bool dropped = s.exclude_outside && source != inside(source);
    w.push_back(dropped ? 0 : kernel(s, (static_cast<double>(i) - ratio) * shrink));
    sum += w.back();
  }
  if (!s.exclude_outside && !s.antialias) sum = 1;
  for (std::size_t k = 0; k < w.size(); ++k) {
    if (w[k] == 0 || sum == 0) continue;
    const std::int64_t source = inside(static_cast<std::int64_t>(low) + first + static_cast<std::int64_t>(k));
    // Clamped sources meet at the border.
    if (!t.index.empty() && static_cast<std::int64_t>(t.index.size()) > t.offsets.back() && t.index.back() == source) {
      t.weight.back() += w[k] / sum;
    } else {
      t.index.push_back(source);
      t.weight.push_back(w[k] / sum);
    }
  }
  finish(false);
}

bool is_identity(const Table& t, std::int64_t in) {
  if (static_cast<std::int64_t>(t.index.size()) != in || static_cast<std::int64_t>(t.outside.size()) != in)
    return false;
  for (std::size_t i = 0; i < t.index.size(); ++i) {
    if (t.index[i] != static_cast<std::int64_t>(i) || t.weight[i] != 1 || t.outside[i] != 0) return false;
  }
  return true;
}

ValueId apply(Builder& b, ValueId x, std::int64_t axis, const Table& t, const Settings& s) {
  const bool any_outside = std::find(t.outside.begin(), t.outside.end(), 1) != t.outside.end();
  if (s.mode == "nearest") {
    if (!any_outside) return take(b, x, axis, t.index);
    std::vector<std::int64_t> index;  // an outside position shows any element; it is replaced below
    for (std::size_t o = 0; o < t.outside.size(); ++o) {
      index.push_back(t.outside[o] != 0 ? 0 : t.index[at(t.offsets[o])]);
    }
    return take(b, x, axis, index);
  }
  return b.op("resample", {x},
              {{"axis", axis},
               {"offsets", Tensor::ints(t.offsets)},
               {"index", Tensor::ints(t.index)},
               {"weight", Tensor::from<double>({static_cast<std::int64_t>(t.weight.size())}, t.weight)}});
}

// Far beyond any picture or recording; a table of more sources and weights costs seconds before anything runs.
constexpr std::int64_t kLongestResized = std::int64_t{1} << 22;

ValueId resize(Builder& b, ValueId x, const std::vector<Axis>& axes, const Settings& s) {
  const DType dtype = b.dtype(x);
  const bool arithmetic = s.mode != "nearest";
  if (arithmetic && !is_float(dtype)) x = b.cast(x, DType::f32);
  struct Job {
    std::int64_t axis;
    double growth;
    Table table;
  };
  std::vector<Job> jobs;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const Axis& a = axes[i];
    ONNXRAY_CHECK(a.out == 0 || a.in > 0, "cannot resize an empty axis ", i, " to ", a.out);
    if (a.in == a.out && a.scale == 1 && a.roi_start == 0 && a.roi_end == 1) continue;
    check_table(a.in);
    ONNXRAY_CHECK(a.out <= kLongestResized, "cannot resize axis ", i, " to ", a.out, ", the longest is ",
                  kLongestResized);
    Table t;
    std::vector<double> w;
    for (std::int64_t o = 0; o < a.out; ++o) add_row(s, a, o, t, w);
    if (is_identity(t, a.in)) continue;
    jobs.push_back(
        {static_cast<std::int64_t>(i), static_cast<double>(a.out) / static_cast<double>(a.in + 1), std::move(t)});
  }
  // What shrinks goes first; among equals the last axis, whose short rows are then read while the array is small.
  std::reverse(jobs.begin(), jobs.end());
  std::stable_sort(jobs.begin(), jobs.end(), [](const Job& p, const Job& q) { return p.growth < q.growth; });
  for (const Job& job : jobs) x = apply(b, x, job.axis, job.table, s);
  if (arithmetic && !is_float(dtype)) x = b.cast(x, dtype);
  for (const Job& job : jobs) {
    if (std::find(job.table.outside.begin(), job.table.outside.end(), 1) == job.table.outside.end()) continue;
    Dims dims(axes.size(), 1);
    dims[at(job.axis)] = static_cast<std::int64_t>(job.table.outside.size());
    Tensor mask(DType::boolean, dims);
    const auto m = mask.mutable_data<bool>();
    for (std::size_t i = 0; i < m.size(); ++i) m[i] = job.table.outside[i] != 0;
    x = b.where(b.constant(mask), b.scalar_like(x, s.extrapolation), x);
  }
  return x;
}

// floor(in * scale) in float32, as the runtimes that models were exported for compute it.
std::int64_t scaled(std::int64_t in, double scale) {
  const float out = std::floor(static_cast<float>(in) * static_cast<float>(scale));
  ONNXRAY_CHECK(scale > 0 && out >= 0 && out < 0x1p40f, "scale ", scale, " of extent ", in);
  return static_cast<std::int64_t>(out);
}

// Scales alone, one per axis of the input, rows of opsets before 11.
void by_scales(ConvertCtx& c, const std::vector<double>& scales) {
  const Dims in = c.dims(0);
  ONNXRAY_CHECK(scales.size() == in.size(), scales.size(), " scales for shape ", to_string(in));
  Settings s;
  s.mode = c.attr_string("mode", "nearest");
  if (s.mode == "bilinear") s.mode = "linear";
  ONNXRAY_CHECK(s.mode == "nearest" || s.mode == "linear", "unknown mode '", s.mode, "'");
  std::vector<Axis> axes;
  for (std::size_t i = 0; i < in.size(); ++i) axes.push_back({in[i], scaled(in[i], scales[i]), scales[i], false, 0, 1});
  c.out(resize(c.b, c.in(0), axes, s));
}

void upsample_1(ConvertCtx& c) {
  ONNXRAY_CHECK(c.rank(0) == 4, "expected a shape [N, C, H, W], got ", to_string(c.dims(0)));
  by_scales(c, {1, 1, c.attr_float("height_scale", 0), c.attr_float("width_scale", 0)});
}

template <class T>
void expect_one_of(const char* what, const std::string& got, const T& allowed) {
  ONNXRAY_CHECK(std::find(std::begin(allowed), std::end(allowed), got) != std::end(allowed), "unknown ", what, " '",
                got, "'");
}

Settings settings_of(const ConvertCtx& c) {
  Settings s;
  s.mode = c.attr_string("mode", "nearest");
  s.coordinates = c.attr_string("coordinate_transformation_mode", "half_pixel");
  s.nearest = c.attr_string("nearest_mode", "round_prefer_floor");
  s.cubic_a = c.attr_float("cubic_coeff_a", -0.75);
  s.extrapolation = c.attr_float("extrapolation_value", 0);
  s.exclude_outside = c.attr_int("exclude_outside", 0) != 0;
  s.antialias = c.version >= 18 && c.attr_int("antialias", 0) != 0;
  static constexpr const char* kModes[] = {"nearest", "linear", "cubic"};
  static constexpr const char* kNearest[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
  static constexpr const char* kCoordinates[] = {"half_pixel",          "pytorch_half_pixel", "align_corners",
                                                 "asymmetric",          "tf_crop_and_resize", "tf_half_pixel_for_nn",
                                                 "half_pixel_symmetric"};
  expect_one_of("mode", s.mode, kModes);
  expect_one_of("nearest_mode", s.nearest, kNearest);
  expect_one_of("coordinate_transformation_mode", s.coordinates, kCoordinates);
  return s;
}

// Inputs (x, roi, scales, sizes), of which scales or sizes may be empty; `axes` (18) restricts them all.
void resize_11(ConvertCtx& c) {
  const Settings s = settings_of(c);
  const Dims in = c.dims(0);
  std::vector<std::int64_t> which = c.attr_ints("axes");
  if (c.version < 18 || !c.has_attr("axes")) {
    which.clear();
    for (std::size_t i = 0; i < in.size(); ++i) which.push_back(static_cast<std::int64_t>(i));
  }
  (void)normalize_axes(which, in.size(), "Resize");
  for (std::int64_t& a : which) a = normalize_axis(a, in.size(), "Resize");
  const auto given = [&](std::size_t i) { return c.has(i) && count_of(c.dims(i)) > 0; };
  std::vector<Axis> axes;
  for (const std::int64_t d : in) axes.push_back({.in = d, .out = d});
  if (s.coordinates == "tf_crop_and_resize") {
    const std::vector<double> roi = c.constant(1).to_doubles();
    ONNXRAY_CHECK(roi.size() == 2 * which.size(), "the region has ", roi.size(), " numbers for ", which.size(),
                  " axes");
    for (std::size_t i = 0; i < which.size(); ++i) {
      ONNXRAY_CHECK(std::isfinite(roi[i]) && std::isfinite(roi[i + which.size()]), "the region is not finite");
      axes[at(which[i])].roi_start = roi[i];
      axes[at(which[i])].roi_end = roi[i + which.size()];
    }
  }
  if (given(3)) {
    const std::vector<std::int64_t> sizes = c.constant_ints(3);
    ONNXRAY_CHECK(sizes.size() == which.size(), sizes.size(), " sizes for ", which.size(), " axes");
    const std::string policy = c.version < 18 ? "stretch" : c.attr_string("keep_aspect_ratio_policy", "stretch");
    static constexpr const char* kPolicies[] = {"stretch", "not_larger", "not_smaller"};
    expect_one_of("keep_aspect_ratio_policy", policy, kPolicies);
    double common = 0;
    for (std::size_t i = 0; i < which.size(); ++i) {
      Axis& a = axes[at(which[i])];
      ONNXRAY_CHECK(sizes[i] >= 0, "size ", sizes[i], " is negative");
      check_table(sizes[i]);
      a.out = sizes[i];
      a.scale = static_cast<double>(a.out) / static_cast<double>(std::max<std::int64_t>(1, a.in));
      common = i == 0 ? a.scale : policy == "not_larger" ? std::min(common, a.scale) : std::max(common, a.scale);
    }
    for (const std::int64_t i : which) {
      Axis& a = axes[at(i)];
      if (policy == "stretch") continue;
      const double out = std::floor(common * static_cast<double>(a.in) + 0.5);
      ONNXRAY_CHECK(out < 0x1p40, "size ", out, " is huge");
      a.out = static_cast<std::int64_t>(out);
      a.from_size = a.scale == common;
      a.scale = common;
    }
  } else {
    ONNXRAY_CHECK(given(2), "neither scales nor sizes are given");
    const std::vector<double> scales = c.constant(2).to_doubles();
    ONNXRAY_CHECK(scales.size() == which.size(), scales.size(), " scales for ", which.size(), " axes");
    for (std::size_t i = 0; i < which.size(); ++i) {
      Axis& a = axes[at(which[i])];
      const bool crop = s.coordinates == "tf_crop_and_resize";
      a.scale = scales[i];
      a.from_size = false;
      a.out = scaled(a.in, scales[i] * (crop ? a.roi_end - a.roi_start : 1));
    }
  }
  c.out(resize(c.b, c.in(0), axes, s));
}

}  // namespace

void add_resize_rows(OpTable& t) {
  t.add({.op_type = "Resize", .since = 10, .convert = [](ConvertCtx& c) { by_scales(c, c.constant(1).to_doubles()); }});
  t.add({.op_type = "Resize", .since = 11, .convert = resize_11});
  t.add({.op_type = "Upsample", .convert = upsample_1});
  t.add({.op_type = "Upsample", .since = 7, .convert = [](ConvertCtx& c) { by_scales(c, c.attr_floats("scales")); }});
  t.add(
      {.op_type = "Upsample", .since = 9, .convert = [](ConvertCtx& c) { by_scales(c, c.constant(1).to_doubles()); }});
}

}  // namespace onnxray::onnx_import
