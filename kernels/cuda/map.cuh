// Fused elementwise programs (engine/ops/map_program.h) in one kernel: every thread runs the whole program on the
// elements it holds. Results on their way lie in shared memory, a column per thread, so that no barrier is needed; the
// branch on the op is the same for all threads. float32 alone: float64 plans are not fused.
#pragma once
#include "engine/ops/map_program.h"
#include "kernels/cuda/broadcast.cuh"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/mask_bits.cuh"
#include "kernels/functors.h"

namespace onnxray::cuda {

inline constexpr int kMapWidth = kWidth<float>;
inline constexpr unsigned kMapThreads = 128;

enum class Reads : std::uint8_t { kFlat, kScalar, kGeneral, kBits };

struct MapOp {
  std::uint8_t arity = 1, functor = 0;  // the functor's place in visit_unary, visit_binary or visit_ternary
  std::uint8_t args[3] = {};            // below `inputs`: an input, else inputs + buffer
  std::int8_t buffer = -1;              // -1: the result
  fn::Params<float> params;
};

struct MapTable {
  int inputs = 0, steps = 0;
  std::int64_t count = 0;
  bool aligned = false;
  MapOp ops[kMapMaxSteps];
  Reads reads[kMapMaxInputs] = {};
  bool is_mask[kMapMaxInputs] = {};
  Walk<1> walk[kMapMaxInputs];
};
struct MapPointers {
  const void* in[kMapMaxInputs];
};

// Runs the functor at place `functor` of a list.
struct MapUnary {
  int functor;
  const float (&x)[kMapWidth];
  fn::Params<float> p;
  float (&r)[kMapWidth];
  int place = 0;
  template <class F>
  ONNXRAY_HD void operator()(const char*) {
    if (place++ == functor) {
      for (int k = 0; k < kMapWidth; ++k) r[k] = F::f(x[k], p);
    }
  }
};
struct MapBinary {
  int functor;
  const float (&x)[kMapWidth], (&y)[kMapWidth];
  fn::Params<float> p;
  float (&r)[kMapWidth];
  int place = 0;
  template <class F>
  ONNXRAY_HD void operator()(const char*) {
    if (place++ == functor) {
      for (int k = 0; k < kMapWidth; ++k) r[k] = F::f(x[k], y[k], p);
    }
  }
};
struct MapTernary {
  int functor;
  const float (&x)[kMapWidth], (&y)[kMapWidth], (&z)[kMapWidth];
  float (&r)[kMapWidth];
  int place = 0;
  template <class F>
  ONNXRAY_HD void operator()(const char*) {
    if (place++ == functor) {
      for (int k = 0; k < kMapWidth; ++k) r[k] = F::f(x[k], y[k], z[k]);
    }
  }
};

ONNXRAY_DEVICE void load_input(const MapTable& t, const MapPointers& p, int input, std::int64_t i,
                               float (&v)[kMapWidth]) {
  if (t.reads[input] == Reads::kBits) {
    const std::uint32_t word = i < t.count ? static_cast<const std::uint32_t*>(p.in[input])[i / 32] >> i % 32 : 0;
    for (int k = 0; k < kMapWidth; ++k) v[k] = (word >> k & 1) != 0 ? 1.0f : 0.0f;
    return;
  }
  const int step = t.reads[input] == Reads::kScalar ? 0 : 1;
  if (t.reads[input] != Reads::kGeneral && !t.is_mask[input]) {
    load_flat<kMapWidth>(static_cast<const float*>(p.in[input]), i, t.count, step, t.aligned, v);
    return;
  }
  for (int k = 0; k < kMapWidth; ++k) {
    v[k] = 0;
    if (i + k >= t.count) continue;
    std::int64_t at[1] = {(i + k) * step};
    if (t.reads[input] == Reads::kGeneral) t.walk[input].at(static_cast<std::uint32_t>(i + k), at);
    if (t.is_mask[input]) v[k] = static_cast<const bool*>(p.in[input])[at[0]] ? 1.0f : 0.0f;
    else v[k] = static_cast<const float*>(p.in[input])[at[0]];
  }
}

// Results that later steps read, a column for each thread of the block.
using Held = Pack<float, kMapWidth>;

ONNXRAY_DEVICE void load_operand(const MapTable& t, const MapPointers& p, int slot, std::int64_t i, const Held* held,
                                 float (&v)[kMapWidth]) {
  if (slot < t.inputs) {
    load_input(t, p, slot, i, v);
  } else {
    const Held h = held[(slot - t.inputs) * blockDim.x + threadIdx.x];
    for (int e = 0; e < kMapWidth; ++e) v[e] = h.v[e];
  }
}

// y may be any input of its shape, or null; bits: its mask, or null.
ONNXRAY_KERNEL(void) map_kernel(MapTable t, MapPointers p, float* y, std::uint32_t* bits) {
  ONNXRAY_SHARED(Held, held);
  // All threads of a warp go on together.
  for (std::int64_t i = first_item() * kMapWidth; i - threadIdx.x % 32 * kMapWidth < t.count;
       i += item_step() * kMapWidth) {
    for (int s = 0; s < t.steps; ++s) {
      const MapOp& op = t.ops[s];
      float a0[kMapWidth] = {}, a1[kMapWidth] = {}, a2[kMapWidth] = {}, r[kMapWidth] = {};
      load_operand(t, p, op.args[0], i, held, a0);
      if (op.arity > 1) load_operand(t, p, op.args[1], i, held, a1);
      if (op.arity > 2) load_operand(t, p, op.args[2], i, held, a2);
      if (op.arity == 1) fn::visit_unary(MapUnary{op.functor, a0, op.params, r});
      else if (op.arity == 2) fn::visit_binary(MapBinary{op.functor, a0, a1, op.params, r});
      else fn::visit_ternary(MapTernary{op.functor, a0, a1, a2, r});
      if (op.buffer < 0) {
        if (y != nullptr) store_flat<kMapWidth>(y, i, t.count, t.aligned, r);
        if (bits != nullptr) store_mask<kMapWidth>(bits, i, t.count, r);
      } else {
        Held h;
        for (int e = 0; e < kMapWidth; ++e) h.v[e] = r[e];
        held[op.buffer * blockDim.x + threadIdx.x] = h;
      }
    }
  }
}

// Finds an op's place in a list of functors.h and its parameters.
struct FindFunctor {
  std::string_view op;
  const Attrs& attrs;
  int place = 0, found = -1;
  fn::Params<float> params;
  template <class F>
  void operator()(const char* name) {
    if (op == name) {
      found = place;
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
  t.count = count_of(c.out_dims());
  if (t.count == 0) return no_work();
  if (t.count >= kMaxElements) return {};
  for (std::size_t i = 0; i < c.node.inputs.size(); ++i) {
    if (c.dtype(i) == DType::i32) {
      t.reads[i] = Reads::kBits;
      continue;
    }
    const Dims strides = broadcast_strides(c.dims(i), c.out_dims());
    const MergedAxes own = merged(c.out_dims(), {strides});
    t.is_mask[i] = c.dtype(i) == DType::boolean;
    if (own.dims.size() <= 1) {
      t.reads[i] = own.dims.empty() || own.strides[0].back() != 0 ? Reads::kFlat : Reads::kScalar;
      continue;
    }
    t.reads[i] = Reads::kGeneral;
    const auto walk = walk_of<1>(c.out_dims(), {strides});
    if (!walk) return {};
    t.walk[i] = *walk;
  }
  int count = 0;
  const std::vector<int> buffers = program.buffers(&count);
  const auto slot = [&](int arg) {
    return static_cast<std::uint8_t>(
        arg < program.inputs ? arg : program.inputs + buffers[static_cast<std::size_t>(arg - program.inputs)]);
  };
  for (std::size_t s = 0; s < program.steps.size(); ++s) {
    const MapStep& step = program.steps[s];
    MapOp& op = t.ops[s];
    op.arity = static_cast<std::uint8_t>(step.args.size());
    op.buffer = static_cast<std::int8_t>(buffers[s]);
    for (std::size_t k = 0; k < step.args.size(); ++k) op.args[k] = slot(step.args[k]);
    FindFunctor find{step.op, step.attrs};
    if (op.arity == 1) fn::visit_unary(find);
    else if (op.arity == 2) fn::visit_binary(find);
    else fn::visit_ternary(find);
    ONNXRAY_ASSERT(find.found >= 0, "no functor for ", step.op);
    op.functor = static_cast<std::uint8_t>(find.found);
    op.params = find.params;
  }
  const std::size_t shared = static_cast<std::size_t>(std::max(1, count)) * kMapThreads * sizeof(Held);
  return {[t, shared, gives_mask = gives_mask_output(c.attrs)](const RunArgs& a) {
    MapTable table = t;
    MapPointers p{};
    table.aligned = aligned16({a.out[0]});
    for (int i = 0; i < t.inputs; ++i) {
      p.in[i] = a.in[i];
      if (t.reads[i] == Reads::kFlat && !t.is_mask[i]) table.aligned = table.aligned && aligned16({a.in[i]});
    }
    launch(map_kernel, grid_of(ceil_div(t.count, kMapWidth), kMapThreads), Dim3{kMapThreads}, shared, a.stream, table,
           p, static_cast<float*>(a.out[0]), gives_mask ? static_cast<std::uint32_t*>(a.out[1]) : nullptr);
  }};
}

void register_map(Backend& b) { b.add("map", map); }

}  // namespace onnxray::cuda
