#include <cmath>

#include "tests/ops/reference/window.h"

namespace onnxray::testing {
namespace {

using Ints = std::vector<std::int64_t>;

// A position counts while its window starts inside the input or the leading padding and, without ceil_mode, ends
// inside the trailing padding.
Dims pool_out(const Dims& x, const Attrs& attrs) {
  const Slide s(attrs, attrs.ints("kernel"));
  const Image in(x, s.last);
  const bool ceil = attrs.integer("ceil_mode", 0) != 0;
  Dims d = x;
  for (std::size_t i = 0; i < s.rank; ++i) {
    const std::size_t a = i + 3 - s.rank;
    std::int64_t n = 0;
    while (true) {
      const std::int64_t start = n * s.stride[a] - s.begin[a], end = start + (s.kernel[a] - 1) * s.dilation[a];
      const bool whole = end < in.e[a] + s.end[a];
      // With ceil_mode one window may stick out, if the one before did not reach the end already.
      const bool partial = ceil && start < in.e[a] && (n == 0 || end - s.stride[a] < in.e[a] + s.end[a] - 1);
      if (!whole && !partial) break;
      ++n;
    }
    d[i + (s.last ? 1 : 2)] = n;
  }
  return d;
}

Array zeros(Dims dims) {
  const auto n = static_cast<std::size_t>(count_of(dims));
  return {std::move(dims), std::vector<double>(n, 0)};
}

std::vector<Array> max_pool(const std::vector<Array>& in, const Attrs& attrs) {
  const Slide s(attrs, attrs.ints("kernel"));
  Array y = zeros(pool_out(in[0].dims, attrs));
  // An int8 plane starts at -128; drawn floats stay above.
  y.v.assign(y.v.size(), -128);
  // With argmax_taps the tap of the window, 255 for none; else the position.
  const bool taps = attrs.integer("argmax_taps", 0) != 0;
  Array arg{y.dims, std::vector<double>(y.v.size(), -1)};
  const Image ix(in[0].dims, s.last), iy(y.dims, s.last);
  for (std::int64_t n = 0; n < iy.n; ++n)
    for (std::int64_t c = 0; c < iy.c; ++c)
      slide(s, iy, [&](const std::int64_t o[3], const std::int64_t* t, const std::int64_t p[3]) {
        if (!ix.inside(p)) return;
        const double v = in[0].v[ix.at(n, c, p[0], p[1], p[2])];
        const std::size_t at = iy.at(n, c, o[0], o[1], o[2]);
        if (arg.v[at] >= 0 && !(v > y.v[at])) return;
        y.v[at] = v;
        arg.v[at] = static_cast<double>(taps ? (t[0] * s.kernel[1] + t[1]) * s.kernel[2] + t[2]
                                             : (p[0] * ix.e[1] + p[1]) * ix.e[2] + p[2]);
      });
  for (double& a : arg.v) a = taps && a < 0 ? 255 : a;
  return {y, arg};
}

// Divisor of every output position, for one plane.
template <class F>
void for_means(const Attrs& attrs, const Dims& x_dims, const Dims& y_dims, const F& body) {
  const Slide s(attrs, attrs.ints("kernel"));
  const Image x(x_dims, s.last), y(y_dims, s.last);
  const bool with_pad = attrs.integer("count_include_pad", 0) != 0;
  for (std::int64_t n = 0; n < y.n; ++n)
    for (std::int64_t c = 0; c < y.c; ++c) {
      std::vector<double> count(y_dims.empty() ? 0 : static_cast<std::size_t>(count_of(y_dims)), 0);
      const auto padded = [&](const std::int64_t p[3]) {
        for (int d = 0; d < 3; ++d) {
          if (p[d] < -s.begin[d] || p[d] >= x.e[d] + s.end[d]) return false;
        }
        return true;
      };
      slide(s, y, [&](const std::int64_t o[3], const std::int64_t*, const std::int64_t p[3]) {
        if (with_pad ? padded(p) : x.inside(p)) count[y.at(n, c, o[0], o[1], o[2])] += 1;
      });
      slide(s, y, [&](const std::int64_t o[3], const std::int64_t*, const std::int64_t p[3]) {
        if (!x.inside(p)) return;
        const std::size_t at = y.at(n, c, o[0], o[1], o[2]);
        const std::int64_t divisor = attrs.integer("divisor", 0);
        body(at, x.at(n, c, p[0], p[1], p[2]), divisor > 0 ? static_cast<double>(divisor) : count[at]);
      });
    }
}

std::vector<Array> avg_pool(const std::vector<Array>& in, const Attrs& attrs) {
  Array y = zeros(pool_out(in[0].dims, attrs));
  for_means(attrs, in[0].dims, y.dims, [&](std::size_t iy, std::size_t ix, double n) { y.v[iy] += in[0].v[ix] / n; });
  return {y};
}

Dims unpooled(const Dims& dy, const Attrs& attrs) {
  Dims d = dy;
  const Ints space = attrs.ints("input_spatial");
  for (std::size_t i = 0; i < space.size(); ++i) d[i + (attrs.integer("channels_last", 0) != 0 ? 1 : 2)] = space[i];
  return d;
}

std::vector<Array> avg_pool_grad(const std::vector<Array>& in, const Attrs& attrs) {
  Array dx = zeros(unpooled(in[0].dims, attrs));
  for_means(attrs, dx.dims, in[0].dims, [&](std::size_t iy, std::size_t ix, double n) { dx.v[ix] += in[0].v[iy] / n; });
  return {dx};
}

// body(position in y, position in x) of every picked element. With a window, argmaxes are taps of it.
template <class F>
void for_picks(const Array& arg, const Dims& x_dims, const Attrs& attrs, const F& body) {
  const bool last = attrs.integer("channels_last", 0) != 0;
  const Image x(x_dims, last), y(arg.dims, last);
  if (attrs.has("kernel")) {
    const Slide s(attrs, attrs.ints("kernel"));
    for (std::int64_t n = 0; n < y.n; ++n)
      for (std::int64_t c = 0; c < y.c; ++c)
        slide(s, y, [&](const std::int64_t o[3], const std::int64_t t[3], const std::int64_t p[3]) {
          const std::size_t at = y.at(n, c, o[0], o[1], o[2]);
          const std::int64_t tap = (t[0] * s.kernel[1] + t[1]) * s.kernel[2] + t[2];
          if (x.inside(p) && arg.v[at] == static_cast<double>(tap)) body(at, x.at(n, c, p[0], p[1], p[2]));
        });
    return;
  }
  for (std::int64_t n = 0; n < y.n; ++n)
    for (std::int64_t c = 0; c < y.c; ++c)
      for (std::int64_t i = 0; i < y.e[0] * y.e[1] * y.e[2]; ++i) {
        const std::size_t at = y.at(n, c, 0, 0, i);
        if (arg.v[at] >= 0) body(at, x.at(n, c, 0, 0, static_cast<std::int64_t>(arg.v[at])));
      }
}

std::vector<Array> max_pool_grad(const std::vector<Array>& in, const Attrs& attrs) {
  Array dx = zeros(unpooled(in[0].dims, attrs));
  for_picks(in[1], dx.dims, attrs, [&](std::size_t iy, std::size_t ix) { dx.v[ix] += in[0].v[iy]; });
  return {dx};
}

std::vector<Array> max_pool_pick(const std::vector<Array>& in, const Attrs& attrs) {
  Array y = zeros(in[1].dims);
  for_picks(in[1], in[0].dims, attrs, [&](std::size_t iy, std::size_t ix) { y.v[iy] = in[0].v[ix]; });
  return {y};
}

Attrs window(Ints kernel, Ints strides, Ints pads, Ints dilations, Attrs more = {}) {
  more.set("kernel", std::move(kernel));
  more.set("strides", std::move(strides));
  more.set("pads", std::move(pads));
  more.set("dilations", std::move(dilations));
  return more;
}

Attrs with(Attrs a, const std::string& name, Attr value) {
  a.set(name, std::move(value));
  return a;
}

SampleInput of(Dims d) { return {.dims = std::move(d)}; }

struct Shape {
  Dims x;
  Attrs attrs;
};

std::vector<Shape> shapes() {
  const Attrs last{{"channels_last", std::int64_t{1}}}, ceil{{"ceil_mode", std::int64_t{1}}};
  return {
      {{2, 3, 7, 5}, window({3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1})},
      {{1, 1, 1, 1}, window({1, 1}, {1, 1}, {0, 0, 0, 0}, {1, 1})},
      {{3, 2, 7, 6}, window({2, 3}, {2, 1}, {0, 1, 1, 2}, {1, 1}, ceil)},
      {{2, 2, 8, 9}, window({2, 2}, {3, 3}, {1, 1, 1, 1}, {1, 1}, ceil)},
      {{2, 3, 9}, window({3}, {2}, {2, 0}, {2})},
      {{1, 2, 4, 5, 3}, window({2, 3, 2}, {2, 1, 1}, {0, 1, 0, 1, 1, 1}, {1, 1, 1})},
      {{1, 2, 1, 4}, window({2, 2}, {1, 1}, {2, 0, 2, 0}, {3, 1})},
      {{0, 3, 4, 4}, window({2, 2}, {2, 2}, {0, 0, 0, 0}, {1, 1})},
      {{2, 7, 5, 3}, window({3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}, last)},
      {{2, 8, 8, 17}, window({2, 2}, {2, 2}, {0, 0, 0, 0}, {1, 1}, last)},
      {{2, 5, 6, 8}, window({3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}, last)},
      {{2, 5, 7, 4}, window({3, 2}, {1, 2}, {1, 0, 1, 1}, {1, 2}, last)},
      {{2, 7, 6, 2}, window({2, 3}, {2, 1}, {0, 1, 1, 2}, {1, 1}, with(last, "ceil_mode", std::int64_t{1}))},
  };
}

Ints space_of(const Dims& d, const Attrs& a) {
  const bool last = a.integer("channels_last", 0) != 0;
  return {d.begin() + (last ? 1 : 2), d.end() - (last ? 1 : 0)};
}

}  // namespace

void add_pool_cases(std::vector<OpCase>& cases) {
  OpCase max{.op = "max_pool", .reference = max_pool, .has_kinks = true};
  OpCase grad{.op = "max_pool_grad", .reference = max_pool_grad, .reduction = 9};
  OpCase pick{.op = "max_pool_pick", .reference = max_pool_pick};
  OpCase avg{.op = "avg_pool", .reference = avg_pool, .reduction = 12};
  OpCase avg_grad{.op = "avg_pool_grad", .reference = avg_pool_grad, .reduction = 12};
  for (const Shape& s : shapes()) {
    const Dims y = pool_out(s.x, s.attrs);
    const Ints space = space_of(s.x, s.attrs);
    // A window over padding alone has the maximum -inf, where differences say nothing: tried with integers only.
    const bool padding_only = s.attrs.ints("dilations")[0] == 3;
    max.samples.push_back(
        {{padding_only ? SampleInput{.dtype = DType::i8, .dims = s.x, .lo = -9, .hi = 9} : of(s.x)}, s.attrs});
    Attrs bare{{"input_spatial", space}};
    if (s.attrs.has("channels_last")) bare.set("channels_last", std::int64_t{1});
    const SampleInput index{
        .dtype = DType::i64, .dims = y, .lo = -1, .hi = static_cast<double>(product(space, 0, space.size()))};
    grad.samples.push_back({{of(y), index}, bare});
    bare.erase("input_spatial");
    pick.samples.push_back({{of(s.x), index}, bare});
    const Ints kernel = s.attrs.ints("kernel");
    const SampleInput tap{
        .dtype = DType::u8, .dims = y, .lo = 0, .hi = static_cast<double>(product(kernel, 0, kernel.size()))};
    if (!padding_only) max.samples.push_back({{of(s.x)}, with(s.attrs, "argmax_taps", std::int64_t{1})});
    grad.samples.push_back({{of(y), tap}, with(s.attrs, "input_spatial", space)});
    pick.samples.push_back({{of(s.x), tap}, s.attrs});
    for (const Attrs& a :
         {s.attrs, with(s.attrs, "count_include_pad", std::int64_t{1}), with(s.attrs, "divisor", std::int64_t{5})}) {
      avg.samples.push_back({{of(s.x)}, a});
      avg_grad.samples.push_back({{of(y)}, with(a, "input_spatial", space)});
    }
  }
  max.samples.push_back(
      {{{.dtype = DType::u8, .dims = {1, 2, 4, 5}, .lo = 0, .hi = 200}}, window({2, 2}, {1, 1}, {1, 0, 0, 0}, {1, 1})});
  max.samples.push_back({{{.dtype = DType::i8, .dims = {1, 2, 4, 5}, .lo = -100, .hi = 100}},
                         window({2, 2}, {1, 1}, {0, 0, 1, 0}, {1, 1})});
  const Attrs pair = window({2}, {2}, {0, 0}, {1});
  const SampleInput none{
      .dtype = DType::u8, .dims = {1, 1, 3}, .fixed = Tensor::from<double>({1, 1, 3}, {1, 255, 0}).to(DType::u8)};
  grad.samples.push_back({{of({1, 1, 3}), none}, with(pair, "input_spatial", Ints{6})});
  pick.samples.push_back({{of({1, 1, 6}), none}, pair});
  max.errors = avg.errors = {
      {{of({1, 1, 4, 4})}, window({5, 2}, {1, 1}, {0, 0, 0, 0}, {1, 1})},  // does not fit
      {{of({1, 1, 4, 4})}, window({2, 2}, {1, 1}, {2, 0, 0, 0}, {1, 1})},  // padding only
      {{of({1, 1, 4, 4})}, window({2, 2}, {1, 1}, {-1, 0, 0, 0}, {1, 1})},
      {{of({1, 1, 4, 4})}, window({2}, {1}, {0, 0}, {1})},  // rank
      {{of({1, 1, 4, 4})}, window({2, 2}, {0, 1}, {0, 0, 0, 0}, {1, 1})},
      {{of({1, 1, 4, 4})}, {}},
      {{of({4, 4})}, window({2, 2}, {1, 1}, {0, 0, 0, 0}, {1, 1})},
  };
  const Attrs many = window({16, 16}, {1, 1}, {0, 0, 0, 0}, {1, 1});
  max.errors.push_back({{of({1, 1, 16, 16})}, with(many, "argmax_taps", std::int64_t{1})});
  const SampleInput tap{.dtype = DType::u8, .dims = {1, 1, 3}, .lo = 0, .hi = 2};
  const SampleInput index{.dtype = DType::i64, .dims = {1, 1, 2, 2}, .lo = 0, .hi = 4};
  grad.errors = {{{of({1, 1, 2, 2}), index}, {}},
                 {{of({1, 1, 2, 3}), index}, {{"input_spatial", Ints{4, 4}}}},
                 {{of({1, 1, 2, 2}), of({1, 1, 2, 2})}, {{"input_spatial", Ints{4, 4}}}},
                 {{of({1, 1, 3}), tap}, {{"input_spatial", Ints{6}}}},
                 {{of({1, 1, 3}), tap}, with(pair, "input_spatial", Ints{8})}};
  pick.errors = {{{of({1, 2, 4, 4}), index}, {}},
                 {{of({1, 1, 4, 4}), of({1, 1, 2, 2})}, {}},
                 {{of({1, 1, 6}), tap}, {}},
                 {{of({1, 1, 8}), tap}, pair}};
  avg_grad.errors = {
      {{of({1, 1, 2, 2})}, window({2, 2}, {1, 1}, {0, 0, 0, 0}, {1, 1})},
      {{of({1, 1, 2, 2})}, with(window({2, 2}, {1, 1}, {0, 0, 0, 0}, {1, 1}), "input_spatial", Ints{4, 3})}};
  for (OpCase* c : {&max, &grad, &pick, &avg, &avg_grad}) cases.push_back(std::move(*c));
}

}  // namespace onnxray::testing
