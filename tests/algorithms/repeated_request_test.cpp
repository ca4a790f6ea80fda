// What the second request of a structure finds ready: plans, memory, recorded steps. And that it is never another
// request's answer. The device is the host with counters, its kernels are the CPU's.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "kernels/cpu/cpu.h"
#include "onnx_import/load.h"
#include "onnx_import/onnx_model.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using testing::attr;
using testing::thrown_by;
using testing::wave;

class CountingDevice : public Device {
 public:
  [[nodiscard]] const std::string& description() const override { return name_; }
  [[nodiscard]] std::size_t total_bytes() const override { return std::size_t{1} << 30; }
  [[nodiscard]] int processors() const override { return 1; }
  [[nodiscard]] std::shared_ptr<void> allocate_pinned(std::size_t bytes) const override {
    ++allocations;
    return Device::allocate_pinned(bytes);
  }
  [[nodiscard]] std::shared_ptr<void> create_stream() const override {
    ++streams;
    return std::make_shared<int>(0);
  }
  // Copies from and to ordinary memory wait.
  void upload(void* to, const void* from, std::size_t bytes, Stream s) const override {
    queue_upload(to, from, bytes, s);
    ++synchronisations;
  }
  void download(void* to, const void* from, std::size_t bytes, Stream s) const override {
    queue_download(to, from, bytes, s);
    synchronise(s);
  }
  void queue_upload(void* to, const void* from, std::size_t bytes, Stream) const override {
    ++uploads;
    std::memcpy(to, from, bytes);
  }
  void queue_download(void* to, const void* from, std::size_t bytes, Stream) const override {
    ++downloads;
    std::memcpy(to, from, bytes);
  }
  void zero(void* p, std::size_t bytes, Stream) const override { std::memset(p, 0, bytes); }
  void synchronise(Stream) const override {
    ++synchronisations;
    if (lost) fail_unsupported(name_, ": the device was lost");
  }
  [[nodiscard]] std::function<void(Stream)> record(Stream, const std::function<void()>& queue) const override {
    ++recordings;
    return [queue](Stream) { queue(); };
  }

  bool lost = false;
  std::size_t free = std::size_t{1} << 30;
  mutable std::atomic<int> allocations = 0, streams = 0, uploads = 0, downloads = 0, synchronisations = 0,
                           recordings = 0;
  void start_counting() { allocations = streams = uploads = downloads = synchronisations = recordings = 0; }

 private:
  [[nodiscard]] std::shared_ptr<void> take(std::size_t bytes) const override {
    if (*used_ + bytes > free) {
      throw Error(ErrorKind::kOutOfMemory, detail::concat(name_, ": out of memory: ", bytes, " bytes asked"));
    }
    ++allocations;
    *used_ += bytes;
    return {new std::byte[bytes + 1], [bytes, used = used_](std::byte* p) {
              *used -= bytes;
              delete[] p;
            }};
  }

  std::string name_ = "counting:0";
  std::shared_ptr<std::atomic<std::size_t>> used_ = std::make_shared<std::atomic<std::size_t>>(0);
};

Model net_on(const Backend& backend) {
  testing::ModelBuilder m;
  m.input("x", {"N", 3, 16, 16}).output("y", {"N", 5});
  m.initializer("w", wave({8, 3, 3, 3}, 1, 0.3).to(DType::f32));
  m.initializer("u", wave({8, 8, 3, 3}, 3, 0.2).to(DType::f32));
  m.initializer("v", wave({8, 5}, 2).to(DType::f32));
  attr(m.node("Conv", {"x", "w"}, {"c"}, "conv"), "pads", std::vector<std::int64_t>{1, 1, 1, 1});
  m.node("Relu", {"c"}, {"r"});
  attr(m.node("Conv", {"r", "u"}, {"d"}, "conv2"), "pads", std::vector<std::int64_t>{1, 1, 1, 1});
  m.node("Sigmoid", {"d"}, {"s"});
  m.node("GlobalAveragePool", {"s"}, {"p"});
  m.node("Flatten", {"p"}, {"f"});
  m.node("MatMul", {"f", "v"}, {"y"});
  const std::string bytes = m.bytes();
  return {std::make_shared<onnx_import::OnnxModel>(onnx_import::parse_bytes(std::as_bytes(std::span(bytes)))), backend};
}

struct Counting {
  std::shared_ptr<CountingDevice> device = std::make_shared<CountingDevice>();
  Backend backend = cpu_backend();
  Model model;
  Counting() : model(make()) {}

 private:
  Model make() {
    backend.device = device;
    return net_on(backend);
  }
};

