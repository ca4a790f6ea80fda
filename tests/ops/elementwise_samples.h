// Cases of the elementwise family that lie in files of their own.
#pragma once
#include "tests/ops/sample.h"

namespace onnxray::testing {

void add_unary_cases(std::vector<OpCase>& cases);
void add_map_cases(std::vector<OpCase>& cases);

}  // namespace onnxray::testing
