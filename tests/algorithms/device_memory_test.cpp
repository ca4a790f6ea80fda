// A device whose memory others use: fewer rows at a time and a notice, the same answer; with a fixed chunk an error.
// The device is the host with a limit on what may be allocated at one time, its kernels are the CPU's.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "kernels/cpu/cpu.h"
#include "onnx_import/load.h"
#include "onnx_import/onnx_model.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using testing::attr;
using testing::thrown_by;

class CrowdedDevice : public Device {
 public:
  [[nodiscard]] const std::string& description() const override { return name_; }
  // What is planned with: much more than there is.
  [[nodiscard]] std::size_t total_bytes() const override { return total; }
  [[nodiscard]] int processors() const override { return 1; }
  [[nodiscard]] std::shared_ptr<void> take(std::size_t bytes) const override {
    if (*used_ + bytes > free) {
      throw Error(ErrorKind::kOutOfMemory, detail::concat(name_, ": out of memory: ", bytes, " bytes asked"));
    }
    *used_ += bytes;
    most = std::max<std::size_t>(most, *used_);
    return {new std::byte[bytes + 1], [bytes, used = used_](std::byte* p) {
              *used -= bytes;
              delete[] p;
            }};
  }
  [[nodiscard]] std::shared_ptr<void> create_stream() const override { return std::make_shared<int>(0); }
  void upload(void* to, const void* from, std::size_t bytes, Stream) const override { std::memcpy(to, from, bytes); }
  void download(void* to, const void* from, std::size_t bytes, Stream) const override {
    if (lost) fail_unsupported(name_, ": copying from the device: the device was lost");
    std::memcpy(to, from, bytes);
  }
  void zero(void* p, std::size_t bytes, Stream) const override { std::memset(p, 0, bytes); }
  void synchronise(Stream) const override {}

  std::size_t total = std::size_t{1} << 30, free = total;
  bool lost = false;
  mutable std::size_t most = 0;  // allocated at one time

 private:
  std::string name_ = "crowded:0";
  std::shared_ptr<std::atomic<std::size_t>> used_ = std::make_shared<std::atomic<std::size_t>>(0);
};

struct Crowded {
  std::shared_ptr<CrowdedDevice> device = std::make_shared<CrowdedDevice>();
  Backend backend = cpu_backend();
  Model model;

  Crowded() : model(make()) {}

 private:
  Model make() {
    backend.device = device;
    testing::ModelBuilder m;
    m.input("x", {"N", 3, 16, 16}).output("y", {"N", 5});
    m.initializer("w", testing::wave({8, 3, 3, 3}, 1, 0.3).to(DType::f32));
    m.initializer("v", testing::wave({8, 5}, 2).to(DType::f32));
    attr(m.node("Conv", {"x", "w"}, {"c"}, "conv"), "pads", std::vector<std::int64_t>{1, 1, 1, 1});
    m.node("Relu", {"c"}, {"r"});
    m.node("GlobalAveragePool", {"r"}, {"p"});
    m.node("Flatten", {"p"}, {"f"});
    m.node("MatMul", {"f", "v"}, {"y"});
    const std::string bytes = m.bytes();
    return {std::make_shared<onnx_import::OnnxModel>(onnx_import::parse_bytes(std::as_bytes(std::span(bytes)))),
            backend};
  }
};

Attribution path(const Model& m, ComputeOptions compute) {
  compute.precision = Precision::kFloat64;
  return attribute(
      m, IntegratedGradients{.n_steps = 100},
      {.inputs = {{"x", testing::wave({2, 3, 16, 16}, 5)}}, .to = {output(1)}, .from = {}, .compute = compute});
}

Attribution windows(const Model& m, ComputeOptions compute) {
  compute.precision = Precision::kFloat64;
  return attribute(
      m, Occlusion{.sliding_window_shapes = {{3, 3, 3}}, .strides = {{3, 1, 1}}},
      {.inputs = {{"x", testing::wave({1, 3, 16, 16}, 5)}}, .to = {output(1)}, .from = {}, .compute = compute});
}

