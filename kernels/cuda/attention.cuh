// Attention by online softmax (Milakov and Gimelshein, arXiv 1805.02867; Dao, arXiv 2307.08691): a block of threads
// owns 64 queries of one head and walks over the keys, 32 at a time, with the running maximum, the running sum and the
// result in registers; the [Sq, Sk] scores are never in memory. The gradient recomputes them from the saved
// log-sum-exp, in two kernels that each own what they sum (queries for dq, keys for dk and dv), so that no atomics are
// needed and results have the same bits every time.
#pragma once
#include "kernels/cuda/attention_forward.cuh"
#include "kernels/cuda/attention_grad.cuh"
#include "kernels/cuda/attention_plain.cuh"

namespace onnxray::cuda {
namespace {

bool on_tensor_cores(std::int64_t head, std::int64_t value_head) {
  return head >= 1 && head % 4 == 0 && value_head % 4 == 0 && std::max(head, value_head) <= kAttentionMaxHead;
}

// Calls f.template operator()<kDepth>() with the kernels' width for these heads.
template <class F>
decltype(auto) visit_depth(int head, F&& f) {
  if (head <= 32) return f.template operator()<32>();
  if (head <= 64) return f.template operator()<64>();
  if (head <= 96) return f.template operator()<96>();
  return f.template operator()<128>();
}
template <class F>
decltype(auto) visit_precision(Precision precision, F&& f) {
  switch (precision) {
    case Precision::kTf32: return f.template operator()<Precision::kTf32>();
    case Precision::kBf16: return f.template operator()<Precision::kBf16>();
    default: return f.template operator()<Precision::kExact>();
  }
}

// q, k, v from input `first` on, the mask behind them. None where the kernels decline.
template <class T>
std::optional<Attention<T>> attention_of(const PrepareCtx& c, std::size_t first) {
  const Dims &q = c.dims(first), &k = c.dims(first + 1), &v = c.dims(first + 2);
  const std::size_t rank = q.size();
  const Dims batch(q.begin(), q.end() - 2);
  if (count_of(batch) >= kMaxElements || std::max(q[rank - 2], k[rank - 2]) >= kMaxElements ||
      std::max(q[rank - 1], v[rank - 1]) >= kMaxElements) {
    return std::nullopt;
  }
  Attention<T> p{};
  p.batches = count_of(batch);
  p.queries = static_cast<int>(q[rank - 2]);
  p.keys = static_cast<int>(k[rank - 2]);
  p.head = static_cast<int>(q[rank - 1]);
  p.value_head = static_cast<int>(v[rank - 1]);
  p.scale = static_cast<T>(c.attrs.real("scale", 1));
  p.masked = c.attrs.integer("masked", 0) != 0;
  if (c.has(first + 3)) {
    Dims scores = batch;
    scores.push_back(p.queries);
    scores.push_back(p.keys);
    const Dims strides = broadcast_strides(c.dims(first + 3), scores);
    const auto walk = walk_of<1>(batch, {Dims(strides.begin(), strides.end() - 2)});
    if (!walk) return std::nullopt;
    p.mask.batch = *walk;
    p.mask.query_step = static_cast<int>(strides[rank - 2]);
    p.mask.key_step = static_cast<int>(strides[rank - 1]);
  }
  return p;
}

template <class T>
constexpr T lowest_of() {
  return -std::numeric_limits<T>::infinity();
}

// Whether the tiled kernels take it, with p.row_blocks for `rows` rows.
template <class T>
bool set_blocks(Attention<T>& p, int rows) {
  p.row_blocks = static_cast<int>(ceil_div(rows, kAttentionRows));
  return p.batches * p.row_blocks < kMaxElements;
}

inline Step attention(const PrepareCtx& c) {
  if (count_of(c.out_dims()) == 0 && count_of(c.out_dims(1)) == 0) return no_work();
  const bool masked = c.has(3), value = c.output_read(0), log_sum_exp = c.output_read(1);
  const auto bound = [=]<class T>(Attention<T> p, const RunArgs& a) {
    p.q = static_cast<const T*>(a.in[0]);
    p.k = static_cast<const T*>(a.in[1]);
    p.v = static_cast<const T*>(a.in[2]);
    p.mask.p = masked ? static_cast<const T*>(a.in[3]) : nullptr;
    p.y = value ? static_cast<T*>(a.out[0]) : nullptr;
    p.log_sum_exp = log_sum_exp ? static_cast<T*>(a.out[1]) : nullptr;
    return p;
  };
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    auto p = attention_of<T>(c, 0);
    if (!p) return {};
    if constexpr (std::is_same_v<T, float>) {
      if (on_tensor_cores(p->head, p->value_head) && set_blocks(*p, p->queries)) {
        return visit_precision(precision_of(c), [&]<Precision kPrecision>() -> Step {
          return visit_depth(std::max(p->head, p->value_head), [&]<int kDepth>() -> Step {
            return {[p = *p, bound](const RunArgs& a) {
              launch(attention_kernel<kPrecision, kDepth>, Dim3{static_cast<unsigned>(p.batches * p.row_blocks)},
                     Dim3{kAttentionThreads}, attention_shared<kDepth>(1), a.stream, bound(p, a), lowest_of<float>());
            }};
          });
        });
      }
    }
    return {[p = *p, bound](const RunArgs& a) {
      launch(attention_plain_kernel<T>, grid_of(p.batches * p.queries), Dim3{kThreads}, 0, a.stream, bound(p, a),
             lowest_of<T>());
    }};
  });
}

