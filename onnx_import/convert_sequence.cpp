#include "onnx_import/convert_sequence.h"

namespace onnxray::onnx_import {

void add_sequence_rows(OpTable& t) {
  t.add({.op_type = "LSTM", .convert = lstm});
  t.add({.op_type = "GRU", .convert = gru});
  t.add({.op_type = "RNN", .convert = rnn});
  t.add({.op_type = "Attention", .since = 23, .convert = attention});
  t.add({.op_type = "RotaryEmbedding", .since = 23, .convert = rotary_embedding});
}

}  // namespace onnxray::onnx_import
