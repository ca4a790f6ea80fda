// LSTM, GRU and RNN, unrolled in time with ordinary nodes. The projection of the inputs is one matmul for all steps;
// everything stays three-dimensional ([1, N, ...] per step), so that the batch axis is axis 1 throughout.
#include <algorithm>

#include "onnx_import/convert_sequence.h"

namespace onnxray::onnx_import {
namespace {

struct Activation {
  std::string name;  // in lower case
  double alpha = 0, beta = 0;
};

struct ActivationDefault {
  const char* name;
  int parameters;  // how many of alpha, beta it reads
  double alpha, beta;
};
constexpr ActivationDefault kActivations[] = {
    {"sigmoid", 0, 0, 0},
    {"tanh", 0, 0, 0},
    {"relu", 0, 0, 0},
    {"softsign", 0, 0, 0},
    {"softplus", 0, 0, 0},
    {"affine", 2, 1, 0},
    {"leakyrelu", 1, 0.01, 0},
    {"elu", 1, 1, 0},
    {"thresholdedrelu", 1, 1, 0},
    {"scaledtanh", 2, 1, 1},
    {"hardsigmoid", 2, 0.2, 0.5},
};

// One per gate function and direction. activation_alpha and activation_beta are consumed in order by the functions that
// read them.
std::vector<Activation> read_activations(ConvertCtx& c, std::vector<std::string> defaults, std::size_t directions) {
  const std::size_t per_direction = defaults.size();
  std::vector<std::string> names = c.attr_strings("activations", defaults);
  if (names.size() == per_direction && directions == 2) {
    for (std::size_t i = 0; i < per_direction; ++i) names.push_back(std::string(names[i]));
  }
  // RNN's own default lists the functions of two directions.
  if (names.size() > per_direction * directions) names.resize(per_direction * directions);
  ONNXRAY_CHECK(names.size() == per_direction * directions, "got ", names.size(), " activations, expected ",
                per_direction * directions);
  const std::vector<double> alphas = c.attr_floats("activation_alpha"), betas = c.attr_floats("activation_beta");
  std::size_t next_alpha = 0, next_beta = 0;
  std::vector<Activation> out;
  for (std::string name : names) {
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char ch) { return ch >= 'A' && ch <= 'Z' ? static_cast<char>(ch + 32) : ch; });
    const auto* known = std::find_if(std::begin(kActivations), std::end(kActivations),
                                     [&](const ActivationDefault& a) { return name == a.name; });
    if (known == std::end(kActivations)) fail_unsupported("unknown activation '", name, "'");
    Activation a{name, known->alpha, known->beta};
    if (known->parameters > 0 && next_alpha < alphas.size()) a.alpha = alphas[next_alpha++];
    if (known->parameters > 1 && next_beta < betas.size()) a.beta = betas[next_beta++];
    out.push_back(std::move(a));
  }
  return out;
}

ValueId activate(Builder& b, const Activation& a, ValueId v) {
  if (a.name == "affine") return b.add(b.mul(v, a.alpha), a.beta);
  if (a.name == "scaledtanh") return b.mul(b.op("tanh", {b.mul(v, a.beta)}), a.alpha);
  if (a.name == "leakyrelu") return b.op("leaky_relu", {v}, {{"alpha", a.alpha}});
  if (a.name == "elu") return b.op("elu", {v}, {{"alpha", a.alpha}});
  if (a.name == "thresholdedrelu") return b.op("thresholded_relu", {v}, {{"alpha", a.alpha}});
  if (a.name == "hardsigmoid") return b.op("hard_sigmoid", {v}, {{"alpha", a.alpha}, {"beta", a.beta}});
  return b.op(a.name, {v});
}

// The weights and states of one direction.
struct Direction {
  ValueId w = kNoValue, r = kNoValue;    // [G H, I], [G H, H]
  ValueId wb = kNoValue, rb = kNoValue;  // [G H] or absent
  ValueId peepholes = kNoValue;          // [3 H] or absent
  ValueId h = kNoValue, c = kNoValue;    // [1, N, H]; absent where they are zero
  bool reverse = false;
  std::span<const Activation> f;
};

