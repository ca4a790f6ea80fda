// Features: the interpretable features of a request, each a set of elements of the varied values that is replaced
// together. They are numbered from 0 in each example; with superpixels, examples may have different numbers of them.
#pragma once
#include <cstdint>
#include <vector>

#include "algorithms/attribution.h"
#include "algorithms/feature_mask.h"
#include "algorithms/session.h"

namespace onnxray {

class Features {
 public:
  // Throws naming the value whose mask is missing, of a wrong shape or not of integers; ids with gaps are allowed and
  // give the session a notice. In a split request, masks with a row per example give the row of the split's example.
  Features(Session& session, const FeatureMask& mask, const Split& split = {});

  [[nodiscard]] std::int64_t count(std::int64_t example) const { return counts_[shared_ ? 0 : index(example)]; }
  [[nodiscard]] std::int64_t most() const;               // the largest count
  [[nodiscard]] bool shared() const { return shared_; }  // all examples have the same features
  // int64 [1 or examples, mask dims...]; the mask dims have the rank of a row of varied value i and broadcast to it.
  [[nodiscard]] const Tensor& ids(std::size_t i) const { return ids_.at(i); }
  // The feature of every element of one row of varied value i.
  [[nodiscard]] std::vector<std::int64_t> of_elements(std::size_t i, std::int64_t example) const;

  // Scores per feature, for every example and scalar (scalars innermost), written to all elements of each feature:
  // float64 [examples * scalars, row dims...].
  [[nodiscard]] Tensor spread(std::size_t i, const std::vector<std::vector<double>>& scores,
                              std::int64_t scalars) const;

 private:
  static std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }
  void number_elements(std::int64_t& next);
  void number_axis(std::int64_t axis, std::int64_t& next);
  void number_grid(Session& session, std::int64_t cells, std::int64_t& next);
  void number_superpixels(std::int64_t count);
  void take(Session& session, const FeatureMask& mask, const Split& split);

  const std::vector<CutValue>& vary_;
  std::int64_t examples_;
  bool shared_ = true;
  std::vector<Tensor> ids_;
  std::vector<std::int64_t> counts_;
};

}  // namespace onnxray
