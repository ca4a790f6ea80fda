// Fused elementwise programs (engine/ops/map_program.h) in one kernel: every thread runs the whole program on the
// elements it holds. A step's result stays in registers for the next step; what later steps read lies in shared memory,
// a column per thread, so that no barrier is needed. The branch on the op is the same for all threads. float32 alone:
// float64 plans are not fused.
#pragma once
#include <tuple>

#include "engine/ops/map_program.h"
#include "kernels/cuda/broadcast.cuh"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/mask_bits.cuh"
#include "kernels/functors.h"

namespace onnxray::cuda {

inline constexpr int kMapWidth = kWidth<float>;
inline constexpr unsigned kMapThreads = 128;
inline constexpr int kLightGroups = 2;  // groups of kMapWidth elements to a thread, in programs of LightOps

// Of an op's operand: the result of the step before.
inline constexpr std::uint8_t kLastResult = 255;
// Axes of the index space by which operands are read in groups of kMapWidth.
inline constexpr int kMapAxes = 3;

struct MapOp {
  std::uint8_t arity = 1, functor = 0;  // the functor's place in visit_unary, visit_binary or visit_ternary
  std::int8_t light = -1;               // its place in LightOps; -1: not there
  std::uint8_t args[3] = {};            // below `inputs`: an input, kLastResult, else inputs + buffer
  std::int8_t buffer = -1;              // -1: no step but the next reads the result
  fn::Params<float> params;
};

struct MapTable {
  int inputs = 0, steps = 0;
  std::uint32_t count = 0;
  bool grouped = false;  // every operand is read in whole aligned groups along kMapAxes axes
  MapOp ops[kMapMaxSteps];
  bool is_mask[kMapMaxInputs] = {};       // of booleans
  bool is_bits[kMapMaxInputs] = {};       // a packed mask along the flat index
  bool side_by_side[kMapMaxInputs] = {};  // neighbours of a group are neighbours in memory, else one element
  Walk<kMapMaxInputs> walk;
};
struct MapPointers {
  const void* in[kMapMaxInputs];
};

// Ops of a few instructions, which memory feeds: programs of these alone have a kernel that handles more elements at
// once. The commonest first.
template <class... Fs>
struct FunctorList {};
using LightOps = FunctorList<fn::Add, fn::Sub, fn::Mul, fn::Div, fn::Relu, fn::ReluGrad, fn::Neg, fn::Abs, fn::Sign,
                             fn::Square, fn::Cube, fn::Reciprocal, fn::Clip, fn::LeakyRelu, fn::HardSigmoid,
                             fn::HardSwish, fn::ThresholdedRelu, fn::Max, fn::Min, fn::Prelu, fn::LeakyReluGrad,
                             fn::SigmoidGrad, fn::TanhGrad, fn::ClipGrad, fn::HardSigmoidGrad, fn::HardSwishGrad,
                             fn::MaskNot, fn::MaskAnd, fn::MaskOr, fn::MaskXor, fn::MaskEqual, fn::MaskGreater,
                             fn::MaskGreaterEqual, fn::MaskLess, fn::MaskLessEqual, fn::MaskWhere, fn::MaxGrad>;
template <class F, class... Fs>
[[nodiscard]] constexpr std::int8_t place_in(FunctorList<Fs...>) {
  std::int8_t place = 0, found = -1;
  ((found = std::is_same_v<F, Fs> ? place : found, ++place), ...);
  return found;
}

// r = F(r, y, z)
template <class F, int N>
ONNXRAY_DEVICE void apply(const fn::Params<float>& p, float (&r)[N], const float (&y)[N], const float (&z)[N]) {
#pragma unroll
  for (int k = 0; k < N; ++k) {
    if constexpr (requires { F::f(0.0f, p); }) r[k] = F::f(r[k], p);
    else if constexpr (requires { F::f(0.0f, 0.0f, p); }) r[k] = F::f(r[k], y[k], p);
    else r[k] = F::f(r[k], y[k], z[k]);
  }
}
template <int N>
ONNXRAY_DEVICE void copy(float (&to)[N], const float (&from)[N]) {
#pragma unroll
  for (int k = 0; k < N; ++k) to[k] = from[k];
}
template <int I, class... Fs>
using FunctorAt = std::tuple_element_t<I, std::tuple<Fs...>>;
template <int N, class... Fs>
ONNXRAY_DEVICE void apply_light(FunctorList<Fs...>, const MapOp& op, float (&r)[N], const float (&y)[N],
                                const float (&z)[N]) {
#define ONNXRAY_CASE(i)                                                                                        \
  case i:                                                                                                      \
    if constexpr (i < sizeof...(Fs)) apply<FunctorAt<(i < sizeof...(Fs) ? i : 0), Fs...>>(op.params, r, y, z); \
    break;
#define ONNXRAY_CASES(i) ONNXRAY_CASE(i) ONNXRAY_CASE(i + 1) ONNXRAY_CASE(i + 2) ONNXRAY_CASE(i + 3)
  static_assert(sizeof...(Fs) <= 40);
  switch (op.light) {
    ONNXRAY_CASES(0)
    ONNXRAY_CASES(4)
    ONNXRAY_CASES(8)
    ONNXRAY_CASES(12)
    ONNXRAY_CASES(16)
    ONNXRAY_CASES(20)
    ONNXRAY_CASES(24)
    ONNXRAY_CASES(28)
    ONNXRAY_CASES(32)
    ONNXRAY_CASES(36)
    default: break;
  }
#undef ONNXRAY_CASES
#undef ONNXRAY_CASE
}

// Runs the functor at place `functor` of a list.
template <int N>
struct ApplyAt {
  int functor;
  const fn::Params<float>& p;
  float (&r)[N];
  const float (&y)[N], (&z)[N];
  int place = 0;
  template <class F>
  ONNXRAY_HD void operator()(const char*) {
    if (place++ == functor) apply<F>(p, r, y, z);
  }
};
template <int N>
ONNXRAY_DEVICE void apply_any(const MapOp& op, float (&r)[N], const float (&y)[N], const float (&z)[N]) {
  if (op.arity == 1) fn::visit_unary(ApplyAt<N>{op.functor, op.params, r, y, z});
  else if (op.arity == 2) fn::visit_binary(ApplyAt<N>{op.functor, op.params, r, y, z});
  else fn::visit_ternary(ApplyAt<N>{op.functor, op.params, r, y, z});
}

// The elements of a thread: V groups of kMapWidth neighbours, each in a row of groups of the block.
template <int V>
struct MapElements {
  std::uint32_t first[V];
  std::uint32_t at[V][kMapAxes];  // of a group's first element, where operands are read in groups

