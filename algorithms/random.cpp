#include "algorithms/random.h"

#include <algorithm>
#include <cmath>

#include "engine/base/philox.h"

namespace onnxray {
namespace {
constexpr const char* kRandomKey = "random key";
}  // namespace

double random_uniform(const RandomKey& key, std::int64_t stream, std::int64_t element) {
  const Philox::Block block =
      Philox{key.seed}((static_cast<std::uint64_t>(key.example) << 32) | static_cast<std::uint64_t>(key.sample),
                       (static_cast<std::uint64_t>(stream) << 48) | static_cast<std::uint64_t>(element / 2));
  return Philox::uniform(block, static_cast<int>(element % 2));
}

std::int64_t random_index(const RandomKey& key, std::int64_t stream, std::int64_t count) {
  const auto i = static_cast<std::int64_t>(std::floor(random_uniform(key, stream) * static_cast<double>(count)));
  return std::min(i, count - 1);
}

std::uint64_t derived_seed(std::uint64_t seed, std::int64_t index) {
  // Counters with these upper words belong to no example: examples are below 2^32 - 1.
  const Philox::Block b = Philox{seed}(~std::uint64_t{0}, static_cast<std::uint64_t>(index));
  return (std::uint64_t{b[0]} << 32) | b[1];
}

Tensor random_keys(std::span<const RandomKey> keys) {
  std::vector<std::int64_t> all;
  all.reserve(3 * keys.size());
  for (const RandomKey& k : keys) {
    all.insert(all.end(), {static_cast<std::int64_t>(k.seed), k.example, k.sample});
  }
  return Tensor::ints(all).reshaped({static_cast<std::int64_t>(keys.size()), 3});
}

Tensor random_tensor(const Model& model, std::string_view op, std::span<const RandomKey> keys, std::int64_t stream,
                     const Dims& dims) {
  Graph g;
  Builder b(g);
  const ValueId key = g.add_input(kRandomKey, DType::i64, {static_cast<std::int64_t>(keys.size()), 3});
  g.set_outputs({b.op(op, {key}, {{"dims", dims}, {"dtype", std::string(name_of(DType::f64))}, {"stream", stream}})});
  PlanRun run(Plan::compile(std::move(g), model.backend(), model.prepared()));
  run.bind(0, random_keys(keys));
  run.execute();
  return run.output(0);
}

RowInput random_key_input() { return {.name = kRandomKey, .dtype = DType::i64, .dims = {3}}; }

ValueId random_rows(RowCtx& c, std::string_view op, std::int64_t stream, const Dims& row_dims) {
  return c.b.op(op, {c.input(kRandomKey)},
                {{"dims", row_dims}, {"dtype", std::string(name_of(c.session.float_type()))}, {"stream", stream}});
}

}  // namespace onnxray