class Recurrent {
 public:
  Recurrent(ConvertCtx& ctx, std::int64_t gates, std::vector<std::string> activations) : b_(ctx.b), ctx_(ctx) {
    const std::string direction = ctx.attr_string("direction", "forward");
    ONNXRAY_CHECK(direction == "forward" || direction == "reverse" || direction == "bidirectional", "direction is '",
                  direction, "', expected forward, reverse or bidirectional");
    const std::size_t count = direction == "bidirectional" ? 2 : 1, functions = activations.size();
    activations_ = read_activations(ctx, std::move(activations), count);
    batch_first_ = ctx.attr_int("layout", 0) != 0;
    clip_ = ctx.attr_float("clip", 0);
    ONNXRAY_CHECK(ctx.rank(0) == 3, "X has shape ", to_string(ctx.dims(0)), ", expected three axes");
    x_ = batch_first_ ? b_.transpose(ctx.in(0), {1, 0, 2}) : ctx.in(0);
    const Dims x = b_.dims(x_);
    steps_ = x[0], batch_ = x[1];
    ONNXRAY_CHECK(steps_ > 0, "the sequence has no steps");
    ONNXRAY_CHECK(ctx.rank(2) == 3, "R has shape ", to_string(ctx.dims(2)), ", expected three axes");
    hidden_ = ctx.dims(2)[2];
    const auto d = static_cast<std::int64_t>(count);
    ONNXRAY_CHECK(hidden_ > 0 && hidden_ <= (std::int64_t{1} << 40), "hidden size ", hidden_);
    expect(1, {d, gates * hidden_, x[2]});
    expect(2, {d, gates * hidden_, hidden_});
    expect(3, {d, 2 * gates * hidden_});
    if (ctx.has(4)) set_lengths();
    for (std::int64_t i = 0; i < d; ++i) {
      Direction dir;
      dir.w = part(ctx.in(1), i), dir.r = part(ctx.in(2), i);
      if (ctx.has(3)) {
        const ValueId bias = part(ctx.in(3), i);
        dir.wb = b_.slice(bias, 0, 0, gates * hidden_);
        dir.rb = b_.slice(bias, 0, gates * hidden_, 2 * gates * hidden_);
      }
      dir.h = state(5, i);
      dir.reverse = i == 1 || direction == "reverse";
      dir.f = std::span(activations_).subspan(static_cast<std::size_t>(i) * functions, functions);
      directions.push_back(dir);
    }
  }

  // Input i, one state per direction, as [1, N, H].
  ValueId state(std::size_t i, std::int64_t direction) {
    if (!ctx_.has(i)) return kNoValue;
    ONNXRAY_CHECK(ctx_.rank(i) == 3, "input ", i, " has shape ", to_string(ctx_.dims(i)), ", expected three axes");
    const ValueId v = batch_first_ ? b_.transpose(ctx_.in(i), {1, 0, 2}) : ctx_.in(i);
    const Dims d = b_.dims(v);
    ONNXRAY_CHECK(direction < d[0] && d[1] == batch_ && d[2] == hidden_, "input ", i, " has shape ",
                  to_string(ctx_.dims(i)), ", which does not fit ", batch_, " sequences of hidden size ", hidden_);
    return b_.slice(v, 0, direction, direction + 1);
  }

  // Row `i` of axis 0, without the axis.
  ValueId part(ValueId v, std::int64_t i) {
    const Dims d = b_.dims(v);
    return b_.reshape(b_.slice(v, 0, i, i + 1), Dims(d.begin() + 1, d.end()));
  }

  // Throws unless input i, where present, has these dims.
  void expect(std::size_t i, const Dims& dims) {
    ONNXRAY_CHECK(!ctx_.has(i) || ctx_.dims(i) == dims, "input ", i, " has shape ", to_string(ctx_.dims(i)),
                  ", expected ", to_string(dims));
  }

  // x W^T + bias for all steps, one value [1, N, G H] per step.
  std::vector<ValueId> project(const Direction& d, ValueId bias) {
    const ValueId all = linear(x_, d.w, bias);
    if (steps_ == 1) return {all};
    return b_.ops(
        "split", {all},
        {{"axis", std::int64_t{0}}, {"sizes", std::vector<std::int64_t>(static_cast<std::size_t>(steps_), 1)}});
  }

  // v W^T + bias on the last axis.
  ValueId linear(ValueId v, ValueId w, ValueId bias) {
    const ValueId y = b_.matmul(v, w, false, true);
    return bias == kNoValue ? y : b_.add(y, bias);
  }

  std::vector<ValueId> split(ValueId v, std::vector<std::int64_t> gates) {
    for (std::int64_t& g : gates) g *= hidden_;
    const auto axis = static_cast<std::int64_t>(b_.rank(v)) - 1;
    return b_.ops("split", {v}, {{"axis", axis}, {"sizes", std::move(gates)}});
  }

