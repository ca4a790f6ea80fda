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

struct GradientRequest {
  std::vector<Seed> seeds;
  std::vector<ValueId> wrt;  // inputs, constants or inner values
  // Backward rows: an int64 value [Rb] that says which forward row each backward row belongs to (several targets of one
  // example, Jacobian rows). kNoValue: forward and backward rows are the same.
  ValueId row_index = kNoValue;
  const RuleSet* rules = nullptr;
  // With rules.reference: maps a value to its value in the reference pass, which has the forward pass's rows or none.
  std::function<ValueId(ValueId)> reference;
};

// Returns d(sum of seeds . cotangents) / d(wrt), one per wrt, in backward rows; kNoValue where nothing depends on it.
// Throws kUnsupported naming a node that is not differentiable.
[[nodiscard]] std::vector<ValueId> gradient(Builder& b, const GradientRequest& request);

}  // namespace onnxray
