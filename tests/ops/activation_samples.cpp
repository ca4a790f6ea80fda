#include "tests/ops/reference/mask_bits.h"
#include "tests/ops/reference/pointwise.h"
#include "tests/ops/sample.h"

namespace onnxray::testing {
namespace {

using Complex = std::complex<double>;
using F1 = double (*)(const Attrs&, double);
using F2 = double (*)(const Attrs&, double, double);

double alpha(const Attrs& a) { return a.real("alpha", 1); }

// Definitions, written for real and complex arguments; derivatives come from complex steps.
template <class T>
T sigmoid(T x) {
  return 1.0 / (1.0 + std::exp(-x));
}
template <class T>
T softplus(T x) {
  return std::log(1.0 + std::exp(x));
}
template <class T>
T swish(T x, double a) {
  return x * sigmoid(a * x);
}
template <class T>
T mish(T x) {
  return x * std::tanh(softplus(x));
}
template <class T>
T gelu_tanh(T x) {
  return 0.5 * x * (1.0 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
double gelu(double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2.0)); }
double gelu_derivative(double x) {
  return 0.5 * std::erfc(-x / std::sqrt(2.0)) + x * std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
}
double elu(const Attrs& a, double x) {
  return a.real("gamma", 1) * (x > 0 ? x : alpha(a) * (std::exp(a.real("beta", 1) * x) - 1));
}
double elu_derivative(const Attrs& a, double x) {
  const double beta = a.real("beta", 1);
  return a.real("gamma", 1) * (x > 0 ? 1 : alpha(a) * beta * std::exp(beta * x));
}
double clip(double x, double lo, double hi) { return std::min(std::max(x, lo), hi); }
double lower(const Attrs& a) { return a.real("min", -INFINITY); }
double upper(const Attrs& a) { return a.real("max", INFINITY); }

struct Adder {
  std::vector<OpCase>& cases;

  void unary(const char* op, F1 f, const std::vector<Attrs>& attrs, bool kinks, double lo = -4, double hi = 4) const {
    OpCase c{.op = op, .reference = pointwise(f), .has_kinks = kinks};
    for (const Attrs& a : attrs) append(c.samples, unary_samples(lo, hi, a));
    c.errors = {{{bools({3})}, attrs[0]}, {{}, attrs[0]}, {{floats({3}), floats({3})}, attrs[0]}};
    cases.push_back(c);
  }

