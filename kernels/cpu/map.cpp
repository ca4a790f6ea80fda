// Fused elementwise chains: block by block, every step runs the same flat loop that its op runs alone.
#include "engine/ops/map_program.h"
#include "kernels/cpu/broadcast.h"
#include "kernels/cpu/elementwise_family.h"
#include "kernels/cpu/elementwise_loops.h"

namespace onnxray::cpu {
namespace {

template <class T>
struct MapOp {
  UnaryLoop<T> unary;
  BinaryLoop<T> binary;
  TernaryLoop<T> ternary = nullptr;
  fn::Params<T> params;
  std::vector<int> args;
  int buffer = -1;  // -1: the result
};

template <class T>
struct MapPlan {
  std::vector<MapOp<T>> ops;
  std::vector<Operand> inputs;
  std::vector<char> is_mask;  // per input
  int buffers = 0;
  std::int64_t count = 0;
};

template <class T>
MapPlan<T> plan_map(const PrepareCtx& c) {
  MapPlan<T> plan;
  const MapProgram program = MapProgram::parse(c.attrs, c.node.inputs.size());
  for (std::size_t i = 0; i < c.node.inputs.size(); ++i) {
    plan.inputs.emplace_back(c.dims(i), c.out_dims());
    plan.is_mask.push_back(c.dtype(i) == DType::boolean);
  }
  const std::vector<int> buffers = program.buffers(&plan.buffers);
  for (std::size_t k = 0; k < program.steps.size(); ++k) {
    const MapStep& step = program.steps[k];
    MapOp<T> op;
    op.args = step.args;
    op.buffer = buffers[k];
    if (const UnaryLoop<T>* u = find_unary_loop<T>(step.op)) {
      op.unary = *u;
      op.params = params_of<T>(u->specs, step.attrs);
    } else if (const BinaryLoop<T>* b = find_binary_loop<T>(step.op)) {
      op.binary = *b;
      op.params = params_of<T>(b->specs, step.attrs);
    } else {
      op.ternary = find_ternary_loop<T>(step.op);
      ONNXRAY_ASSERT(op.ternary != nullptr, "no loop for ", step.op);
    }
    plan.ops.push_back(std::move(op));
  }
  plan.count = count_of(c.out_dims());
  return plan;
}

// What one piece of the work holds: copies of broadcast inputs and results on their way.
template <class T>
class MapBlock {
 public:
  MapBlock(const MapPlan<T>& plan, const RunArgs& args) : plan_(plan), args_(args) {
    for (std::size_t i = 0; i < plan.inputs.size(); ++i) {
      if (plan.inputs[i].kind() == Operand::Kind::kScalar) load(i, 0, kBlock);
    }
  }

  void run(std::int64_t begin, std::int64_t n) {
    for (std::size_t i = 0; i < plan_.inputs.size(); ++i) {
      if (plan_.inputs[i].kind() != Operand::Kind::kScalar) load(i, begin, n);
    }
    std::size_t slot = plan_.inputs.size();
    for (const MapOp<T>& op : plan_.ops) {
      T* y = op.buffer < 0 ? static_cast<T*>(args_.out[0]) + begin : results_[op.buffer];
      const T* a = slots_[op.args[0]];
      if (op.unary.run != nullptr) {
        op.unary.run(a, y, n, op.params);
      } else if (op.ternary != nullptr) {
        op.ternary(a, slots_[op.args[1]], slots_[op.args[2]], y, n);
      } else {
        const T* b = slots_[op.args[1]];
        const auto run =
            scalar(op.args[1]) ? op.binary.right_scalar : (scalar(op.args[0]) ? op.binary.left_scalar : op.binary.both);
        run(a, b, y, n, op.params);
      }
      slots_[slot++] = y;
    }
  }

 private:
  [[nodiscard]] bool scalar(int slot) const {
    const auto i = static_cast<std::size_t>(slot);
    return i < plan_.inputs.size() && plan_.inputs[i].kind() == Operand::Kind::kScalar;
  }

  void load(std::size_t i, std::int64_t begin, std::int64_t n) {
    const Operand& in = plan_.inputs[i];
    if (plan_.is_mask[i] == 0) {
      slots_[i] = in.fetch(args_.in[i], begin, n, inputs_[i]);
      return;
    }
    bool flags[kBlock];
    const bool* p = in.fetch(args_.in[i], begin, n, flags);
    for (std::int64_t k = 0; k < n; ++k) inputs_[i][k] = p[k] ? T(1) : T(0);
    slots_[i] = inputs_[i];
  }

  const MapPlan<T>& plan_;
  const RunArgs& args_;
  const T* slots_[kMapMaxInputs + kMapMaxSteps];
  alignas(64) T inputs_[kMapMaxInputs][kBlock];
  alignas(64) T results_[kMapMaxBuffers][kBlock];
};

template <class T>
Step map_step(const PrepareCtx& c) {
  const auto plan = std::make_shared<const MapPlan<T>>(plan_map<T>(c));
  return {[plan](const RunArgs& a) {
    parallel_for(plan->count, kGrain, [&](std::int64_t begin, std::int64_t end) {
      MapBlock<T> block(*plan, a);
      for (std::int64_t i = begin; i < end; i += kBlock) block.run(i, std::min(kBlock, end - i));
    });
  }};
}

}  // namespace

void register_map(Backend& b) {
  b.add("map",
        [](const PrepareCtx& c) { return visit_float(c.out_dtype(), [&]<class T>() { return map_step<T>(c); }); });
}

}  // namespace onnxray::cpu
