// MatMul, Gemm and their fused and integer relatives. Einsum has a file of its own.
#include <numeric>

#include "onnx_import/convert_conv_window.h"
#include "onnx_import/convert_matmul_einsum.h"

namespace onnxray::onnx_import {
namespace {

// numpy.matmul: 1-D operands are promoted and the added axis is dropped again.
ValueId promoted_matmul(Builder& b, ValueId x, ValueId y) {
  ONNXRAY_CHECK(b.rank(x) >= 1 && b.rank(y) >= 1, "matmul of a scalar");
  const bool row = b.rank(x) == 1, column = b.rank(y) == 1;
  if (row) x = b.unsqueeze(x, 0);
  if (column) y = b.unsqueeze(y, 1);
  ValueId v = b.matmul(x, y);
  Dims d = b.dims(v);
  if (column) d.pop_back();
  if (row) d.erase(d.end() - (column ? 1 : 2));
  return b.reshape(v, d);
}

void matmul(ConvertCtx& c) { c.out(promoted_matmul(c.b, c.in(0), c.in(1))); }

// alpha op(a) op(b) + beta c
ValueId gemm_value(ConvertCtx& c) {
  Builder& b = c.b;
  ONNXRAY_CHECK(c.rank(0) == 2 && c.rank(1) == 2, "inputs are ", to_string(c.dims(0)), " and ", to_string(c.dims(1)),
                ", expected two matrices");
  const bool ta = c.attr_int("transA", 0) != 0, tb = c.attr_int("transB", 0) != 0;
  const double alpha = c.attr_float("alpha", 1), beta = c.attr_float("beta", 1);
  Attrs attrs;
  if (ta) attrs.set("trans_a", std::int64_t{1});
  if (tb) attrs.set("trans_b", std::int64_t{1});
  std::vector<ValueId> inputs{c.in(0), c.in(1)};
  const bool has_c = c.has(2) && beta != 0;
  if (has_c && alpha == 1 && beta == 1) {
    // A row vector is matmul's own bias.
    const std::int64_t n = c.dims(1)[tb ? 0 : 1];
    const Dims& d = c.dims(2);
    if (d == Dims{n} || (d == Dims{1, n} && c.b.graph.is_constant(c.in(2)))) {
      inputs.push_back(b.reshape(c.in(2), {n}));
      return b.op("matmul", inputs, std::move(attrs));
    }
  }
  ValueId y = b.op("matmul", inputs, std::move(attrs));
  if (alpha != 1) y = b.mul(y, alpha);
  if (has_c) {
    const ValueId addend = beta == 1 ? c.in(2) : b.mul(c.in(2), beta);
    const Dims out = b.dims(y);
    y = b.add(y, addend);
    ONNXRAY_CHECK(b.dims(y) == out, "C has shape ", to_string(c.dims(2)), ", which does not broadcast to ",
                  to_string(out));
  }
  return y;
}

void gemm(ConvertCtx& c) { c.out(gemm_value(c)); }
void fused_gemm(ConvertCtx& c) { c.out(apply_activation(c, gemm_value(c))); }

// transBatch moves the first axis behind the matrix's rows before everything else.
void fused_matmul(ConvertCtx& c) {
  Builder& b = c.b;
  const auto operand = [&](std::size_t i, const char* batch) {
    const auto rank = static_cast<std::int64_t>(c.rank(i));
    if (c.attr_int(batch, 0) == 0 || rank < 3) return c.in(i);
    std::vector<std::int64_t> perm;
    for (std::int64_t k = 1; k < rank - 1; ++k) perm.push_back(k);
    perm.push_back(0);
    perm.push_back(rank - 1);
    return b.transpose(c.in(i), perm);
  };
  const ValueId x = operand(0, "transBatchA"), y = operand(1, "transBatchB");
  const bool ta = c.attr_int("transA", 0) != 0 && b.rank(x) > 1, tb = c.attr_int("transB", 0) != 0 && b.rank(y) > 1;
  ValueId v = kNoValue;
  if (b.rank(x) == 1 || b.rank(y) == 1) {
    const auto flipped = [&](ValueId m) {
      std::vector<std::int64_t> perm(b.rank(m));
      std::iota(perm.begin(), perm.end(), 0);
      std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
      return b.transpose(m, perm);
    };
    v = promoted_matmul(b, ta ? flipped(x) : x, tb ? flipped(y) : y);
  } else {
    v = b.matmul(x, y, ta, tb);
  }
  const double alpha = c.attr_float("alpha", 1);
  c.out(alpha == 1 ? v : b.mul(v, alpha));
}

// int32 product of 8-bit matrices less their zero points (per tensor, or per row of A / column of B).
void matmul_integer(ConvertCtx& c) {
  Builder& b = c.b;
  const auto shifted = [&](std::size_t i, std::size_t zero) {
    const ValueId v = b.cast(c.in(i), DType::i32);
    if (!c.has(zero)) return v;
    ValueId z = b.cast(c.in(zero), DType::i32);
    if (i == 0 && b.rank(z) == 1 && b.dims(z)[0] != 1) z = b.unsqueeze(z, 1);
    return b.sub(v, z);
  };
  c.out(promoted_matmul(b, shifted(0, 2), shifted(1, 3)));
}

void einsum(ConvertCtx& c) { c.out(einsum_value(c.b, c.attr_string("equation", ""), c.inputs())); }

}  // namespace

void add_matmul_rows(OpTable& t) {
  t.add({.op_type = "MatMul", .convert = matmul});
  t.add({.op_type = "Gemm", .convert = gemm});
  t.add({.op_type = "Einsum", .since = 12, .convert = einsum});
  t.add({.op_type = "MatMulInteger", .since = 10, .convert = matmul_integer, .has_gradient = false});
  t.add({.op_type = "FusedMatMul", .convert = fused_matmul, .domain = "com.microsoft"});
  t.add({.op_type = "FusedGemm", .convert = fused_gemm, .domain = "com.microsoft"});
}

}  // namespace onnxray::onnx_import
