#include "algorithms/features.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <set>

#include "algorithms/segments.h"

namespace onnxray {
namespace {

// ids [1 or examples, dims that broadcast to a row]; throws for another shape or ids that are no integers.
Tensor checked_ids(const CutValue& c, const Tensor& given, std::int64_t examples) {
  const Dims& row = c.row_dims;
  Dims dims = given.dims();
  std::int64_t rows = 1;
  const auto refuse = [&] {
    fail("the feature mask for '", c.name, "' has shape ", to_string(given.dims()),
         ", expected one that broadcasts to ", to_string(row), ", or [1 or ", examples, "] of them");
  };
  if (dims.size() == row.size() + 1) {
    rows = dims[0];
    if (rows != 1 && rows != examples) refuse();
    dims.erase(dims.begin());
  }
  if (dims.size() > row.size()) refuse();
  dims.insert(dims.begin(), row.size() - dims.size(), 1);
  for (std::size_t d = 0; d < row.size(); ++d) {
    if (dims[d] != 1 && dims[d] != row[d]) refuse();
  }
  if (is_float(given.dtype())) {
    for (const double v : given.to_doubles()) {
      ONNXRAY_CHECK(v == std::floor(v) && std::abs(v) < 0x1p53, "the feature mask for '", c.name, "' holds ", v,
                    ", expected integer ids");
    }
  }
  return given.to(DType::i64).reshaped(with_rows(rows, dims));
}

}  // namespace

FeatureMask grid_mask(std::int64_t cells) {
  return {.kind = FeatureMask::Kind::kGrid, .number = cells, .text = "grid:" + std::to_string(cells)};
}

std::optional<FeatureMask> parse_feature_mask(std::string_view text) {
  FeatureMask m;
  m.text = text;
  if (text == "elements") return m;
  const std::size_t colon = text.find(':');
  const std::string_view word = text.substr(0, colon);
  if (word == "axis") m.kind = FeatureMask::Kind::kAxis;
  else if (word == "grid") m.kind = FeatureMask::Kind::kGrid;
  else if (word == "slic") m.kind = FeatureMask::Kind::kSlic;
  else return std::nullopt;
  const std::string_view number = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), m.number);
  const std::int64_t least = m.kind == FeatureMask::Kind::kAxis ? 0 : 1;
  ONNXRAY_CHECK(error == std::errc() && end == number.data() + number.size() && m.number >= least, "feature mask '",
                text, "': expected a number of at least ", least, " after '", word, ":'");
  return m;
}

Features::Features(Session& session, const FeatureMask& mask, const Split& split)
    : vary_(session.vary()), examples_(session.examples()) {
  std::int64_t next = 0;
  switch (mask.kind) {
    case FeatureMask::Kind::kElements: number_elements(next); break;
    case FeatureMask::Kind::kAxis: number_axis(mask.number, next); break;
    case FeatureMask::Kind::kGrid: number_grid(session, mask.number, next); break;
    case FeatureMask::Kind::kSlic: number_superpixels(mask.number); return;
    case FeatureMask::Kind::kTensors: take(session, mask, split); return;
  }
  counts_ = {next};
}

std::int64_t Features::most() const { return *std::max_element(counts_.begin(), counts_.end()); }

void Features::number_elements(std::int64_t& next) {
  for (const CutValue& c : vary_) {
    Tensor t(DType::i64, with_rows(1, c.row_dims));
    const auto ids = t.mutable_data<std::int64_t>();
    std::iota(ids.begin(), ids.end(), next);
    next += t.size();
    ids_.push_back(t);
  }
}

void Features::number_axis(std::int64_t axis, std::int64_t& next) {
  for (const CutValue& c : vary_) {
    ONNXRAY_CHECK(axis >= 0 && index(axis) < c.row_dims.size(), "feature mask axis:", axis, ": a row of '", c.name,
                  "' has shape ", to_string(c.row_dims));
    Dims dims(c.row_dims.size(), 1);
    dims[index(axis)] = c.row_dims[index(axis)];
    Tensor t(DType::i64, with_rows(1, dims));
    const auto ids = t.mutable_data<std::int64_t>();
    std::iota(ids.begin(), ids.end(), next);
    next += t.size();
    ids_.push_back(t);
  }
}

