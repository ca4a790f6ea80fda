// Attention by a thread for each query, or for each key: float64, and heads that the tensor cores do not take.
#pragma once
#include "kernels/cuda/attention_common.cuh"

namespace onnxray::cuda {
namespace {

template <class T>
ONNXRAY_DEVICE T dot_product(const T* a, const T* b, int n) {
  T sum = T(0);
  for (int i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

template <class T>
ONNXRAY_DEVICE T score_of(const Attention<T>& p, const T* mask, std::int64_t z, int query, int key) {
  const T s = p.scale * dot_product(p.q + (z * p.queries + query) * p.head, p.k + (z * p.keys + key) * p.head, p.head);
  return mask == nullptr ? s : s + mask[std::int64_t{query} * p.mask.query_step + key * p.mask.key_step];
}

template <class T>
ONNXRAY_KERNEL(void)
attention_plain_kernel(Attention<T> p, T lowest) {
  for (std::int64_t i = first_item(); i < p.batches * p.queries; i += item_step()) {
    const std::int64_t z = i / p.queries;
    const int query = static_cast<int>(i % p.queries);
    const T* const mask = p.mask.at(z);
    T top = lowest, sum = T(0);
    for (int j = 0; j < p.keys; ++j) {
      const T s = score_of(p, mask, z, query, j);
      top = s > top ? s : top;
    }
    const T base = top == lowest ? T(0) : top;
    for (int j = 0; j < p.keys; ++j) sum += vmath::exp(score_of(p, mask, z, query, j) - base);
    if (p.log_sum_exp != nullptr) p.log_sum_exp[i] = top + std::log(sum);
    if (p.y == nullptr) continue;
    T* const y = p.y + i * p.value_head;
    const T scale = p.masked && sum == T(0) ? T(0) : T(1) / sum;
    for (int c = 0; c < p.value_head; ++c) y[c] = T(0);
    for (int j = 0; j < p.keys; ++j) {
      const T w = vmath::exp(score_of(p, mask, z, query, j) - base) * scale;
      for (int c = 0; c < p.value_head; ++c) y[c] += w * p.v[(z * p.keys + j) * p.value_head + c];
    }
  }
}

template <class T, bool kOfKeys>
ONNXRAY_KERNEL(void)
attention_grad_plain_kernel(Attention<T> p, T lowest) {
  const int rows = kOfKeys ? p.keys : p.queries, columns = kOfKeys ? p.queries : p.keys;
  for (std::int64_t i = first_item(); i < p.batches * rows; i += item_step()) {
    const std::int64_t z = i / rows;
    const int row = static_cast<int>(i % rows);
    const T* const mask = p.mask.at(z);
    T* const d = kOfKeys ? p.dk : p.dq;
    for (int c = 0; d != nullptr && c < p.head; ++c) d[i * p.head + c] = T(0);
    for (int c = 0; kOfKeys && p.dv != nullptr && c < p.value_head; ++c) p.dv[i * p.value_head + c] = T(0);
    for (int column = 0; column < columns; ++column) {
      const int query = kOfKeys ? column : row, key = kOfKeys ? row : column;
      const std::int64_t a = z * p.queries + query, b = z * p.keys + key;
      const T l = p.log_sum_exp_in[a];
      const T w = p.masked && l == lowest ? T(0) : vmath::exp(score_of(p, mask, z, query, key) - l);
      const T* const dy = p.dy + a * p.value_head;
      if (kOfKeys && p.dv != nullptr) {
        for (int c = 0; c < p.value_head; ++c) p.dv[i * p.value_head + c] += w * dy[c];
      }
      if (d == nullptr) continue;
      const T dot = dot_product(dy, p.y_in + a * p.value_head, p.value_head);
      const T ds = w * (dot_product(dy, p.v + b * p.value_head, p.value_head) - dot) * p.scale;
      for (int c = 0; c < p.head; ++c) d[i * p.head + c] += ds * (kOfKeys ? p.q[a * p.head + c] : p.k[b * p.head + c]);
    }
  }
}

}  // namespace
}  // namespace onnxray::cuda
