// Tensor: dtype + dims + a shared, contiguous, row-major buffer on the host. Copying a Tensor shares its data.
#pragma once
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include "engine/base/dtype.h"
#include "engine/base/shape.h"

namespace onnxray {

class Tensor {
 public:
  Tensor() = default;
  // Uninitialised memory, 64-byte aligned.
  Tensor(DType dtype, Dims dims);
  // Wraps memory that somebody else keeps alive through `owner`.
  Tensor(DType dtype, Dims dims, std::shared_ptr<const void> owner, const void* data);

  [[nodiscard]] static Tensor zeros(DType dtype, Dims dims);
  [[nodiscard]] static Tensor full(DType dtype, Dims dims, double value);
  template <class T>
  [[nodiscard]] static Tensor from(Dims dims, std::span<const T> values);
  template <class T>
  [[nodiscard]] static Tensor from(Dims dims, std::initializer_list<T> values) {
    return from<T>(std::move(dims), std::span<const T>(values.begin(), values.size()));
  }
  // A 1-D int64 tensor.
  [[nodiscard]] static Tensor ints(std::span<const std::int64_t> values);
  template <class T>
  [[nodiscard]] static Tensor scalar(T value) {
    return from<T>({}, {value});
  }

  [[nodiscard]] bool defined() const { return data_ != nullptr; }
  [[nodiscard]] DType dtype() const { return dtype_; }
  [[nodiscard]] const Dims& dims() const { return dims_; }
  [[nodiscard]] std::size_t rank() const { return dims_.size(); }
  [[nodiscard]] std::int64_t size() const { return count_; }  // elements
  [[nodiscard]] std::size_t bytes() const { return static_cast<std::size_t>(count_) * size_of(dtype_); }

  [[nodiscard]] const void* raw() const { return data_; }
  // Writable memory; only for a tensor that nobody else reads yet.
  [[nodiscard]] void* raw_mutable() { return const_cast<void*>(data_); }
  template <class T>
  [[nodiscard]] std::span<const T> data() const {
    check_type(dtype_of<T>);
    return {static_cast<const T*>(data_), static_cast<std::size_t>(count_)};
  }
  template <class T>
  [[nodiscard]] std::span<T> mutable_data() {
    check_type(dtype_of<T>);
    return {static_cast<T*>(const_cast<void*>(data_)), static_cast<std::size_t>(count_)};
  }

  // The same data under other dims (same element count).
  [[nodiscard]] Tensor reshaped(Dims dims) const;
  // Converted elementwise; shares the data when the dtype is the same. Float to integer truncates.
  [[nodiscard]] Tensor to(DType dtype) const;
  // Elements as double / int64, whatever the dtype.
  [[nodiscard]] std::vector<double> to_doubles() const;
  [[nodiscard]] std::vector<std::int64_t> to_ints() const;
  // Rows [begin, end) of axis 0, sharing the data.
  [[nodiscard]] Tensor rows(std::int64_t begin, std::int64_t end) const;
  // dtype, dims and every byte equal.
  [[nodiscard]] bool same_bits(const Tensor& other) const;

 private:
  void check_type(DType t) const;

  DType dtype_ = DType::f32;
  Dims dims_;
  std::int64_t count_ = 0;
  std::shared_ptr<const void> owner_;
  const void* data_ = nullptr;
};

// Joins tensors along axis 0 (equal dtype and other dims). Throws naming the odd one.
[[nodiscard]] Tensor stack_rows(std::span<const Tensor> parts);

template <class T>
Tensor Tensor::from(Dims dims, std::span<const T> values) {
  Tensor t(dtype_of<T>, std::move(dims));
  ONNXRAY_CHECK(static_cast<std::int64_t>(values.size()) == t.size(), "Tensor::from: ", values.size(),
                " values for shape ", to_string(t.dims()));
  T* out = static_cast<T*>(t.raw_mutable());
  for (std::size_t i = 0; i < values.size(); ++i) out[i] = values[i];
  return t;
}

}  // namespace onnxray
