// Times our convolution kernels layer by layer, without the engine around them: a program for bench/gpu.py, which times
// cuDNN on the same layers. Compiled for the simulator as well, where the times mean nothing and the checks the same.
//
//   onnxray_conv_bench [--milliseconds 10] [--check|--sweep] <layers
//
// Reads a layer a line: NAME forward|backward exact|fast|bf16 N C K H W R S STRIDE PADDING GROUPS PLAIN|BIAS_RELU
// (x is [N, H, W, C], y has K channels), or a product by a constant matrix (product.cpp):
// NAME product|product_transposed exact|fast|bf16 M K N PLAIN|BIAS_RELU. Writes a JSON object a line: seconds of one
// call, the median of five replays of a recorded series of calls, and the kernel that was chosen. --check: instead of
// times, the first image against the plain float64 kernel; the exit status is 1 where a layer exceeds the bound that
// rounding allows.
// --sweep: also the seconds of every tile and number of splits, from which plan_conv's constants come.
#include <cstdio>
#include <cstring>
#include <iostream>
#include <sstream>

#include "bench/kernel_bench.h"
#include "kernels/cuda/conv.h"

namespace onnxray::cuda {
namespace {

struct Layer {
  std::string name;
  ConvShape shape;
  Precision precision = Precision::kExact;
  bool bias_relu = false;
  int filters = 0;  // K, C of x
  int channels = 0;
};

Layer read_layer(const std::string& line) {
  Layer l;
  std::string direction, mode, finish;
  int h = 0, w = 0, r = 0, s = 0, stride = 0, padding = 0, groups = 0;
  std::istringstream in(line);
  in >> l.name >> direction >> mode >> l.shape.batch >> l.channels >> l.filters >> h >> w >> r >> s >> stride >>
      padding >> groups >> finish;
  ONNXRAY_CHECK(
      in && (direction == "forward" || direction == "backward") && (finish == "plain" || finish == "bias_relu"),
      "not a layer: ", line);
  ONNXRAY_CHECK(std::min({h, w, r, s, stride, groups, l.channels, l.filters}) > 0 && l.shape.batch > 0 &&
                    padding >= 0 && l.channels % groups == 0 && l.filters % groups == 0 && h + 2 * padding >= r &&
                    w + 2 * padding >= s,
                "not a convolution: ", line);
  l.shape.backward = direction == "backward";
  l.precision = precision_named(mode);
  l.bias_relu = finish == "bias_relu";
  l.shape.groups = groups;
  l.shape.x_channels = l.channels / groups;
  l.shape.y_channels = l.filters / groups;
  l.shape.axis[0] = {};
  l.shape.axis[1] = {r, stride, 1, padding, h, (h + 2 * padding - r) / stride + 1};
  l.shape.axis[2] = {s, stride, 1, padding, w, (w + 2 * padding - s) / stride + 1};
  return l;
}

class Bench : KernelBench {
 public:
  // Prints one line; false where --check fails.
  bool run(const Layer& l, const BenchOptions& options) {
    const ConvPlan plan = plan_conv(l.shape, l.precision, gpu_);
    const std::size_t weights =
        product({l.filters, l.shape.x_channels, l.shape.axis[1].kernel, l.shape.axis[2].kernel});
    const std::size_t out_channels = static_cast<std::size_t>(l.shape.backward ? l.channels : l.filters);
    fill(in_, plan.in_elements);
    fill(raw_, weights);
    fill(bias_, out_channels);
    out_.reserve(4 * plan.out_elements);
    const auto prepare = [&](const ConvPlan& p) { return prepared(p, l.bias_relu, pack_conv_weights, run_conv); };
    const double operations =
        2.0 * static_cast<double>(l.shape.batch) * l.shape.axis[1].y * l.shape.axis[2].y * static_cast<double>(weights);
    const auto sweep = [&](ProductTile tile, int splits) -> std::optional<ConvPlan> {
      const ConvPlan p = plan_conv_with(l.shape, l.precision, tile, splits);
      return p.tile == tile ? std::optional(p) : std::nullopt;
    };
    return print(
        {l.name, kernel_name(plan.kernel), operations, bound_of(l), plan.kernel == ConvKernel::kTensorCore}, plan,
        options, [&] { return error_of(l, weights, out_channels); }, prepare, sweep);
  }

 private:
  static std::size_t product(std::initializer_list<std::int64_t> factors) {
    std::int64_t p = 1;
    for (const std::int64_t f : factors) p *= f;
    return static_cast<std::size_t>(p);
  }
  static const char* kernel_name(ConvKernel k) {
    switch (k) {
      case ConvKernel::kTensorCore: return "tensor core";
      case ConvKernel::kDepthwise: return "depthwise";
      case ConvKernel::kFew: return "few channels";
      case ConvKernel::kGeneral: return "general";
    }
    return "";
  }
  static double bound_of(const Layer& l) {
    return cuda::bound_of(l.precision, static_cast<double>(l.shape.backward ? l.shape.y_channels : l.shape.x_channels) *
                                           l.shape.axis[1].kernel * l.shape.axis[2].kernel);
  }

  // max |y - reference| / sum |x| |w| over the first image; -1 where y is not finite.
  double error_of(const Layer& l, std::size_t weights, std::size_t out_channels) {
    ConvShape one = l.shape;
    one.batch = 1;
    const bool back = one.backward;
    const std::size_t x = product({one.axis[1].x, one.axis[2].x, l.channels});
    const std::size_t y = product({one.axis[1].y, one.axis[2].y, l.filters});
    const std::size_t ins = back ? y : x, outs = back ? x : y;
    std::vector<float> got(outs);
    device_->download(got.data(), out_.as(), 4 * outs, stream_.get());
    std::vector<double> want[2];
    for (const bool magnitudes : {false, true}) {
      const auto a = wide(ins, magnitudes), w = wide(weights, magnitudes), b = wide(out_channels, magnitudes);
      const auto to = device_->allocate(8 * outs);
      const Epilogue<double> epilogue{l.bias_relu ? static_cast<const double*>(b.get()) : nullptr, nullptr, nullptr,
                                      l.bias_relu};
      run_conv_general<double>(one, static_cast<const double*>(a.get()), static_cast<const double*>(w.get()),
                               static_cast<double*>(to.get()), epilogue, stream_.get());
      want[magnitudes].resize(outs);
      device_->download(want[magnitudes].data(), to.get(), 8 * outs, stream_.get());
    }
    return largest_error(got, want[0], want[1]);
  }
};

int run(int argc, char** argv) {
  BenchOptions options;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--check") == 0) options.check = true;
    else if (std::strcmp(argv[i], "--sweep") == 0) options.sweep = true;
    else if (std::strcmp(argv[i], "--milliseconds") == 0 && i + 1 < argc) options.milliseconds = std::atof(argv[++i]);
    else fail("usage: onnxray_conv_bench [--milliseconds 10] [--check|--sweep] <layers");
  }
  Bench bench;
  bool fine = true;
  for (std::string line; std::getline(std::cin, line);) {
    if (line.empty()) continue;
    const bool product = line.find(" product") != std::string::npos;
    if (product ? !run_product(line, options) : !bench.run(read_layer(line), options)) fine = false;
  }
  return fine ? 0 : 1;
}

}  // namespace
}  // namespace onnxray::cuda

int main(int argc, char** argv) {
  try {
    return onnxray::cuda::run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "onnxray_conv_bench: %s\n", e.what());
    return 2;
  }
}
