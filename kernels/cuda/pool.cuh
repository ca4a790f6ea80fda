// The steps of pooling: which kernel runs.
#pragma once
#include "kernels/cuda/broadcast.cuh"
#include "kernels/cuda/pool_window.cuh"

namespace onnxray::cuda {

template <class T>
inline constexpr int kPoolWidth = std::is_floating_point_v<T> ? kWidth<T> : 1;

// Calls f.template operator()<W>(pool) with as many channels to a thread as lie side by side and aligned.
template <class T, class F>
void with_width(const Pool& p, std::initializer_list<const void*> pointers, F&& f) {
  if constexpr (kPoolWidth < T >> 1) {
    const Pool wide = widened(p, kPoolWidth<T>);
    if (wide.width > 1 && aligned16(pointers)) return f.template operator()<kPoolWidth<T>>(wide);
  }
  f.template operator()<1>(p);
}

// Calls f.template operator()<K, S>() for the windows that have kernels of their own; K = 0: another.
template <class F>
void with_window(const Pool& p, F&& f) {
  if (is_window(p, 2, 2)) f.template operator()<2, 2>();
  else if (is_window(p, 3, 2)) f.template operator()<3, 2>();
  else if (is_window(p, 3, 1)) f.template operator()<3, 1>();
  else f.template operator()<0, 0>();
}

// T's argmax is of type Arg.
template <class T, class Arg>
Step max_pool_with(const PrepareCtx& c) {
  const auto p = pool_of(c, c.dims(0), c.out_dims(), c.out_dims());
  if (!p) return {};
  if (p->count == 0) return no_work();
  T lowest = std::numeric_limits<T>::lowest();
  if constexpr (std::numeric_limits<T>::has_infinity) lowest = -std::numeric_limits<T>::infinity();
  return {[p = *p, lowest](const RunArgs& a) {
    const auto* x = static_cast<const T*>(a.in[0]);
    auto* y = static_cast<T*>(a.out[0]);
    auto* arg = static_cast<Arg*>(a.out[1]);
    with_width<T>(p, {x, y, arg}, [&]<int W>(const Pool& q) {
      const Dim3 grid = grid_of(q.count / W);
      with_window(q, [&]<int K, int S>() {
        if constexpr (K > 0 && W > 1) {
          launch(max_pool_window_kernel<T, W, K, S, Arg>, grid, Dim3{kThreads}, 0, a.stream, q, lowest, x, y, arg);
        } else {
          launch(max_pool_kernel<T, W, Arg>, grid, Dim3{kThreads}, 0, a.stream, q, lowest, x, y, arg);
        }
      });
    });
  }};
}
template <class T>
Step max_pool_of(const PrepareCtx& c) {
  if constexpr (std::is_floating_point_v<T>) {
    if (gives_argmax_taps(c.attrs)) return max_pool_with<T, std::uint8_t>(c);
  }
  return max_pool_with<T, std::int64_t>(c);
}
inline Step max_pool(const PrepareCtx& c) {
  switch (c.dtype(0)) {
    case DType::f32: return max_pool_of<float>(c);
    case DType::f64: return max_pool_of<double>(c);
    case DType::i64: return max_pool_of<std::int64_t>(c);
    case DType::i32: return max_pool_of<std::int32_t>(c);
    case DType::i8: return max_pool_of<std::int8_t>(c);
    case DType::u8: return max_pool_of<std::uint8_t>(c);
    default: return {};
  }
}

// f.template operator()<T, Arg>() for the types of a float and of its argmax, input 1.
template <class F>
Step with_argmax(const PrepareCtx& c, F&& f) {
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    if (c.dtype(1) == DType::u8) return f.template operator()<T, std::uint8_t>();
    return f.template operator()<T, std::int64_t>();
  });
}

inline Step max_pool_grad(const PrepareCtx& c) {
  const auto p = pool_of(c, c.out_dims(), c.dims(0), c.out_dims());
  if (!p) return {};
  if (p->count == 0) return no_work();
  return with_argmax(c, [&]<class T, class Arg>() -> Step {
    return {[p = *p](const RunArgs& a) {
      const auto* dy = static_cast<const T*>(a.in[0]);
      const auto* arg = static_cast<const Arg*>(a.in[1]);
      auto* dx = static_cast<T*>(a.out[0]);
      with_width<T>(p, {dy, arg, dx}, [&]<int W>(const Pool& q) {
        const Dim3 grid = grid_of(q.count / W);
        with_window(q, [&]<int K, int S>() {
          if constexpr (K > 0 && W > 1) {
            const WindowTiles tiles = window_tiles(q);
            launch(max_pool_grad_window_kernel<T, W, K, S, Arg>, grid_of(tiles.count), Dim3{kThreads}, 0, a.stream, q,
                   tiles, fault_of(a), dy, arg, dx);
          } else {
            launch(q.has_window ? max_pool_grad_kernel<T, W, true, Arg> : max_pool_grad_kernel<T, W, false, Arg>, grid,
                   Dim3{kThreads}, 0, a.stream, q, fault_of(a), dy, arg, dx);
          }
        });
      });
    }};
  });
}

inline Step max_pool_pick(const PrepareCtx& c) {
  const auto p = pool_of(c, c.dims(0), c.out_dims(), c.out_dims());
  if (!p) return {};
  if (p->count == 0) return no_work();
  return with_argmax(c, [&]<class T, class Arg>() -> Step {
    return {[p = *p](const RunArgs& a) {
      const auto* x = static_cast<const T*>(a.in[0]);
      const auto* arg = static_cast<const Arg*>(a.in[1]);
      auto* y = static_cast<T*>(a.out[0]);
      with_width<T>(p, {x, arg, y}, [&]<int W>(const Pool& q) {
        launch(max_pool_pick_kernel<T, W, Arg>, grid_of(q.count / W), Dim3{kThreads}, 0, a.stream, q, fault_of(a), x,
               arg, y);
      });
    }};
  });
}

inline Step avg_pool(const PrepareCtx& c) {
  const auto p = pool_of(c, c.dims(0), c.out_dims(), c.out_dims());
  if (!p) return {};
  if (p->count == 0) return no_work();
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    return {[p = *p](const RunArgs& a) {
      const auto* x = static_cast<const T*>(a.in[0]);
      auto* y = static_cast<T*>(a.out[0]);
      with_width<T>(p, {x, y}, [&]<int W>(const Pool& q) {
        launch(avg_pool_kernel<T, W>, grid_of(q.count / W), Dim3{kThreads}, 0, a.stream, q, x, y);
      });
    }};
  });
}

inline Step avg_pool_grad(const PrepareCtx& c) {
  const auto p = pool_of(c, c.out_dims(), c.dims(0), c.out_dims());
  if (!p) return {};
  if (p->count == 0) return no_work();
  return visit_float(c.dtype(0), [&]<class T>() -> Step {
    return {[p = *p](const RunArgs& a) {
      const auto* dy = static_cast<const T*>(a.in[0]);
      auto* dx = static_cast<T*>(a.out[0]);
      with_width<T>(p, {dy, dx}, [&]<int W>(const Pool& q) {
        launch(avg_pool_grad_kernel<T, W>, grid_of(q.count / W), Dim3{kThreads}, 0, a.stream, q, dy, dx);
      });
    }};
  });
}

void register_pool(Backend& b) {
  b.add("max_pool", max_pool);
  b.add("max_pool_grad", max_pool_grad);
  b.add("max_pool_pick", max_pool_pick);
  b.add("avg_pool", avg_pool);
  b.add("avg_pool_grad", avg_pool_grad);
}

}  // namespace onnxray::cuda
