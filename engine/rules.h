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
  // The same with the values of the reference pass: the true gradient at the reference.
  [[nodiscard]] virtual std::vector<ValueId> vjp_ref(ValueId dy) = 0;
  // Cotangents of a clone's inputs: the true gradient of `clone_output`'s producer.
  [[nodiscard]] virtual std::vector<ValueId> vjp_of(ValueId clone_output, ValueId dy) = 0;
  // Whether this node is the first weighted one (convolution, matrix product) on its paths from the graph's inputs.
  [[nodiscard]] virtual bool first_linear() const = 0;

  // For rules that match a small region: any value of the forward pass in backward rows, and its reference.
  [[nodiscard]] virtual ValueId value(ValueId v) = 0;
  [[nodiscard]] virtual ValueId reference(ValueId v) = 0;
  // Whether v depends on what the pass differentiates by, and whether v's own cotangent is asked for.
  [[nodiscard]] virtual bool active(ValueId v) const = 0;
  [[nodiscard]] virtual bool asked(ValueId v) const = 0;
  // The only node that handed a cotangent to v so far; -1 where v was seeded or has several readers.
  [[nodiscard]] virtual NodeId handed_by(ValueId v) const = 0;
  // Adds to the cotangent of a value that was computed before this node, inputs of other nodes of the region included.
  virtual void set_value(ValueId v, ValueId cotangent) = 0;
  // Whether GradientRequest::absorbed is asked for.
  [[nodiscard]] virtual bool accounts() const = 0;
  // Relevance that a constant of this node takes (a bias, a class token), in the layout of output 0.
  virtual void absorb(ValueId relevance) = 0;
  // What of dy() the inputs did not get: for nodes that only move elements, the constants among them.
  virtual void absorb_rest() = 0;
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