  ONNXRAY_DEVICE MapElements(const MapTable& t, std::uint32_t chunk) {
#pragma unroll
    for (int v = 0; v < V; ++v) {
      first[v] = ((chunk * V + v) * kMapThreads + threadIdx.x) * kMapWidth;
      std::uint32_t rest = first[v] < t.count ? first[v] : 0;
#pragma unroll
      for (int d = kMapAxes - 1; d >= 0; --d) {
        at[v][d] = 0;
        if (d < t.walk.axes) at[v][d] = d == 0 ? rest : t.walk.extent[d].take(rest);
      }
    }
  }
};

template <class T>
ONNXRAY_DEVICE float as_float(T x) {
  if constexpr (std::is_same_v<T, bool>) return x ? 1.0f : 0.0f;
  else return x;
}

// Whole aligned groups. An operand has fewer than 2^32 elements.
template <class T, int V>
ONNXRAY_DEVICE void load_groups(const MapTable& t, const T* x, int input, const MapElements<V>& e,
                                float (&r)[V * kMapWidth]) {
#pragma unroll
  for (int v = 0; v < V; ++v) {
    std::uint32_t offset = 0;
#pragma unroll
    for (int d = 0; d < kMapAxes; ++d) offset += e.at[v][d] * static_cast<std::uint32_t>(t.walk.stride[input][d]);
    if (e.first[v] >= t.count) {
#pragma unroll
      for (int k = 0; k < kMapWidth; ++k) r[v * kMapWidth + k] = 0;
    } else if (t.side_by_side[input]) {
      const auto group = *reinterpret_cast<const Pack<T, kMapWidth>*>(x + offset);
#pragma unroll
      for (int k = 0; k < kMapWidth; ++k) r[v * kMapWidth + k] = as_float(group.v[k]);
    } else {
      const float one = as_float(x[offset]);
#pragma unroll
      for (int k = 0; k < kMapWidth; ++k) r[v * kMapWidth + k] = one;
    }
  }
}
// One by one.
template <class T, int V>
ONNXRAY_DEVICE void load_elements(const MapTable& t, const T* x, int input, const MapElements<V>& e,
                                  float (&r)[V * kMapWidth]) {
#pragma unroll
  for (int v = 0; v < V; ++v) {
#pragma unroll
    for (int k = 0; k < kMapWidth; ++k) {
      const std::uint32_t i = e.first[v] + k;
      r[v * kMapWidth + k] = i < t.count ? as_float(x[t.walk.at(i, input)]) : 0.0f;
    }
  }
}

template <int V>
ONNXRAY_DEVICE void load_bits(const MapTable& t, const std::uint32_t* bits, const MapElements<V>& e,
                              float (&r)[V * kMapWidth]) {
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const std::uint32_t i = e.first[v], word = i < t.count ? bits[i / 32] >> i % 32 : 0;
#pragma unroll
    for (int k = 0; k < kMapWidth; ++k) r[v * kMapWidth + k] = (word >> k & 1) != 0 ? 1.0f : 0.0f;
  }
}

