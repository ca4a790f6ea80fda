// What converters of the norm family share.
#pragma once
#include "onnx_import/convert.h"

namespace onnxray::onnx_import {

struct Normalised {
  ValueId y = kNoValue, mean = kNoValue, rstd = kNoValue;  // statistics keep the rank; no mean for RMS
};

// Normalises over the axes from `axis` on (negative counts from the end). scale and bias may be kNoValue; they
// broadcast against x.
[[nodiscard]] Normalised layer_norm(Builder& b, ValueId x, ValueId scale, ValueId bias, std::int64_t axis,
                                    double epsilon);
[[nodiscard]] Normalised rms_norm(Builder& b, ValueId x, ValueId scale, std::int64_t axis, double epsilon);

// The dtype of a float TensorProto::DataType (stash_type, softmax_precision).
[[nodiscard]] DType float_type(std::int64_t data_type);

}  // namespace onnxray::onnx_import
