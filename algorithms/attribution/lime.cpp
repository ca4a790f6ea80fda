#include "algorithms/attribution/lime.h"

#include <cmath>

#include "algorithms/coalitions.h"
#include "algorithms/linear_fit.h"
#include "algorithms/random.h"

namespace onnxray {
namespace {

// Every feature is present with probability 1/2.
class HalfPresent final : public DrawnCoalitions {
 public:
  HalfPresent(std::int64_t features, std::int64_t samples, std::uint64_t seed) : DrawnCoalitions(features) {
    std::vector<std::uint8_t> present(static_cast<std::size_t>(features));
    for (std::int64_t s = 0; s < samples; ++s) {
      RandomStream random(seed, 0, s);
      for (std::uint8_t& p : present) p = random.uniform() < 0.5 ? 1 : 0;
      draw(present);
    }
  }
};

// Inner products of the example x and its baseline b, one feature at a time: all that distances from x need, since a
// row is x on the members of S and b elsewhere.
struct Products {
  std::vector<double> xx, xb, bb;
};

Products products_of(const Game& game) {
  const auto players = static_cast<std::size_t>(game.players());
  Products p{std::vector<double>(players, 0), std::vector<double>(players, 0), std::vector<double>(players, 0)};
  for (std::size_t i = 0; i < game.session.vary().size(); ++i) {
    const auto row_of = [&](const Tensor& t) {
      const std::int64_t row = t.dims()[0] == 1 ? 0 : game.example;
      return t.rows(row, row + 1).to_doubles();
    };
    // The baseline as the model's rows hold it: rounded, or truncated to an integer.
    const CutValue& c = game.session.vary()[i];
    const std::vector<double> x = row_of(c.actual), b = row_of(game.baselines[i].to(c.dtype));
    const std::vector<std::int64_t> features = game.features.of_elements(i, game.example);
    for (std::size_t k = 0; k < features.size(); ++k) {
      const auto f = static_cast<std::size_t>(features[k]);
      p.xx[f] += x[k] * x[k];
      p.xb[f] += x[k] * b[k];
      p.bb[f] += b[k] * b[k];
    }
  }
  return p;
}

double distance(const Products& p, std::span<const double> present, bool cosine) {
  double xx = 0, xs = 0, ss = 0, apart = 0;
  for (std::size_t f = 0; f < present.size(); ++f) {
    const bool here = present[f] != 0;
    xx += p.xx[f];
    xs += here ? p.xx[f] : p.xb[f];
    ss += here ? p.xx[f] : p.bb[f];
    if (!here) apart += p.xx[f] - 2 * p.xb[f] + p.bb[f];
  }
  if (!cosine) return std::sqrt(std::max(0.0, apart));
  const double norms = std::sqrt(xx) * std::sqrt(ss);
  return norms > 0 ? 1 - xs / norms : 1;  // a zero vector is at right angles to everything
}

std::vector<double> coefficients(const Game& game, const Lime& options) {
  const auto& set = static_cast<const HalfPresent&>(game.set);
  const auto players = static_cast<std::size_t>(game.players());
  const Products products = products_of(game);
  std::vector<double> weight;
  double sum = 0, nearest = INFINITY;
  for (std::size_t s = 0; s < set.numbers().size(); ++s) {
    const double d =
        distance(products, std::span(set.members()).subspan(s * players, players), options.distance_mode == "cosine");
    weight.push_back(std::exp(-d * d / (2 * options.kernel_width * options.kernel_width)));
    sum += weight.back();
    nearest = std::min(nearest, d);
  }
  ONNXRAY_CHECK(sum > 0, "lime: no sample has a weight; the nearest one is ", nearest, " away and kernel_width is ",
                options.kernel_width, " (--kernel-width, or --distance-mode cosine)");
  const LinearSamples samples{.samples = static_cast<std::int64_t>(weight.size()),
                              .features = game.players(),
                              .x = set.members(),
                              .weight = weight};
  std::vector<double> scores;
  for (std::int64_t k = 0; k < game.scalars; ++k) {
    std::vector<double> y;
    for (const std::int64_t u : set.numbers()) y.push_back(game.v(u, k));
    const std::vector<double> beta = options.interpretable_model == "linear" || options.alpha == 0
                                         ? fit_least_squares(samples, y)
                                     : options.interpretable_model == "ridge" ? fit_ridge(samples, y, options.alpha)
                                                                              : fit_lasso(samples, y, options.alpha);
    scores.insert(scores.end(), beta.begin(), beta.end());
  }
  return scores;
}

}  // namespace

Attribution run_method(const Model& model, const Lime& options, const Request& request) {
  return play_games(
      model, request,
      {.phase = "lime",
       .feature_mask = options.feature_mask,
       .baselines = options.baselines,
       .set = [&](std::int64_t f) { return std::make_unique<HalfPresent>(f, options.n_samples, request.compute.seed); },
       .scores = [&](const Game& game) { return coefficients(game, options); }});
}

}  // namespace onnxray
