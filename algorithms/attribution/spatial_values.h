// Which values of a model are maps over positions, and how: where a class activation map can be drawn.
//
// The positions start at convolutions, pools and lookups of tokens and are followed through the graph: elementwise
// nodes, norms and matrix products over channels keep them, transposes move them, reshapes flatten them to tokens and
// back, concatenations put class tokens before them. What mixes positions in another way (attention's products,
// flattening into a dense layer) ends them; a residual sum brings them back.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "algorithms/session.h"

namespace onnxray {

// The axes of a value that hold positions.
struct Positions {
  std::vector<std::int64_t> axes;  // one per extent of the grid, or a single one where the grid is flattened
  Dims grid;                       // [h, w]
  std::int64_t prefix = 0;         // class tokens before a flattened grid
  [[nodiscard]] bool flattened() const { return axes.size() == 1 && (grid.size() > 1 || prefix > 0); }
};

// One row of a value as channels and positions.
struct SpatialLayout {
  std::int64_t channel_axis = 0;   // of the row
  std::vector<std::int64_t> axes;  // of the row; empty: no positions, every element is a channel
  Dims grid;
  std::int64_t prefix = 0;
  std::int64_t channels = 1;
  [[nodiscard]] bool flattened() const { return axes.size() == 1 && (grid.size() > 1 || prefix > 0); }
};

// How one row is read.
struct LayoutOptions {
  std::string layout = "auto";  // or "channels_first", "channels_last"
  Dims token_grid;              // of rows [tokens, channels]: [h, w]; empty: found
};

class SpatialValues {
 public:
  // `values`: the values that are explained; the model's first output where it is empty.
  SpatialValues(const Model& model, const Request& request);

  // The name of the last value with positions that every path from the inputs to the explained values passes and
  // whose positions all still count (not only a class token's). Where branches leave none such, the last one with
  // positions. Throws kBadInput where no value has positions.
  [[nodiscard]] std::string last() const;

  // Throws kBadInput for a layout that does not fit the value. Values that the analysis does not know are
  // [channels, positions...]; a row of two axes in a model that sees pictures is a flattened grid where one axis has
  // the extent of a grid with the picture's proportions.
  [[nodiscard]] SpatialLayout layout_of(const CutValue& value, const LayoutOptions& options) const;

 private:
  void follow();
  [[nodiscard]] Positions after(const Node& node) const;
  [[nodiscard]] bool can_be_mapped(ValueId v) const;
  [[nodiscard]] bool all_positions_count(ValueId v) const;
  [[nodiscard]] bool on_every_path(ValueId v) const;

  Graph graph_;  // one row, outputs: the explained values
  std::vector<Positions> positions_;
  std::vector<char> varies_;  // depends on an input
  Dims picture_;              // extents of the first input of rank 4, channels left out
};

}  // namespace onnxray
