#include "algorithms/attribution/guided_integrated_gradients.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "algorithms/attribution/path_ends.h"
#include "algorithms/baselines.h"

namespace onnxray {
namespace {

std::string point_input(std::size_t i) { return "point " + std::to_string(i); }

// One example on its way. Features of all values in one sequence; at[j] in [0, 1] is how far feature j has come.
class Traveller {
 public:
  Traveller(std::vector<double> x, std::vector<double> baseline)
      : x_(std::move(x)), baseline_(std::move(baseline)), at_(x_.size(), 0), credit_(x_.size(), 0) {
    for (std::size_t j = 0; j < x_.size(); ++j) whole_ += std::abs(x_[j] - baseline_[j]);
  }

  [[nodiscard]] double feature(std::size_t j) const { return (1 - at_[j]) * baseline_[j] + at_[j] * x_[j]; }
  [[nodiscard]] const std::vector<double>& credit() const { return credit_; }

  // Step `step` of `steps` (counted from 1) with the gradient at the present point.
  void move(const std::vector<double>& gradient, std::int64_t step, std::int64_t steps,
            const GuidedIntegratedGradients& o) {
    if (whole_ == 0) return;
    const double line = static_cast<double>(step) / static_cast<double>(steps);
    const double least = std::max(line - o.max_dist, 0.0), most = step == steps ? 1 : std::min(line + o.max_dist, 1.0);
    const double target = whole_ * (1 - line);
    for (std::size_t j = 0; j < at_.size(); ++j) {
      if (at_[j] < least) go(j, least, gradient);
    }
    const double tolerance = 1e-12 * whole_;
    std::vector<double> size(at_.size());
    while (true) {
      double left = 0;
      for (std::size_t j = 0; j < at_.size(); ++j) left += way(j) * (1 - at_[j]);
      const double excess = left - target;
      if (excess <= tolerance) return;
      // The smallest `fraction` of the partial derivatives, those of features that may not go further counted last.
      for (std::size_t j = 0; j < at_.size(); ++j) {
        const bool free = way(j) > 0 && at_[j] < most;
        size[j] = free ? std::abs(gradient[j]) : std::numeric_limits<double>::infinity();
      }
      std::vector<double> sorted = size;
      const auto rank = static_cast<std::ptrdiff_t>(o.fraction * static_cast<double>(sorted.size() - 1));
      std::nth_element(sorted.begin(), sorted.begin() + rank, sorted.end());
      const double threshold = sorted[static_cast<std::size_t>(rank)];
      double room = 0;
      for (std::size_t j = 0; j < at_.size(); ++j) {
        if (std::isfinite(size[j]) && size[j] <= threshold) room += way(j) * (most - at_[j]);
      }
      if (room <= 0) return;  // everything is as far as it may go
      const double part = excess / room;
      for (std::size_t j = 0; j < at_.size(); ++j) {
        if (!std::isfinite(size[j]) || size[j] > threshold) continue;
        go(j, part >= 1 ? most : at_[j] + part * (most - at_[j]), gradient);
      }
      if (part <= 1) return;
    }
  }

 private:
  [[nodiscard]] double way(std::size_t j) const { return std::abs(x_[j] - baseline_[j]); }
  void go(std::size_t j, double to, const std::vector<double>& gradient) {
    credit_[j] += gradient[j] * (x_[j] - baseline_[j]) * (to - at_[j]);
    at_[j] = to;
  }