void Features::number_grid(Session& session, std::int64_t cells, std::int64_t& next) {
  for (const CutValue& c : vary_) {
    const PictureAxes axes = picture_axes(c.row_dims);
    Dims dims(c.row_dims.size(), 1);
    if (!axes.any) {
      ids_.push_back(Tensor::from<std::int64_t>({1}, {next++}));
      continue;
    }
    const std::int64_t h = c.row_dims[axes.y], w = c.row_dims[axes.x];
    dims[axes.y] = h;
    dims[axes.x] = w;
    for (const std::int64_t extent : axes.two() ? Dims{h, w} : Dims{w}) {
      if (extent < cells) {
        session.notice(detail::concat("feature mask grid:", cells, ": '", c.name, "' has only ", extent,
                                      " elements along an axis, each its own cell"));
      }
    }
    const std::int64_t down = axes.two() ? std::min(cells, h) : 1, across = std::min(cells, w);
    Tensor t(DType::i64, with_rows(1, dims));
    const auto ids = t.mutable_data<std::int64_t>();
    for (std::size_t k = 0; k < ids.size(); ++k) {
      const auto at = static_cast<std::int64_t>(k);
      const std::int64_t y = axes.two() ? grid_cell(at / w, h, down) : 0;
      ids[k] = next + y * across + grid_cell(at % w, w, across);
    }
    next += down * across;
    ids_.push_back(t);
  }
}

void Features::number_superpixels(std::int64_t count) {
  shared_ = examples_ == 1;
  counts_.assign(index(examples_), 0);
  for (const CutValue& c : vary_) {
    const PictureAxes axes = picture_axes(c.row_dims);
    ONNXRAY_CHECK(axes.two(), "feature mask slic:", count, " needs pictures, a row of '", c.name, "' has shape ",
                  to_string(c.row_dims));
    const std::int64_t h = c.row_dims[axes.y], w = c.row_dims[axes.x], row = count_of(c.row_dims);
    // Everything beside the picture's axes is colour.
    const std::int64_t outer = product(c.row_dims, 0, axes.y),
                       inner = product(c.row_dims, axes.x + 1, c.row_dims.size());
    const std::int64_t channels = outer * inner;
    Dims dims(c.row_dims.size(), 1);
    dims[axes.y] = h;
    dims[axes.x] = w;
    Tensor t(DType::i64, with_rows(examples_, dims));
    const std::vector<double> all = c.actual.to_doubles();
    std::vector<double> pixels(index(row));
    for (std::int64_t e = 0; e < examples_; ++e) {
      for (std::int64_t o = 0; o < outer; ++o) {
        for (std::int64_t p = 0; p < h * w; ++p) {
          for (std::int64_t i = 0; i < inner; ++i) {
            pixels[index(p * channels + o * inner + i)] = all[index(e * row + (o * h * w + p) * inner + i)];
          }
        }
      }
      const std::vector<std::int64_t> labels = slic(pixels, h, w, channels, count);
      std::int64_t* ids = t.mutable_data<std::int64_t>().data() + e * h * w;
      for (std::size_t p = 0; p < labels.size(); ++p) ids[p] = counts_[index(e)] + labels[p];
      counts_[index(e)] += 1 + *std::max_element(labels.begin(), labels.end());
    }
    ids_.push_back(t);
  }
}

