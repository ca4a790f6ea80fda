// A small residual network of `width` and twice as many channels with its backward pass, in which every fusion and
// layout decision occurs.
#pragma once
#include "engine/autodiff.h"
#include "tests/engine/passes_util.h"

namespace onnxray::testing {

inline Graph residual_net(DType dtype, std::int64_t width = 8) {
  Graph g;
  Builder b(g);
  unsigned seed = 100;
  const auto weight = [&](Dims d) { return b.constant(random_floats(dtype, std::move(d), ++seed)); };
  const auto conv = [&](ValueId x, std::int64_t channels, std::int64_t kernel, std::int64_t stride) {
    return b.op("conv", {x, weight({channels, b.dims(x)[1], kernel, kernel}), weight({channels})},
                window(stride, kernel / 2));
  };
  const auto relu = [&](ValueId v) { return b.op("relu", {v}); };
  const ValueId x = g.add_input("x", dtype, {2, 3, 17, 15});
  ValueId v = relu(conv(x, width, 7, 2));
  Attrs pool = window(2, 1);
  pool.set("kernel", std::vector<std::int64_t>{3, 3});
  v = b.op("max_pool", {v}, pool);
  v = relu(b.add(conv(relu(conv(v, width, 3, 1)), width, 3, 1), v));  // identity shortcut
  v = relu(
      b.add(conv(relu(conv(v, 2 * width, 3, 2)), 2 * width, 3, 1), conv(v, 2 * width, 1, 2)));  // projected shortcut
  const ValueId gate = b.op("sigmoid", {conv(b.reduce("reduce_mean", v, {2, 3}, true), 2 * width, 1, 1)});
  v = b.mul(v, gate);
  v = b.op("concat",
           {v, b.op("slice", {v},
                    {{"starts", std::vector<std::int64_t>{0, width / 2, 0, 0}},
                     {"sizes", std::vector<std::int64_t>{2, width, 3, 2}},
                     {"steps", std::vector<std::int64_t>{1, 1, 1, 1}}})},
           {{"axis", std::int64_t{1}}});
  v = b.reduce("reduce_mean", v, {2, 3}, true);
  v = b.matmul(b.reshape(v, {2, 3 * width}), weight({3 * width, 5}));
  v = b.add(v, weight({5}));
  const ValueId dy = g.add_input("dy", dtype, {2, 5});
  const std::vector<ValueId> dx = gradient(b, {.seeds = {{v, dy}}, .wrt = {x}});
  g.set_outputs({v, dx[0]});
  return clean(g);
}

}  // namespace onnxray::testing
