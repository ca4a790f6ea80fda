// Occlusion: the drop of the scalar when a window is replaced by the baseline, averaged over the windows that cover an
// element. Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks", 2013; window rules as in Captum.
#pragma once
#include "algorithms/attribution.h"

namespace onnxray {

struct Occlusion {
  // One shape per attributed value, without the batch dimension; strides likewise (empty: 1, one number: every axis).
  std::vector<std::vector<std::int64_t>> sliding_window_shapes;
  std::vector<std::vector<std::int64_t>> strides;
  Baselines baselines;
  // Recompute only what a window changes, layer by layer (algorithms/incremental_rows.h); the result is the same.
  bool incremental = true;
  void visit(OptionVisitor& v) {
    v({.name = "sliding_window_shapes",
       .description = "window per value, without the batch dimension, e.g. 3,15,15",
       .lo = 1},
      sliding_window_shapes);
    v({.name = "strides", .description = "steps of the window, at most its size (default 1)", .lo = 1}, strides);
    v({.name = "baselines", .description = "what replaces a window: a number, blur, or a file"}, baselines);
    v({.name = "incremental", .description = "recompute only what a window changes, where that is cheaper"},
      incremental);
  }
};

Attribution run_method(const Model& model, const Occlusion& options, const Request& request);

}  // namespace onnxray
