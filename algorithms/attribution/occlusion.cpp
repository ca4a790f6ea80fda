#include "algorithms/attribution/occlusion.h"

#include <algorithm>
#include <cstring>

#include "algorithms/baselines.h"
#include "algorithms/scheduler.h"

namespace onnxray {
namespace {

// The windows of one value: starts at multiples of the stride, the last one cut off at the edge,
// count ceil((D - w) / s) + 1 per axis.
class Windows {
 public:
  Windows(const std::string& value, const Dims& row, std::vector<std::int64_t> shape, std::vector<std::int64_t> strides)
      : row_(row), shape_(std::move(shape)), strides_(std::move(strides)) {
    ONNXRAY_CHECK(shape_.size() == row.size(), "the window for '", value, "' has shape ", to_string(shape_),
                  ", expected ", row.size(), " numbers for a row of shape ", to_string(row));
    if (strides_.empty()) strides_.assign(row.size(), 1);
    if (strides_.size() == 1) strides_.assign(row.size(), strides_[0]);
    ONNXRAY_CHECK(strides_.size() == row.size(), "the strides for '", value, "' are ", to_string(strides_),
                  ", expected one number or ", row.size());
    for (std::size_t d = 0; d < row.size(); ++d) {
      ONNXRAY_CHECK(shape_[d] >= 1 && shape_[d] <= row[d], "the window for '", value, "' is ", shape_[d],
                    " long on axis ", d, ", expected 1 to ", row[d]);
      ONNXRAY_CHECK(strides_[d] >= 1 && (strides_[d] <= shape_[d] || shape_[d] == row[d]), "the stride for '", value,
                    "' is ", strides_[d], " on axis ", d, ", expected 1 to ", shape_[d],
                    ": a larger one leaves elements that no window covers");
      counts_.push_back((row[d] - shape_[d] + strides_[d] - 1) / strides_[d] + 1);
    }
  }

  [[nodiscard]] std::int64_t count() const { return count_of(counts_); }

  // Calls f(flat offset, length) for each contiguous run of window k.
  template <class F>
  void runs(std::int64_t k, F&& f) const {
    const std::size_t rank = row_.size();
    Dims begin(rank), end(rank);
    for (std::size_t d = rank; d-- > 0;) {
      begin[d] = (k % counts_[d]) * strides_[d];
      end[d] = std::min(row_[d], begin[d] + shape_[d]);
      k /= counts_[d];
    }
    if (rank == 0) return f(std::int64_t{0}, std::int64_t{1});
    const Dims strides = strides_of(row_);
    Dims at = begin;
    while (true) {
      std::int64_t offset = 0;
      for (std::size_t d = 0; d < rank; ++d) offset += at[d] * strides[d];
      f(offset, end[rank - 1] - begin[rank - 1]);
      std::size_t d = rank - 1;
      while (d-- > 0) {
        if (++at[d] < end[d]) break;
        at[d] = begin[d];
      }
      if (d == static_cast<std::size_t>(-1)) return;
    }
  }