void Features::take(Session& session, const FeatureMask& mask, const Split& split) {
  const std::int64_t given_examples = split.examples > 0 ? split.examples : examples_;
  for (const auto& [name, t] : mask.tensors) {
    const bool known =
        std::any_of(vary_.begin(), vary_.end(), [&, n = name](const CutValue& c) { return c.name == n; });
    ONNXRAY_CHECK(known, "feature mask for '", name, "', which is not attributed to");
  }
  for (const CutValue& c : vary_) {
    const auto it = mask.tensors.find(c.name);
    ONNXRAY_CHECK(it != mask.tensors.end(), "no feature mask for '", c.name,
                  "': every attributed value needs one (--feature-mask NAME=FILE)");
    Tensor t = checked_ids(c, it->second, given_examples);
    if (split.examples > 0 && t.dims()[0] != 1) t = t.rows(split.example, split.example + 1);
    shared_ = shared_ && t.dims()[0] == 1;
    ids_.push_back(t);
  }
  // Ids to 0, 1, ... in each example.
  bool gaps = false;
  const std::int64_t rows = shared_ ? 1 : examples_;
  std::vector<Tensor> numbered;
  for (const Tensor& t : ids_) {
    Dims dims = t.dims();
    dims[0] = rows;
    numbered.emplace_back(DType::i64, dims);
  }
  for (std::int64_t e = 0; e < rows; ++e) {
    const auto row_of = [&](const Tensor& t) {
      const std::int64_t size = t.size() / t.dims()[0];
      return t.data<std::int64_t>().subspan(index(t.dims()[0] == 1 ? 0 : e * size), index(size));
    };
    std::set<std::int64_t> seen;
    for (const Tensor& t : ids_) {
      for (const std::int64_t id : row_of(t)) seen.insert(id);
    }
    const std::vector<std::int64_t> sorted(seen.begin(), seen.end());
    for (std::size_t i = 0; i < ids_.size(); ++i) {
      const auto from = row_of(ids_[i]);
      std::int64_t* to = numbered[i].mutable_data<std::int64_t>().data() + e * static_cast<std::int64_t>(from.size());
      for (std::size_t k = 0; k < from.size(); ++k) {
        to[k] = std::lower_bound(sorted.begin(), sorted.end(), from[k]) - sorted.begin();
      }
    }
    const auto count = static_cast<std::int64_t>(sorted.size());
    ONNXRAY_CHECK(count > 0, "the attributed values have no elements");
    if (!gaps && (sorted.front() != 0 || sorted.back() != count - 1)) {
      gaps = true;
      session.notice(detail::concat("feature ids run from ", sorted.front(), " to ", sorted.back(), " but only ", count,
                                    " of them occur: these are the features"));
    }
    counts_.push_back(count);
  }
  ids_ = std::move(numbered);
}

std::vector<std::int64_t> Features::of_elements(std::size_t i, std::int64_t example) const {
  const Dims& row = vary_.at(i).row_dims;
  const Tensor& t = ids_.at(i);
  const Dims mask(t.dims().begin() + 1, t.dims().end());
  const std::int64_t size = count_of(mask);
  const std::int64_t* ids = t.data<std::int64_t>().data() + (t.dims()[0] == 1 ? 0 : example * size);
  std::vector<std::int64_t> out(index(count_of(row)));
  if (mask == row) {
    std::copy(ids, ids + size, out.begin());
    return out;
  }
  Dims strides = strides_of(mask);
  for (std::size_t d = 0; d < mask.size(); ++d) strides[d] = mask[d] == 1 ? 0 : strides[d];
  Dims at(row.size(), 0);
  std::int64_t offset = 0;
  for (std::int64_t& o : out) {
    o = ids[offset];
    for (std::size_t d = row.size(); d-- > 0;) {
      offset += strides[d];
      if (++at[d] < row[d]) break;
      offset -= strides[d] * row[d];
      at[d] = 0;
    }
  }
  return out;
}

Tensor Features::spread(std::size_t i, const std::vector<std::vector<double>>& scores, std::int64_t scalars) const {
  ONNXRAY_ASSERT(static_cast<std::int64_t>(scores.size()) == examples_ * scalars);
  Tensor out(DType::f64, with_rows(examples_ * scalars, vary_.at(i).row_dims));
  double* to = out.mutable_data<double>().data();
  std::vector<std::int64_t> features;
  for (std::int64_t e = 0; e < examples_; ++e) {
    if (e == 0 || !shared_) features = of_elements(i, e);
    for (std::int64_t k = 0; k < scalars; ++k) {
      const std::vector<double>& score = scores[index(e * scalars + k)];
      for (const std::int64_t f : features) *to++ = score[index(f)];
    }
  }
  return out;
}

}  // namespace onnxray
