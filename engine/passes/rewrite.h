// Rewriter: the one way passes change graphs. A pass walks the old graph in order and emits into a new one; values it
// does not touch are copied, so a pass is a function Graph -> Graph and never edits in place.
#pragma once
#include <vector>

#include "engine/builder.h"

namespace onnxray {

class Rewriter {
 public:
  // Starts a new graph with the same inputs (names, dtypes, dims, row maps).
  explicit Rewriter(const Graph& from, Evaluator evaluate = nullptr);

  // The new value that stands for an old one (constants are copied on first use; kNoValue maps to itself).
  ValueId operator()(ValueId old);
  [[nodiscard]] std::vector<ValueId> map(std::span<const ValueId> old);
  [[nodiscard]] bool mapped(ValueId old) const { return map_[static_cast<std::size_t>(old)] != kNoValue; }
  // From now on `old` is `fresh`; takes over old's names and, if asked, its row map.
  void set(ValueId old, ValueId fresh);
  // Copies a node as it is, over mapped inputs.
  void copy(const Node& node);
  // Sets the outputs and hands the new graph out.
  [[nodiscard]] Graph finish();

  const Graph& from;
  Graph to;
  Builder b;

 private:
  std::vector<ValueId> map_;
  std::vector<std::vector<const std::string*>> names_;
};

}  // namespace onnxray
