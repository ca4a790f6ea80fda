// Activations of ai.onnx and those of com.microsoft that decompose into them.
#include "onnx_import/convert_math.h"
#include "onnx_import/convert_types.h"

namespace onnxray::onnx_import {
namespace {

template <const char* kOp>
void plain(ConvertCtx& c) {
  c.out(c.b.op(kOp, {c.in(0)}));
}

constexpr char kSigmoid[] = "sigmoid", kTanh[] = "tanh", kSoftplus[] = "softplus", kSoftsign[] = "softsign",
               kMish[] = "mish", kHardSwish[] = "hard_swish";

void convert_relu(ConvertCtx& c) {
  const ValueId x = c.in(0);
  // Integers since opset 14.
  c.out(c.b.cast(c.b.op("relu", {c.b.cast(x, compute_dtype(c.dtype(0)))}), c.dtype(0)));
}

void convert_leaky_relu(ConvertCtx& c) {
  c.out(c.b.op("leaky_relu", {c.in(0)}, {{"alpha", c.attr_float("alpha", 0.01)}}));
}

// The slope broadcasts to x; before opset 7 a vector of slopes means channels.
void convert_prelu(ConvertCtx& c) {
  Builder& b = c.b;
  ValueId slope = widened(c, 1);
  const Dims x = c.dims(0), s = c.dims(1);
  if (c.version < 7 && s.size() == 1 && s[0] != 1 && x.size() > 1) {
    ONNXRAY_CHECK(s[0] == x[1], "slope of ", s[0], " entries for an input of shape ", to_string(x));
    Dims dims(x.size() - 1, 1);
    dims[0] = s[0];
    slope = b.reshape(slope, dims);
  }
  ONNXRAY_CHECK(broadcast(x, b.dims(slope)) == x, "slope of shape ", to_string(s), " does not broadcast to ",
                to_string(x));
  if (is_float(c.dtype(0))) {
    c.out(b.op("prelu", {c.in(0), slope}));
    return;
  }
  const ValueId v = widened(c, 0);
  const ValueId y = b.where(b.op("greater", {v, b.scalar_like(v, 0)}), v, b.mul(v, slope));
  c.out(b.cast(y, c.dtype(0)));
}

void elu(ConvertCtx& c, double alpha, double beta, double gamma) {
  c.out(c.b.op("elu", {c.in(0)}, {{"alpha", alpha}, {"beta", beta}, {"gamma", gamma}}));
}
void convert_elu(ConvertCtx& c) { elu(c, c.attr_float("alpha", 1), 1, 1); }
void convert_selu_1(ConvertCtx& c) { elu(c, c.attr_float("alpha", 1.6732), 1, c.attr_float("gamma", 1.0507)); }
void convert_selu(ConvertCtx& c) {
  elu(c, c.attr_float("alpha", 1.67326319217681884765625), 1, c.attr_float("gamma", 1.05070102214813232421875));
}
void convert_celu(ConvertCtx& c) {
  const double alpha = c.attr_float("alpha", 1);
  ONNXRAY_CHECK(alpha != 0, "alpha is 0");
  elu(c, alpha, 1 / alpha, 1);
}

void convert_gelu(ConvertCtx& c) {
  const std::string how = c.attr_string("approximate", "none");
  ONNXRAY_CHECK(how == "none" || how == "tanh", "approximate is '", how, "', expected none or tanh");
  c.out(c.b.op(how == "tanh" ? "gelu_tanh" : "gelu", {c.in(0)}));
}

void convert_swish(ConvertCtx& c) { c.out(c.b.op("swish", {c.in(0)}, {{"alpha", c.attr_float("alpha", 1)}})); }
// swish(a) b.
void convert_swiglu(ConvertCtx& c) {
  c.out(c.b.mul(c.b.op("swish", {c.in(0)}, {{"alpha", c.attr_float("alpha", 1)}}), c.in(1)));
}

void convert_hard_sigmoid(ConvertCtx& c) {
  c.out(
      c.b.op("hard_sigmoid", {c.in(0)}, {{"alpha", c.attr_float("alpha", 0.2)}, {"beta", c.attr_float("beta", 0.5)}}));
}

void convert_thresholded_relu(ConvertCtx& c) {
  c.out(c.b.op("thresholded_relu", {c.in(0)}, {{"alpha", c.attr_float("alpha", 1)}}));
}

void convert_shrink(ConvertCtx& c) {
  c.out(c.b.op("shrink", {c.in(0)}, {{"bias", c.attr_float("bias", 0)}, {"lambd", c.attr_float("lambd", 0.5)}}));
}

// com.microsoft: x with an optional bias in input 1.
ValueId biased(ConvertCtx& c) { return c.has(1) ? c.b.add(c.in(0), c.in(1)) : c.in(0); }
void convert_bias_gelu(ConvertCtx& c) { c.out(c.b.op("gelu", {biased(c)})); }
void convert_fast_gelu(ConvertCtx& c) { c.out(c.b.op("gelu_tanh", {biased(c)})); }
void convert_quick_gelu(ConvertCtx& c) { c.out(c.b.op("swish", {c.in(0)}, {{"alpha", c.attr_float("alpha", 1.702)}})); }

}  // namespace

void add_activation_rows(OpTable& t) {
  const auto add = [&](const char* op, ConvertFn f, std::int64_t since = 1, const char* domain = "") {
    t.add({.op_type = op, .since = since, .convert = f, .domain = domain});
  };
  add("Relu", convert_relu);
  add("LeakyRelu", convert_leaky_relu);
  add("PRelu", convert_prelu);
  add("Elu", convert_elu);
  add("Selu", convert_selu_1);
  add("Selu", convert_selu, 6);
  add("Celu", convert_celu, 12);
  add("Gelu", convert_gelu, 20);
  add("Sigmoid", plain<kSigmoid>);
  add("Tanh", plain<kTanh>);
  add("HardSigmoid", convert_hard_sigmoid);
  add("HardSwish", plain<kHardSwish>, 14);
  add("Softplus", plain<kSoftplus>);
  add("Softsign", plain<kSoftsign>);
  add("Mish", plain<kMish>, 18);
  add("Swish", convert_swish, 24);
  add("SwiGLU", convert_swiglu, 28);
  add("ThresholdedRelu", convert_thresholded_relu);
  add("Shrink", convert_shrink, 9);
  add("Gelu", convert_bias_gelu, 1, "com.microsoft");
  add("BiasGelu", convert_bias_gelu, 1, "com.microsoft");
  add("FastGelu", convert_fast_gelu, 1, "com.microsoft");
  add("QuickGelu", convert_quick_gelu, 1, "com.microsoft");
}

}  // namespace onnxray::onnx_import
