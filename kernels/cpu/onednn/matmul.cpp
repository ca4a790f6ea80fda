// Matrix products in float32. A constant right operand is packed once.
#include <cstring>

#include "kernels/cpu/onednn/kernels.h"
#include "kernels/cpu/onednn/onednn.h"

namespace onnxray::cpu::onednn {
namespace {

Md matrix(std::int64_t batch, std::int64_t rows, std::int64_t cols, bool transposed, bool with_batch) {
  const std::int64_t r = transposed ? 1 : cols, k = transposed ? rows : 1;
  if (!with_batch) return strided({rows, cols}, {r, k});
  return strided({batch, rows, cols}, {rows * cols, r, k});
}

}  // namespace

std::optional<Step> matmul(const PrepareCtx& c) {
  if (c.dtype(0) != DType::f32) return std::nullopt;
  const Dims &a = c.dims(0), &b = c.dims(1), &out = c.out_dims();
  if (count_of(a) == 0 || count_of(b) == 0 || count_of(out) == 0) return std::nullopt;
  const bool ta = c.attrs.integer("trans_a", 0) != 0, tb = c.attrs.integer("trans_b", 0) != 0;
  std::int64_t m = out[out.size() - 2], batches = product(out, 0, out.size() - 2);
  const std::int64_t n = out.back(), k = a[a.size() - (ta ? 2 : 1)];
  const std::int64_t a_batches = product(a, 0, a.size() - 2), b_batches = product(b, 0, b.size() - 2);
  if (b_batches == 1 && a_batches == batches && (!ta || batches == 1)) {
    m *= batches;
    batches = 1;
  } else if (a_batches != batches || b_batches != batches) {
    return std::nullopt;
  }
  const bool batched = batches != 1, bias = c.has(2), sum = c.attrs.has("sum_input");
  if (m == 1 && n == 1) return std::nullopt;
  const bool packs = !batched && c.constant(1).defined();
  return guarded("preparing a matmul", [&]() -> std::optional<Step> {
    const Md amd = matrix(batches, m, k, ta, batched), bmd = matrix(batches, k, n, tb, batched);
    const Md ymd = matrix(batches, m, n, false, batched);
    const Md bias_md = batched ? strided({1, 1, n}, {n, n, 1}) : strided({1, n}, {n, 1});
    const auto pd = accepted([&] {
      dnnl::primitive_attr attr;
      attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
      dnnl::post_ops ops;
      if (sum) ops.append_sum(1.0F);
      if (c.attrs.integer("relu", 0) != 0) ops.append_eltwise(1.0F, dnnl::algorithm::eltwise_relu, 0.0F, 0.0F);
      attr.set_post_ops(ops);
      const Md w = packs ? any({k, n}) : bmd;
      if (bias) return dnnl::matmul::primitive_desc({amd, w, bias_md, ymd}, attr, engine());
      return dnnl::matmul::primitive_desc({amd, w, ymd}, attr, engine());
    });
    if (!pd) return std::nullopt;
    Scratch scratch;
    const auto weights = std::make_shared<const Weights>(c, 1, bmd, pd->weights_desc(), scratch);
    const Md pad = pd->scratchpad_desc(), wmd = pd->weights_desc();
    const std::size_t pad_at = scratch.take(pad.get_size());
    const dnnl::matmul primitive(*pd);
    Step step;
    step.scratch_bytes = scratch.bytes();
    step.run = [=](const RunArgs& args) {
      guarded("matmul", [&] {
        dnnl::stream s(engine());
        if (sum && args.out[0] != args.in[3]) std::memcpy(args.out[0], args.in[3], ymd.get_size());
        std::unordered_map<int, dnnl::memory> all{
            {DNNL_ARG_SRC, memory(amd, args.in[0])},
            {DNNL_ARG_WEIGHTS, memory(wmd, weights->get(s, args.in[1], args.scratch))},
            {DNNL_ARG_DST, memory(ymd, args.out[0])},
            {DNNL_ARG_SCRATCHPAD, memory(pad, args.scratch + pad_at)}};
        if (bias) all.emplace(DNNL_ARG_BIAS, memory(bias_md, args.in[2]));
        primitive.execute(s, all);
        s.wait();
      });
    };
    return step;
  });
}

}  // namespace onnxray::cpu::onednn
