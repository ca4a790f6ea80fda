#include "onnx_import/tensor_proto.h"

#include <bit>
#include <cstring>
#include <limits>

namespace onnxray::onnx_import {
namespace {

static_assert(std::endian::native == std::endian::little, "raw_data is little endian and is used in place");

struct Code {
  int code;
  const char* name;
  std::optional<DType> dtype;
};

constexpr Code kCodes[] = {{0, "UNDEFINED", {}},
                           {1, "FLOAT", DType::f32},
                           {2, "UINT8", DType::u8},
                           {3, "INT8", DType::i8},
                           {4, "UINT16", DType::u16},
                           {5, "INT16", DType::i16},
                           {6, "INT32", DType::i32},
                           {7, "INT64", DType::i64},
                           {8, "STRING", {}},
                           {9, "BOOL", DType::boolean},
                           {10, "FLOAT16", DType::f16},
                           {11, "DOUBLE", DType::f64},
                           {12, "UINT32", DType::u32},
                           {13, "UINT64", DType::u64},
                           {14, "COMPLEX64", {}},
                           {15, "COMPLEX128", {}},
                           {16, "BFLOAT16", DType::bf16},
                           {17, "FLOAT8E4M3FN", {}},
                           {18, "FLOAT8E4M3FNUZ", {}},
                           {19, "FLOAT8E5M2", {}},
                           {20, "FLOAT8E5M2FNUZ", {}},
                           {21, "UINT4", {}},
                           {22, "INT4", {}},
                           {23, "FLOAT4E2M1", {}},
                           {24, "FLOAT8E8M0", {}},
                           {25, "UINT2", {}},
                           {26, "INT2", {}}};

// Below this, copying into aligned memory is cheaper than keeping the protobuf string.
constexpr std::size_t kShareFrom = 4096;
constexpr int kMaxRank = 64;

// Any byte but zero is true; C++ knows only 0 and 1.
Tensor valid_booleans(Tensor t) {
  const auto* p = static_cast<const std::uint8_t*>(t.raw());
  bool valid = true;
  for (std::int64_t i = 0; i < t.size(); ++i) valid = valid && p[i] <= 1;
  if (valid) return t;
  Tensor out(DType::boolean, t.dims());
  auto* q = static_cast<std::uint8_t*>(out.raw_mutable());
  for (std::int64_t i = 0; i < t.size(); ++i) q[i] = p[i] != 0;
  return out;
}

// `values` narrowed to the storage type; a value out of range throws.
template <class Stored, class Field>
Tensor narrowed(DType dtype, const Dims& dims, const Field& values, const char* field) {
  const std::int64_t count = count_of(dims);
  ONNXRAY_CHECK(values.size() == count, name_of(dtype), to_string(dims), " needs ", count, " values, ", field, " has ",
                values.size());
  Tensor t(dtype, dims);
  auto* q = static_cast<Stored*>(t.raw_mutable());
  for (const auto v : values) {
    const auto stored = static_cast<Stored>(v);
    if constexpr (std::is_integral_v<Stored>) {
      const bool exact = is_integer(dtype);  // booleans are truth values, halves are bits
      ONNXRAY_CHECK(!exact || static_cast<std::decay_t<decltype(v)>>(stored) == v, "value ", v, " does not fit ",
                    name_of(dtype));
    }
    *q++ = stored;
  }
  return t;
}

Tensor from_fields(const wire::TensorProto& t, DType dtype, const Dims& dims) {
  switch (dtype) {
    case DType::f32: return narrowed<float>(dtype, dims, t.float_data(), "float_data");
    case DType::f64: return narrowed<double>(dtype, dims, t.double_data(), "double_data");
    case DType::i64: return narrowed<std::int64_t>(dtype, dims, t.int64_data(), "int64_data");
    case DType::u64: return narrowed<std::uint64_t>(dtype, dims, t.uint64_data(), "uint64_data");
    case DType::u32: return narrowed<std::uint32_t>(dtype, dims, t.uint64_data(), "uint64_data");
    case DType::i32: return narrowed<std::int32_t>(dtype, dims, t.int32_data(), "int32_data");
    case DType::i16: return narrowed<std::int16_t>(dtype, dims, t.int32_data(), "int32_data");
    case DType::i8: return narrowed<std::int8_t>(dtype, dims, t.int32_data(), "int32_data");
    case DType::f16:
    case DType::bf16:
    case DType::u16: return narrowed<std::uint16_t>(dtype, dims, t.int32_data(), "int32_data");
    case DType::u8: return narrowed<std::uint8_t>(dtype, dims, t.int32_data(), "int32_data");
    case DType::boolean: return narrowed<bool>(dtype, dims, t.int32_data(), "int32_data");
  }
  fail_internal("element type");
}

Tensor from_raw(wire::TensorProto& t, DType dtype, const Dims& dims) {
  const std::size_t bytes = static_cast<std::size_t>(count_of(dims)) * size_of(dtype);
  ONNXRAY_CHECK(t.raw_data().size() == bytes, name_of(dtype), to_string(dims), " needs ", bytes,
                " bytes, raw_data has ", t.raw_data().size());
  if (bytes >= kShareFrom) {
    const std::shared_ptr<const std::string> owner(t.release_raw_data());
    return Tensor(dtype, dims, owner, owner->data());
  }
  Tensor copy(dtype, dims);
  if (bytes != 0) std::memcpy(copy.raw_mutable(), t.raw_data().data(), bytes);
  return copy;
}

}  // namespace

std::optional<DType> dtype_of_code(int code) {
  return code >= 0 && code < static_cast<int>(std::size(kCodes)) ? kCodes[code].dtype : std::nullopt;
}

int code_of_dtype(DType t) {
  for (const Code& c : kCodes) {
    if (c.dtype == t) return c.code;
  }
  fail_internal("element type");
}

std::string name_of_code(int code) {
  return code >= 0 && code < static_cast<int>(std::size(kCodes)) ? kCodes[code].name : "type " + std::to_string(code);
}

std::string unsupported_tensor(const wire::TensorProto& t) {
  ONNXRAY_CHECK(t.data_type() != 0, "the tensor has no element type");
  if (t.has_segment()) return "a tensor in segments";
  if (!dtype_of_code(t.data_type())) return "a tensor of type " + name_of_code(t.data_type());
  return {};
}

Tensor take_tensor(wire::TensorProto& t, ExternalFiles& files) {
  const std::string why = unsupported_tensor(t);
  if (!why.empty()) fail_unsupported(why, " is not supported");
  const DType dtype = *dtype_of_code(t.data_type());
  ONNXRAY_CHECK(t.dims_size() <= kMaxRank, "a tensor of rank ", t.dims_size());
  const Dims dims(t.dims().begin(), t.dims().end());
  (void)count_of(dims);
  Tensor out;
  if (t.data_location() == 1) out = files.read(t, dtype, dims);
  else if (t.has_raw_data() && (!t.raw_data().empty() || count_of(dims) == 0)) out = from_raw(t, dtype, dims);
  else out = from_fields(t, dtype, dims);
  return dtype == DType::boolean ? valid_booleans(std::move(out)) : out;
}

wire::TensorProto to_proto(const Tensor& t, const std::string& name) {
  wire::TensorProto out;
  for (const std::int64_t d : t.dims()) out.add_dims(d);
  out.set_data_type(code_of_dtype(t.dtype()));
  out.set_name(name);
  out.set_raw_data(t.raw(), t.bytes());
  return out;
}

}  // namespace onnxray::onnx_import
