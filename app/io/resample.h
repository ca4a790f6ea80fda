// Weights of bilinear resampling along one axis, the filter widened when shrinking: what Pillow's BILINEAR computes.
#pragma once
#include <vector>

namespace onnxray::app {

// Output i is the sum over k < count[i] of weight[i * most + k] * input[begin[i] + k].
struct Resampling {
  Resampling(int from, int to);

  int most = 0;  // the largest count
  std::vector<int> begin, count;
  std::vector<float> weight;
};

}  // namespace onnxray::app
