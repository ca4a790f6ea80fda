// Converters of sequence operators.
#pragma once
#include "onnx_import/convert.h"

namespace onnxray::onnx_import {

void lstm(ConvertCtx& c);  // convert_sequence_rnn.cpp
void gru(ConvertCtx& c);
void rnn(ConvertCtx& c);
void attention(ConvertCtx& c);  // convert_sequence_attention.cpp
void rotary_embedding(ConvertCtx& c);

}  // namespace onnxray::onnx_import
