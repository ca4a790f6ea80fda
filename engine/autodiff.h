// Reverse-mode differentiation as graph building: the backward pass is ordinary nodes appended to the same graph.
#pragma once
#include <functional>
#include <vector>

#include "engine/builder.h"
#include "engine/rules.h"

namespace onnxray {

struct Seed {
  ValueId value;      // the value that is differentiated
  ValueId cotangent;  // same dtype and dims, but its own number of rows when `row_index` is set
};

// Relevance in the layout of a forward value, in backward rows.
struct Absorbed {
  ValueId like;
  ValueId relevance;
};

struct GradientRequest {
  std::vector<Seed> seeds;
  std::vector<ValueId> wrt;  // inputs, constants or inner values
  // Backward rows: an int64 value [Rb] that says which forward row each backward row belongs to (several targets of one
  // example, Jacobian rows). kNoValue: forward and backward rows are the same.
  ValueId row_index = kNoValue;
  const RuleSet* rules = nullptr;
  // With rules.reference: maps a value to its value in the reference pass, which has the forward pass's rows or none.
  std::function<ValueId(ValueId)> reference;
  // Where rules carry relevance and this is given: what constants (biases, class tokens, padding) took of it. Together
  // with what reaches `wrt` it is the seeds' relevance, but for stabilisers and for paths around `wrt`.
  std::vector<Absorbed>* absorbed = nullptr;
};

// Returns d(sum of seeds . cotangents) / d(wrt), one per wrt, in backward rows; kNoValue where nothing depends on it.
// Throws kUnsupported naming a node that is not differentiable.
[[nodiscard]] std::vector<ValueId> gradient(Builder& b, const GradientRequest& request);

struct Tangent {
  ValueId value;
  ValueId direction;  // same dtype and dims
};

// Forward-mode derivatives: d(of)/d(values) . directions for each value of `of`, kNoValue where nothing depends on the
// tangents' values. The reverse pass u -> J^T u is linear in u, so this is the gradient of <J^T u, direction> with
// respect to u: about one forward pass for all of `of` together once dead nodes are gone.
[[nodiscard]] std::vector<ValueId> directional_derivative(Builder& b, const std::vector<ValueId>& of,
                                                          const std::vector<Tangent>& along);

}  // namespace onnxray
