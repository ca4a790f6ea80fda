// What an op family tells the conformance loop about its ops: sample inputs, an independent float64 reference, error
// cases. The loop (op_conformance_test.cpp) does the rest for every registered op; an op without samples fails it.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "engine/attrs.h"
#include "engine/tensor.h"

namespace onnxray::testing {

// A float64 array; integers and booleans are held exactly.
struct Array {
  Dims dims;
  std::vector<double> v;
};

struct SampleInput {
  DType dtype = DType::f64;  // floats: f64 here stands for "the float type under test" (f32 and f64 are both run)
  Dims dims;
  double lo = -2, hi = 2;   // values are drawn uniformly from [lo, hi); integers from [lo, hi)
  bool absent = false;      // an optional input that is not given
  Tensor fixed;             // instead of drawn values
  bool constant = false;    // given to the plan as a constant, not as an input (both are tried)
  bool keep_dtype = false;  // dtype f64 means float64 in float32 runs too
};

struct OpSample {
  std::vector<SampleInput> inputs;
  Attrs attrs;
};

using Reference = std::function<std::vector<Array>(const std::vector<Array>& inputs, const Attrs& attrs)>;

struct OpCase {
  std::string op;
  Reference reference;            // textbook loops, written from the definition, nothing from kernels/
  std::vector<OpSample> samples;  // at least 6: scalar, size 0 or 1, odd sizes, broadcasting, every attribute
  std::vector<OpSample> errors;   // each must make infer throw onnxray::Error
  bool has_kinks = false;         // redraw where the five-point fit sees a kink
  bool second_order = true;       // the gradient of the gradient is checked too
  std::vector<std::size_t> gradient_outputs = {0};  // outputs whose cotangents are tested (argmax is not)
  double reduction = 1;  // elements summed per output: sets the float32 tolerance k * eps * sqrt(n)
};

void add_elementwise_cases(std::vector<OpCase>& cases);
void add_activation_cases(std::vector<OpCase>& cases);
void add_matmul_cases(std::vector<OpCase>& cases);
void add_attention_cases(std::vector<OpCase>& cases);
void add_conv_cases(std::vector<OpCase>& cases);
void add_pool_cases(std::vector<OpCase>& cases);
void add_norm_cases(std::vector<OpCase>& cases);
void add_reduce_cases(std::vector<OpCase>& cases);
void add_layout_cases(std::vector<OpCase>& cases);
void add_index_cases(std::vector<OpCase>& cases);
void add_row_cases(std::vector<OpCase>& cases);
void add_random_cases(std::vector<OpCase>& cases);
void add_patch_cases(std::vector<OpCase>& cases);

// All of them.
[[nodiscard]] const std::vector<OpCase>& all_cases();

}  // namespace onnxray::testing