// Results that later steps read, groups of a column for each thread of the block.
using Held = Pack<float, kMapWidth>;

template <bool kGrouped, int V>
ONNXRAY_DEVICE void load_operand(const MapTable& t, const MapPointers& p, int slot, const MapElements<V>& e,
                                 const Held* held, float (&r)[V * kMapWidth]) {
  if (slot >= t.inputs) {
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const Held h = held[((slot - t.inputs) * V + v) * kMapThreads + threadIdx.x];
#pragma unroll
      for (int k = 0; k < kMapWidth; ++k) r[v * kMapWidth + k] = h.v[k];
    }
    return;
  }
  if (t.is_bits[slot]) {
    load_bits<V>(t, static_cast<const std::uint32_t*>(p.in[slot]), e, r);
    return;
  }
  const auto load = [&](const auto* x) {
    if (kGrouped || t.grouped) load_groups<std::remove_cvref_t<decltype(*x)>, V>(t, x, slot, e, r);
    else load_elements<std::remove_cvref_t<decltype(*x)>, V>(t, x, slot, e, r);
  };
  if (t.is_mask[slot]) load(static_cast<const bool*>(p.in[slot]));
  else load(static_cast<const float*>(p.in[slot]));
}

// y may be any input of its shape, or null; bits: its mask, or null. kLight: the program is of LightOps and reads its
// operands in groups; V: groups to a thread.
template <bool kLight, int V>
ONNXRAY_KERNEL_BOUNDS(kMapThreads, 8)
map_kernel(ONNXRAY_CONSTANT_PARAM MapTable t, ONNXRAY_CONSTANT_PARAM MapPointers p, float* y, std::uint32_t* bits) {
  ONNXRAY_SHARED(Held, held);
  constexpr int N = V * kMapWidth;
  for (std::uint32_t chunk = blockIdx.x; chunk * (kMapThreads * N) < t.count; chunk += gridDim.x) {
    const MapElements<V> e(t, chunk);
    float r[N] = {};
    for (int s = 0; s < t.steps; ++s) {
      const MapOp& op = t.ops[s];
      float b[N] = {}, c[N] = {};
      if (op.arity > 1) {
        if (op.args[1] == kLastResult) copy(b, r);
        else load_operand<kLight, V>(t, p, op.args[1], e, held, b);
      }
      if (op.arity > 2) {
        if (op.args[2] == kLastResult) copy(c, r);
        else load_operand<kLight, V>(t, p, op.args[2], e, held, c);
      }
      if (op.args[0] != kLastResult) load_operand<kLight, V>(t, p, op.args[0], e, held, r);
      if constexpr (kLight) apply_light<N>(LightOps{}, op, r, b, c);
      else apply_any<N>(op, r, b, c);
      if (op.buffer < 0) continue;
#pragma unroll
      for (int v = 0; v < V; ++v) {
        Held h;
        for (int k = 0; k < kMapWidth; ++k) h.v[k] = r[v * kMapWidth + k];
        held[(op.buffer * V + v) * kMapThreads + threadIdx.x] = h;
      }
    }
#pragma unroll
    for (int v = 0; v < V; ++v) {
      float group[kMapWidth];
      for (int k = 0; k < kMapWidth; ++k) group[k] = r[v * kMapWidth + k];
      if (y != nullptr) store_flat<kMapWidth>(y, e.first[v], t.count, kLight || t.grouped, group);
      if (bits != nullptr) store_mask<kMapWidth>(bits, e.first[v], t.count, group);
    }
  }
}