Request request(std::int64_t examples, double phase, Scalar to, ComputeOptions compute = {}) {
  return {.inputs = {{"x", wave({examples, 3, 16, 16}, phase).to(DType::f32)}},
          .to = {std::move(to)},
          .from = {},
          .compute = std::move(compute)};
}

TEST(RepeatedRequest, SaliencyFindsEverythingReady) {
  const Counting c;
  (void)attribute(c.model, Saliency{}, request(1, 5, output(1)));
  EXPECT_EQ(c.device->recordings, 1);
  c.device->start_counting();
  // Other contents, another target: the same structure.
  (void)attribute(c.model, Saliency{}, request(1, 6, output(3)));
  EXPECT_EQ(c.device->allocations, 0);
  EXPECT_EQ(c.device->streams, 0);
  EXPECT_EQ(c.device->recordings, 0);
  EXPECT_LE(c.device->uploads, 1);    // neighbours are one copy
  EXPECT_LE(c.device->downloads, 3);  // the fault, the scalar, the gradient
  EXPECT_EQ(c.device->synchronisations, 1);
}

TEST(RepeatedRequest, APathFindsEverythingReady) {
  const Counting c;
  const auto ask = [&](double phase) {
    (void)attribute(c.model, IntegratedGradients{.n_steps = 10},
                    request(1, phase, output(2), {.memory_bytes = std::size_t{64} << 20}));
  };
  ask(1);
  ask(2);
  c.device->start_counting();
  ask(3);
  EXPECT_EQ(c.device->allocations, 0);
  EXPECT_EQ(c.device->streams, 0);
  EXPECT_EQ(c.device->recordings, 0);
  // The path's ends; the point and its baseline behind the first convolution; the path; its gradient before it.
  EXPECT_LE(c.device->synchronisations, 5);
  EXPECT_LE(c.device->uploads, 5 + 3);
}

// Requests that differ in one thing each, all of the same shape or nearly so.
std::vector<std::pair<std::string, std::function<NamedTensors(const Model&)>>> requests() {
  std::vector<std::pair<std::string, std::function<NamedTensors(const Model&)>>> all;
  const auto add = [&](const std::string& name, const auto& method, const Request& r) {
    all.emplace_back(name, [=](const Model& m) {
      const Attribution a = attribute(m, method, r);
      NamedTensors out = a.attributions;
      out["values"] = Tensor::from<double>({static_cast<std::int64_t>(a.values.size())}, std::span(a.values));
      return out;
    });
  };
  const Request plain = request(1, 5, output(1));
  const auto changed = [&](auto&& change) {
    Request r = plain;
    change(r);
    return r;
  };
  Scalar mask, log_probability = output(1);
  mask.terms.push_back(Term{.value = "r", .mask = wave({8, 16, 16}, 4)});
  log_probability.terms[0].log_probability = true;
  const std::vector<std::pair<std::string, Request>> kinds{
      {"plain", plain},
      {"contents", request(1, 6, output(1))},
      {"target", request(1, 5, output(2))},
      {"difference", request(1, 5, output(1) - output(3))},
      {"mask", request(1, 5, mask)},
      {"log probability", request(1, 5, log_probability)},
      {"two scalars", changed([](Request& r) { r.to.push_back(output(4)); })},
      {"two examples", request(2, 5, output(1))},
      {"per example", request(2, 5, output_per_example({1, 3}))},
      {"from a layer", changed([](Request& r) { r.from = {"r"}; })},
      {"from another", changed([](Request& r) { r.from = {"d"}; })},
      {"to a layer", request(1, 5, scalar_of("d", {2, 3, 4}))},
      {"float64", changed([](Request& r) { r.compute.precision = Precision::kFloat64; })},
      {"one row", changed([](Request& r) { r.compute.chunk = 1; })},
      {"three rows", changed([](Request& r) { r.compute.chunk = 3; })},
      {"memory", changed([](Request& r) { r.compute.memory_bytes = std::size_t{1} << 20; })},
  };
  for (const auto& [name, r] : kinds) {
    add("saliency " + name, Saliency{}, r);
    if (name == "mask" || name == "from another") continue;
    add("path " + name, IntegratedGradients{.n_steps = 6}, r);
  }
  add("signed", Saliency{.abs = false}, plain);
  add("times", InputXGradient{}, plain);
  add("guided", GuidedBackprop{}, plain);
  add("deconvolution", Deconvolution{}, plain);
  add("steps", IntegratedGradients{.n_steps = 7}, plain);
  add("rule", IntegratedGradients{.n_steps = 6, .method = "riemann_left"}, plain);
  add("mean", IntegratedGradients{.n_steps = 6, .multiply_by_inputs = false}, plain);
  add("baseline", IntegratedGradients{.n_steps = 6, .baselines = {.constant = 0.5}}, plain);
  add("windows", Occlusion{.sliding_window_shapes = {{3, 4, 4}}, .strides = {{3, 4, 4}}}, plain);
  add("other windows", Occlusion{.sliding_window_shapes = {{3, 4, 4}}, .strides = {{3, 2, 4}}}, plain);
  all.emplace_back("evaluate", [=](const Model& m) { return evaluate(m, plain.inputs).values; });
  all.emplace_back("evaluate a layer", [=](const Model& m) { return evaluate(m, plain.inputs, {"d"}).values; });
  all.emplace_back("run", [=](const Model& m) { return run(m, plain.inputs); });
  return all;
}

