// Products by a constant matrix, as linear layers have them: y [M, N] = x [M, K] w, w [K, N], or [N, K] transposed.
#include <sstream>

#include "bench/kernel_bench.h"
#include "kernels/cuda/gemm.h"

namespace onnxray::cuda {
namespace {

struct Linear {
  std::string name;
  GemmShape shape;
  Precision precision = Precision::kExact;
  bool bias_relu = false;
};

Linear read_linear(const std::string& line) {
  Linear l;
  std::string kind, mode, finish;
  std::istringstream in(line);
  in >> l.name >> kind >> mode >> l.shape.m >> l.shape.k >> l.shape.n >> finish;
  ONNXRAY_CHECK(in && (kind == "product" || kind == "product_transposed") &&
                    (finish == "plain" || finish == "bias_relu") && std::min({l.shape.m, l.shape.k, l.shape.n}) > 0,
                "not a product: ", line);
  l.shape.trans_b = kind == "product_transposed";
  l.precision = precision_named(mode);
  l.bias_relu = finish == "bias_relu";
  return l;
}

class ProductBench : KernelBench {
 public:
  bool run(const Linear& l, const BenchOptions& options) {
    const GemmPlan plan = plan_gemm(l.shape, l.precision, gpu_, true);
    const auto m = static_cast<std::size_t>(l.shape.m), n = static_cast<std::size_t>(l.shape.n);
    const auto k = static_cast<std::size_t>(l.shape.k);
    fill(in_, m * k);
    fill(raw_, k * n);
    fill(bias_, n);
    out_.reserve(4 * m * n);
    const auto prepare = [&](const GemmPlan& p) { return prepared(p, l.bias_relu, pack_gemm_weights, run_gemm); };
    const auto sweep = [&](ProductTile tile, int splits) -> std::optional<GemmPlan> {
      if (!tile_serves(tile, l.shape, l.precision, true)) return std::nullopt;
      return plan_gemm_with(l.shape, l.precision, tile, splits);
    };
    return print(
        {l.name, "tensor core", 2.0 * static_cast<double>(m * n * k), bound_of(l.precision, static_cast<double>(k)),
         true},
        plan, options, [&] { return error_of(l); }, prepare, sweep);
  }

 private:
  // max |y - reference| / sum |x| |w| over the first 130 rows; -1 where y is not finite.
  double error_of(const Linear& l) {
    GemmShape some = l.shape;
    some.m = std::min<std::int64_t>(l.shape.m, 130);
    const auto m = static_cast<std::size_t>(some.m), n = static_cast<std::size_t>(some.n);
    const auto k = static_cast<std::size_t>(some.k);
    std::vector<float> got(m * n);
    device_->download(got.data(), out_.as(), 4 * m * n, stream_.get());
    std::vector<double> want[2];
    for (const bool magnitudes : {false, true}) {
      const auto a = wide(m * k, magnitudes), b = wide(k * n, magnitudes), bias = wide(n, magnitudes);
      const auto y = device_->allocate(8 * m * n);
      const Epilogue<double> epilogue{l.bias_relu ? static_cast<const double*>(bias.get()) : nullptr, nullptr, nullptr,
                                      l.bias_relu};
      run_gemm_general<double>(some, static_cast<const double*>(a.get()), static_cast<const double*>(b.get()),
                               static_cast<double*>(y.get()), epilogue, stream_.get());
      want[magnitudes].resize(m * n);
      device_->download(want[magnitudes].data(), y.get(), 8 * m * n, stream_.get());
    }
    return largest_error(got, want[0], want[1]);
  }
};

}  // namespace

bool run_product(const std::string& line, const BenchOptions& options) {
  static ProductBench bench;
  return bench.run(read_linear(line), options);
}

}  // namespace onnxray::cuda
