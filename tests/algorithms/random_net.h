// Random convnets of every shape that a window can meet.
#pragma once
#include <random>

#include "tests/algorithms/support.h"

namespace onnxray::testing {

using Ints = std::vector<std::int64_t>;

// Writes a random net into a model, value after value. The value at hand is [N, channels, space...].
class RandomNet {
 public:
  RandomNet(std::uint32_t seed, Ints space, std::int64_t channels, DType dtype)
      : rng_(seed), dtype_(dtype), channels_(channels), space_(std::move(space)) {
    std::vector<BuilderDim> dims{"N", static_cast<int>(channels)};
    for (const std::int64_t e : space_) dims.emplace_back(e);
    m.input("x", dims, dtype);
  }

  void conv(std::int64_t out, bool spread = false) {
    const std::int64_t group = draw(4) == 0 && channels_ % 2 == 0 && out % 2 == 0 ? 2 : 1;
    Ints kernel, strides, dilations, begins, ends;
    for (std::int64_t& e : space_) {
      const std::int64_t k = std::min<std::int64_t>(e, 1 + draw(4)), d = spread && k > 1 && e > 2 * k ? 2 : 1;
      const std::int64_t s = e > 6 ? 1 + draw(2) : 1, reach = (k - 1) * d + 1;
      kernel.push_back(k);
      strides.push_back(s);
      dilations.push_back(d);
      begins.push_back(draw(reach));
      ends.push_back(draw(reach));
      e = (e + begins.back() + ends.back() - reach) / s + 1;
    }
    Dims w{out, channels_ / group};
    w.insert(w.end(), kernel.begin(), kernel.end());
    auto& n = m.node("Conv", {value, weight(w), weight({out})}, {fresh()});
    begins.insert(begins.end(), ends.begin(), ends.end());
    attr(n, "pads", begins);
    attr(n, "strides", strides);
    attr(n, "dilations", dilations);
    attr(n, "group", static_cast<int>(group));
    channels_ = out;
    value = last();
  }

  void pool(const char* op) {
    Ints kernel, strides, pads(space_.size() * 2, 0);
    const bool ceil = std::string(op) == "MaxPool" && draw(2) == 0;
    for (std::size_t i = 0; i < space_.size(); ++i) {
      const std::int64_t k = std::min<std::int64_t>(space_[i], 2 + draw(2)), s = space_[i] > 6 ? 2 : 1;
      kernel.push_back(k);
      strides.push_back(s);
      const std::int64_t pad = draw(2) * (k / 2);
      pads[i] = pads[i + space_.size()] = pad;
      const std::int64_t room = space_[i] + 2 * pad - k;
      std::int64_t n = (ceil ? (room + s - 1) / s : room / s) + 1;
      if (ceil && (n - 1) * s >= space_[i] + pad) --n;
      space_[i] = n;
    }
    auto& n = m.node(op, {value}, {fresh()});
    attr(n, "kernel_shape", kernel);
    attr(n, "strides", strides);
    attr(n, "pads", pads);
    if (ceil) attr(n, "ceil_mode", 1);
    if (std::string(op) == "AveragePool") attr(n, "count_include_pad", 1);
    value = last();
  }

  void batch_norm() {
    const Dims c{channels_};
    Tensor variance = wave(c, phase_ += 100);
    for (double& v : variance.mutable_data<double>()) v = 1 + v * v;
    const std::string name = constant(variance.to(dtype_));
    m.node("BatchNormalization", {value, weight(c), weight(c), weight(c), name}, {fresh()});
    value = last();
  }

  void unary(const char* op) {
    m.node(op, {value}, {fresh()});
    value = last();
  }

  // f(value) + value, where f keeps the shape.
  void residual() {
    const std::string from = value;
    const Ints space = space_;
    Dims w{channels_, channels_};
    Ints pads;
    for (std::size_t i = 0; i < space.size(); ++i) {
      w.push_back(3);
      pads.push_back(1);
    }
    pads.insert(pads.end(), pads.begin(), pads.end());
    attr(m.node("Conv", {value, weight(w)}, {fresh()}), "pads", pads);
    value = last();
    batch_norm();
    unary("Relu");
    m.node("Add", {value, from}, {fresh()});
    value = last();
  }

  // Several paths side by side, joined along the channels, with a constant that differs from place to place.
  void branches() {
    Dims w{2, channels_};
    w.insert(w.end(), space_.size(), 1);
    m.node("Conv", {value, weight(w)}, {fresh()});
    const std::string thin = last();
    Dims map{1, channels_};
    map.insert(map.end(), space_.begin(), space_.end());
    m.node("Mul", {value, weight(map)}, {fresh()});
    const std::string scaled = last();
    attr(m.node("Concat", {thin, scaled, value}, {fresh()}), "axis", 1);
    value = last();
    channels_ = 2 + 2 * channels_;
  }

  void pad() {
    Ints pads(2 * (space_.size() + 2), 0);
    for (std::size_t i = 0; i < space_.size(); ++i) {
      pads[2 + i] = draw(3);
      pads[space_.size() + 4 + i] = draw(3);
      space_[i] += pads[2 + i] + pads[space_.size() + 4 + i];
    }
    const Tensor value_of_pad = Tensor::scalar(0.375).to(dtype_);
    m.node("Pad", {value, constant(Tensor::ints(pads)), constant(value_of_pad)}, {fresh()});
    value = last();
  }

  // The mean over space, then a linear layer.
  Model finish(std::int64_t classes) {
    unary("GlobalAveragePool");
    unary("Flatten");
    m.node("MatMul", {value, weight({channels_, classes})}, {"y"});
    m.output("y", {"N", static_cast<int>(classes)}, dtype_);
    return model_of(m);
  }

  std::int64_t draw(std::int64_t below) {
    return static_cast<std::int64_t>(rng_() % static_cast<std::uint32_t>(below));
  }
  [[nodiscard]] const Ints& space() const { return space_; }

  ModelBuilder m;
  std::string value = "x";

 private:
  std::string fresh() { return "v" + std::to_string(++values_); }
  [[nodiscard]] std::string last() const { return "v" + std::to_string(values_); }
  std::string constant(const Tensor& t) {
    const std::string name = "c" + std::to_string(++constants_);
    m.initializer(name, t);
    return name;
  }
  std::string weight(const Dims& dims) {
    const double fan = static_cast<double>(count_of(dims)) / static_cast<double>(dims[0]);
    return constant(wave(dims, phase_ += 100, 1 / std::sqrt(std::max(1.0, fan / 2))).to(dtype_));
  }

  std::mt19937 rng_;
  DType dtype_;
  std::int64_t channels_;
  Ints space_;
  double phase_ = 0;
  int values_ = 0, constants_ = 0;
};

inline Model random_model(std::uint32_t seed, const Ints& space, DType dtype) {
  RandomNet net(seed, space, 3, dtype);
  net.conv(4, seed % 2 == 0);
  for (int i = 0; i < 5; ++i) {
    switch (net.draw(7)) {
      case 0: net.conv(2 + 2 * net.draw(3), true); break;
      case 1: net.pool("MaxPool"); break;
      case 2: net.pool("AveragePool"); break;
      case 3: net.residual(); break;
      case 4: net.branches(); break;
      case 5: net.pad(); break;
      default: net.unary("Sigmoid"); break;
    }
    if (net.draw(2) == 0) net.batch_norm();
    if (net.draw(2) == 0) net.unary("Relu");
  }
  return net.finish(3);
}

}  // namespace onnxray::testing