void expect_same(const NamedTensors& got, const NamedTensors& want, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (const auto& [name, t] : want) EXPECT_TRUE(got.at(name).same_bits(t)) << what << ": " << name;
}

TEST(RepeatedRequest, IsNeverAnsweredByAnother) {
  const Counting device;
  const Model host = net_on(cpu_backend());
  const auto all = requests();
  for (const Model& warm : {host, device.model}) {
    std::vector<NamedTensors> fresh;
    for (const auto& [name, ask] : all) fresh.push_back(ask(net_on(warm.backend())));
    const auto expect = [&](std::size_t i) { expect_same(all[i].second(warm), fresh[i], all[i].first); };
    // Each one anew, again, and after its neighbour, whose plans are ready as well.
    for (std::size_t i = 0; i < all.size(); ++i) {
      expect(i);
      expect(i);
      if (i > 0) expect(i - 1);
    }
    const int threads = max_threads();
    for (std::size_t i = 0; i < all.size(); i += 4) {
      for (const int t : {1, 3, threads}) {
        set_max_threads(t);
        expect(i);
      }
    }
    EXPECT_GT(warm.idle_bytes(), 0u);
    warm.release_idle();
    EXPECT_EQ(warm.idle_bytes(), 0u);
    expect(0);
  }
}

TEST(RepeatedRequest, ThreadsShareNoRun) {
  const Counting c;
  const auto ask = [&](double phase) {
    return attribute(c.model, Saliency{}, request(1, phase, output(1), {.precision = Precision::kFloat64}))
        .attributions.at("x");
  };
  std::vector<Tensor> want(4);
  for (std::size_t t = 0; t < want.size(); ++t) want[t] = ask(static_cast<double>(t));
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (std::size_t t = 0; t < want.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int time = 0; time < 20; ++time) wrong += !ask(static_cast<double>(t)).same_bits(want[t]);
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

TEST(RepeatedRequest, HoldsNoMoreThanTheBudget) {
  const Counting c;
  for (const std::size_t budget : {std::size_t{1} << 22, std::size_t{1} << 21, std::size_t{1} << 20}) {
    (void)attribute(c.model, IntegratedGradients{.n_steps = 40}, request(1, 5, output(1), {.memory_bytes = budget}));
    EXPECT_LE(c.model.idle_bytes(), budget);
  }
}

TEST(RepeatedRequest, IdleMemoryIsGivenToWhoNeedsIt) {
  const Counting c;
  const Model other = net_on(c.backend);
  const auto path = [](const Model& m) {
    return attribute(m, IntegratedGradients{.n_steps = 40}, request(1, 5, output(1)));
  };
  const Attribution want = path(c.model);
  const std::size_t idle = c.model.idle_bytes();
  EXPECT_GT(idle, 0u);
  // No room for both: the first model lets go of what it does not use.
  c.device->free = idle + idle / 2;
  const Attribution got = path(other);
  EXPECT_EQ(got.report.chunk, want.report.chunk);
  EXPECT_TRUE(got.attributions.at("x").same_bits(want.attributions.at("x")));
  EXPECT_EQ(c.model.idle_bytes(), 0u);
}

TEST(RepeatedRequest, AFailedRunIsNotUsedAgain) {
  const Counting c;
  const auto ask = [&] { return attribute(c.model, Saliency{}, request(1, 5, output(1))); };
  const Tensor want = ask().attributions.at("x");
  c.device->lost = true;
  EXPECT_EQ(thrown_by([&] { (void)ask(); }).kind, ErrorKind::kUnsupported);
  EXPECT_EQ(c.model.idle_bytes(), 0u);
  c.device->lost = false;
  EXPECT_TRUE(ask().attributions.at("x").same_bits(want));
}

}  // namespace
}  // namespace onnxray