  std::vector<double> x_, baseline_, at_, credit_;
  double whole_ = 0;
};

// One scalar.
Attribution guided(const Model& model, const GuidedIntegratedGradients& o, const Request& request, const Split& split) {
  Session session(model, request, true);
  const std::int64_t examples = session.examples();
  const std::vector<Tensor> baselines = make_baselines(session, o.baselines, split);
  Scheduler scheduler(request.compute, "guided-integrated-gradients", examples * (o.n_steps + 2));
  Attribution out;
  add_path_ends(scheduler, session, baselines, out);

  const std::size_t values = session.vary().size();
  std::vector<std::size_t> sizes, begins;
  std::size_t total = 0;
  for (const CutValue& c : session.vary()) {
    begins.push_back(total);
    sizes.push_back(static_cast<std::size_t>(count_of(c.row_dims)));
    total += sizes.back();
  }
  std::vector<Traveller> travellers;
  std::vector<std::vector<double>> x(values), b(values);
  for (std::size_t i = 0; i < values; ++i) {
    x[i] = session.vary()[i].actual.to_doubles();
    b[i] = baselines[i].to_doubles();
  }
  for (std::size_t e = 0; e < static_cast<std::size_t>(examples); ++e) {
    std::vector<double> to, from;
    for (std::size_t i = 0; i < values; ++i) {
      const auto row = [&](const std::vector<double>& v, std::vector<double>& all) {
        const std::size_t first = v.size() == sizes[i] ? 0 : e * sizes[i];
        all.insert(all.end(), v.begin() + static_cast<std::ptrdiff_t>(first),
                   v.begin() + static_cast<std::ptrdiff_t>(first + sizes[i]));
      };
      row(x[i], to);
      row(b[i], from);
    }
    travellers.emplace_back(std::move(to), std::move(from));
  }

  RowSpec spec{.key = "points", .make = [](RowCtx& c, std::size_t i) { return c.input(point_input(i)); }};
  spec.gradient = true;
  for (std::size_t i = 0; i < values; ++i) {
    spec.inputs.push_back({.name = point_input(i), .dtype = DType::f64, .dims = session.vary()[i].row_dims});
  }
  RowProgram program(session, spec, {}, examples);
  std::vector<Tensor> points;
  for (const CutValue& c : session.vary()) {
    const Dims dims = with_rows(program.chunk(), c.row_dims);
    points.push_back(Tensor::zeros(DType::f64, dims));
  }
  for (std::int64_t step = 1; step <= o.n_steps; ++step) {
    scheduler.run(
        program, examples, [](std::int64_t e) { return Row{.example = e}; },
        [&](std::int64_t first, std::int64_t rows) {
          std::vector<std::vector<double>> gradients;
          for (std::size_t i = 0; i < values; ++i) gradients.push_back(program.gradient(i).to_doubles());
          for (std::int64_t r = 0; r < rows; ++r) {
            std::vector<double> all;
            for (std::size_t i = 0; i < values; ++i) {
              const auto row = gradients[i].begin() + r * static_cast<std::ptrdiff_t>(sizes[i]);
              all.insert(all.end(), row, row + static_cast<std::ptrdiff_t>(sizes[i]));
            }
            travellers[static_cast<std::size_t>(first + r)].move(all, step, o.n_steps, o);
          }
        },
        [&](std::int64_t first, std::int64_t rows) {
          for (std::size_t i = 0; i < values; ++i) {
            const auto p = points[i].mutable_data<double>();
            for (std::int64_t r = 0; r < rows; ++r) {
              const Traveller& t = travellers[static_cast<std::size_t>(first + r)];
              for (std::size_t j = 0; j < sizes[i]; ++j) {
                p[static_cast<std::size_t>(r) * sizes[i] + j] = t.feature(begins[i] + j);
              }
            }
            program.bind(point_input(i), points[i].to(session.float_type()));
          }
        });
  }
  std::vector<double> sums(static_cast<std::size_t>(examples), 0);
  for (std::size_t i = 0; i < values; ++i) {
    const Dims dims = with_rows(examples, session.vary()[i].row_dims);
    Tensor a(DType::f64, dims);
    const auto v = a.mutable_data<double>();
    for (std::size_t e = 0; e < travellers.size(); ++e) {
      for (std::size_t j = 0; j < sizes[i]; ++j) {
        v[e * sizes[i] + j] = travellers[e].credit()[begins[i] + j];
        sums[e] += v[e * sizes[i] + j];
      }
    }
    out.attributions[session.vary()[i].name] = a;
  }
  const std::vector<double> rise = rise_of(out);
  for (std::size_t e = 0; e < sums.size(); ++e) out.delta.push_back(sums[e] - rise[e]);
  scheduler.report(session, out.report);
  return out;
}

}  // namespace

Attribution run_method(const Model& model, const GuidedIntegratedGradients& options, const Request& request) {
  return run_by_rows(model, request, [&](const Request& part, const Split& split) {
    return run_by_scalars(part, [&](const Request& one) { return guided(model, options, one, split); });
  });
}

}  // namespace onnxray