  // f(dy, x): values of x in [lo, hi).
  void grad(const char* op, F2 f, const std::vector<Attrs>& attrs, bool kinks, double lo = -4, double hi = 4) const {
    OpCase c{.op = op, .reference = pointwise(f), .has_kinks = kinks};
    for (const Attrs& a : attrs) append(c.samples, binary_samples(-1, 1, lo, hi, a));
    c.errors = {{{floats({3}), floats({2})}, attrs[0]},
                {{floats({3})}, attrs[0]},
                {{ints({3}), ints({3})}, attrs[0]},
                {{floats({3}), ints({3})}, attrs[0]}};
    cases.push_back(c);
  }
  OpCase& last() const { return cases.back(); }
};

void add_piecewise(const Adder& add) {
  add.unary(
      "relu", [](const Attrs&, double x) { return x > 0 ? x : 0; }, {{}}, true);
  add.last().samples.push_back({{ints({3, 7})}, {}});
  add.last().samples.push_back({{ints({33}, -9, 10, DType::i32)}, {}});
  const Attrs gives{{"mask_output", std::int64_t{1}}};
  for (const Dims& d : {Dims{32}, Dims{2, 3, 64}, Dims{5, 96}, Dims{0, 32}, Dims{3, 0}, Dims{300, 32}}) {
    add.last().samples.push_back({{floats(d)}, gives});
  }
  add.last().errors.push_back({{floats({3, 33})}, gives});
  add.last().errors.push_back({{floats({})}, gives});
  add.last().errors.push_back({{ints({32})}, gives});
  add.last().reference = [plain = add.last().reference](const std::vector<Array>& in, const Attrs& attrs) {
    return with_mask(plain(in, attrs)[0], attrs);
  };
  add.grad(
      "relu_grad", [](const Attrs&, double dy, double y) { return y > 0 ? dy : 0; }, {{}}, true);
  add.last().samples.push_back({{floats({3}), given({3}, {0, 1, 0})}, {}});
  for (const Dims& d : {Dims{64}, Dims{2, 3, 64}, Dims{5, 96}, Dims{0, 64}, Dims{300, 64}}) {
    add.last().samples.push_back({{floats(d), mask_for(d)}, {}});
  }
  add.last().errors.push_back({{floats({3, 33}), mask_for({3, 32})}, {}});
  add.last().errors.push_back({{floats({3, 64}), mask_for({64})}, {}});
  add.last().errors.push_back({{ints({64}), mask_for({64})}, {}});
  add.last().reference = [plain = add.last().reference](const std::vector<Array>& in, const Attrs& attrs) {
    const Array &dy = in[0], &y = in[1];
    if (y.dims.empty() || dy.dims.empty() || y.dims.back() == 1 || y.dims.back() * 32 != dy.dims.back()) {
      return plain(in, attrs);
    }
    Array dx = dy;
    for (std::size_t i = 0; i < dx.v.size(); ++i) dx.v[i] = bit_of(y, i) ? dx.v[i] : 0;
    return std::vector<Array>{dx};
  };

  const std::vector<Attrs> leaks = {{{"alpha", 0.01}}, {{"alpha", 0.3}}};
  add.unary(
      "leaky_relu", [](const Attrs& a, double x) { return x > 0 ? x : alpha(a) * x; }, leaks, true);
  add.grad(
      "leaky_relu_grad", [](const Attrs& a, double dy, double x) { return x > 0 ? dy : alpha(a) * dy; }, leaks, true);
  add.grad(
      "prelu", [](const Attrs&, double x, double s) { return x > 0 ? x : s * x; }, {{}}, true);

  const std::vector<Attrs> bounds = {
      {{"min", 0.}, {"max", 6.}}, {{"min", -1.}, {"max", INFINITY}}, {{"max", 0.5}}, {{"min", 1.}, {"max", -1.}}};
  add.unary(
      "clip", [](const Attrs& a, double x) { return clip(x, lower(a), upper(a)); }, bounds, true, -8, 8);
  add.grad(
      "clip_grad", [](const Attrs& a, double dy, double x) { return x >= lower(a) && x <= upper(a) ? dy : 0; }, bounds,
      true, -8, 8);
  add.last().samples.push_back({{floats({2}), given({2}, {0, 6})}, bounds[0]});

  const std::vector<Attrs> lines = {{{"alpha", 0.2}, {"beta", 0.5}}, {{"alpha", 0.7}, {"beta", -0.1}}};
  add.unary(
      "hard_sigmoid", [](const Attrs& a, double x) { return clip(alpha(a) * x + a.real("beta", 0), 0, 1); }, lines,
      true);
  add.grad(
      "hard_sigmoid_grad",
      [](const Attrs& a, double dy, double x) {
        const double t = alpha(a) * x + a.real("beta", 0);
        return t > 0 && t < 1 ? alpha(a) * dy : 0;
      },
      lines, true);
  add.unary(
      "hard_swish", [](const Attrs&, double x) { return x * clip(x + 3, 0, 6) / 6; }, {{}}, true, -6, 6);
  add.grad(
      "hard_swish_grad",
      [](const Attrs&, double dy, double x) { return x <= -3 ? 0 : (x >= 3 ? dy : dy * (2 * x + 3) / 6); }, {{}}, true,
      -6, 6);
  add.unary(
      "thresholded_relu", [](const Attrs& a, double x) { return x > alpha(a) ? x : 0; },
      {{{"alpha", 1.}}, {{"alpha", -0.5}}}, true);
  add.unary(
      "shrink",
      [](const Attrs& a, double x) {
        const double l = a.real("lambd", 0.5), b = a.real("bias", 0);
        return x < -l ? x + b : (x > l ? x - b : 0);
      },
      {{{"bias", 0.}, {"lambd", 0.5}}, {{"bias", 1.5}, {"lambd", 1.}}}, true);
}

void add_smooth(const Adder& add) {
  add.unary(
      "sigmoid", [](const Attrs&, double x) { return sigmoid(x); }, {{}}, false, -8, 8);
  add.last().samples.push_back({{given({7}, {0, 50, -50, 100, -100, INFINITY, -INFINITY})}, {}});
  add.grad(
      "sigmoid_grad", [](const Attrs&, double dy, double y) { return dy * y * (1 - y); }, {{}}, false, 0, 1);
  add.unary(
      "tanh", [](const Attrs&, double x) { return std::tanh(x); }, {{}}, false);
  add.last().samples.push_back({{given({7}, {0, 1e-6, 20, -20, INFINITY, -INFINITY, NAN})}, {}});
  add.grad(
      "tanh_grad", [](const Attrs&, double dy, double y) { return dy * (1 - y * y); }, {{}}, false, -1, 1);
  add.unary(
      "softplus", [](const Attrs&, double x) { return std::max(x, 0.) + std::log1p(std::exp(-std::abs(x))); }, {{}},
      false);
  add.last().samples.push_back({{given({5}, {0, 60, -60, INFINITY, -INFINITY})}, {}});
  add.unary(
      "softsign", [](const Attrs&, double x) { return x / (1 + std::abs(x)); }, {{}}, true);

  // Elu, Selu, Celu.
  const std::vector<Attrs> elus = {{{"alpha", 1.}, {"beta", 1.}, {"gamma", 1.}},
                                   {{"alpha", 1.67326}, {"beta", 1.}, {"gamma", 1.0507}},
                                   {{"alpha", 2.}, {"beta", 0.5}, {"gamma", 1.}}};
  add.unary("elu", elu, elus, true);
  add.grad(
      "elu_grad", [](const Attrs& a, double dy, double x) { return dy * elu_derivative(a, x); }, elus, true);

  add.unary(
      "gelu", [](const Attrs&, double x) { return gelu(x); }, {{}}, false, -1.5, 4);  // the expansion cancels below
  add.grad(
      "gelu_grad", [](const Attrs&, double dy, double x) { return dy * gelu_derivative(x); }, {{}}, false);
  add.unary(
      "gelu_tanh", [](const Attrs&, double x) { return gelu_tanh(x); }, {{}}, false, -1.5, 3);
  add.grad(
      "gelu_tanh_grad",
      [](const Attrs&, double dy, double x) { return dy * complex_step([](Complex z) { return gelu_tanh(z); }, x); },
      {{}}, false);
  const std::vector<Attrs> alphas = {{{"alpha", 1.}}, {{"alpha", 1.702}}};
  add.unary(
      "swish", [](const Attrs& a, double x) { return swish(x, alpha(a)); }, alphas, false);
  add.grad(
      "swish_grad",
      [](const Attrs& a, double dy, double x) {
        return dy * complex_step([&](Complex z) { return swish(z, alpha(a)); }, x);
      },
      alphas, false);
  add.unary(
      "mish", [](const Attrs&, double x) { return mish(x); }, {{}}, false);
  add.last().samples.push_back({{given({4}, {0, 60, 200, -60})}, {}});
  add.grad(
      "mish_grad",
      [](const Attrs&, double dy, double x) { return dy * complex_step([](Complex z) { return mish(z); }, x); }, {{}},
      false);
}

}  // namespace

void add_activation_cases(std::vector<OpCase>& cases) {
  add_piecewise({cases});
  add_smooth({cases});
}

}  // namespace onnxray::testing
