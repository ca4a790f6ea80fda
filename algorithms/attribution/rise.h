// RISE: the mean of random smooth masks, each weighted with the scalar of the example under it. Petsiuk, Das, Saenko,
// "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018, equation 6.
//
//   S = 1 / (n_samples p) sum over masks M of F(M x + (1 - M) baseline) M
// A mask is a grid x grid field of 0 and 1 (1 with probability p), magnified bilinearly to (grid + 1) cells of
// ceil(H / grid) x ceil(W / grid) pixels and cut to H x W at a random offset within a cell. The picture's axes are the
// last two of a row ([C, H, W]; the first two of [H, W, C]); rows of rank 1 get masks along their only axis.
// F of a mask that hides an object is low, F of one that shows it high: S is not 0 where the model ignores its input.
#pragma once
#include "algorithms/attribution.h"

namespace onnxray {

struct Rise {
  std::int64_t n_samples = 4000;
  std::int64_t grid = 7;
  double probability = 0.5;
  Baselines baselines;
  void visit(OptionVisitor& v) {
    v({.name = "n_samples", .description = "random masks", .lo = 1, .hi = 1e7}, n_samples);
    v({.name = "grid", .description = "cells of a mask along each axis", .lo = 1, .hi = 1e4}, grid);
    v({.name = "probability", .description = "of a cell to show the input", .lo = 1e-3, .hi = 1 - 1e-3}, probability);
    v({.name = "baselines", .description = "what masks show instead: a number, blur, or a file"}, baselines);
  }
};

Attribution run_method(const Model& model, const Rise& options, const Request& request);

}  // namespace onnxray
