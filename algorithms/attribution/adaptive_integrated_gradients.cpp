#include "algorithms/attribution/adaptive_integrated_gradients.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "algorithms/attribution/path_ends.h"
#include "algorithms/baselines.h"
#include "algorithms/quadrature.h"

namespace onnxray {
namespace {

constexpr std::int64_t kPoints = 4, kFirstIntervals = 4;

using Doubles = std::vector<double>;

struct Interval {
  std::int64_t example = 0;
  double begin = 0, end = 1;
  Doubles f_begin, f_end;       // per scalar
  std::vector<Doubles> sums{};  // per value: integral of the gradient, [K * row]
  double error = 0;             // largest over the scalars
};

class Adaptive {
 public:
  Adaptive(Session& session, const ComputeOptions& compute, const AdaptiveIntegratedGradients& o,
           std::vector<Tensor> baselines)
      : session_(session),
        o_(o),
        baselines_(std::move(baselines)),
        examples_(session.examples()),
        scalars_(session.to().size()),
        scheduler_(compute, "adaptive-integrated-gradients", 0),
        ends_(session, {.key = "path", .make = path_rows()}, baselines_, examples_ * kFirstIntervals),
        nodes_(session, {.key = "path gradients out", .make = path_rows(), .gradient = true}, baselines_,
               examples_ * kFirstIntervals * kPoints) {
    for (std::size_t i = 0; i < session.vary().size(); ++i) {
      differences_.emplace_back(session.vary()[i], baselines_[i]);
      totals_.emplace_back(static_cast<std::size_t>(count_of(session.vary()[i].row_dims)) * scalars_ *
                           static_cast<std::size_t>(examples_));
    }
  }

  Attribution run() {
    Attribution out;
    std::vector<Interval> open = first_intervals(out);
    Doubles budget(static_cast<std::size_t>(examples_), o_.max_delta);
    std::vector<std::int64_t> steps(budget.size(), 0);
    std::int64_t unfinished = 0;
    while (!open.empty()) {
      evaluate(open);
      std::vector<Interval> split;
      for (std::size_t a = 0; a < open.size();) {  // intervals of one example stand together
        std::size_t z = a;
        while (z < open.size() && open[z].example == open[a].example) ++z;
        const auto e = static_cast<std::size_t>(open[a].example);
        steps[e] += static_cast<std::int64_t>(z - a) * kPoints;
        unfinished +=
            settle({open.begin() + static_cast<std::ptrdiff_t>(a), open.begin() + static_cast<std::ptrdiff_t>(z)},
                   budget[e], o_.max_steps - steps[e], split)
                ? 0
                : 1;
        a = z;
      }
      open = halves(split);
    }
    if (unfinished > 0) {
      session_.notice(detail::concat("max_delta ", o_.max_delta, " was not reached within max_steps ", o_.max_steps,
                                     " for ", unfinished, unfinished == 1 ? " example" : " examples"));
    }
    finish(out);
    return out;
  }

 private:
  // Scalars at points (example, alpha).
  std::vector<Doubles> scalars_at(const std::vector<std::pair<std::int64_t, double>>& points) {
    std::vector<Doubles> f;
    const auto count = static_cast<std::int64_t>(points.size());
    scheduler_.expect(count);
    scheduler_.run(
        ends_, count,
        [&](std::int64_t r) {
          const auto& [example, alpha] = points[static_cast<std::size_t>(r)];
          return Row{.example = example, .alpha = alpha};
        },
        [&](std::int64_t, std::int64_t rows) {
          for (std::int64_t r = 0; r < rows; ++r) {
            f.emplace_back();
            for (std::size_t k = 0; k < scalars_; ++k) f.back().push_back(ends_.value(r, k));
          }
        });
    return f;
  }

  std::vector<Interval> first_intervals(Attribution& out) {
    std::vector<std::pair<std::int64_t, double>> points;
    const auto at = [](std::int64_t i) { return static_cast<double>(i) / static_cast<double>(kFirstIntervals); };
    for (std::int64_t e = 0; e < examples_; ++e) {
      for (std::int64_t i = 0; i <= kFirstIntervals; ++i) points.emplace_back(e, at(i));
    }
    const std::vector<Doubles> f = scalars_at(points);
    std::vector<Interval> open;
    for (std::int64_t e = 0; e < examples_; ++e) {
      const auto row = [&](std::int64_t i) { return f[static_cast<std::size_t>(e * (kFirstIntervals + 1) + i)]; };
      for (std::int64_t i = 0; i < kFirstIntervals; ++i) {
        open.push_back({.example = e, .begin = at(i), .end = at(i + 1), .f_begin = row(i), .f_end = row(i + 1)});
      }
      const Doubles last = row(kFirstIntervals), first = row(0);
      out.values.insert(out.values.end(), last.begin(), last.end());
      out.baseline_values.insert(out.baseline_values.end(), first.begin(), first.end());
    }
    return open;
  }

