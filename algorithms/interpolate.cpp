#include "algorithms/interpolate.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace onnxray {
namespace {

// Output o is the sum of weight[j] * x[index[j]] over offsets[o] <= j < offsets[o + 1].
struct Table {
  std::vector<std::int64_t> offsets{0}, index;
  std::vector<double> weight;
  void add(std::int64_t i, double w) {
    index.push_back(i);
    weight.push_back(w);
  }
  void next() { offsets.push_back(static_cast<std::int64_t>(index.size())); }
};

Table table_of(std::int64_t in, std::int64_t out, const std::string& mode) {
  Table t;
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const auto clamped = [&](std::int64_t i) { return std::clamp<std::int64_t>(i, 0, in - 1); };
  for (std::int64_t o = 0; o < out; ++o, t.next()) {
    if (mode == "nearest") {
      t.add(o * in / out, 1);
    } else if (mode == "area") {
      const std::int64_t begin = o * in / out, end = ((o + 1) * in + out - 1) / out;
      for (std::int64_t i = begin; i < end; ++i) t.add(i, 1 / static_cast<double>(end - begin));
    } else {
      // Pixel centres: output o lies at (o + 1/2) in / out - 1/2.
      const bool cubic = mode == "bicubic";
      const double at = (static_cast<double>(o) + 0.5) * scale - 0.5;
      const double from = cubic ? at : std::max(0.0, at);
      const auto i = static_cast<std::int64_t>(std::floor(from));
      const double f = from - static_cast<double>(i);
      if (!cubic) {
        t.add(clamped(i), 1 - f);
        t.add(clamped(i + 1), f);
        continue;
      }
      constexpr double a = -0.75;
      const auto near = [&](double d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
      const auto far = [&](double d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
      const std::array<double, 4> w{far(1 + f), near(f), near(1 - f), far(2 - f)};
      for (std::int64_t k = 0; k < 4; ++k) t.add(clamped(i - 1 + k), w[static_cast<std::size_t>(k)]);
    }
  }
  return t;
}

void check(const Dims& dims, const Dims& size, const std::string& mode) {
  const auto& known = interpolation_modes();
  std::string list;
  for (const std::string& m : known) list += (list.empty() ? "" : ", ") + m;
  ONNXRAY_CHECK(std::find(known.begin(), known.end(), mode) != known.end(), "unknown interpolation '", mode,
                "', expected one of: ", list);
  const std::size_t axes = mode == "linear"                          ? 1
                           : mode == "bilinear" || mode == "bicubic" ? 2
                           : mode == "trilinear"                     ? 3
                                                                     : 0;
  ONNXRAY_CHECK(axes == 0 || axes == size.size(), "interpolation '", mode, "' is for ", axes, " spatial axes, got ",
                size.size());
  ONNXRAY_CHECK(dims.size() >= size.size(), "cannot bring a map of shape ", to_string(dims), " to ", to_string(size));
  for (std::size_t i = 0; i < size.size(); ++i) {
    ONNXRAY_CHECK(size[i] > 0 && dims[dims.size() - size.size() + i] > 0, "cannot bring a map of shape ",
                  to_string(dims), " to ", to_string(size));
  }
}

}  // namespace

const std::vector<std::string>& interpolation_modes() {
  static const std::vector<std::string> modes = {"nearest", "linear", "bilinear", "trilinear", "bicubic", "area"};
  return modes;
}

Tensor interpolate(const Tensor& x, const Dims& size, const std::string& mode) {
  check(x.dims(), size, mode);
  Tensor now = x.to(DType::f64);
  for (std::size_t s = 0; s < size.size(); ++s) {
    const std::size_t axis = x.rank() - size.size() + s;
    Dims dims = now.dims();
    if (dims[axis] == size[s]) continue;
    const Table t = table_of(dims[axis], size[s], mode);
    const std::int64_t outer = product(dims, 0, axis), inner = product(dims, axis + 1, dims.size()), in = dims[axis];
    dims[axis] = size[s];
    Tensor next = Tensor::zeros(DType::f64, dims);
    const auto from = now.data<double>();
    const auto to = next.mutable_data<double>();
    for (std::int64_t p = 0; p < outer; ++p) {
      for (std::int64_t o = 0; o < size[s]; ++o) {
        for (std::int64_t j = t.offsets[static_cast<std::size_t>(o)]; j < t.offsets[static_cast<std::size_t>(o) + 1];
             ++j) {
          const double w = t.weight[static_cast<std::size_t>(j)];
          const double* row = from.data() + (p * in + t.index[static_cast<std::size_t>(j)]) * inner;
          double* sum = to.data() + (p * size[s] + o) * inner;
          for (std::int64_t i = 0; i < inner; ++i) sum[i] += w * row[i];
        }
      }
    }
    now = std::move(next);
  }
  return now;
}

ValueId interpolate(Builder& b, ValueId x, const Dims& size, const std::string& mode) {
  check(b.dims(x), size, mode);
  const std::size_t rank = b.rank(x);
  for (std::size_t s = 0; s < size.size(); ++s) {
    const std::size_t axis = rank - size.size() + s;
    const std::int64_t in = b.dims(x)[axis];
    if (in == size[s]) continue;
    const Table t = table_of(in, size[s], mode);
    x = b.op("resample", {x},
             {{"axis", static_cast<std::int64_t>(axis)},
              {"offsets", Tensor::ints(t.offsets)},
              {"index", Tensor::ints(t.index)},
              {"weight",
               Tensor::from<double>({static_cast<std::int64_t>(t.weight.size())}, std::span<const double>(t.weight))}});
  }
  return x;
}

}  // namespace onnxray