  ValueId add(ValueId a, ValueId b) { return a == kNoValue ? b : b == kNoValue ? a : b_.add(a, b); }
  ValueId apply(const Activation& f, ValueId v) {
    if (clip_ > 0) v = b_.op("clip", {v}, {{"min", -clip_}, {"max", clip_}});
    return activate(b_, f, v);
  }

  // Runs step(t) for every step of a direction in its order; step returns the new state, and `states` are held where a
  // sequence has ended. Returns the outputs, [S, 1, N, H].
  template <class Step>
  ValueId run(Direction& d, Step step) {
    std::vector<ValueId> outputs(static_cast<std::size_t>(steps_));
    for (std::int64_t k = 0; k < steps_; ++k) {
      const std::int64_t t = d.reverse ? steps_ - 1 - k : k;
      const ValueId h = d.h, c = d.c;
      step(static_cast<std::size_t>(t));
      ValueId y = d.h;
      if (lengths_ != kNoValue) {
        const ValueId alive = b_.op("less", {b_.constant(Tensor::scalar<std::int64_t>(t)), lengths_});  // [1, N, 1]
        const ValueId zero = b_.scalar_like(x_, 0);
        y = b_.where(alive, d.h, zero);
        d.h = h == kNoValue ? y : b_.where(alive, d.h, h);
        if (d.c != kNoValue) d.c = b_.where(alive, d.c, c == kNoValue ? zero : c);
      }
      outputs[static_cast<std::size_t>(t)] = y;
    }
    const ValueId all = steps_ == 1 ? outputs[0] : b_.op("concat", outputs, {{"axis", std::int64_t{0}}});
    // `keeps`: the batch stays the batch where extents of 1 leave a choice.
    return b_.op("reshape", {all},
                 {{"shape", Dims{steps_, 1, batch_, hidden_}}, {"keeps", std::vector<std::int64_t>{0, -1, 1, 2}}});
  }

  // Joins the directions and sets output 0 and the last states.
  void finish(const std::vector<ValueId>& ys) {
    const auto join = [&](const std::vector<ValueId>& v, std::int64_t axis) {
      return v.size() == 1 ? v[0] : b_.op("concat", v, {{"axis", axis}});
    };
    std::vector<ValueId> hs, cs;
    for (const Direction& d : directions) {
      hs.push_back(d.h);
      cs.push_back(d.c);
    }
    const ValueId y = join(ys, 1), h = join(hs, 0);
    ctx_.out(0, batch_first_ ? b_.transpose(y, {2, 0, 1, 3}) : y);
    ctx_.out(1, batch_first_ ? b_.transpose(h, {1, 0, 2}) : h);
    if (cs[0] == kNoValue) return;
    const ValueId c = join(cs, 0);
    ctx_.out(2, batch_first_ ? b_.transpose(c, {1, 0, 2}) : c);
  }

  std::vector<Direction> directions;

 private:
  // sequence_lens as [1, N, 1], unless all sequences have all steps.
  void set_lengths() {
    expect(4, {batch_});
    const Tensor known = ctx_.known(4);
    if (known.defined()) {
      const std::vector<std::int64_t> lengths = known.to_ints();
      if (std::all_of(lengths.begin(), lengths.end(), [&](std::int64_t n) { return n >= steps_; })) return;
    }
    lengths_ = b_.op("reshape", {b_.cast(ctx_.in(4), DType::i64)},
                     {{"shape", Dims{1, batch_, 1}}, {"keeps", std::vector<std::int64_t>{-1, 0, -1}}});
  }

  Builder& b_;
  ConvertCtx& ctx_;
  std::int64_t steps_ = 0, batch_ = 0, hidden_ = 0;
  bool batch_first_ = false;
  double clip_ = 0;
  ValueId x_ = kNoValue, lengths_ = kNoValue;
  std::vector<Activation> activations_;
};

}  // namespace