  // Fills sums and errors.
  void evaluate(std::vector<Interval>& open) {
    const Quadrature q = quadrature("gausslegendre", kPoints);
    std::vector<Doubles> slopes(open.size(), Doubles(scalars_, 0));
    for (Interval& part : open) {
      for (const Doubles& t : totals_) part.sums.emplace_back(t.size() / static_cast<std::size_t>(examples_), 0.0);
    }
    const auto count = static_cast<std::int64_t>(open.size()) * kPoints;
    const auto of = [&](std::int64_t r) -> Interval& { return open[static_cast<std::size_t>(r / kPoints)]; };
    scheduler_.expect(count);
    scheduler_.run(
        nodes_, count,
        [&](std::int64_t r) {
          const Interval& part = of(r);
          const double alpha = q.alphas[static_cast<std::size_t>(r % kPoints)];
          return Row{.example = part.example, .alpha = part.begin + alpha * (part.end - part.begin)};
        },
        [&](std::int64_t first, std::int64_t rows) {
          for (std::size_t i = 0; i < totals_.size(); ++i) {
            const Doubles g = nodes_.gradient(i).to_doubles();
            for (std::int64_t r = 0; r < rows; ++r) {
              Interval& part = of(first + r);
              Doubles& sum = part.sums[i];
              const double weight =
                  q.weights[static_cast<std::size_t>((first + r) % kPoints)] * (part.end - part.begin);
              const std::size_t size = sum.size() / scalars_;
              for (std::size_t j = 0; j < sum.size(); ++j) {
                const double d = weight * g[static_cast<std::size_t>(r) * sum.size() + j];
                sum[j] += d;
                slopes[static_cast<std::size_t>((first + r) / kPoints)][j / size] +=
                    d * differences_[i](part.example, j % size);
              }
            }
          }
        });
    for (std::size_t n = 0; n < open.size(); ++n) {
      for (std::size_t k = 0; k < scalars_; ++k) {
        open[n].error = std::max(open[n].error, std::abs(slopes[n][k] - (open[n].f_end[k] - open[n].f_begin[k])));
      }
    }
  }

  // Takes what fits the budget and appends the rest to `split`. False: the steps do not suffice, everything was taken.
  bool settle(std::vector<Interval> parts, double& budget, std::int64_t steps_left, std::vector<Interval>& split) {
    std::stable_sort(parts.begin(), parts.end(),
                     [](const Interval& a, const Interval& b) { return a.error < b.error; });
    double all = 0;
    for (const Interval& p : parts) all += p.error;
    std::size_t taken = parts.size();
    double spent = all;
    if (all > budget) {
      taken = 0;
      spent = 0;
      while (taken < parts.size() && spent + parts[taken].error <= budget / 2) spent += parts[taken++].error;
    }
    const bool enough = static_cast<std::int64_t>(parts.size() - taken) * 2 * kPoints <= steps_left;
    if (!enough) taken = parts.size();
    std::sort(parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(taken),
              [](const Interval& a, const Interval& b) { return a.begin < b.begin; });
    std::sort(parts.begin() + static_cast<std::ptrdiff_t>(taken), parts.end(),
              [](const Interval& a, const Interval& b) { return a.begin < b.begin; });
    budget -= spent;
    for (std::size_t n = 0; n < taken; ++n) {
      for (std::size_t i = 0; i < totals_.size(); ++i) {
        const Doubles& sum = parts[n].sums[i];
        double* to = totals_[i].data() + static_cast<std::size_t>(parts[n].example) * sum.size();
        for (std::size_t j = 0; j < sum.size(); ++j) to[j] += sum[j];
      }
    }
    split.insert(split.end(), std::make_move_iterator(parts.begin() + static_cast<std::ptrdiff_t>(taken)),
                 std::make_move_iterator(parts.end()));
    return enough;
  }

  std::vector<Interval> halves(const std::vector<Interval>& split) {
    std::vector<Interval> next;
    if (split.empty()) return next;
    std::vector<std::pair<std::int64_t, double>> middles;
    for (const Interval& p : split) middles.emplace_back(p.example, (p.begin + p.end) / 2);
    const std::vector<Doubles> f = scalars_at(middles);
    for (std::size_t n = 0; n < split.size(); ++n) {
      const Interval& p = split[n];
      const double middle = middles[n].second;
      next.push_back({.example = p.example, .begin = p.begin, .end = middle, .f_begin = p.f_begin, .f_end = f[n]});
      next.push_back({.example = p.example, .begin = middle, .end = p.end, .f_begin = f[n], .f_end = p.f_end});
    }
    return next;
  }

  void finish(Attribution& out) {
    Doubles sums(out.values.size(), 0);
    for (std::size_t i = 0; i < totals_.size(); ++i) {
      const CutValue& c = session_.vary()[i];
      const Dims dims = with_rows(examples_ * static_cast<std::int64_t>(scalars_), c.row_dims);
      Tensor a = Tensor::from<double>(dims, std::span<const double>(totals_[i]));
      if (o_.multiply_by_inputs) differences_[i].multiply(a, static_cast<std::int64_t>(scalars_));
      const Doubles part = row_sums(a);
      for (std::size_t r = 0; r < sums.size(); ++r) sums[r] += part[r];
      out.attributions[c.name] = a;
    }
    if (o_.multiply_by_inputs) {
      const Doubles rise = rise_of(out);
      for (std::size_t r = 0; r < sums.size(); ++r) out.delta.push_back(sums[r] - rise[r]);
    }
    scheduler_.report(session_, out.report);
  }

  Session& session_;
  const AdaptiveIntegratedGradients& o_;
  std::vector<Tensor> baselines_;
  std::int64_t examples_;
  std::size_t scalars_;
  Scheduler scheduler_;
  RowProgram ends_, nodes_;
  std::vector<PathDifference> differences_;
  std::vector<Doubles> totals_;  // per value: [E * K * row], the integral of what has been taken
};

}  // namespace

Attribution run_method(const Model& model, const AdaptiveIntegratedGradients& options, const Request& request) {
  return run_by_rows(model, request, [&](const Request& part, const Split& split) {
    Session session(model, part, true);
    return Adaptive(session, part.compute, options, make_baselines(session, options.baselines, split)).run();
  });
}

}  // namespace onnxray
