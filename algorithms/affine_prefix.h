// Paths commute with affine operators: f(alpha x + (1 - alpha) x') = alpha f(x) + (1 - alpha) f(x'). Where the varied
// value is read by a convolution or matrix product alone, a path method may cut behind it: the operator then runs once
// for each end of the path instead of once for each step, and its gradient once for the whole sum of steps.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "algorithms/session.h"

namespace onnxray {

class AffinePrefix {
 public:
  // Moves the cut of `session` (varied = read values) behind the affine operators that are the only readers of each
  // varied value, up to the first convolution or matrix product, where that saves work.
  explicit AffinePrefix(const Session& session);

  // The session with its cut behind the affine operators, or the given one if there are none.
  [[nodiscard]] const Session& session() const { return moved_ ? *moved_ : given_; }
  // Rows of the varied values (points, baselines: [any, row_dims...]) behind the prefix.
  [[nodiscard]] std::vector<Tensor> push(const std::vector<Tensor>& rows) const;
  // Sums of gradients behind the prefix (float64 [any, row_dims...]) as sums of gradients of varied value i.
  [[nodiscard]] Tensor pull(std::size_t i, const Tensor& gradients) const;

 private:
  const Session& given_;
  std::optional<Session> moved_;
  std::vector<std::optional<Graph>> prefixes_;  // per varied value; none: stays where it is
};

}  // namespace onnxray
