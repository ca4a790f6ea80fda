#include "onnx_import/convert_layout.h"

namespace onnxray::onnx_import {

void add_elements_rows(OpTable& t) { (void)t; }

}  // namespace onnxray::onnx_import
