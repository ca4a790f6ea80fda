#include "engine/tensor.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <cmath>
#include <cstring>
#include <limits>
#include <new>

namespace onnxray {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

// Arenas and weights ask for huge pages: far fewer page faults while they are first written, and TLB misses later.
std::shared_ptr<void> allocate(std::size_t bytes) {
  const std::align_val_t align{bytes >= 4 * kHugePage ? kHugePage : 64};
  // One byte at least: an empty tensor still has an address.
  void* p = ::operator new(bytes == 0 ? 1 : bytes, align, std::nothrow);
  if (p == nullptr) fail("out of memory: could not allocate ", bytes, " bytes");
#ifdef MADV_HUGEPAGE
  // Advice: where it is refused, nothing changes.
  if (static_cast<std::size_t>(align) == kHugePage) (void)madvise(p, bytes, MADV_HUGEPAGE);
#endif
  return {p, [align](void* q) { ::operator delete(q, align); }};
}

// Reads element i of any dtype through f.
template <class F>
void visit_storage(DType t, F&& f) {
  switch (t) {
    case DType::f32: f(static_cast<const float*>(nullptr), [](float v) { return v; }); break;
    case DType::f64: f(static_cast<const double*>(nullptr), [](double v) { return v; }); break;
    case DType::f16:
      f(static_cast<const std::uint16_t*>(nullptr), [](std::uint16_t v) { return half_to_float(v); });
      break;
    case DType::bf16:
      f(static_cast<const std::uint16_t*>(nullptr), [](std::uint16_t v) { return bfloat16_to_float(v); });
      break;
    case DType::i64: f(static_cast<const std::int64_t*>(nullptr), [](std::int64_t v) { return v; }); break;
    case DType::i32: f(static_cast<const std::int32_t*>(nullptr), [](std::int32_t v) { return v; }); break;
    case DType::i16: f(static_cast<const std::int16_t*>(nullptr), [](std::int16_t v) { return v; }); break;
    case DType::i8: f(static_cast<const std::int8_t*>(nullptr), [](std::int8_t v) { return v; }); break;
    case DType::u64: f(static_cast<const std::uint64_t*>(nullptr), [](std::uint64_t v) { return v; }); break;
    case DType::u32: f(static_cast<const std::uint32_t*>(nullptr), [](std::uint32_t v) { return v; }); break;
    case DType::u16: f(static_cast<const std::uint16_t*>(nullptr), [](std::uint16_t v) { return v; }); break;
    case DType::u8: f(static_cast<const std::uint8_t*>(nullptr), [](std::uint8_t v) { return v; }); break;
    case DType::boolean: f(static_cast<const bool*>(nullptr), [](bool v) { return v; }); break;
  }
}

// Float to integer outside the target's range is undefined in C++; it saturates here, NaN gives 0.
template <class To, class From>
To convert(From v) {
  if constexpr (std::is_same_v<To, bool>) {
    return v != From{};
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    if (std::isnan(v)) return 0;
    if (v <= static_cast<From>(std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
    if (v >= static_cast<From>(std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
    return static_cast<To>(v);
  } else {
    return static_cast<To>(v);
  }
}

template <class To, class Store>
void convert_all(const Tensor& in, void* out, Store store) {
  visit_storage(in.dtype(), [&](auto* type, auto load) {
    using From = std::remove_const_t<std::remove_pointer_t<decltype(type)>>;
    const auto* p = static_cast<const From*>(in.raw());
    using Stored = decltype(store(To{}));
    auto* q = static_cast<Stored*>(out);
    for (std::int64_t i = 0; i < in.size(); ++i) q[i] = store(convert<To>(load(p[i])));
  });
}

}  // namespace

Tensor::Tensor(DType dtype, Dims dims) : dtype_(dtype), dims_(std::move(dims)), count_(count_of(dims_)) {
  std::shared_ptr<void> memory = allocate(bytes());
  data_ = memory.get();
  owner_ = std::move(memory);
}

Tensor::Tensor(DType dtype, Dims dims, std::shared_ptr<const void> owner, const void* data)
    : dtype_(dtype), dims_(std::move(dims)), count_(count_of(dims_)), owner_(std::move(owner)), data_(data) {}

Tensor Tensor::zeros(DType dtype, Dims dims) {
  Tensor t(dtype, std::move(dims));
  std::memset(t.raw_mutable(), 0, t.bytes());
  return t;
}

Tensor Tensor::full(DType dtype, Dims dims, double value) {
  Tensor wide(DType::f64, std::move(dims));
  for (double& v : wide.mutable_data<double>()) v = value;
  return wide.to(dtype);
}

Tensor Tensor::ints(std::span<const std::int64_t> values) {
  return from<std::int64_t>({static_cast<std::int64_t>(values.size())}, values);
}

Tensor Tensor::reshaped(Dims dims) const {
  ONNXRAY_CHECK(count_of(dims) == count_, "cannot view ", to_string(dims_), " as ", to_string(dims));
  Tensor t = *this;
  t.dims_ = std::move(dims);
  return t;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor out(dtype, dims_);
  void* q = out.raw_mutable();
  const auto same = [](auto v) { return v; };
  switch (dtype) {
    case DType::f32: convert_all<float>(*this, q, same); break;
    case DType::f64: convert_all<double>(*this, q, same); break;
    case DType::f16: convert_all<float>(*this, q, [](float v) { return float_to_half(v); }); break;
    case DType::bf16: convert_all<float>(*this, q, [](float v) { return float_to_bfloat16(v); }); break;
    case DType::i64: convert_all<std::int64_t>(*this, q, same); break;
    case DType::i32: convert_all<std::int32_t>(*this, q, same); break;
    case DType::i16: convert_all<std::int16_t>(*this, q, same); break;
    case DType::i8: convert_all<std::int8_t>(*this, q, same); break;
    case DType::u64: convert_all<std::uint64_t>(*this, q, same); break;
    case DType::u32: convert_all<std::uint32_t>(*this, q, same); break;
    case DType::u16: convert_all<std::uint16_t>(*this, q, same); break;
    case DType::u8: convert_all<std::uint8_t>(*this, q, same); break;
    case DType::boolean: convert_all<bool>(*this, q, same); break;
  }
  return out;
}

std::vector<double> Tensor::to_doubles() const {
  const Tensor wide = to(DType::f64);
  const auto d = wide.data<double>();
  return {d.begin(), d.end()};
}

std::vector<std::int64_t> Tensor::to_ints() const {
  const Tensor wide = to(DType::i64);
  const auto d = wide.data<std::int64_t>();
  return {d.begin(), d.end()};
}

Tensor Tensor::rows(std::int64_t begin, std::int64_t end) const {
  ONNXRAY_CHECK(rank() > 0 && begin >= 0 && begin <= end && end <= dims_[0], "rows [", begin, ", ", end,
                ") of a tensor of shape ", to_string(dims_));
  Tensor t = *this;
  t.dims_[0] = end - begin;
  const std::int64_t row = product(dims_, 1, dims_.size());
  t.count_ = row * (end - begin);
  t.data_ = static_cast<const std::byte*>(data_) + static_cast<std::size_t>(begin * row) * size_of(dtype_);
  return t;
}

bool Tensor::same_bits(const Tensor& other) const {
  return dtype_ == other.dtype_ && dims_ == other.dims_ &&
         (count_ == 0 || std::memcmp(data_, other.data_, bytes()) == 0);
}

void Tensor::check_type(DType t) const {
  ONNXRAY_CHECK(defined() && t == dtype_, "tensor of ", name_of(dtype_), " read as ", name_of(t));
}

Tensor stack_rows(std::span<const Tensor> parts) {
  ONNXRAY_CHECK(!parts.empty() && parts[0].rank() > 0, "stack_rows: nothing to stack");
  Dims dims = parts[0].dims();
  dims[0] = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Dims a = parts[i].dims(), b = parts[0].dims();
    ONNXRAY_CHECK(!a.empty() && parts[i].dtype() == parts[0].dtype(), "stack_rows: input ", i, " has another dtype");
    dims[0] += a[0];
    a[0] = b[0] = 0;
    ONNXRAY_CHECK(a == b, "cannot batch shapes ", to_string(parts[0].dims()), " and ", to_string(parts[i].dims()));
  }
  Tensor out(parts[0].dtype(), dims);
  auto* q = static_cast<std::byte*>(out.raw_mutable());
  for (const Tensor& p : parts) {
    std::memcpy(q, p.raw(), p.bytes());
    q += p.bytes();
  }
  return out;
}

}  // namespace onnxray
