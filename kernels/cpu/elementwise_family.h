// What the files of the elementwise family share.
#pragma once
#include "engine/backend.h"
#include "engine/op.h"

namespace onnxray::cpu {

// Ops of functors.h with one or two inputs; integers go to elementwise_integer.cpp.
[[nodiscard]] Step prepare_unary(const PrepareCtx& c);
[[nodiscard]] Step prepare_binary(const PrepareCtx& c);
[[nodiscard]] Step prepare_unary_integer(const PrepareCtx& c);
[[nodiscard]] Step prepare_binary_integer(const PrepareCtx& c);

void register_logic(Backend& b);  // comparisons, and, or, xor, not, where, is_nan, is_inf
void register_cast(Backend& b);
void register_map(Backend& b);

}  // namespace onnxray::cpu
