#include "algorithms/baselines.h"

#include <algorithm>
#include <cmath>

namespace onnxray {

Tensor gaussian_blur(const Tensor& images, double sigma) {
  ONNXRAY_CHECK(images.rank() >= 2, "blur needs images [..., H, W], got shape ", to_string(images.dims()));
  const std::int64_t h = images.dims()[images.rank() - 2], w = images.dims()[images.rank() - 1];
  if (sigma <= 0) sigma = static_cast<double>(std::max(h, w)) / 10;
  const auto radius = static_cast<std::int64_t>(std::ceil(3 * sigma));
  std::vector<double> kernel;
  double sum = 0;
  for (std::int64_t d = -radius; d <= radius; ++d) {
    kernel.push_back(std::exp(-static_cast<double>(d * d) / (2 * sigma * sigma)));
    sum += kernel.back();
  }
  for (double& k : kernel) k /= sum;
  Tensor out = Tensor(DType::f64, images.dims());
  const std::vector<double> in = images.to_doubles();
  const auto result = out.mutable_data<double>();
  std::vector<double> rows(static_cast<std::size_t>(h * w));
  const auto at = [w](std::int64_t y, std::int64_t x) { return static_cast<std::size_t>(y * w + x); };
  const std::int64_t planes = h * w == 0 ? 0 : images.size() / (h * w);
  for (std::int64_t p = 0; p < planes; ++p) {
    const double* plane = in.data() + p * h * w;
    double* to = result.data() + p * h * w;
    for (std::int64_t y = 0; y < h; ++y) {
      for (std::int64_t x = 0; x < w; ++x) {
        double v = 0;
        for (std::int64_t d = -radius; d <= radius; ++d) {
          v += kernel[static_cast<std::size_t>(d + radius)] * plane[at(y, std::clamp<std::int64_t>(x + d, 0, w - 1))];
        }
        rows[at(y, x)] = v;
      }
    }
    for (std::int64_t y = 0; y < h; ++y) {
      for (std::int64_t x = 0; x < w; ++x) {
        double v = 0;
        for (std::int64_t d = -radius; d <= radius; ++d) {
          v += kernel[static_cast<std::size_t>(d + radius)] * rows[at(std::clamp<std::int64_t>(y + d, 0, h - 1), x)];
        }
        to[at(y, x)] = v;
      }
    }
  }
  return out;
}

namespace {

void check_names(const Session& session, const Baselines& baselines) {
  for (const auto& [name, t] : baselines.tensors) {
    const bool known = std::any_of(session.vary().begin(), session.vary().end(),
                                   [&, n = name](const CutValue& c) { return c.name == n; });
    ONNXRAY_CHECK(known, "baseline for '", name, "', which is not varied");
  }
}

// The user's tensor for one value as [rows, row_dims...]; zeros if there is none. A single number stands for a full
// row.
Tensor given_rows(const Baselines& baselines, const CutValue& c) {
  const Dims one = with_rows(1, c.row_dims);
  const auto it = baselines.tensors.find(c.name);
  if (it == baselines.tensors.end()) return Tensor::zeros(DType::f64, one);
  const Tensor t = it->second.to(DType::f64);
  if (t.size() == 1 && t.rank() <= 1 && count_of(one) != 1) return Tensor::full(DType::f64, one, t.to_doubles()[0]);
  return t.dims() == c.row_dims ? t.reshaped(one) : t;
}

Tensor repeated(const Tensor& row, std::int64_t count) {
  return stack_rows(std::vector<Tensor>(static_cast<std::size_t>(count), row));
}

}  // namespace

std::vector<Tensor> make_baselines(const Session& session, const Baselines& baselines, const Split& split) {
  check_names(session, baselines);
  std::vector<Tensor> out;
  for (const CutValue& c : session.vary()) {
    const Dims one = with_rows(1, c.row_dims);
    switch (baselines.kind) {
      case Baselines::Kind::kConstant: out.push_back(Tensor::full(DType::f64, one, baselines.constant)); break;
      case Baselines::Kind::kBlur:
        out.push_back(is_float(c.dtype) ? gaussian_blur(c.actual, baselines.blur_sigma) : c.actual.to(DType::f64));
        break;
      case Baselines::Kind::kTensors: {
        const Tensor t = given_rows(baselines, c);
        Dims many = one;
        many[0] = split.examples > 0 ? split.examples : session.examples();
        ONNXRAY_CHECK(t.dims() == one || t.dims() == many, "the baseline for '", c.name, "' has shape ",
                      to_string(baselines.tensors.at(c.name).dims()), ", expected ", to_string(one), " or ",
                      to_string(many));
        out.push_back(split.examples > 0 && t.dims()[0] != 1 ? t.rows(split.example, split.example + 1) : t);
        break;
      }
    }
  }
  // One row count for all, so that one index serves them.
  const bool any_many = std::any_of(out.begin(), out.end(), [](const Tensor& t) { return t.dims()[0] != 1; });
  for (Tensor& t : out) {
    if (any_many && t.dims()[0] == 1) t = repeated(t, session.examples());
  }
  return out;
}

std::vector<Tensor> make_baseline_sample(const Session& session, const Baselines& baselines) {
  check_names(session, baselines);
  ONNXRAY_CHECK(baselines.kind != Baselines::Kind::kBlur,
                "baselines are drawn from a sample here, and blur makes one of each example; expected a number or "
                "tensors [rows, ...]");
  std::vector<Tensor> out;
  std::int64_t rows = 1;
  std::string first;
  for (const CutValue& c : session.vary()) {
    const Dims one = with_rows(1, c.row_dims);
    if (baselines.kind == Baselines::Kind::kConstant) {
      out.push_back(Tensor::full(DType::f64, one, baselines.constant));
      continue;
    }
    const Tensor t = given_rows(baselines, c);
    Dims many = one;
    many[0] = t.dims().empty() ? 0 : t.dims()[0];
    ONNXRAY_CHECK(t.dims() == many && many[0] >= 1, "the baselines for '", c.name, "' have shape ",
                  to_string(baselines.tensors.at(c.name).dims()), ", expected any number of rows of shape ",
                  to_string(c.row_dims));
    ONNXRAY_CHECK(many[0] == 1 || rows == 1 || many[0] == rows, "there are ", many[0], " baselines for '", c.name,
                  "' and ", rows, " for '", first, "': row r of one goes with row r of the other");
    if (many[0] != 1) {
      rows = many[0];
      first = c.name;
    }
    out.push_back(t);
  }
  for (Tensor& t : out) {
    if (t.dims()[0] != rows) t = repeated(t, rows);
  }
  return out;
}

}  // namespace onnxray
