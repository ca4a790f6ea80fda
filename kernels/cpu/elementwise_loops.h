// The flat loops of every float op in functors.h, by op name. Single nodes and fused `map` programs run the same loops,
// so fusing changes no bit. y may be x itself, never a shifted overlap.
#pragma once
#include <cstdint>
#include <string_view>

#include "engine/attrs.h"
#include "kernels/cpu/vectorise.h"
#include "kernels/functors.h"

namespace onnxray::cpu {

template <class T>
struct UnaryLoop {
  void (*run)(const T* x, T* y, std::int64_t n, const fn::Params<T>& p) = nullptr;
  fn::ParamSpecs specs{};
};

template <class T>
struct BinaryLoop {
  using Run = void (*)(const T* x, const T* y, T* z, std::int64_t n, const fn::Params<T>& p);
  Run both = nullptr;          // x[i], y[i]
  Run right_scalar = nullptr;  // x[i], y[0]
  Run left_scalar = nullptr;   // x[0], y[i]
  fn::ParamSpecs specs{};
};

template <class T>
using TernaryLoop = void (*)(const T* x, const T* y, const T* z, T* w, std::int64_t n);

// Null when the op is none of functors.h's.
template <class T>
const UnaryLoop<T>* find_unary_loop(std::string_view op);
template <class T>
const BinaryLoop<T>* find_binary_loop(std::string_view op);
template <class T>
TernaryLoop<T> find_ternary_loop(std::string_view op);
template <>
const UnaryLoop<float>* find_unary_loop<float>(std::string_view op);
template <>
const UnaryLoop<double>* find_unary_loop<double>(std::string_view op);
template <>
const BinaryLoop<float>* find_binary_loop<float>(std::string_view op);
template <>
const BinaryLoop<double>* find_binary_loop<double>(std::string_view op);
template <>
TernaryLoop<float> find_ternary_loop<float>(std::string_view op);
template <>
TernaryLoop<double> find_ternary_loop<double>(std::string_view op);

template <class T>
fn::Params<T> params_of(const fn::ParamSpecs& specs, const Attrs& attrs) {
  const auto read = [&](const fn::ParamSpec& s) {
    return s.name == nullptr ? T{0} : static_cast<T>(attrs.real(s.name, s.otherwise));
  };
  return {read(specs[0]), read(specs[1]), read(specs[2])};
}

}  // namespace onnxray::cpu
