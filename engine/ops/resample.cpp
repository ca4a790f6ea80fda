// resample(x; axis, offsets, index, weight): y[o] = sum of weight[j] * x[index[j]] over offsets[o] <= j < offsets[o+1],
// along one axis. The table is linear resampling of any kind (nearest, linear, cubic, antialiased); its transpose is
// the gradient. Attributes: offsets int64 [out + 1], index int64 [n], weight float64 [n], as tensors.
#include "engine/builder.h"
#include "engine/ops/layout.h"
#include "engine/passes/channels_last.h"

namespace onnxray {
namespace {

std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

void infer_resample(InferCtx& c) {
  c.expect_inputs(1, 1);
  c.expect_float(0);
  const std::int64_t axis = c.attrs.integer("axis", 0);
  Dims out = c.dims(0);
  ONNXRAY_CHECK(axis >= 0 && at(axis) < out.size(), "resample: axis ", axis, " of shape ", to_string(out));
  const Tensor offsets = c.attrs.tensor("offsets"), index = c.attrs.tensor("index"), weight = c.attrs.tensor("weight");
  ONNXRAY_CHECK(offsets.defined() && index.defined() && weight.defined() && offsets.rank() == 1 && index.rank() == 1 &&
                    offsets.size() > 0 && index.dims() == weight.dims(),
                "resample: the table needs offsets [out + 1], index [n] and weight [n]");
  const auto o = offsets.data<std::int64_t>();
  bool rising = o.front() == 0 && o.back() == index.size();
  for (std::size_t i = 1; i < o.size(); ++i) rising = rising && o[i - 1] <= o[i];
  ONNXRAY_CHECK(rising, "resample: offsets must rise from 0 to ", index.size());
  for (const std::int64_t i : index.data<std::int64_t>()) {
    ONNXRAY_CHECK(i >= 0 && i < out[at(axis)], "resample: index ", i, " is outside the extent ", out[at(axis)]);
  }
  (void)weight.data<double>();
  out[at(axis)] = offsets.size() - 1;
  (void)count_of(out);
  c.output(c.dtype(0), std::move(out));
}

// The same entries sorted by source: row i of the transpose lists the outputs that read x[i].
void grad_resample(GradCtx& c) {
  const std::int64_t axis = c.attrs.integer("axis", 0), extent = c.dims(0)[at(axis)];
  const Tensor offsets = c.attrs.tensor("offsets"), index = c.attrs.tensor("index"), weight = c.attrs.tensor("weight");
  const auto o = offsets.data<std::int64_t>(), i = index.data<std::int64_t>();
  const auto w = weight.data<double>();
  Tensor t_offsets = Tensor::zeros(DType::i64, {extent + 1}), t_index(DType::i64, index.dims()),
         t_weight(DType::f64, weight.dims());
  const auto to = t_offsets.mutable_data<std::int64_t>(), ti = t_index.mutable_data<std::int64_t>();
  const auto tw = t_weight.mutable_data<double>();
  for (const std::int64_t source : i) ++to[at(source) + 1];
  for (std::size_t k = 1; k < to.size(); ++k) to[k] += to[k - 1];
  std::vector<std::int64_t> next(to.begin(), to.end() - 1);
  for (std::size_t row = 0; row + 1 < o.size(); ++row) {
    for (std::size_t j = at(o[row]); j < at(o[row + 1]); ++j) {
      const std::size_t k = at(next[at(i[j])]++);
      ti[k] = static_cast<std::int64_t>(row);
      tw[k] = w[j];
    }
  }
  c.set(0, c.b.op("resample", {c.dy()},
                  {{"axis", axis}, {"offsets", t_offsets}, {"index", t_index}, {"weight", t_weight}}));
}

void rows_resample(RowsCtx& c) {
  if (c.inputs[0].rows.is_rows() && c.inputs[0].rows.axis != c.attrs.integer("axis", 0)) {
    c.outputs[0] = c.inputs[0].rows;
  }
}

}  // namespace

void register_resample_ops(OpRegistry& r) {
  r.add({.name = "resample",
         .infer = infer_resample,
         .grad = grad_resample,
         .rows = rows_resample,
         .channels_last = channels_last_axis,
         .traits = {.linear = true}});
}

}  // namespace onnxray
