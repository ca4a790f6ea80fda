// What onnxray_conv_bench measures with: the device, its memory, times of recorded series of calls.
#pragma once
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/philox.h"
#include "engine/device.h"
#include "kernels/cuda/tiles.h"
#ifdef ONNXRAY_SIMULATE
#include "kernels/cpu/cpu.h"
#include "kernels/sim/backend.h"
#else
#include "kernels/cuda/module/device.h"
#endif

namespace onnxray::cuda {

struct BenchOptions {
  bool check = false, sweep = false;
  double milliseconds = 10;
};

inline std::shared_ptr<const Device> open() {
#ifdef ONNXRAY_SIMULATE
  return sim::make_backend(cpu_backend()).device;
#else
  return open_device(0);
#endif
}

inline const char* tile_name(ProductTile t) {
  switch (t) {
    case ProductTile::kWide: return "wide";
    case ProductTile::kMedium: return "medium";
    case ProductTile::kNarrow: return "narrow";
    case ProductTile::kGroup256: return "group256";
    case ProductTile::kGroup128: return "group128";
    case ProductTile::kGroup64: return "group64";
  }
  return "";
}

inline Precision precision_named(const std::string& mode) {
  ONNXRAY_CHECK(mode == "exact" || mode == "fast" || mode == "bf16", "not a mode: ", mode);
  return mode == "exact" ? Precision::kExact : mode == "fast" ? Precision::kTf32 : Precision::kBf16;
}
// A product's relative error, and one rounding to float32 for each of the terms of a sum.
inline double bound_of(Precision precision, double terms) {
  const int bits = precision == Precision::kExact ? 21 : precision == Precision::kTf32 ? 10 : 7;
  return std::ldexp(1.0, -bits) + (terms + 2) * std::ldexp(1.0, -24);
}

// Device memory that is kept for the next layer and grows.
class Buffer {
 public:
  explicit Buffer(const Device& device) : device_(device) {}
  // True where the contents were lost.
  bool reserve(std::size_t bytes) {
    if (bytes <= bytes_) return false;
    memory_ = nullptr;
    memory_ = device_.allocate(bytes);
    bytes_ = bytes;
    return true;
  }
  template <class T = float>
  [[nodiscard]] T* as() const {
    return static_cast<T*>(memory_.get());
  }

 private:
  const Device& device_;
  std::shared_ptr<void> memory_;
  std::size_t bytes_ = 0;
};

// Uniform in [-1, 1), over and over.
inline const std::vector<float>& noise() {
  static const std::vector<float> values = [] {
    std::vector<float> v(std::size_t{1} << 20);
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(2 * Philox::uniform(Philox{1}(0, i), 0) - 1);
    return v;
  }();
  return values;
}

// What is printed of a layer besides its times and errors.
struct Measured {
  std::string name;
  const char* kernel;
  double operations;  // of one call
  double bound;       // of its error
  bool sweeps;        // whether it has tiles
};

// Everything that measuring a kernel takes but the kernel.
class KernelBench {
 protected:
  KernelBench() : device_(open()), stream_(device_->create_stream()) {}

  void fill(Buffer& buffer, std::size_t elements) {
    if (!buffer.reserve(4 * elements)) return;
    for (std::size_t at = 0; at < elements; at += noise().size()) {
      const std::size_t n = std::min(noise().size(), elements - at);
      device_->upload(buffer.as() + at, noise().data(), 4 * n, stream_.get());
    }
    device_->synchronise(stream_.get());
  }

  // Packs the weights in raw_ for a plan; returns a call of it. pack and run: pack_conv_weights and run_conv, or the
  // products' own.
  template <class Plan, class Pack, class Run>
  std::function<void()> prepared(const Plan& plan, bool bias_relu, Pack pack, Run run) {
    packed_.reserve(std::max<std::size_t>(4, plan.weight_bytes));
    workspace_.reserve(std::max<std::size_t>(4, plan.workspace_bytes));
    if (plan.weight_bytes > 0) pack(plan, raw_.as(), packed_.as(), stream_.get());
    const float* const w = plan.weight_bytes > 0 ? packed_.as() : raw_.as();
    const Epilogue<float> epilogue{bias_relu ? bias_.as() : nullptr, nullptr, nullptr, bias_relu};
    return
        [this, plan, w, epilogue, run] { run(plan, in_.as(), w, out_.as(), epilogue, workspace_.as(), stream_.get()); };
  }