template <Precision kScores, Precision kPrecision, int kDepth>
void run_attention_grad(Attention<float> p, float* dot, Stream stream) {
  const auto run = [&](auto kernel, int rows) {
    set_blocks(p, rows);
    launch(kernel, Dim3{static_cast<unsigned>(p.batches * p.row_blocks)}, Dim3{kAttentionThreads},
           attention_shared<kDepth>(2), stream, p, lowest_of<float>());
  };
  if (p.dq != nullptr || p.dk != nullptr) {
    const std::int64_t lines = p.batches * p.queries;
    launch(attention_dot_kernel, grid_of(lines, kThreads / 32), Dim3{kThreads}, 0, stream, lines, p.value_head, p.y_in,
           p.dy, dot);
  }
  p.dot = dot;
  if (p.dq != nullptr) run(attention_grad_kernel<kScores, kPrecision, kDepth, Part::kQueries>, p.queries);
  if constexpr (kDepth <= 64) {
    if (p.dk == nullptr && p.dv == nullptr) return;
    run(attention_grad_kernel<kScores, kPrecision, kDepth, Part::kKeysAndValues>, p.keys);
  } else {
    if (p.dk != nullptr) run(attention_grad_kernel<kScores, kPrecision, kDepth, Part::kKeys>, p.keys);
    if (p.dv != nullptr) run(attention_grad_kernel<kScores, kPrecision, kDepth, Part::kValues>, p.keys);
  }
}

inline Step attention_grad(const PrepareCtx& c) {
  const bool masked = c.has(4);
  const bool wanted[] = {c.output_read(0) && count_of(c.out_dims(0)) > 0,
                         c.output_read(1) && count_of(c.out_dims(1)) > 0,
                         c.output_read(2) && count_of(c.out_dims(2)) > 0};
  if (!wanted[0] && !wanted[1] && !wanted[2]) return no_work();
  const auto bound = [=]<class T>(Attention<T> p, const RunArgs& a) {
    const auto in = [&](std::size_t i) { return static_cast<const T*>(a.in[i]); };
    const auto out = [&](std::size_t i) { return wanted[i] ? static_cast<T*>(a.out[i]) : nullptr; };
    p.dy = in(0);
    p.q = in(1);
    p.k = in(2);
    p.v = in(3);
    p.mask.p = masked ? in(4) : nullptr;
    p.y_in = in(5);
    p.log_sum_exp_in = in(6);
    p.dq = out(0);
    p.dk = out(1);
    p.dv = out(2);
    return p;
  };
  return visit_float(c.dtype(1), [&]<class T>() -> Step {
    auto p = attention_of<T>(c, 1);
    if (!p) return {};
    if constexpr (std::is_same_v<T, float>) {
      if (on_tensor_cores(p->head, p->value_head) && set_blocks(*p, std::max(p->queries, p->keys))) {
        const bool exact_scores = c.attrs.text("scores_mode", "exact") == "exact";
        return visit_precision(precision_of(c), [&]<Precision kPrecision>() -> Step {
          return visit_depth(std::max(p->head, p->value_head), [&]<int kDepth>() -> Step {
            const std::size_t scratch = sizeof(float) * static_cast<std::size_t>(p->batches * p->queries);
            const auto step = [&](auto run) -> Step {
              return {[p = *p, bound, run](const RunArgs& a) {
                        run(bound(p, a), reinterpret_cast<float*>(a.scratch), a.stream);
                      },
                      scratch};
            };
            if constexpr (kPrecision == Precision::kTf32) {
              if (exact_scores) return step(run_attention_grad<Precision::kExact, kPrecision, kDepth>);
            }
            return step(run_attention_grad<kPrecision, kPrecision, kDepth>);
          });
        });
      }
    }
    return {[p = *p, bound](const RunArgs& a) {
      const Attention<T> q = bound(p, a);
      const auto run = [&](auto kernel, int rows) {
        launch(kernel, grid_of(q.batches * rows), Dim3{kThreads}, 0, a.stream, q, lowest_of<T>());
      };
      if (q.dq != nullptr) run(attention_grad_plain_kernel<T, false>, q.queries);
      if (q.dk != nullptr || q.dv != nullptr) run(attention_grad_plain_kernel<T, true>, q.keys);
    }};
  });
}

}  // namespace

void register_attention(Backend& b) {
  b.add("attention", attention);
  b.add("attention_grad", attention_grad);
  b.wants_attention = on_tensor_cores;
}

}  // namespace onnxray::cuda