 private:
  Dims row_, shape_, strides_, counts_;
};

}  // namespace

Attribution run_method(const Model& model, const Occlusion& options, const Request& request) {
  return run_by_rows(model, request, [&](const Request& part, const Split& split) {
    Session session(model, part, true);
    const std::int64_t examples = session.examples(), k = static_cast<std::int64_t>(session.to().size());
    const std::size_t values = session.vary().size();
    ONNXRAY_CHECK(options.sliding_window_shapes.size() == values, "occlusion got ",
                  options.sliding_window_shapes.size(), " window shapes for ", values,
                  values == 1 ? " value" : " values", " (--sliding-window-shapes 3,15,15)");
    ONNXRAY_CHECK(options.strides.empty() || options.strides.size() == values || options.strides.size() == 1,
                  "occlusion got ", options.strides.size(), " strides for ", values, " values");
    std::vector<Windows> windows;
    std::vector<std::int64_t> firsts;  // windows of all values in one sequence
    std::int64_t per_example = 0;
    for (std::size_t i = 0; i < values; ++i) {
      const CutValue& c = session.vary()[i];
      std::vector<std::int64_t> strides;
      if (!options.strides.empty()) strides = options.strides[options.strides.size() == 1 ? 0 : i];
      windows.emplace_back(c.name, c.row_dims, options.sliding_window_shapes[i], std::move(strides));
      firsts.push_back(per_example);
      per_example += windows.back().count();
    }
    const auto locate = [&](std::int64_t w) {
      std::size_t i = values - 1;
      while (w < firsts[i]) --i;
      return std::pair(i, w - firsts[i]);
    };
    const std::vector<Tensor> baselines = make_baselines(session, options.baselines, split);
    // Row 0 of an example is the example itself, rows 1.. its windows.
    const std::int64_t per = per_example + 1;
    Scheduler scheduler(part.compute, "occlusion", examples * per);
    RowProgram program(session, {.key = "masks", .make = masked_rows(), .inputs = mask_inputs(session)}, baselines,
                       examples * per);
    Attribution out;
    std::vector<std::vector<double>> covered(values);
    for (std::size_t i = 0; i < values; ++i) {
      const CutValue& c = session.vary()[i];
      Dims dims = c.row_dims;
      dims.insert(dims.begin(), examples * k);
      out.attributions[c.name] = Tensor::zeros(DType::f64, dims);
      covered[i].assign(static_cast<std::size_t>(count_of(c.row_dims)), 0);
      for (std::int64_t w = 0; w < windows[i].count(); ++w) {
        windows[i].runs(w, [&](std::int64_t offset, std::int64_t length) {
          for (std::int64_t j = 0; j < length; ++j) covered[i][static_cast<std::size_t>(offset + j)] += 1;
        });
      }
    }
    std::vector<Tensor> masks;
    for (const CutValue& c : session.vary()) {
      Dims dims = c.row_dims;
      dims.insert(dims.begin(), program.chunk());
      masks.emplace_back(DType::boolean, dims);
    }
    scheduler.run(
        program, examples * per, [&](std::int64_t r) { return Row{.example = r / per}; },
        [&](std::int64_t first, std::int64_t rows) {
          for (std::int64_t r = 0; r < rows; ++r) {
            const std::int64_t e = (first + r) / per, w = (first + r) % per - 1;
            if (w < 0) {
              for (std::int64_t j = 0; j < k; ++j) out.values.push_back(program.value(r, static_cast<std::size_t>(j)));
              continue;
            }
            const auto [i, window] = locate(w);
            Tensor& all = out.attributions[session.vary()[i].name];
            const std::int64_t size = static_cast<std::int64_t>(covered[i].size());
            for (std::int64_t j = 0; j < k; ++j) {
              const double drop =
                  out.values[static_cast<std::size_t>(e * k + j)] - program.value(r, static_cast<std::size_t>(j));
              double* row = all.mutable_data<double>().data() + (e * k + j) * size;
              windows[i].runs(window, [&](std::int64_t offset, std::int64_t length) {
                for (std::int64_t m = 0; m < length; ++m) row[offset + m] += drop;
              });
            }
          }
        },
        [&](std::int64_t first, std::int64_t rows) {
          for (Tensor& m : masks) std::memset(m.raw_mutable(), 0, m.bytes());
          for (std::int64_t r = 0; r < rows; ++r) {
            const std::int64_t w = (first + r) % per - 1;
            if (w < 0) continue;
            const auto [i, window] = locate(w);
            bool* row = masks[i].mutable_data<bool>().data() + r * static_cast<std::int64_t>(covered[i].size());
            windows[i].runs(window, [&](std::int64_t offset, std::int64_t length) {
              std::fill(row + offset, row + offset + length, true);
            });
          }
          for (std::size_t i = 0; i < values; ++i) program.bind(mask_input(i), masks[i]);
        });
    for (std::size_t i = 0; i < values; ++i) {
      const auto a = out.attributions[session.vary()[i].name].mutable_data<double>();
      for (std::size_t j = 0; j < a.size(); ++j) a[j] /= covered[i][j % covered[i].size()];
    }
    scheduler.report(out.report);
    out.report.batched = session.batched();
    out.report.notices = session.notices();
    out.report.precision = session.precision();
    return out;
  });
}

}  // namespace onnxray