// Finds an op's place in a list of functors.h and its parameters.
struct FindFunctor {
  std::string_view op;
  const Attrs& attrs;
  int place = 0, found = -1;
  std::int8_t light = -1;
  fn::Params<float> params;
  template <class F>
  void operator()(const char* name) {
    if (op == name) {
      found = place;
      light = place_in<F>(LightOps{});
      if constexpr (requires { F::kParams; }) {
        float v[3] = {};
        for (std::size_t i = 0; i < 3; ++i) {
          const fn::ParamSpec& spec = F::kParams[i];
          if (spec.name != nullptr) v[i] = static_cast<float>(attrs.real(spec.name, spec.otherwise));
        }
        params = {v[0], v[1], v[2]};
      }
    }
    ++place;
  }
};

inline Step map(const PrepareCtx& c) {
  if (c.out_dtype() != DType::f32) return {};
  MapTable t;
  const MapProgram program = MapProgram::parse(c.attrs, c.node.inputs.size());
  t.inputs = program.inputs;
  t.steps = static_cast<int>(program.steps.size());
  const std::int64_t count = count_of(c.out_dims());
  if (count == 0) return no_work();
  if (count >= kMaxElements) return {};
  t.count = static_cast<std::uint32_t>(count);
  std::vector<Dims> strides;
  for (std::size_t i = 0; i < c.node.inputs.size(); ++i) {
    t.is_bits[i] = c.dtype(i) == DType::i32;
    strides.push_back(t.is_bits[i] ? Dims(c.out_dims().size(), 0) : broadcast_strides(c.dims(i), c.out_dims()));
    t.is_mask[i] = c.dtype(i) == DType::boolean;
  }
  const auto walk = walk_of<kMapMaxInputs>(c.out_dims(), strides);
  if (!walk) return {};
  t.walk = *walk;
  t.grouped = t.walk.axes <= kMapAxes && t.count % kMapWidth == 0 && walks_in_groups(t.walk, kMapWidth);
  for (int i = 0; i < t.inputs && t.grouped; ++i) {
    t.side_by_side[i] = t.walk.stride[i][t.walk.axes - 1] == 1;
  }
  for (int i = 0; i < t.inputs; ++i) {
    t.grouped = t.grouped && (!t.side_by_side[i] || groups_are_aligned(t.walk, kMapWidth, i));
  }
  int buffers = 0;
  const std::vector<int> buffer_of = program.buffers(&buffers);
  bool light = true;
  for (std::size_t s = 0; s < program.steps.size(); ++s) {
    const MapStep& step = program.steps[s];
    MapOp& op = t.ops[s];
    op.arity = static_cast<std::uint8_t>(step.args.size());
    for (std::size_t k = 0; k < step.args.size(); ++k) {
      const int from = step.args[k] - program.inputs;  // the step that made it
      if (from < 0) {
        op.args[k] = static_cast<std::uint8_t>(step.args[k]);
      } else if (from == static_cast<int>(s) - 1) {
        op.args[k] = kLastResult;
      } else {
        MapOp& maker = t.ops[from];
        maker.buffer = static_cast<std::int8_t>(buffer_of[static_cast<std::size_t>(from)]);
        op.args[k] = static_cast<std::uint8_t>(program.inputs + maker.buffer);
      }
    }
    FindFunctor find{step.op, step.attrs};
    if (op.arity == 1) fn::visit_unary(find);
    else if (op.arity == 2) fn::visit_binary(find);
    else fn::visit_ternary(find);
    ONNXRAY_ASSERT(find.found >= 0, "no functor for ", step.op);
    op.functor = static_cast<std::uint8_t>(find.found);
    op.light = find.light;
    op.params = find.params;
    light = light && op.light >= 0;
  }
  return {[=, gives_mask = gives_mask_output(c.attrs)](const RunArgs& a) {
    MapTable table = t;
    MapPointers p{};
    table.grouped = t.grouped && aligned16({a.out[0]});
    for (int i = 0; i < t.inputs; ++i) {
      p.in[i] = a.in[i];
      if (t.side_by_side[i]) table.grouped = table.grouped && aligned16({a.in[i]});
    }
    const bool fast = light && table.grouped;
    const int groups = fast ? kLightGroups : 1;
    const std::size_t shared = static_cast<std::size_t>(std::max(1, buffers) * groups) * kMapThreads * sizeof(Held);
    launch(fast ? map_kernel<true, kLightGroups> : map_kernel<false, 1>,
           grid_of(ceil_div(count, kMapWidth * groups), kMapThreads), Dim3{kMapThreads}, shared, a.stream, table, p,
           static_cast<float*>(a.out[0]), gives_mask ? static_cast<std::uint32_t*>(a.out[1]) : nullptr);
  }};
}

void register_map(Backend& b) { b.add("map", map); }

}  // namespace onnxray::cuda
