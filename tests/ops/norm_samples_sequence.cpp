#include "tests/ops/reference/walk.h"

namespace onnxray::testing {

void add_sequence_cases(std::vector<OpCase>& cases) {
  const auto split = [](const std::vector<Array>& in, const Attrs& attrs) {
    const auto axis = static_cast<std::size_t>(attrs.integer("axis", 0));
    std::vector<Array> out;
    std::int64_t begin = 0;
    for (const std::int64_t size : attrs.ints("sizes")) {
      Dims d = in[0].dims;
      d[axis] = size;
      out.push_back(make(d, [&](Dims i) {
        i[axis] += begin;
        return get(in[0], i);
      }));
      begin += size;
    }
    return out;
  };
  using Sizes = std::vector<std::int64_t>;
  const auto sample = [](Dims d, std::int64_t axis, Sizes sizes, DType dtype = DType::f64) {
    return OpSample{{{.dtype = dtype, .dims = std::move(d), .lo = dtype == DType::boolean ? 0.0 : -2.0}},
                    {{"axis", axis}, {"sizes", std::move(sizes)}}};
  };
  // The first three outputs are differentiated together, so every float sample has three.
  cases.push_back({.op = "split",
                   .reference = split,
                   .samples =
                       {
                           sample({5}, 0, {2, 1, 2}),
                           sample({3, 7, 2}, 1, {3, 3, 1}),
                           sample({2, 3, 5}, 2, {1, 0, 4}),
                           sample({4, 1, 3}, 0, {1, 2, 1}),
                           sample({0, 3}, 1, {1, 1, 1}),
                           sample({3, 0}, 1, {0, 0, 0}),
                           sample({2, 4}, 1, {1, 2, 1}, DType::i64),
                           sample({2, 4}, 1, {1, 2, 1}, DType::boolean),
                           sample({2, 4, 1}, 1, {3, 0, 1}, DType::i32),
                       },
                   .errors =
                       {
                           sample({5}, 0, {2, 2}),
                           sample({5}, 0, {2, 4}),
                           sample({5}, 0, {7, -2}),
                           sample({5}, 0, {}),
                           sample({5}, 1, {5}),
                           sample({5}, -1, {5}),
                       },
                   .gradient_outputs = {0, 1, 2}});
}

}  // namespace onnxray::testing
