// Scalar: a number per row of the model, the thing that is explained: a logit, a neuron, a sum over a mask, a
// log-probability, a difference of two logits.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor.h"

namespace onnxray {

struct Term {
  std::string value;  // an ONNX value name; empty: the model's first output (or the input of its Softmax)
  // Position in one row of the value (rows left out). One entry per example, or a single one for all; none: the whole
  // row, which must be one element unless `mask` is set.
  std::vector<std::vector<std::int64_t>> index;
  Tensor mask;  // weights in the shape of one row, or [examples, one row...]
  double coefficient = 1;
  bool log_probability = false;  // of log_softmax over the value's last axis
};

struct Scalar {
  std::vector<Term> terms;
  std::string text;  // as the user wrote it
};

// output(281), output(281) - output(285)
[[nodiscard]] Scalar output(std::int64_t index);
[[nodiscard]] Scalar scalar_of(std::string value, std::vector<std::int64_t> index = {});
[[nodiscard]] Scalar operator-(Scalar a, const Scalar& b);
// Class `targets[i]` of the first output for example i (or one target for all).
[[nodiscard]] Scalar output_per_example(const std::vector<std::int64_t>& targets);

// `VALUE`, `VALUE:281`, `VALUE:2,7,7`, `A:1-B:2`. Names may hold colons and minus signs: an exact name wins, otherwise
// the text after the last colon is the index. Throws kBadInput naming what is not a value.
[[nodiscard]] Scalar parse_scalar(std::string_view text, const std::function<bool(std::string_view)>& is_value);

}  // namespace onnxray
