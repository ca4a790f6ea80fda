// ReLU masks of one bit per element, on the host's kernels.
#include "engine/model.h"
#include "engine/ops/packed_mask.h"
#include "tests/engine/residual_net.h"

namespace onnxray::testing {
namespace {

int mask_outputs(const Graph& g) {
  int n = 0;
  for (const Node& node : g.nodes()) n += gives_mask_output(node.attrs);
  return n;
}
// Masks that are read as floats.
int float_masks(const Graph& g) {
  int n = 0;
  for (const Node& node : g.nodes()) {
    if (node.op->name == "relu_grad") n += is_float(g.value(node.inputs[1]).dtype);
    if (!node.attrs.has("mask_input")) continue;
    n += is_float(g.value(node.inputs[static_cast<std::size_t>(node.attrs.integer("mask_input", 0))]).dtype);
  }
  return n;
}

void expect_same_bits(const Graph& before, const Graph& after) {
  const auto a = run_random(before), b = run_random(after);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i], b[i]) << "output " << i;
}

// `blocks` residual blocks of three convolutions on 64 channels, and the gradient by the input.
Graph chain(int blocks) {
  Graph g;
  Builder b(g);
  unsigned seed = 0;
  const auto conv = [&](ValueId x, std::int64_t channels, std::int64_t kernel) {
    const Tensor w = random_floats(DType::f32, {channels, b.dims(x)[1], kernel, kernel}, ++seed);
    return b.op("conv", {x, b.constant(w)}, window(1, kernel / 2));
  };
  const auto relu = [&](ValueId v) { return b.op("relu", {v}); };
  const ValueId x = g.add_input("x", DType::f32, {1, 3, 12, 12});
  ValueId v = relu(conv(x, 64, 3));
  for (int i = 0; i < blocks; ++i) v = relu(b.add(conv(relu(conv(relu(conv(v, 32, 1)), 32, 3)), 64, 1), v));
  v = b.reduce("reduce_mean", v, {1, 2, 3}, false);
  const ValueId dy = g.add_input("dy", DType::f32, {1});
  const std::vector<ValueId> dx = gradient(b, {.seeds = {{v, dy}}, .wrt = {x}});
  g.set_outputs({v, dx[0]});
  return g;
}

Graph lowered(const Graph& g, bool packed) {
  Backend backend = cpu_backend();
  backend.wants_packed_masks = packed;
  return lower_for(backend, g, evaluator_of(backend));
}

TEST(PackMasks, KeepsResultsToTheBit) {
  const Graph net = residual_net(DType::f32, 32);
  const Graph floats = lowered(net, false), bits = lowered(net, true);
  EXPECT_EQ(mask_outputs(floats), 0);
  // The stem's is that of the pooled maxima, on the smaller side of the pooling.
  EXPECT_EQ(mask_outputs(bits), 5) << bits.to_text();
  EXPECT_EQ(float_masks(bits), 0) << bits.to_text();
  expect_same_bits(floats, bits);
}

TEST(PackMasks, ActivationsDieAfterTheForwardPass) {
  const auto arena = [](const Graph& g) { return static_cast<double>(plan_buffers(g).bytes); };
  EXPECT_LT(arena(lowered(chain(8), true)), 0.25 * arena(lowered(chain(8), false)));
  // What one block more costs: a word per 32 channels and pixel.
  const auto block = [&](bool packed) {
    return (arena(lowered(chain(40), packed)) - arena(lowered(chain(8), packed))) / 32;
  };
  constexpr double kWords = 12 * 12 * (1 + 1 + 2) * 4;
  EXPECT_LE(block(true), 1.1 * kWords);
  EXPECT_GE(block(false), 0.9 * 32 * kWords);
}

TEST(PackMasks, LeavesPartsOfAWordAndFloatReadersAlone) {
  // 8 and 16 channels.
  const Graph narrow = lowered(residual_net(DType::f32, 8), true);
  EXPECT_EQ(mask_outputs(narrow), 0) << narrow.to_text();
  // y is read as a number behind its mask.
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f32, {4, 64}), dy = g.add_input("dy", DType::f32, {4, 64});
  const ValueId y = b.op("relu", {x});
  const ValueId other = b.op("relu_grad", {y, dy});  // its mask is an input
  g.set_outputs({b.op("reduce_sum", {b.op("relu_grad", {dy, y})}, {{"axes", std::vector<std::int64_t>{1}}}), y, other});
  const Graph after = pack_masks(g);
  EXPECT_EQ(mask_outputs(after), 1);
  EXPECT_EQ(float_masks(after), 1);
  expect_same_bits(g, after);
}

// Several targets of one example read the mask of its row.
TEST(PackMasks, GathersRowsOfMasks) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f32, {2, 64}), dy = g.add_input("dy", DType::f32, {4, 64});
  const ValueId y = b.op("relu", {x});
  const std::vector<std::int64_t> index{1, 0, 0, 1};
  const ValueId rows = b.op("gather_rows", {y, b.constant(Tensor::ints(index))}, {{"axis", std::int64_t{0}}});
  g.set_outputs({y, b.op("relu_grad", {dy, rows})});
  const Graph after = pack_masks(g);
  EXPECT_EQ(float_masks(after), 0) << after.to_text();
  for (const Node& node : after.nodes()) {
    if (node.op->name != "gather_rows") continue;
    EXPECT_EQ(after.value(node.outputs[0]).dims, (Dims{4, 2}));
  }
  expect_same_bits(g, after);
  // Not where somebody wants the numbers.
  g.set_outputs({y, g.outputs()[1], rows});
  EXPECT_EQ(mask_outputs(pack_masks(g)), 0);
}

// A ReLU whose output is turned before it is used.
TEST(PackMasks, ReadsTheMaskOfWhatOthersCompute) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f32, {32, 6}), dy = g.add_input("dy", DType::f32, {6, 32});
  const ValueId y = b.transpose(b.op("relu", {x}), {1, 0}), sum = b.reduce("reduce_sum", y, {0, 1}, false);
  const ValueId dx = b.op("relu_grad", {dy, y});
  g.set_outputs({sum, dx});
  const Graph after = pack_masks(g);
  EXPECT_EQ(mask_outputs(after), 1) << after.to_text();
  EXPECT_EQ(float_masks(after), 0) << after.to_text();
  expect_same_bits(g, after);
  // Nothing dies earlier.
  g.set_outputs({sum, dx, y});
  EXPECT_EQ(mask_outputs(pack_masks(g)), 0);
}

TEST(PackMasks, NothingPassesWhereTheOutputIsNotANumber) {
  Graph g;
  Builder b(g);
  const ValueId x = g.add_input("x", DType::f32, {32}), dy = g.add_input("dy", DType::f32, {32});
  g.set_outputs({b.op("relu_grad", {dy, b.op("relu", {x})})});
  std::vector<double> v(32, -1.0), want(32, 0.0);
  v[0] = NAN;
  v[1] = INFINITY;
  v[2] = 0x1p-149;
  v[31] = 1;
  want[1] = want[2] = want[31] = 5;
  for (const Graph& graph : {g, pack_masks(g)}) {
    PlanRun run(Plan::compile(graph, cpu_backend(), nullptr));
    run.bind(0, Tensor::from<double>({32}, v).to(DType::f32));
    run.bind(1, Tensor::full(DType::f32, {32}, 5));
    run.execute();
    EXPECT_EQ(run.output(0).to_doubles(), want) << graph.to_text();
  }
}

}  // namespace
}  // namespace onnxray::testing
