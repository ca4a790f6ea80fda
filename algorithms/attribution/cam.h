// What the class activation maps share. A map is a weighted sum of a layer's channels,
//   M(p) = sum over channels k of w_k A_k(p),
// over the positions p of the layer; the methods differ in the weights. Results have the shape [rows, 1, positions...]
// (the grid of a token layer as [rows, 1, h, w], its class tokens left out); without a layer in the request the last
// value with positions is taken, and a notice names it (spatial_values.h).
#pragma once
#include <string>
#include <vector>

#include "algorithms/attribution.h"
#include "algorithms/attribution/spatial_values.h"
#include "algorithms/row_program.h"

namespace onnxray {

// The options that every map has: how a layer is read as a grid of positions.
struct LayerGrid {
  std::string layout = "auto";
  std::vector<std::vector<std::int64_t>> token_grid;  // none, one grid for all layers, or one for each
  void visit(OptionVisitor& v);
};
// Visits the options of a map: relu_attributions, attr_dim_summation where the method has it, grid.
template <class Options>
void visit_map(OptionVisitor& v, Options& o) {
  v({.name = "relu_attributions", .description = "negative values of the map become zero"}, o.relu_attributions);
  if constexpr (requires { o.attr_dim_summation; }) {
    v({.name = "attr_dim_summation", .description = "sum over the channels; else one map for each"},
      o.attr_dim_summation);
  }
  o.grid.visit(v);
}

// A request with its layers named and known.
class CamLayers {
 public:
  CamLayers(const Model& model, const Request& request, LayerGrid grid);

  [[nodiscard]] const Request& request() const { return request_; }
  // The layouts of session.from(); the session's notices say which layer was taken and how tokens were read.
  [[nodiscard]] std::vector<SpatialLayout> layouts(const Session& session) const;

 private:
  SpatialValues values_;
  Request request_;
  LayerGrid grid_;
  std::vector<std::string> notices_;
};

// [R, row...] -> [R, channels, positions], class tokens left out.
[[nodiscard]] ValueId channels_and_positions(Builder& b, ValueId v, const SpatialLayout& layout);
// The same of example e of [E, row...]: channels * positions numbers, channels outermost.
[[nodiscard]] std::vector<double> channels_and_positions(const Tensor& rows, std::int64_t e,
                                                         const SpatialLayout& layout);
// [rows, channels, positions...]
[[nodiscard]] Dims map_dims(std::int64_t rows, std::int64_t channels, const SpatialLayout& layout);
// Identifies a layout in the key of a row program.
[[nodiscard]] std::string key_of(const SpatialLayout& layout);

}  // namespace onnxray
