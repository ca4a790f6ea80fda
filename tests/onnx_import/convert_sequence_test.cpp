// LSTM and GRU against textbook loops, where ONNX's node tests are silent: peepholes, coupled gates, lengths, both
// directions.
#include <cmath>

#include "engine/backend.h"
#include "kernels/cpu/cpu.h"
#include "onnx_import/specialise.h"
#include "tests/onnx_import/expect_error.h"
#include "tests/onnx_import/model_builder.h"

namespace onnxray::onnx_import {
namespace {

using testing::attr;
using testing::ModelBuilder;
using Doubles = std::vector<double>;

constexpr std::int64_t S = 4, N = 3, I = 2, H = 3;

Tensor waves(Dims dims, double phase) {
  Tensor t(DType::f64, std::move(dims));
  for (double& v : t.mutable_data<double>()) v = std::sin(phase += 1.3);
  return t;
}

double sigmoid(double v) { return 1 / (1 + std::exp(-v)); }

struct Net {
  std::int64_t gates, directions = 1;
  bool peepholes = false, coupled = false, linear_before_reset = false, state = true;
  std::string direction = "forward";
  std::vector<std::int64_t> lengths = {S, S, S};
  Tensor x = waves({S, N, I}, 0.1), w, r, b, h0, c0, p;

  Net(std::int64_t gates, std::string dir) : gates(gates), direction(std::move(dir)) {
    directions = direction == "bidirectional" ? 2 : 1;
    w = waves({directions, gates * H, I}, 0.2);
    r = waves({directions, gates * H, H}, 0.3);
    b = waves({directions, 2 * gates * H}, 0.4);
    h0 = waves({directions, N, H}, 0.5);
    c0 = waves({directions, N, H}, 0.6);
    p = waves({directions, 3 * H}, 0.7);
  }

  // Y [S, directions, N, H] and the last states [directions, N, H].
  void reference(Doubles& y, Doubles& last) const {
    const auto at = [](const Tensor& t, std::int64_t i) { return t.data<double>()[static_cast<std::size_t>(i)]; };
    y.assign(static_cast<std::size_t>(S * directions * N * H), 0);
    last.assign(static_cast<std::size_t>(directions * N * H), 0);
    for (std::int64_t d = 0; d < directions; ++d) {
      const bool reverse = d == 1 || direction == "reverse";
      for (std::int64_t n = 0; n < N; ++n) {
        Doubles h(H, 0), c(H, 0);
        for (std::int64_t k = 0; state && k < H; ++k) {
          h[static_cast<std::size_t>(k)] = at(h0, (d * N + n) * H + k);
          c[static_cast<std::size_t>(k)] = at(c0, (d * N + n) * H + k);
        }
        const std::int64_t length = lengths[static_cast<std::size_t>(n)];
        for (std::int64_t step = 0; step < length; ++step) {
          const std::int64_t t = reverse ? length - 1 - step : step;
          // Gate g of unit k: its share of the input, and of the state v.
          const auto from_x = [&](std::int64_t g, std::int64_t k) {
            double sum = at(b, d * 2 * gates * H + g * H + k);
            for (std::int64_t i = 0; i < I; ++i) {
              sum += at(x, (t * N + n) * I + i) * at(w, ((d * gates + g) * H + k) * I + i);
            }
            return sum;
          };
          const auto from_h = [&](std::int64_t g, std::int64_t k, const Doubles& v) {
            double sum = at(b, d * 2 * gates * H + (gates + g) * H + k);
            for (std::int64_t i = 0; i < H; ++i) {
              sum += v[static_cast<std::size_t>(i)] * at(r, ((d * gates + g) * H + k) * H + i);
            }
            return sum;
          };
          Doubles fresh(H);
          if (gates == 4) {
            const Doubles before = c;
            for (std::int64_t k = 0; k < H; ++k) {
              const auto u = static_cast<std::size_t>(k);
              const auto peep = [&](std::int64_t g) { return peepholes ? at(p, (d * 3 + g) * H + k) : 0; };
              const double in = sigmoid(from_x(0, k) + from_h(0, k, h) + peep(0) * before[u]);
              const double forget = coupled ? 1 - in : sigmoid(from_x(2, k) + from_h(2, k, h) + peep(2) * before[u]);
              c[u] = forget * before[u] + in * std::tanh(from_x(3, k) + from_h(3, k, h));
              fresh[u] = sigmoid(from_x(1, k) + from_h(1, k, h) + peep(1) * c[u]) * std::tanh(c[u]);
            }
          } else {
            Doubles reset(H), gated(H);
            for (std::int64_t k = 0; k < H; ++k) {
              const auto u = static_cast<std::size_t>(k);
              reset[u] = sigmoid(from_x(1, k) + from_h(1, k, h));
              gated[u] = reset[u] * h[u];
            }
            for (std::int64_t k = 0; k < H; ++k) {
              const auto u = static_cast<std::size_t>(k);
              const double z = sigmoid(from_x(0, k) + from_h(0, k, h));
              const double rest = linear_before_reset ? reset[u] * from_h(2, k, h) : from_h(2, k, gated);
              fresh[u] = (1 - z) * std::tanh(from_x(2, k) + rest) + z * h[u];
            }
          }
          h = fresh;
          for (std::int64_t k = 0; k < H; ++k) {
            y[static_cast<std::size_t>(((t * directions + d) * N + n) * H + k)] = h[static_cast<std::size_t>(k)];
          }
        }
        for (std::int64_t k = 0; k < H; ++k) {
          last[static_cast<std::size_t>((d * N + n) * H + k)] = h[static_cast<std::size_t>(k)];
        }
      }
    }
  }