  // Runs a layer and prints its line: its error, or its seconds. False where the error exceeds the bound.
  // prepare(plan): a call of it; sweep(tile, splits): a plan, where there is one; error_of(): what out_ holds against
  // the reference.
  template <class Plan, class Error, class Prepare, class Sweep>
  bool print(const Measured& m, const Plan& plan, const BenchOptions& options, const Error& error_of,
             const Prepare& prepare, const Sweep& sweep) {
    const auto once = prepare(plan);
    once();
    device_->synchronise(stream_.get());
    std::printf("{\"name\": \"%s\", \"kernel\": \"%s\", \"tile\": \"%s\", \"splits\": %d, ", m.name.c_str(), m.kernel,
                tile_name(plan.tile), plan.splits);
    bool fine = true;
    if (options.check) {
      const double error = error_of();
      fine = error >= 0 && error <= m.bound;
      std::printf("\"error\": %.3g, \"bound\": %.3g}\n", error, m.bound);
    } else {
      const double seconds = seconds_of(once, options.milliseconds);
      std::printf("\"seconds\": %.4g, \"tflops\": %.4g", seconds, m.operations / seconds * 1e-12);
      if (options.sweep && m.sweeps) print_sweep(options.milliseconds, prepare, sweep);
      std::printf("}\n");
    }
    std::fflush(stdout);
    return fine;
  }

  template <class F>
  double seconds_of(const F& once, double milliseconds) {
    using Clock = std::chrono::steady_clock;
    const auto timed = [&](const auto& f) {
      const auto begin = Clock::now();
      f();
      device_->synchronise(stream_.get());
      return std::chrono::duration<double>(Clock::now() - begin).count();
    };
    const double first = timed(once);
    const int calls = static_cast<int>(std::clamp(milliseconds * 1e-3 / first, 1.0, 500.0));
    const auto replay = device_->record(stream_.get(), [&] {
      for (int i = 0; i < calls; ++i) once();
    });
    std::vector<double> times;
    (void)timed([&] { replay(stream_.get()); });
    for (int i = 0; i < 5; ++i) times.push_back(timed([&] { replay(stream_.get()); }) / calls);
    std::sort(times.begin(), times.end());
    return times[2];
  }

  // max |got - want| / magnitude; -1 where got is not finite.
  static double largest_error(const std::vector<float>& got, const std::vector<double>& want,
                              const std::vector<double>& magnitude) {
    double worst = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double off = std::abs(got[i] - want[i]) / std::max(magnitude[i], 1e-30);
      if (!std::isfinite(off)) return -1;
      worst = std::max(worst, off);
    }
    return worst;
  }
  // The first n numbers of fill() in float64 on the device, or their magnitudes.
  std::shared_ptr<void> wide(std::size_t n, bool magnitudes) {
    std::vector<double> v(n);
    for (std::size_t i = 0; i < n; ++i) {
      v[i] = noise()[i % noise().size()];
      if (magnitudes) v[i] = std::abs(v[i]);
    }
    const std::shared_ptr<void> memory = device_->allocate(8 * n);
    device_->upload(memory.get(), v.data(), 8 * n, stream_.get());
    device_->synchronise(stream_.get());
    return memory;
  }

  template <class Prepare, class Sweep>
  void print_sweep(double milliseconds, const Prepare& prepare, const Sweep& sweep) {
    std::printf(", \"tried\": {");
    const char* comma = "";
    for (const ProductTile tile : kProductTiles) {
      if (by_warpgroups(tile) && !gpu_.warpgroups) continue;
      for (const int splits : {1, 4}) {
        const auto plan = sweep(tile, splits);
        if (!plan) continue;
        std::printf("%s\"%s %d\": %.4g", comma, tile_name(tile), splits, seconds_of(prepare(*plan), milliseconds));
        comma = ", ";
      }
    }
    std::printf("}");
  }

  std::shared_ptr<const Device> device_;
  Gpu gpu_{device_->processors(), device_->warpgroups()};
  std::shared_ptr<void> stream_;
  Buffer in_{*device_}, raw_{*device_}, bias_{*device_}, out_{*device_}, packed_{*device_}, workspace_{*device_};
};

// A line of a matrix product (product.cpp): prints a JSON object; false where --check fails.
bool run_product(const std::string& line, const BenchOptions& options);

}  // namespace onnxray::cuda
