// Random numbers against the definition in engine/ops/random.cpp; Philox itself is checked in tests/engine/base_test.
#include <cmath>

#include "engine/base/philox.h"
#include "tests/ops/sample.h"

namespace onnxray::testing {
namespace {

// number(block, odd) for every element of every row.
template <class F>
std::vector<Array> random(const std::vector<Array>& in, const Attrs& a, F number) {
  Array out;
  out.dims = a.ints("dims");
  std::uint64_t size = 1;
  for (const std::int64_t d : out.dims) size *= static_cast<std::uint64_t>(d);
  out.dims.insert(out.dims.begin(), in[0].dims[0]);
  const auto stream = static_cast<std::uint64_t>(a.integer("stream", 0));
  for (std::size_t r = 0; r < static_cast<std::size_t>(out.dims[0]); ++r) {
    const Philox philox{static_cast<std::uint64_t>(static_cast<std::int64_t>(in[0].v[3 * r]))};
    const auto example = static_cast<std::uint64_t>(in[0].v[3 * r + 1]);
    const auto sample = static_cast<std::uint64_t>(in[0].v[3 * r + 2]);
    for (std::uint64_t j = 0; j < size; ++j) {
      const auto block = philox(example * 0x100000000u + sample, stream * 0x1000000000000u + j / 2);
      out.v.push_back(number(block, static_cast<int>(j % 2)));
    }
  }
  return {out};
}

std::vector<Array> uniform(const std::vector<Array>& in, const Attrs& a) {
  return random(in, a, [](const Philox::Block& b, int odd) {
    const auto w = static_cast<std::size_t>(2 * odd);
    return (std::floor(b[w] * 0x1p21) + std::floor(b[w + 1] * 0x1p-11)) * 0x1p-53;
  });
}

std::vector<Array> normal(const std::vector<Array>& in, const Attrs& a) {
  return random(in, a, [](const Philox::Block& b, int odd) {
    const double u = (std::floor(b[0] * 0x1p21) + std::floor(b[1] * 0x1p-11)) * 0x1p-53;
    const double v = (std::floor(b[2] * 0x1p21) + std::floor(b[3] * 0x1p-11)) * 0x1p-53;
    const double angle = 2 * std::acos(-1.0) * v;
    return std::sqrt(-2 * std::log1p(-u)) * (odd == 1 ? std::sin(angle) : std::cos(angle));
  });
}

OpCase random_case(const char* name, Reference reference) {
  const auto of = [](std::int64_t rows, Dims dims, std::int64_t stream = 0, const char* dtype = "float64") {
    return OpSample{{{.dtype = DType::i64, .dims = {rows, 3}, .lo = 0, .hi = 100000, .constant = true}},
                    {{"dims", std::move(dims)}, {"dtype", std::string(dtype)}, {"stream", stream}}};
  };
  OpCase c{.op = name, .reference = std::move(reference)};
  c.samples = {of(1, {}),  of(3, {5}),    of(2, {3, 7}, 3), of(4, {2, 3, 5}, 65535),  of(1, {1}, 1),
               of(0, {4}), of(3, {4, 0}), of(70, {129}),    of(3, {5}, 0, "float32"), of(33, {2, 33}, 9, "float32")};
  // Seeds are any 64 bits; examples and samples reach 2^32 - 1.
  c.samples[1].inputs[0].fixed = Tensor::from<std::int64_t>(
      {3, 3}, {-1, 0, 0, 0x123456789, 4294967295, 1, std::int64_t{-0x7fffffffffff0000}, 1, 4294967295});
  c.errors = {of(2, {3}, -1),          of(2, {3}, 65536), of(2, {3}, 0, "int64"),
              of(2, {3}, 0, "number"), of(2, {-3}),       of(2, {3})};
  c.errors.back().inputs[0].dims = {2, 4};
  return c;
}

}  // namespace

void add_random_cases(std::vector<OpCase>& cases) {
  cases.push_back(random_case("random_uniform", uniform));
  cases.push_back(random_case("random_normal", normal));
}

}  // namespace onnxray::testing
