// Casts among all dtypes: one loop each for what models do while they run, Tensor::to for the rest.
#include "kernels/cpu/broadcast.h"
#include "kernels/cpu/elementwise_family.h"

namespace onnxray::cpu {
namespace {

template <class From, class To>
Step convert(const PrepareCtx& c) {
  const auto f = [](From x) { return static_cast<To>(x); };
  return unary_step<decltype(f), From, To>(c, f);
}

template <class From>
Step to_bool(const PrepareCtx& c) {
  const auto f = [](From x) { return x != From{}; };
  return unary_step<decltype(f), From, bool>(c, f);
}

template <class To>
Step half_to(const PrepareCtx& c, float (*load)(std::uint16_t)) {
  const auto f = [load](std::uint16_t x) { return static_cast<To>(load(x)); };
  return unary_step<decltype(f), std::uint16_t, To>(c, f);
}

template <class To>
Step to_float(const PrepareCtx& c) {
  switch (c.dtype(0)) {
    case DType::f32: return convert<float, To>(c);
    case DType::f64: return convert<double, To>(c);
    case DType::i64: return convert<std::int64_t, To>(c);
    case DType::i32: return convert<std::int32_t, To>(c);
    case DType::u8: return convert<std::uint8_t, To>(c);
    case DType::i8: return convert<std::int8_t, To>(c);
    case DType::boolean: return convert<bool, To>(c);
    case DType::f16: return half_to<To>(c, half_to_float);
    case DType::bf16: return half_to<To>(c, bfloat16_to_float);
    default: return {};
  }
}

Step cast(const PrepareCtx& c) {
  const DType from = c.dtype(0), to = c.out_dtype();
  const Dims dims = c.out_dims();
  if (from == to) {
    const std::size_t bytes = static_cast<std::size_t>(count_of(dims)) * size_of(from);
    return {[bytes](const RunArgs& a) { std::memmove(a.out[0], a.in[0], bytes); }};
  }
  Step step;
  if (to == DType::f32) step = to_float<float>(c);
  if (to == DType::f64) step = to_float<double>(c);
  if (to == DType::i64 && from == DType::i32) step = convert<std::int32_t, std::int64_t>(c);
  if (to == DType::i64 && from == DType::boolean) step = convert<bool, std::int64_t>(c);
  if (to == DType::i32 && from == DType::i64) step = convert<std::int64_t, std::int32_t>(c);
  if (to == DType::boolean && from == DType::f32) step = to_bool<float>(c);
  if (to == DType::boolean && from == DType::i64) step = to_bool<std::int64_t>(c);
  if (step.run) return step;
  const std::int64_t count = count_of(dims);
  return {[=](const RunArgs& a) {
    // The view does not own its memory, which lives through the call.
    const Tensor view(from, {count}, nullptr, a.in[0]);
    const Tensor converted = view.to(to);
    std::memcpy(a.out[0], converted.raw(), converted.bytes());
  }};
}

}  // namespace

void register_cast(Backend& b) { b.add("cast", cast); }

}  // namespace onnxray::cpu
