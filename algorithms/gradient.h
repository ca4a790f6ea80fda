// Plain derivatives, without words of explainability: gradients of scalars, vector-Jacobian products, Jacobian rows.
//
//   auto g = gradient(model, {.inputs = {{"x", x}}, .of = {scalar_of("y", {0})}, .wrt = {"conv4"}});
//   g.gradients.at("conv4");   // [examples, ...]
#pragma once
#include <string>
#include <vector>

#include "algorithms/request.h"

namespace onnxray {

struct GradientQuery {
  NamedTensors inputs;           // rows first
  std::vector<Scalar> of;        // K scalars per example
  std::vector<std::string> wrt;  // values; empty: every float input
  ComputeOptions compute;
};

struct Gradients {
  NamedTensors gradients;  // by value: [examples * K, one row's dims...], scalars innermost, in the plan's precision
  std::vector<double> values;  // [examples * K]
  ComputeReport report;
};

// Throws kUnsupported naming a node that is not differentiable, kBadInput for names, shapes and indices.
[[nodiscard]] Gradients gradient(const Model& model, const GradientQuery& query);

// The product of `cotangents` ([examples, one row's dims...] by value) with the Jacobian of those values.
[[nodiscard]] Gradients vector_jacobian(const Model& model, const NamedTensors& inputs, const NamedTensors& cotangents,
                                        std::vector<std::string> wrt = {}, const ComputeOptions& compute = {});

// Every row of the Jacobian of `of` (size elements per example): gradients are [examples * size, ...]. One forward pass
// per example serves all rows.
[[nodiscard]] Gradients jacobian(const Model& model, const NamedTensors& inputs, const std::string& of,
                                 std::vector<std::string> wrt = {}, const ComputeOptions& compute = {});

}  // namespace onnxray