bool announced(const std::vector<std::string>& notices) {
  return std::any_of(notices.begin(), notices.end(), [&](const std::string& n) {
    return n.starts_with("the device is out of memory: ") && n.find(" rows at a time instead of ") != std::string::npos;
  });
}

template <class Ask>
void expect_fewer_rows(const Ask& ask) {
  const Crowded three;
  (void)ask(three.model, {.chunk = 3});
  const Crowded c;
  const Attribution whole = ask(c.model, {});
  EXPECT_FALSE(announced(whole.report.notices));
  const Crowded d;
  d.device->free = three.device->most * 5 / 4;
  const Attribution less = ask(d.model, {});
  EXPECT_LT(less.report.chunk, whole.report.chunk);
  EXPECT_TRUE(announced(less.report.notices));
  EXPECT_TRUE(less.attributions.at("x").same_bits(whole.attributions.at("x")));
  // A chunk that was asked for is not made smaller.
  const auto e = thrown_by([&] { (void)ask(d.model, {.chunk = whole.report.chunk}); });
  EXPECT_EQ(e.kind, ErrorKind::kOutOfMemory);
  EXPECT_NE(e.text.find("crowded:0: out of memory"), std::string::npos) << e.text;
  EXPECT_TRUE(ask(d.model, {.chunk = 3}).attributions.at("x").same_bits(whole.attributions.at("x")));
  // Not even one row.
  d.device->free = 1000;
  EXPECT_EQ(thrown_by([&] { (void)ask(d.model, {}); }).kind, ErrorKind::kOutOfMemory);
}

TEST(DeviceMemory, APathTakesFewerRows) { expect_fewer_rows(path); }
TEST(DeviceMemory, WindowsTakeFewerRows) { expect_fewer_rows(windows); }

TEST(DeviceMemory, ALiteralRunTakesFewerRows) {
  const Crowded c, four;
  const NamedTensors inputs{{"x", testing::wave({64, 3, 16, 16}, 5)}};
  (void)evaluate(four.model, inputs, {}, {.precision = Precision::kFloat64, .chunk = 4});
  const Evaluation whole = evaluate(c.model, inputs, {}, {.precision = Precision::kFloat64});
  c.model.release_idle();
  c.device->free = four.device->most;
  const Evaluation less = evaluate(c.model, inputs, {}, {.precision = Precision::kFloat64});
  EXPECT_LT(less.report.chunk, whole.report.chunk);
  EXPECT_TRUE(announced(less.report.notices));
  EXPECT_TRUE(less.values.at("y").same_bits(whole.values.at("y")));
  const auto e =
      thrown_by([&] { (void)evaluate(c.model, inputs, {}, {.precision = Precision::kFloat64, .chunk = 64}); });
  EXPECT_EQ(e.kind, ErrorKind::kOutOfMemory);
}

// A device that disappears: an error, no numbers.
// Kernels decline arrays of 2^31 elements, and the host would compute them.
TEST(DeviceMemory, ALargeDeviceKeepsArraysBelowTheLimitOfItsKernels) {
  const Crowded crowded;
  crowded.device->total = std::size_t{1} << 40;
  EXPECT_LT(chunk_limits({}, crowded.backend).wanted, std::size_t{1} << 31);
  EXPECT_EQ(chunk_limits({}, crowded.backend).budget, std::size_t{1} << 39);
}

TEST(DeviceMemory, ALostDeviceIsAnError) {
  const Crowded c;
  (void)path(c.model, {});
  c.device->lost = true;
  const auto e = thrown_by([&] { (void)path(c.model, {}); });
  EXPECT_EQ(e.kind, ErrorKind::kUnsupported);
  EXPECT_NE(e.text.find("the device was lost"), std::string::npos) << e.text;
}

}  // namespace
}  // namespace onnxray
