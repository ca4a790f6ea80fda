#include "algorithms/attribution/occlusion.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "algorithms/baselines.h"
#include "algorithms/incremental_rows.h"
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

  // The bounds [begin, end) of window k per axis.
  void box(std::int64_t k, Dims& begin, Dims& end) const {
    const std::size_t rank = row_.size();
    begin.assign(rank, 0);
    end.assign(rank, 0);
    for (std::size_t d = rank; d-- > 0;) {
      begin[d] = (k % counts_[d]) * strides_[d];
      end[d] = std::min(row_[d], begin[d] + shape_[d]);
      k /= counts_[d];
    }
  }

  // Calls f(flat offset, length) for each contiguous run of window k.
  template <class F>
  void runs(std::int64_t k, F&& f) const {
    Dims begin, end;
    box(k, begin, end);
    runs(begin, end, row_, f);
  }

  // The same for the elements [begin, end) per axis of an array of shape `dims`.
  template <class F>
  static void runs(const Dims& begin, const Dims& end, const Dims& dims, F&& f) {
    const std::size_t rank = dims.size();
    if (rank == 0) return f(std::int64_t{0}, std::int64_t{1});
    const Dims strides = strides_of(dims);
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

LocalRows local_rows(std::size_t value, const Windows& windows) {
  LocalRows rows{.value = value, .count = windows.count()};
  rows.box = [&windows](std::int64_t k, Dims& begin, Dims& end) { windows.box(k, begin, end); };
  rows.mark = [&windows](std::int64_t k, const Dims& from, const Dims& size, bool* mask) {
    Dims begin, end;
    windows.box(k, begin, end);
    for (std::size_t d = 0; d < begin.size(); ++d) begin[d] -= from[d], end[d] -= from[d];
    Windows::runs(begin, end, size, [&](std::int64_t offset, std::int64_t length) {
      std::fill(mask + offset, mask + offset + length, true);
    });
  };
  return rows;
}

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
    const std::vector<Tensor> baselines = make_baselines(session, options.baselines, split);
    // Windows that change little of every layer, value by value; the others are whole rows.
    std::vector<std::optional<IncrementalRows>> incremental(values);
    std::vector<std::size_t> whole;
    std::vector<std::int64_t> whole_firsts;  // their windows in one sequence
    std::int64_t whole_windows = 0, total = 0;
    for (std::size_t i = 0; i < values; ++i) {
      if (options.incremental) {
        incremental[i].emplace(session, local_rows(i, windows[i]), baselines[i]);
        if (incremental[i]->pays()) {
          session.notice(incremental[i]->notice());
          total += examples * (windows[i].count() + 1);
          continue;
        }
        incremental[i].reset();
      }
      whole.push_back(i);
      whole_firsts.push_back(whole_windows);
      whole_windows += windows[i].count();
    }
    // Row 0 of an example is the example itself, rows 1.. its windows.
    const std::int64_t per = whole_windows + 1;
    if (!whole.empty()) total += examples * per;
    Scheduler scheduler(part.compute, "occlusion", total);
    Attribution out;
    std::vector<double> rows(static_cast<std::size_t>(examples * per_example * k));  // scalars [E, windows, K]
    const auto scalars_of = [&](std::int64_t e, std::size_t i, std::int64_t window) {
      return rows.data() + (e * per_example + firsts[i] + window) * k;
    };
    for (std::size_t i = 0; i < values; ++i) {
      if (!incremental[i]) continue;
      IncrementalRows::Result result = incremental[i]->run(scheduler);
      out.values = std::move(result.clean);
      for (std::int64_t e = 0; e < examples; ++e) {
        const std::int64_t n = windows[i].count() * k;
        std::copy_n(result.rows.begin() + static_cast<std::ptrdiff_t>(e * n), n, scalars_of(e, i, 0));
      }
    }
    if (!whole.empty()) {
      const auto locate = [&](std::int64_t w) {
        std::size_t j = whole.size() - 1;
        while (w < whole_firsts[j]) --j;
        return std::pair(whole[j], w - whole_firsts[j]);
      };
      RowProgram program(session, {.key = "masks", .make = masked_rows(), .inputs = mask_inputs(session)}, baselines,
                         examples * per);
      std::vector<Tensor> masks;
      for (const CutValue& c : session.vary()) {
        const Dims dims = with_rows(program.chunk(), c.row_dims);
        masks.emplace_back(DType::boolean, dims);
      }
      out.values.resize(static_cast<std::size_t>(examples * k));
      scheduler.run(
          program, examples * per, [&](std::int64_t r) { return Row{.example = r / per}; },
          [&](std::int64_t first, std::int64_t count) {
            for (std::int64_t r = 0; r < count; ++r) {
              const std::int64_t e = (first + r) / per, w = (first + r) % per - 1;
              double* to = out.values.data() + e * k;
              if (w >= 0) {
                const auto [i, window] = locate(w);
                to = scalars_of(e, i, window);
              }
              for (std::int64_t j = 0; j < k; ++j) to[j] = program.value(r, static_cast<std::size_t>(j));
            }
          },
          [&](std::int64_t first, std::int64_t count) {
            for (Tensor& m : masks) std::memset(m.raw_mutable(), 0, m.bytes());
            for (std::int64_t r = 0; r < count; ++r) {
              const std::int64_t w = (first + r) % per - 1;
              if (w < 0) continue;
              const auto [i, window] = locate(w);
              bool* row = masks[i].mutable_data<bool>().data() + r * count_of(session.vary()[i].row_dims);
              windows[i].runs(window, [&](std::int64_t offset, std::int64_t length) {
                std::fill(row + offset, row + offset + length, true);
              });
            }
            for (std::size_t i = 0; i < values; ++i) program.bind(mask_input(i), masks[i]);
          });
    }
    for (std::size_t i = 0; i < values; ++i) {
      const CutValue& c = session.vary()[i];
      const Dims dims = with_rows(examples * k, c.row_dims);
      Tensor& all = out.attributions[c.name] = Tensor::zeros(DType::f64, dims);
      const std::int64_t size = count_of(c.row_dims);
      std::vector<double> covered(static_cast<std::size_t>(size), 0);
      for (std::int64_t window = 0; window < windows[i].count(); ++window) {
        windows[i].runs(window, [&](std::int64_t offset, std::int64_t length) {
          for (std::int64_t m = 0; m < length; ++m) covered[static_cast<std::size_t>(offset + m)] += 1;
          for (std::int64_t e = 0; e < examples; ++e) {
            for (std::int64_t j = 0; j < k; ++j) {
              const double drop = out.values[static_cast<std::size_t>(e * k + j)] - scalars_of(e, i, window)[j];
              double* row = all.mutable_data<double>().data() + (e * k + j) * size;
              for (std::int64_t m = 0; m < length; ++m) row[offset + m] += drop;
            }
          }
        });
      }
      const auto a = all.mutable_data<double>();
      for (std::size_t j = 0; j < a.size(); ++j) a[j] /= covered[j % covered.size()];
    }
    scheduler.report(session, out.report);
    return out;
  });
}

}  // namespace onnxray
