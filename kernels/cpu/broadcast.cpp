#include "kernels/cpu/broadcast.h"

namespace onnxray::cpu {
namespace {

// Strides of an operand in the output's index space; 0 where it is broadcast.
Dims broadcast_strides(const Dims& dims, const Dims& out) {
  const Dims own = strides_of(dims);
  Dims s(out.size(), 0);
  for (std::size_t i = 0; i < dims.size(); ++i) s[i + out.size() - dims.size()] = dims[i] == 1 ? 0 : own[i];
  return s;
}

}  // namespace

MergedAxes merge_axes(const Dims& out, const std::vector<Dims>& operands) {
  std::vector<Dims> strides;
  for (const Dims& d : operands) strides.push_back(broadcast_strides(d, out));
  MergedAxes m;
  m.strides.resize(operands.size());
  for (std::size_t d = 0; d < out.size(); ++d) {
    if (out[d] == 1) continue;
    bool merges = !m.dims.empty();
    for (std::size_t k = 0; k < strides.size() && merges; ++k) {
      merges = m.strides[k].back() == strides[k][d] * out[d];
    }
    if (!merges) {
      m.dims.push_back(1);
      for (Dims& s : m.strides) s.push_back(0);
    }
    m.dims.back() *= out[d];
    for (std::size_t k = 0; k < strides.size(); ++k) m.strides[k].back() = strides[k][d];
  }
  if (m.dims.empty()) {
    m.dims.push_back(1);
    for (Dims& s : m.strides) s.push_back(0);
  }
  return m;
}

Operand::Operand(const Dims& dims, const Dims& out) {
  MergedAxes m = merge_axes(out, {dims});
  dims_ = std::move(m.dims);
  strides_ = std::move(m.strides[0]);
  if (dims_.size() == 1) {
    kind_ = strides_[0] == 0 ? Kind::kScalar : Kind::kFlat;
    return;
  }
  kind_ = Kind::kGeneral;
  if (dims_.size() == 2 && strides_[0] == 0) period_ = dims_[1];
}

}  // namespace onnxray::cpu
