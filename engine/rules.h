// RuleSet: overrides of gradients. A rule has the type of a gradient (it returns the cotangents of a node's inputs), so
// guided backprop, DeepLIFT and LRP are ordinary backward passes over an unmodified model.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "engine/op.h"

namespace onnxray {

// What the cotangents of a backward pass mean.
enum class Carries {
  kGradient,    // seed 1
  kMultiplier,  // seed 1, the result is m(x - x_ref) (DeepLIFT)
  kRelevance,   // seed = the value itself, the result as it is (LRP)
};

class RuleCtx : public GradCtx {
 public:
  using GradCtx::GradCtx;
  // The values of the reference pass at this node; only when the RuleSet has a reference.
  [[nodiscard]] virtual ValueId x_ref(std::size_t i) = 0;
  [[nodiscard]] virtual ValueId y_ref(std::size_t i = 0) = 0;
  // Cotangents of this node's inputs by its true gradient, for another cotangent of output 0.
  [[nodiscard]] virtual std::vector<ValueId> vjp(ValueId dy) = 0;
  // Cotangents of a clone's inputs: the true gradient of `clone_output`'s producer.
  [[nodiscard]] virtual std::vector<ValueId> vjp_of(ValueId clone_output, ValueId dy) = 0;
  // Whether this node is the first linear one on a path from the model's inputs (of the whole model).
  [[nodiscard]] virtual bool first_linear() const = 0;
};

struct Rule {
  std::string name;
  std::function<bool(const Graph&, const Node&)> matches;
  std::function<void(RuleCtx&)> apply;
};

struct RuleSet {
  Carries carries = Carries::kGradient;
  bool reference = false;   // needs the values of a reference (baseline) pass
  std::vector<Rule> rules;  // the first match wins
  // For nodes without a match. Nodes that are linear or only move data have a natural rule under every `carries`.
  enum class Otherwise { kGradient, kError } otherwise = Otherwise::kGradient;
  double stabilizer = 1e-9;  // epsilon in R / (y + epsilon sign(y)) of the natural rule for linear nodes
};

}  // namespace onnxray