  ModelBuilder model() const {
    ModelBuilder m(14);
    testing::Names in;
    const auto give = [&](const char* name, const Tensor& t) {
      in.emplace_back(t.defined() ? name : "");
      if (t.defined()) m.initializer(name, t);
    };
    give("x", x);
    give("w", w);
    give("r", r);
    give("b", b);
    const bool all = lengths == std::vector<std::int64_t>{S, S, S};
    give("lengths", all ? Tensor() : Tensor::ints(lengths).to(DType::i32));
    give("h0", state ? h0 : Tensor());
    if (gates == 4) {
      give("c0", state ? c0 : Tensor());
      give("p", peepholes ? p : Tensor());
    }
    auto& node = m.node(gates == 4 ? "LSTM" : "GRU", in, {"y", "last"});
    attr(node, "hidden_size", static_cast<int>(H));
    attr(node, "direction", direction.c_str());
    if (coupled) attr(node, "input_forget", 1);
    if (linear_before_reset) attr(node, "linear_before_reset", 1);
    m.output("y");
    m.output("last");
    return m;
  }

  void check() const {
    SCOPED_TRACE(detail::concat(gates == 4 ? "LSTM " : "GRU ", direction, " peepholes ", peepholes, " coupled ",
                                coupled, " linear_before_reset ", linear_before_reset, " state ", state, " lengths ",
                                to_string(lengths)));
    Doubles y, last;
    reference(y, last);
    const Specialised s = specialise(model().load(), {}, evaluator_of(cpu_backend()));
    const Tensor got_y = s.graph.value(s.graph.outputs()[0]).constant;
    const Tensor got_last = s.graph.value(s.graph.outputs()[1]).constant;
    ASSERT_TRUE(got_y.defined() && got_last.defined());
    EXPECT_EQ(got_y.dims(), (Dims{S, directions, N, H}));
    EXPECT_EQ(got_last.dims(), (Dims{directions, N, H}));
    const Doubles a = got_y.to_doubles(), c = got_last.to_doubles();
    for (std::size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(a[i], y[i], 1e-13);
    for (std::size_t i = 0; i < last.size(); ++i) EXPECT_NEAR(c[i], last[i], 1e-13);
  }
};

TEST(ConvertSequence, LstmAndGruAsInTheTextbook) {
  for (const std::int64_t gates : {4, 3}) {
    for (const char* direction : {"forward", "reverse", "bidirectional"}) {
      for (const bool state : {false, true}) {
        for (const bool ragged : {false, true}) {
          Net net(gates, direction);
          net.state = state;
          if (ragged) net.lengths = {2, S, 1};
          net.check();
          if (gates == 3) {
            net.linear_before_reset = true;
            net.check();
            continue;
          }
          net.peepholes = true;
          net.check();
          net.coupled = true;
          net.check();
        }
      }
    }
  }
}

TEST(ConvertSequence, RefusesWhatDoesNotFit) {
  const auto convert = [](const Net& n) { (void)specialise(n.model().load(), {}, evaluator_of(cpu_backend())); };
  const Net net(4, "sideways");
  testing::expect_error([&] { convert(net); }, "direction is 'sideways'");
  Net weights(4, "forward");
  weights.w = waves({1, 4 * H, I + 1}, 0);
  testing::expect_error([&] { convert(weights); }, "input 1 has shape");
  Net bias(3, "forward");
  bias.b = waves({1, 3 * H}, 0);
  testing::expect_error([&] { convert(bias); }, "input 3 has shape");
  Net states(3, "bidirectional");
  states.h0 = waves({1, N, H}, 0);
  testing::expect_error([&] { convert(states); }, "input 5 has shape");
}

}  // namespace
}  // namespace onnxray::onnx_import
