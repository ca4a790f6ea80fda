#include <map>
#include <sstream>

#include "tests/ops/elementwise_samples.h"
#include "tests/ops/reference/mask_bits.h"
#include "tests/ops/reference/pointwise.h"

namespace onnxray::testing {
namespace {

// Runs a program on one element; written from the text of the attribute.
double interpret(const Attrs& attrs, std::vector<double> slots) {
  std::istringstream program(attrs.text("program"));
  std::string step;
  for (int k = 0; std::getline(program >> std::ws, step, ';'); ++k) {
    std::istringstream words(step);
    std::string op;
    words >> op;
    std::vector<double> a;
    for (std::size_t i = 0; words >> i;) a.push_back(slots.at(i));
    const auto attr = [&](const char* name) { return attrs.real(std::to_string(k) + "." + name, 1); };
    const std::map<std::string, std::function<double()>> table = {
        {"add", [&] { return a[0] + a[1]; }},
        {"sub", [&] { return a[0] - a[1]; }},
        {"mul", [&] { return a[0] * a[1]; }},
        {"div", [&] { return a[0] / a[1]; }},
        {"pow", [&] { return std::pow(a[0], a[1]); }},
        {"square", [&] { return a[0] * a[0]; }},
        {"cube", [&] { return a[0] * a[0] * a[0]; }},
        {"relu", [&] { return std::max(a[0], 0.); }},
        {"relu_grad", [&] { return a[1] > 0 ? a[0] : 0.; }},
        {"sigmoid", [&] { return 1 / (1 + std::exp(-a[0])); }},
        {"tanh", [&] { return std::tanh(a[0]); }},
        {"exp", [&] { return std::exp(a[0]); }},
        {"leaky_relu", [&] { return a[0] > 0 ? a[0] : attr("alpha") * a[0]; }},
        {"clip", [&] { return std::min(std::max(a[0], attr("min")), attr("max")); }},
        {"max_grad", [&] { return a[1] > a[2] ? a[0] : (a[1] == a[2] ? a[0] / 2 : 0); }},
        {"greater", [&] { return a[0] > a[1] ? 1. : 0.; }},
        {"greater_equal", [&] { return a[0] >= a[1] ? 1. : 0.; }},
        {"less", [&] { return a[0] < a[1] ? 1. : 0.; }},
        {"less_equal", [&] { return a[0] <= a[1] ? 1. : 0.; }},
        {"equal", [&] { return a[0] == a[1] ? 1. : 0.; }},
        {"and", [&] { return a[0] != 0 && a[1] != 0 ? 1. : 0.; }},
        {"or", [&] { return a[0] != 0 || a[1] != 0 ? 1. : 0.; }},
        {"xor", [&] { return (a[0] != 0) != (a[1] != 0) ? 1. : 0.; }},
        {"not", [&] { return a[0] != 0 ? 0. : 1.; }},
        {"where", [&] { return a[0] != 0 ? a[1] : a[2]; }},
    };
    slots.push_back(table.at(op)());
  }
  return slots.back();
}

std::vector<Array> reference(const std::vector<Array>& in, const Attrs& attrs) {
  // A mask of bits has a 32nd of another input's last axis.
  const auto is_packed = [&](const Array& a) {
    return std::any_of(in.begin(), in.end(), [&](const Array& other) {
      return a.dims.size() > 1 && a.dims.size() == other.dims.size() && a.dims.back() * 32 == other.dims.back();
    });
  };
  std::vector<Array> whole;
  for (const Array& a : in) {
    if (!is_packed(a)) whole.push_back(a);
  }
  Array y{broadcast_dims(whole), {}};
  std::int64_t n = 1;
  for (const std::int64_t d : y.dims) n *= d;
  for (std::int64_t i = 0; i < n; ++i) {
    std::vector<double> slots;
    for (const Array& a : in) {
      if (is_packed(a)) slots.push_back(bit_of(a, static_cast<std::size_t>(i)) ? 1 : 0);
      else slots.push_back(broadcast_at(a, y.dims, i));
    }
    y.v.push_back(interpret(attrs, slots));
  }
  return with_mask(y, attrs);
}

Attrs program(const char* text) { return {{"program", std::string(text)}}; }

}  // namespace

void add_map_cases(std::vector<OpCase>& cases) {
  OpCase c{.op = "map", .reference = reference, .has_kinks = true, .reduction = 16};  // roundings of all steps
  // Every broadcasting path, as scale and shift with an activation.
  for (const auto& [x, y] : broadcast_pairs()) {
    c.samples.push_back({{floats(x), floats(y), floats({})}, program("mul 0 1; add 3 2; tanh 4; mul 5 4")});
  }
  // Scalars on either side, and of both operands.
  c.samples.push_back({{floats({33}), floats({})}, program("sub 1 0; div 2 1; add 1 1; mul 3 4")});
  c.samples.push_back({{floats({})}, program("add 0 0; mul 1 0")});
  Attrs with = program("leaky_relu 0; clip 1; sigmoid 2; mul 0 3");
  with.set("0.alpha", 0.3);
  with.set("1.min", -0.5);
  with.set("1.max", 1.25);
  c.samples.push_back({{floats({3, 70})}, with});
  // Masks: from inside, from a boolean input, combined.
  c.samples.push_back({{floats({3, 50}), floats({50})}, program("greater 0 1; where 2 0 1")});
  c.samples.push_back({{bools({3, 1}), floats({3, 50})}, program("exp 1; where 0 1 2")});
  c.samples.push_back({{bools({}), floats({2500}), floats({2500})},
                       program("less 1 2; or 3 0; not 4; greater_equal 1 2; and 5 6; less_equal 2 1; xor 7 8; where 9 "
                               "1 2; square 10")});
  c.samples.push_back(
      {{floats({5, 7}), floats({5, 7}), floats({7})}, program("max_grad 0 1 2; cube 3; equal 1 2; where 5 1 4")});
  c.samples.push_back({{floats({2, 3}, 0.5, 2), floats({3}, -1, 1)}, program("pow 0 1; add 2 0")});
  // Many results at once.
  c.samples.push_back({{floats({1030}), floats({1030})},
                       program("add 0 1; sub 0 1; mul 0 1; tanh 0; exp 1; add 2 3; add 7 4; add 8 5; add 9 6")});
  // Masks of bits: read, given, both.
  const auto giving = [](Attrs a) {
    a.set("mask_output", std::int64_t{1});
    return a;
  };
  c.samples.push_back({{floats({3, 64}), mask_for({3, 64}), floats({64})}, program("mul 0 2; relu_grad 3 1")});
  c.samples.push_back({{floats({5, 96}), floats({})}, giving(program("mul 0 1; relu 2"))});
  c.samples.push_back({{floats({40, 64}), floats({40, 64}), mask_for({40, 64}), mask_for({40, 64})},
                       giving(program("add 0 1; relu_grad 4 2; relu_grad 5 3; sub 6 1"))});
  c.errors = {{{floats({3})}, program("nothing 0; add 1 0")},
              {{floats({3})}, program("add 0 1")},
              {{floats({3})}, program("add 0")},
              {{floats({3})}, program("add 0 0 ")},
              {{floats({3})}, program("add 0 -1")},
              {{floats({3})}, program("")},
              {{floats({3})}, {}},
              {{floats({3}), ints({3})}, program("add 0 1")},
              {{bools({3}), bools({3})}, program("and 0 1")},
              {{floats({3}), bools({3})}, program("add 0 1; mul 2 2")},
              {{floats({3})}, program("greater 0 0")},
              {{floats({3})}, program("where 0 0 0")},
              {{floats({3}), floats({2})}, program("add 0 1; mul 2 2")},
              {{}, program("add 0 0")},
              {{floats({3, 33})}, giving(program("relu 0"))},
              {{floats({3, 64}), mask_for({3, 64})}, program("relu_grad 1 0")},
              {{floats({3, 64}), mask_for({3, 64})}, program("mul 0 1")},
              {{floats({3, 64}), mask_for({64})}, program("relu_grad 0 1")}};
  cases.push_back(c);
}

}  // namespace onnxray::testing
