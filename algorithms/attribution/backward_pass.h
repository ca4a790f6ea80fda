// One backward pass at the examples themselves, by the gradient or under a RuleSet: saliency, input x gradient, guided
// backprop, deconvolution, relevance.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "algorithms/attribution.h"
#include "algorithms/session.h"
#include "engine/rules.h"

namespace onnxray {

struct BackwardPass {
  const char* phase;                          // names it in progress reports
  std::string key = "gradient";               // names the rules in the model's cache of plans: equal keys, equal rules
  std::shared_ptr<const RuleSet> rules = {};  // none: the gradient
  bool times_value = false;                   // multiply by the `from` value
  std::function<void(Session&)> check = {};   // adds notices, throws
};

// The cotangents of every `from` value, and for relevance the loss delta = sum(attributions) - F(x) and
// what constants absorbed of it.
[[nodiscard]] Attribution run_backward_pass(const Model& model, const Request& request, const BackwardPass& pass);

// Sums over one row of all attributions: [examples * scalars].
[[nodiscard]] std::vector<double> row_sums(const Attribution& a, std::size_t rows);
// Whether the sum over all `from` values means something: they are one value, or the model's inputs.
[[nodiscard]] bool is_one_layer(const Session& session);

}  // namespace onnxray
