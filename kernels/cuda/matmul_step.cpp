// The engine's matrix products on the kernels of gemm.h.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/packed_constant.h"

namespace onnxray::cuda {
namespace {

// None where the batch has more axes than the kernels take.
std::optional<GemmShape> shape_of(const PrepareCtx& c) {
  const Dims &a = c.dims(0), &b = c.dims(1), &out = c.out_dims();
  GemmShape s;
  s.trans_a = c.attrs.integer("trans_a", 0) != 0;
  s.trans_b = c.attrs.integer("trans_b", 0) != 0;
  const std::size_t rank = out.size();
  s.m = out[rank - 2];
  s.n = out[rank - 1];
  s.k = a[a.size() - (s.trans_a ? 2 : 1)];
  const std::int64_t batches = product(out, 0, rank - 2);
  // One matrix b for all batches of a plain a: a tall product.
  if (!s.trans_a && product(b, 0, b.size() - 2) == 1 && product(a, 0, a.size() - 2) == batches) {
    s.m *= batches;
    return s;
  }
  // The step of an operand along batch axis `axis` of the result.
  const auto step = [&](const Dims& d, std::size_t axis) -> std::int64_t {
    if (axis + d.size() < rank) return 0;
    const std::size_t own = axis + d.size() - rank;
    return d[own] == 1 ? 0 : product(d, own + 1, d.size());
  };
  // Axes that both operands walk alike become one.
  for (std::size_t axis = 0; axis + 2 < rank; ++axis) {
    if (out[axis] == 1) continue;
    const std::int64_t sa = step(a, axis), sb = step(b, axis);
    const int last = s.batch_axes - 1;
    if (last >= 0 && s.a_step[last] == sa * out[axis] && s.b_step[last] == sb * out[axis]) {
      s.batch[last] *= out[axis];
      s.a_step[last] = sa;
      s.b_step[last] = sb;
      continue;
    }
    if (s.batch_axes == kMaxBatchAxes) return std::nullopt;
    s.batch[s.batch_axes] = out[axis];
    s.a_step[s.batch_axes] = sa;
    s.b_step[s.batch_axes++] = sb;
  }
  return s;
}

struct EpilogueInputs {
  bool bias, sum, relu, gives_mask;

  template <class T>
  [[nodiscard]] Epilogue<T> at(const RunArgs& a) const {
    Epilogue<T> e{bias ? static_cast<const T*>(a.in[2]) : nullptr, sum ? static_cast<const T*>(a.in[3]) : nullptr,
                  nullptr, relu};
    if (gives_mask) e.out_bits = static_cast<std::uint32_t*>(a.out[1]);
    return e;
  }
};

// float32, on the tensor cores.
Step tensor_core_product(const PrepareCtx& c, const GemmShape& shape, const EpilogueInputs& epilogue) {
  const bool constant_b = c.constant(1).defined();
  const GemmPlan plan =
      plan_gemm(shape, precision_of(c), {c.device()->processors(), c.device()->warpgroups()}, constant_b);
  Step step;
  std::shared_ptr<const void> packed;
  if (plan.weight_bytes > 0) {
    const std::string form = detail::concat("matmul ", static_cast<int>(plan.precision), shape.trans_b);
    packed = packed_constant(c, 1, form, plan.weight_bytes,
                             [&](const float* b, float* to, void* stream) { pack_gemm_weights(plan, b, to, stream); });
    step.unread_constants = 1u << 1;
  }
  const std::size_t workspace_bytes = (plan.workspace_bytes + 255) / 256 * 256;
  step.scratch_bytes = workspace_bytes + unread_result_bytes(c);
  step.run = [plan, packed, workspace_bytes, epilogue](const RunArgs& a) {
    run_gemm(plan, static_cast<const float*>(a.in[0]), static_cast<const float*>(packed ? packed.get() : a.in[1]),
             result_at<float>(a, workspace_bytes), epilogue.at<float>(a), reinterpret_cast<float*>(a.scratch),
             a.stream);
  };
  return step;
}

Step matmul(const PrepareCtx& c) {
  if (count_of(c.out_dims()) == 0) return {[](const RunArgs&) {}};
  const auto shape = shape_of(c);
  if (!shape) return {};
  const EpilogueInputs epilogue{c.has(2), c.attrs.has("sum_input"), c.attrs.integer("relu", 0) != 0,
                                gives_mask_output(c.attrs)};
  if (c.dtype(0) == DType::f32) return tensor_core_product(c, *shape, epilogue);
  const std::size_t unread = unread_result_bytes(c);
  const auto general = [&]<class T>() -> Step {
    return {[=, s = *shape](const RunArgs& a) {
              run_gemm_general<T>(s, static_cast<const T*>(a.in[0]), static_cast<const T*>(a.in[1]), result_at<T>(a, 0),
                                  epilogue.at<T>(a), a.stream);
            },
            unread};
  };
  switch (c.dtype(0)) {
    case DType::f64: return general.template operator()<double>();
    case DType::i64: return general.template operator()<std::int64_t>();
    case DType::i32: return general.template operator()<std::int32_t>();
    case DType::i8: return general.template operator()<std::int8_t>();
    case DType::u8: return general.template operator()<std::uint8_t>();
    default: return {};
  }
}

}  // namespace

void register_matmul(Backend& b) { b.add("matmul", matmul); }

}  // namespace onnxray::cuda