// Gates i, o, f, c. C = f C' + i g(c), H = o h(C).
void lstm(ConvertCtx& ctx) {
  Builder& b = ctx.b;
  Recurrent net(ctx, 4, {"Sigmoid", "Tanh", "Tanh"});
  const bool coupled = ctx.attr_int("input_forget", 0) != 0;
  std::vector<ValueId> ys;
  for (std::size_t i = 0; i < net.directions.size(); ++i) {
    Direction& d = net.directions[i];
    const Activation &f = d.f[0], &g = d.f[1], &h = d.f[2];
    d.c = net.state(6, static_cast<std::int64_t>(i));
    std::vector<ValueId> peepholes;
    if (ctx.has(7)) peepholes = net.split(net.part(ctx.in(7), static_cast<std::int64_t>(i)), {1, 1, 1});
    const std::vector<ValueId> xs = net.project(d, net.add(d.wb, d.rb));
    ys.push_back(net.run(d, [&](std::size_t t) {
      const ValueId gates = d.h == kNoValue ? xs[t] : b.add(xs[t], net.linear(d.h, d.r, kNoValue));
      ValueId in, out, forget, cell;
      if (peepholes.empty() && !coupled) {
        const std::vector<ValueId> v = net.split(gates, {3, 1});
        const std::vector<ValueId> s = net.split(net.apply(f, v[0]), {1, 1, 1});
        in = s[0], out = s[1], forget = s[2], cell = net.apply(g, v[1]);
      } else {
        std::vector<ValueId> v = net.split(gates, {1, 1, 1, 1});
        if (!peepholes.empty() && d.c != kNoValue) {
          v[0] = b.add(v[0], b.mul(d.c, peepholes[0]));
          v[2] = b.add(v[2], b.mul(d.c, peepholes[2]));
        }
        in = net.apply(f, v[0]), cell = net.apply(g, v[3]), out = v[1];
        forget = coupled ? b.add(b.neg(in), 1.0) : net.apply(f, v[2]);
      }
      const ValueId fresh = b.mul(in, cell);
      d.c = d.c == kNoValue ? fresh : b.add(b.mul(forget, d.c), fresh);
      if (!peepholes.empty() || coupled) {
        out = net.apply(f, peepholes.empty() ? out : b.add(out, b.mul(d.c, peepholes[1])));
      }
      d.h = b.mul(out, activate(b, h, d.c));  // clip bounds the gates only, as in onnxruntime
    }));
  }
  net.finish(ys);
}

// Gates z, r, h. H = h + z (H' - h).
void gru(ConvertCtx& ctx) {
  Builder& b = ctx.b;
  Recurrent net(ctx, 3, {"Sigmoid", "Tanh"});
  const bool linear_before_reset = ctx.attr_int("linear_before_reset", 0) != 0;
  std::vector<ValueId> ys;
  for (Direction& d : net.directions) {
    const Activation &f = d.f[0], &g = d.f[1];
    // The recurrent bias of the hidden gate stays apart where the reset gate multiplies it.
    const std::vector<ValueId> xs = net.project(d, linear_before_reset ? d.wb : net.add(d.wb, d.rb));
    std::vector<ValueId> r;
    if (!linear_before_reset) {
      const std::int64_t h = b.dims(d.r)[1];
      r = {b.slice(d.r, 0, 0, 2 * h), b.slice(d.r, 0, 2 * h, 3 * h)};
    }
    ys.push_back(net.run(d, [&](std::size_t t) {
      const std::vector<ValueId> x = net.split(xs[t], {2, 1});
      ValueId zr = x[0], hidden = x[1];
      if (linear_before_reset) {
        // Without a state its projection is the bias alone.
        const ValueId state = d.h == kNoValue ? d.rb : net.linear(d.h, d.r, d.rb);
        std::vector<ValueId> s{kNoValue, kNoValue};
        if (state != kNoValue) s = net.split(state, {2, 1});
        const std::vector<ValueId> gates = net.split(net.apply(f, net.add(zr, s[0])), {1, 1});
        if (state != kNoValue) hidden = b.add(hidden, b.mul(gates[1], s[1]));
        zr = gates[0];
      } else {
        if (d.h != kNoValue) zr = b.add(zr, net.linear(d.h, r[0], kNoValue));
        const std::vector<ValueId> gates = net.split(net.apply(f, zr), {1, 1});
        if (d.h != kNoValue) hidden = b.add(hidden, net.linear(b.mul(gates[1], d.h), r[1], kNoValue));
        zr = gates[0];
      }
      const ValueId z = zr, fresh = net.apply(g, hidden);
      d.h = d.h == kNoValue ? b.sub(fresh, b.mul(z, fresh)) : b.add(fresh, b.mul(z, b.sub(d.h, fresh)));
    }));
  }
  net.finish(ys);
}

void rnn(ConvertCtx& ctx) {
  Builder& b = ctx.b;
  Recurrent net(ctx, 1, {"Tanh"});
  std::vector<ValueId> ys;
  for (Direction& d : net.directions) {
    const std::vector<ValueId> xs = net.project(d, net.add(d.wb, d.rb));
    ys.push_back(net.run(d, [&](std::size_t t) {
      d.h = net.apply(d.f[0], d.h == kNoValue ? xs[t] : b.add(xs[t], net.linear(d.h, d.r, kNoValue)));
    }));
  }
  net.finish(ys);
}

}  // namespace onnxray::onnx_import
