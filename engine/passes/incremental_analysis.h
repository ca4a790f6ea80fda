// What incremental rows compute of each value and node: nothing, a rectangle, or all. Decides where rectangles stop
// paying. Internal to passes/incremental.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "engine/passes/incremental.h"

namespace onnxray {

// The rectangle of a value: one size for all rows, and per axis a place for each interval.
struct Rectangle {
  std::vector<std::int64_t> axes;
  std::vector<std::int64_t> size;
  std::vector<std::vector<std::int64_t>> places;
  bool operator==(const Rectangle&) const = default;
};

struct ValueInRows {
  enum class Kind : std::uint8_t { kSame, kWindowed, kWhole } kind = Kind::kSame;
  Intervals intervals;  // kWindowed: what may differ from the clean value
  Rectangle rectangle;
};

// The node on rectangles: the rectangle each input is read in, and the attributes.
struct NodeInRows {
  bool windowed = false;
  Attrs attrs;
  std::vector<std::optional<Rectangle>> reads;  // none: taken whole, as it is
  double fill = 0;
};

struct IncrementalAnalysis {
  std::vector<ValueInRows> values;  // by value of the graph
  std::vector<NodeInRows> nodes;    // by node
  std::int64_t work = 0, full_work = 0;
  std::string switches_at;  // the first node that is computed whole though it reads a rectangle
  bool any_windowed = false;
};
// For rows that change `varied` in a box each, along `axes`.
[[nodiscard]] IncrementalAnalysis analyse_incremental(const Graph& g, ValueId varied,
                                                      const std::vector<std::int64_t>& axes,
                                                      const Intervals& intervals);

}  // namespace onnxray
