// Random numbers made inside a plan. Every number is a function of (seed, example, sample, stream, element) alone, by
// Philox4x32-10 (engine/base/philox.h): the same for any chunking of the rows, on any device up to rounding.
//
// Input: keys int64 [R, 3], per row (seed, example, sample); the seed is the generator's 64-bit key, example and sample
// are in [0, 2^32). Attributes: dims (of one row), dtype ("float32" or "float64"), stream in [0, 2^16), which tells
// several draws of one row apart. Elements 2p and 2p + 1 of a row come from the block at the counter
//   hi = example * 2^32 + sample, lo = stream * 2^48 + p.
#include "engine/ops/elementwise_family.h"
#include "engine/ops/families.h"

namespace onnxray {
namespace {

void infer_random(InferCtx& c) {
  c.expect_inputs(1, 1);
  ONNXRAY_CHECK(c.dtype(0) == DType::i64 && c.rank(0) == 2 && c.dims(0)[1] == 3,
                "keys must be int64 [R, 3]: seed, example, sample");
  const DType dtype = dtype_named(c.attrs.text("dtype"));
  ONNXRAY_CHECK(dtype == DType::f32 || dtype == DType::f64, "random numbers are float32 or float64, not ",
                name_of(dtype));
  const std::int64_t stream = c.attrs.integer("stream", 0);
  ONNXRAY_CHECK(stream >= 0 && stream < (1 << 16), "stream ", stream, " is outside [0, 65536)");
  Dims dims = c.attrs.ints("dims");
  dims.insert(dims.begin(), c.dims(0)[0]);
  (void)count_of(dims);
  c.output(dtype, std::move(dims));
}

}  // namespace

void register_random_ops(OpRegistry& r) {
  // In [0, 1): the half block's upper 53 bits (float64) or 24 bits (float32) as a binary fraction.
  r.add({.name = "random_uniform", .infer = infer_random, .traits = {.piecewise_constant = true}});
  // Standard normal, Box-Muller: the block's two halves give u and v, elements 2p and 2p + 1 are
  //   sqrt(-2 log(1 - u)) cos(2 pi v) and sqrt(-2 log(1 - u)) sin(2 pi v), computed in float64.
  r.add({.name = "random_normal", .infer = infer_random, .traits = {.piecewise_constant = true}});
}

}  // namespace onnxray
