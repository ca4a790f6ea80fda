// Runs one of the planted kernels by name, for the thread sanitizer (scripts/kernel_races.sh): "planted_races NAME".
// Those named without_... have a data race between CUDA threads that a schedule need not show; the others have none.
#include <cstdio>
#include <functional>
#include <map>

#include "tests/sim/planted.cuh"
#include "tests/sim/schedules.h"

namespace {

using onnxray::cuda::Dim3;
using onnxray::cuda::launch;
using sim_test::Buffer;

const Buffer<float>& input() {
  static const Buffer<float> x(std::vector<float>(64 * 4 * 5, 1.0f));
  return x;
}

void reverse(void (*kernel)(const float*, float*)) {
  const Buffer<float> y(256);
  launch(kernel, Dim3{2}, Dim3{128}, 128 * sizeof(float), nullptr, input().get(), y.get());
}
void rounds(void (*kernel)(const float*, float*, int)) {
  const Buffer<float> y(64);
  launch(kernel, Dim3{}, Dim3{64}, 64 * sizeof(float), nullptr, input().get(), y.get(), 4);
}
void pipeline(void (*kernel)(const float*, float*, int)) {
  const Buffer<float> y(64);
  launch(kernel, Dim3{}, Dim3{64}, 3 * 64 * 4 * sizeof(float), nullptr, input().get(), y.get(), 5);
}
void warp(void (*kernel)(float*)) {
  const Buffer<float> y(32);
  launch(kernel, Dim3{}, Dim3{32}, 128, nullptr, y.get());
}
void blocks(void (*kernel)(float*)) {
  const Buffer<float> y(std::vector<float>{0});
  launch(kernel, Dim3{4}, Dim3{32}, 0, nullptr, y.get());
}

const std::map<std::string, std::function<void()>>& all() {
  static const std::map<std::string, std::function<void()>> programs{
      {"barrier_after_write", [] { reverse(planted::reverse<true>); }},
      {"without_barrier_after_write", [] { reverse(planted::reverse<false>); }},
      {"barrier_before_overwrite", [] { rounds(planted::rounds<true>); }},
      {"without_barrier_before_overwrite", [] { rounds(planted::rounds<false>); }},
      {"wait_for_copies", [] { pipeline(planted::pipeline<3, 0>); }},
      {"without_wait_for_copies", [] { pipeline(planted::pipeline<3, 1>); }},
      {"syncwarp", [] { warp(planted::within_warp<true>); }},
      {"without_syncwarp", [] { warp(planted::within_warp<false>); }},
      {"atomics_between_blocks", [] { blocks(planted::between_blocks<true>); }},
      {"without_atomics_between_blocks", [] { blocks(planted::between_blocks<false>); }},
  };
  return programs;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2) {
    if (const auto found = all().find(argv[1]); found != all().end()) {
      found->second();
      std::printf("%s: done\n", argv[1]);
      return 0;
    }
  }
  for (const auto& entry : all()) std::fprintf(stderr, "%s\n", entry.first.c_str());
  return 2;
}
