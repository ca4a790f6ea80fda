// Whole plans on the simulator: what passes for devices alone do to results and memory.
#include "engine/model.h"
#include "engine/ops/packed_mask.h"
#include "engine/ops/pool_taps.h"
#include "kernels/sim/backend.h"
#include "kernels/sim/simulator.h"
#include "tests/engine/residual_net.h"

namespace onnxray::testing {
namespace {

const Backend& simulator() {
  static const Backend backend = sim::make_backend(cpu_backend());
  return backend;
}
const Backend& with_float_masks() {
  static const Backend backend = [] {
    Backend b = simulator();
    b.wants_packed_masks = false;
    return b;
  }();
  return backend;
}

// Convolutions, pooling and fully connected layers, and the gradients of two outputs of every example.
Graph vgg_net() {
  Graph g;
  Builder b(g);
  unsigned seed = 300;
  const auto weight = [&](Dims d) { return b.constant(random_floats(DType::f32, std::move(d), ++seed)); };
  const auto conv = [&](ValueId x, std::int64_t channels) {
    return b.op("relu", {b.op("conv", {x, weight({channels, b.dims(x)[1], 3, 3}), weight({channels})}, window(1, 1))});
  };
  const auto pool = [&](ValueId x) {
    Attrs attrs = window(2, 0);
    attrs.set("kernel", std::vector<std::int64_t>{2, 2});
    return b.op("max_pool", {x}, attrs);
  };
  const ValueId x = g.add_input("x", DType::f32, {1, 3, 12, 8}, RowMap::rows(0));
  ValueId v = pool(conv(conv(x, 32), 32));
  v = pool(conv(v, 64));
  v = b.reshape(v, {1, 64 * 3 * 2});
  v = b.op("relu", {b.add(b.matmul(v, weight({64 * 3 * 2, 96})), weight({96}))});
  g.set_outputs({b.matmul(v, weight({96, 5}))});
  Graph rows = *batch_rows(g, 2).graph;
  Builder back(rows);
  const ValueId y = rows.outputs()[0], dy = rows.add_input("dy", DType::f32, {4, 5}, RowMap::rows(0));
  const ValueId index = back.constant(Tensor::ints(std::vector<std::int64_t>{0, 0, 1, 1}));
  const std::vector<ValueId> dx = gradient(back, {.seeds = {{y, dy}}, .wrt = {rows.inputs()[0]}, .row_index = index});
  rows.set_outputs({y, dx[0]});
  return rows;
}

struct Result {
  std::vector<Tensor> outputs;
  std::size_t arena_bytes = 0;
  int packed = 0, taps = 0;  // nodes that give masks of bits, poolings that give taps
};

Result result_of(const Graph& g, const Backend& backend) {
  const auto plan = Plan::compile(lower_for(backend, g, evaluator_of(backend)), backend, nullptr);
  EXPECT_TRUE(plan->fallbacks().empty()) << plan->fallback_notice();
  Result r;
  r.arena_bytes = plan->arena_bytes();
  for (const Node& node : plan->graph().nodes()) {
    r.packed += gives_mask_output(node.attrs);
    r.taps += gives_argmax_taps(node.attrs);
  }
  PlanRun run(plan);
  for (std::size_t i = 0; i < g.inputs().size(); ++i) {
    const Value& v = g.value(g.inputs()[i]);
    run.bind(i, random_floats(v.dtype, v.dims, static_cast<unsigned>(i) + 7));
  }
  run.execute();
  for (std::size_t i = 0; i < g.outputs().size(); ++i) r.outputs.push_back(run.output(i));
  return r;
}

void expect_same_results(const Graph& g, int packed, int taps) {
  const Result floats = result_of(g, with_float_masks()), bits = result_of(g, simulator());
  EXPECT_EQ(floats.packed, 0);
  EXPECT_EQ(bits.packed, packed);
  EXPECT_EQ(bits.taps, taps);
  EXPECT_LT(bits.arena_bytes, floats.arena_bytes);
  for (std::size_t i = 0; i < floats.outputs.size(); ++i) {
    EXPECT_TRUE(bits.outputs[i].same_bits(floats.outputs[i])) << "output " << i;
    const std::vector<double> v = bits.outputs[i].to_doubles();
    EXPECT_TRUE(std::any_of(v.begin(), v.end(), [](double x) { return x != 0; }));
  }
}

TEST(PlansOnSimulator, MasksOfBitsInAResNet) { expect_same_results(residual_net(DType::f32, 32), 5, 1); }
TEST(PlansOnSimulator, MasksOfBitsInAVggWithTwoTargets) { expect_same_results(vgg_net(), 4, 2); }

// Fully connected layers, forward and backward, multiply by packed weights: the constant itself stays on the host.
// Plans of other numbers of rows share them.
TEST(PlansOnSimulator, ConstantsOfProductsArePackedOnce) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f32, {300, 256}), dy = g.add_input("dy", DType::f32, {300, 128});
  const ValueId w = b.constant(random_floats(DType::f32, {256, 128}, 1));
  const ValueId other = g.add_input("w", DType::f32, {256, 128}), odd = g.add_input("odd", DType::f32, {300, 258});
  const Attrs transposed{{"trans_b", std::int64_t{1}}};
  const ValueId forward = b.matmul(x, w), backward = b.op("matmul", {dy, w}, transposed);
  const ValueId variable = b.matmul(x, other);
  const ValueId unaligned = b.matmul(odd, b.constant(random_floats(DType::f32, {258, 128}, 2)));
  g.set_outputs({forward, backward, variable, unaligned});

  PreparedConstants prepared;
  std::vector<Step> alive;
  const auto packed = [&](ValueId y) {
    const Node& node = *g.producer(y);
    std::vector<Tensor> constants;
    for (const ValueId v : node.inputs) constants.push_back(g.is_constant(v) ? g.value(v).constant : Tensor());
    const PrepareCtx context(g, node, constants, {1}, &prepared, simulator().device.get());
    alive.push_back(simulator().find("matmul")(context));
    return alive.back().unread_constants == 1u << 1;
  };
  sim::reset_counters();
  EXPECT_TRUE(packed(forward));
  EXPECT_TRUE(packed(backward));
  EXPECT_EQ(sim::counters().launches, 2u);
  EXPECT_TRUE(packed(forward));
  EXPECT_EQ(sim::counters().launches, 2u);
  EXPECT_FALSE(packed(variable));
  EXPECT_FALSE(packed(unaligned));

  const Result on_device = result_of(g, simulator()), on_host = result_of(g, cpu_backend());
  for (std::size_t i = 0; i < g.outputs().size(); ++i) {
    const std::vector<double> got = on_device.outputs[i].to_doubles(), want = on_host.outputs[i].to_doubles();
    for (std::size_t k = 0; k < got.size(); ++k) ASSERT_NEAR(got[k], want[k], 2e-4) << "output " << i;
  }
}

}  // namespace
}  // namespace onnxray::testing
