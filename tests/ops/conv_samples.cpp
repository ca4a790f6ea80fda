#include "tests/ops/reference/mask_bits.h"
#include "tests/ops/reference/window.h"

namespace onnxray::testing {
namespace {

using Ints = std::vector<std::int64_t>;

// Output extents, counted by trying positions one after another.
Dims conv_out(const Dims& x, const Dims& w, const Attrs& attrs) {
  const Slide s(attrs, {w.begin() + 2, w.end()});
  const Image in(x, s.last);
  Ints space;
  for (std::size_t i = 3 - s.rank; i < 3; ++i) {
    std::int64_t n = 0;
    while (n * s.stride[i] + (s.kernel[i] - 1) * s.dilation[i] < in.e[i] + s.begin[i] + s.end[i]) ++n;
    space.push_back(n);
  }
  Dims d{x[0]};
  if (!s.last) d.push_back(w[0]);
  d.insert(d.end(), space.begin(), space.end());
  if (s.last) d.push_back(w[0]);
  return d;
}

void epilogue(Array& y, const std::vector<Array>& in, const Attrs& attrs) {
  const bool last = attrs.integer("channels_last", 0) != 0;
  const std::int64_t channels = last ? y.dims.back() : y.dims[1];
  std::int64_t inner = 1;
  for (std::size_t i = 2; i < y.dims.size() && !last; ++i) inner *= y.dims[i];
  for (std::size_t i = 0; i < y.v.size(); ++i) {
    if (in.size() > 2 && !in[2].v.empty()) {
      y.v[i] += in[2].v[static_cast<std::size_t>(static_cast<std::int64_t>(i) / inner % channels)];
    }
    if (attrs.has("sum_input")) y.v[i] += in[static_cast<std::size_t>(attrs.integer("sum_input", 0))].v[i];
    if (attrs.integer("relu", 0) != 0 && y.v[i] < 0) y.v[i] = 0;
    if (!attrs.has("mask_input")) continue;
    const Array& mask = in[static_cast<std::size_t>(attrs.integer("mask_input", 0))];
    if (!(mask.dims == y.dims ? mask.v[i] > 0 : bit_of(mask, i))) y.v[i] = 0;
  }
}

Array zeros(Dims dims) {
  const auto n = static_cast<std::size_t>(count_of(dims));
  return {std::move(dims), std::vector<double>(n, 0)};
}

std::vector<Array> conv(const std::vector<Array>& in, const Attrs& attrs) {
  Array y = zeros(conv_out(in[0].dims, in[1].dims, attrs));
  convolve(attrs, in[0].dims, in[1].dims, y.dims,
           [&](std::size_t iy, std::size_t iw, std::size_t ix) { y.v[iy] += in[1].v[iw] * in[0].v[ix]; });
  epilogue(y, in, attrs);
  return with_mask(y, attrs);
}

std::vector<Array> conv_input_grad(const std::vector<Array>& in, const Attrs& attrs) {
  const bool last = attrs.integer("channels_last", 0) != 0;
  const std::int64_t channels = in[1].dims[1] * attrs.integer("group", 1);
  Dims d{in[0].dims[0]};
  if (!last) d.push_back(channels);
  for (const std::int64_t e : attrs.ints("input_spatial")) d.push_back(e);
  if (last) d.push_back(channels);
  Array x = zeros(d);
  convolve(attrs, x.dims, in[1].dims, in[0].dims,
           [&](std::size_t iy, std::size_t iw, std::size_t ix) { x.v[ix] += in[1].v[iw] * in[0].v[iy]; });
  epilogue(x, in, attrs);
  return with_mask(x, attrs);
}

std::vector<Array> conv_weight_grad(const std::vector<Array>& in, const Attrs& attrs) {
  const bool last = attrs.integer("channels_last", 0) != 0;
  const Image x(in[0].dims, last), y(in[1].dims, last);
  Dims d{y.c, x.c / attrs.integer("group", 1)};
  for (const std::int64_t e : attrs.ints("kernel")) d.push_back(e);
  Array w = zeros(d);
  convolve(attrs, in[0].dims, w.dims, in[1].dims,
           [&](std::size_t iy, std::size_t iw, std::size_t ix) { w.v[iw] += in[0].v[ix] * in[1].v[iy]; });
  return {w};
}

Attrs window(Ints strides, Ints pads, Ints dilations, std::int64_t group = 1, bool last = false) {
  Attrs a{{"strides", std::move(strides)}, {"pads", std::move(pads)}, {"dilations", std::move(dilations)}};
  if (group != 1) a.set("group", group);
  if (last) a.set("channels_last", std::int64_t{1});
  return a;
}

Attrs with(Attrs a, const std::string& name, Attr value) {
  a.set(name, std::move(value));
  return a;
}

SampleInput of(Dims d) { return {.dims = std::move(d)}; }
SampleInput weight(Dims d) { return {.dims = std::move(d), .constant = true}; }
SampleInput absent() { return {.absent = true}; }

struct Shape {
  Dims x, w;
  Attrs attrs;
};

// One list for all three ops: what conv maps from x to y, the others map back.
std::vector<Shape> shapes() {
  return {
      {{2, 3, 7, 5}, {4, 3, 3, 3}, window({1, 1}, {1, 1, 1, 1}, {1, 1})},
      {{1, 1, 1, 1}, {1, 1, 1, 1}, window({1, 1}, {0, 0, 0, 0}, {1, 1})},
      {{3, 4, 9, 8}, {6, 2, 3, 2}, window({2, 3}, {1, 0, 2, 1}, {1, 2}, 2)},
      {{2, 5, 6, 7}, {5, 1, 3, 3}, window({1, 1}, {1, 1, 1, 1}, {1, 1}, 5)},
      {{2, 3, 7, 7}, {6, 1, 3, 3}, window({2, 2}, {0, 1, 1, 0}, {1, 1}, 3)},
      {{2, 3, 11}, {2, 3, 4}, window({2}, {3, 1}, {2})},
      {{1, 2, 4, 5, 3}, {3, 2, 2, 3, 2}, window({1, 2, 1}, {1, 1, 0, 0, 1, 1}, {1, 1, 2})},
      {{2, 3, 5, 6}, {7, 3, 1, 1}, window({1, 1}, {0, 0, 0, 0}, {1, 1})},
      {{2, 3, 6, 6}, {2, 3, 1, 1}, window({2, 2}, {0, 0, 0, 0}, {1, 1})},
      {{2, 17, 10, 9}, {33, 17, 3, 3}, window({1, 1}, {1, 1, 1, 1}, {1, 1})},
      {{2, 3, 8, 7}, {4, 3, 3, 3}, window({1, 1}, {-1, 0, 1, -1}, {1, 1})},
      {{0, 3, 4, 4}, {2, 3, 3, 3}, window({1, 1}, {1, 1, 1, 1}, {1, 1})},
      {{2, 7, 5, 3}, {4, 3, 3, 3}, window({1, 1}, {1, 1, 1, 1}, {1, 1}, 1, true)},
      {{2, 9, 8, 4}, {6, 2, 3, 2}, window({2, 3}, {1, 0, 2, 1}, {1, 2}, 2, true)},
      {{2, 6, 7, 16}, {16, 1, 3, 3}, window({1, 1}, {1, 1, 1, 1}, {1, 1}, 16, true)},
      {{2, 8, 8, 16}, {32, 16, 1, 1}, window({2, 2}, {0, 0, 0, 0}, {1, 1}, 1, true)},
      {{2, 9, 8, 16}, {32, 16, 3, 3}, window({2, 2}, {1, 1, 1, 1}, {1, 1}, 1, true)},
      {{2, 6, 5, 32}, {16, 32, 3, 3}, window({1, 1}, {1, 1, 1, 1}, {1, 1}, 1, true)},
      {{2, 9, 3}, {5, 3, 3}, window({1}, {1, 1}, {1}, 1, true)},
  };
}

// Where the last axis of x or of y, or of both, is one of whole words of a mask: products, depthwise, groups whose
// channels share words, strides, the width in NCHW order.
std::vector<Shape> masked_shapes() {
  return {
      {{2, 6, 5, 16}, {32, 16, 3, 3}, window({1, 1}, {1, 1, 1, 1}, {1, 1}, 1, true)},
      {{2, 6, 5, 32}, {16, 32, 3, 3}, window({1, 1}, {1, 1, 1, 1}, {1, 1}, 1, true)},
      {{1, 9, 8, 16}, {64, 16, 1, 1}, window({2, 2}, {0, 0, 0, 0}, {1, 1}, 1, true)},
      {{1, 9, 8, 64}, {24, 64, 3, 3}, window({2, 2}, {1, 1, 1, 1}, {1, 1}, 1, true)},
      {{2, 5, 4, 32}, {32, 1, 3, 3}, window({1, 1}, {1, 1, 1, 1}, {1, 1}, 32, true)},
      {{1, 6, 6, 32}, {32, 4, 3, 3}, window({1, 1}, {1, 1, 1, 1}, {1, 1}, 8, true)},
      {{1, 2, 3, 32}, {2, 2, 3, 3}, window({1, 1}, {1, 1, 1, 1}, {1, 1})},
      {{0, 5, 4, 32}, {32, 32, 1, 1}, window({1, 1}, {0, 0, 0, 0}, {1, 1}, 1, true)},
  };
}

Ints space_of(const Dims& d, const Attrs& a) {
  const bool last = a.integer("channels_last", 0) != 0;
  return {d.begin() + (last ? 1 : 2), d.end() - (last ? 1 : 0)};
}

std::int64_t channels_of(const Dims& d, const Attrs& a) { return a.integer("channels_last", 0) != 0 ? d.back() : d[1]; }

}  // namespace

void add_conv_cases(std::vector<OpCase>& cases) {
  OpCase forward{.op = "conv", .reference = conv, .has_kinks = true, .reduction = 160};
  OpCase backward{.op = "conv_input_grad", .reference = conv_input_grad, .has_kinks = true, .reduction = 300};
  OpCase weights{.op = "conv_weight_grad", .reference = conv_weight_grad, .reduction = 200};
  bool bias = false;
  for (const Shape& s : shapes()) {
    const Dims y = conv_out(s.x, s.w, s.attrs);
    OpSample f{{of(s.x), weight(s.w)}, s.attrs};
    OpSample b{{of(y), weight(s.w)}, with(s.attrs, "input_spatial", space_of(s.x, s.attrs))};
    if (bias) f.inputs.push_back(weight({s.w[0]}));
    if (bias) b.inputs.push_back(weight({channels_of(s.x, s.attrs)}));
    bias = !bias;
    forward.samples.push_back(f);
    backward.samples.push_back(b);
    weights.samples.push_back({{of(s.x), of(y)}, with(s.attrs, "kernel", Ints(s.w.begin() + 2, s.w.end()))});
    // Every epilogue, on a few shapes of either layout.
    if (s.x[0] == 0 || s.x.size() != 4) continue;
    const Attrs sum = with(s.attrs, "sum_input", std::int64_t{3});
    if (s.w[2] == 3) {
      forward.samples.push_back({{of(s.x), weight(s.w), weight({s.w[0]}), of(y)}, with(sum, "relu", std::int64_t{1})});
      forward.samples.push_back({{of(s.x), weight(s.w)}, with(s.attrs, "relu", std::int64_t{1})});
      backward.samples.push_back(
          {{of(y), weight(s.w), absent(), of(s.x), of(s.x)},
           with(with(sum, "input_spatial", space_of(s.x, s.attrs)), "mask_input", std::int64_t{4})});
    } else {
      forward.samples.push_back({{of(s.x), weight(s.w), absent(), of(y)}, sum});
      backward.samples.push_back(
          {{of(y), weight(s.w), absent(), of(s.x)},
           with(with(s.attrs, "input_spatial", space_of(s.x, s.attrs)), "mask_input", std::int64_t{3})});
    }
  }
  for (const Shape& s : masked_shapes()) {
    const Dims y = conv_out(s.x, s.w, s.attrs);
    const Attrs gives = with(s.attrs, "mask_output", std::int64_t{1});
    const Attrs sum = with(gives, "sum_input", std::int64_t{3});
    if (y.back() % 32 == 0) {
      forward.samples.push_back({{of(s.x), weight(s.w), weight({s.w[0]}), of(y)}, with(sum, "relu", std::int64_t{1})});
      forward.samples.push_back(
          {{of(s.x), weight(s.w), absent(), mask_for(y)}, with(s.attrs, "mask_input", std::int64_t{3})});
    }
    if (s.x.back() % 32 == 0) {
      const auto back = [&](const Attrs& a) { return with(a, "input_spatial", space_of(s.x, s.attrs)); };
      backward.samples.push_back({{of(y), weight(s.w)}, back(gives)});
      backward.samples.push_back(
          {{of(y), weight(s.w), absent(), of(s.x), mask_for(s.x)}, back(with(sum, "mask_input", std::int64_t{4}))});
    }
  }
  // ConvTranspose with output padding: positions that no window reaches.
  backward.samples.push_back({{of({1, 2, 3, 3}), weight({2, 2, 2, 2})},
                              {{"strides", Ints{3, 3}},
                               {"dilations", Ints{1, 1}},
                               {"pads", Ints{0, 0, -1, -2}},
                               {"input_spatial", Ints{9, 10}}}});
  const Attrs plain = window({1, 1}, {0, 0, 0, 0}, {1, 1});
  forward.errors = {
      {{of({1, 3, 4, 4}), of({2, 2, 3, 3})}, plain},                                    // channels
      {{of({1, 3, 4, 4}), of({2, 3, 5, 3})}, plain},                                    // window too large
      {{of({1, 3, 4, 4}), of({2, 3, 3})}, plain},                                       // weight rank
      {{of({1, 3}), of({2, 3})}, plain},                                                // no space
      {{of({1, 4, 4, 4}), of({3, 2, 3, 3})}, window({1, 1}, {0, 0, 0, 0}, {1, 1}, 2)},  // group
      {{of({1, 3, 4, 4}), of({2, 3, 3, 3})}, window({0, 1}, {0, 0, 0, 0}, {1, 1})},     // stride
      {{of({1, 3, 4, 4}), of({2, 3, 3, 3})}, window({1, 1}, {0, 0, 0, 0}, {1, -1})},    // dilation
      {{of({1, 3, 4, 4}), of({2, 3, 3, 3})}, window({1}, {0, 0, 0, 0}, {1, 1})},        // lengths
      {{of({1, 3, 4, 4}), of({2, 3, 3, 3})}, window({1, 1}, {0, 0, 0, Ints::value_type{1} << 40}, {1, 1})},
      {{of({1, 3, 4, 4}), of({2, 3, 3, 3}), of({3})}, plain},                             // bias
      {{of({1, 3, 4, 4}), of({2, 3, 3, 3})}, with(plain, "sum_input", std::int64_t{3})},  // no such input
      {{of({1, 3, 4, 4}), of({2, 3, 3, 3}), absent(), of({1, 2, 2, 3})}, with(plain, "sum_input", std::int64_t{3})},
      {{of({1, 3, 4, 4}), of({2, 3, 3, 3})}, with(plain, "mask_output", std::int64_t{1})},  // no whole words
      {{of({1, 3, 3, 34}), of({2, 3, 3, 3}), absent(), mask_for({1, 2, 1, 64})},
       with(plain, "mask_input", std::int64_t{3})},
  };
  backward.errors = {
      {{of({1, 2, 2, 2}), of({2, 3, 3, 3})}, plain},                                     // no input_spatial
      {{of({1, 2, 2, 2}), of({2, 3, 3, 3})}, with(plain, "input_spatial", Ints{5, 4})},  // inconsistent
      {{of({1, 2, 2, 2}), of({3, 3, 3, 3})}, with(plain, "input_spatial", Ints{4, 4})},  // channels
      {{of({1, 2, 2, 2}), of({2, 3, 3, 3})}, with(plain, "input_spatial", Ints{-4, 4})},
  };
  weights.errors = {
      {{of({1, 3, 4, 4}), of({1, 2, 2, 2})}, with(plain, "kernel", Ints{2, 3})},
      {{of({2, 3, 4, 4}), of({1, 2, 2, 2})}, with(plain, "kernel", Ints{3, 3})},
      {{of({1, 3, 4, 4}), of({1, 2, 2, 2})}, plain},
  };
  cases.push_back(std::move(forward));
  cases.push_back(std::move(backward));
  cases.push_back(std::move(weights));
}

}  // namespace onnxray::testing
