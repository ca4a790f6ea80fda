#include "onnx_import/convert.h"

namespace onnxray::onnx_import {

void add_activation_rows(OpTable& t) { (void)t; }

}  // namespace onnxray::onnx_import
