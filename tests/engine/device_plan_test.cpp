// Plans on a device, with one whose memory is the host's but lies apart from every Tensor.
#include <gtest/gtest.h>

#include <cstring>

#include "engine/builder.h"
#include "engine/plan.h"
#include "kernels/cpu/cpu.h"

namespace onnxray::testing {
namespace {

class CopyDevice : public Device {
 public:
  [[nodiscard]] const std::string& description() const override { return name_; }
  [[nodiscard]] std::size_t total_bytes() const override { return limit; }
  [[nodiscard]] int processors() const override { return 1; }
  [[nodiscard]] std::shared_ptr<void> take(std::size_t bytes) const override {
    if (bytes > limit) {
      throw Error(ErrorKind::kOutOfMemory, detail::concat("copy:0: ", bytes, " bytes asked, ", limit, " free"));
    }
    ++allocations;
    return std::shared_ptr<std::byte[]>(new std::byte[bytes + 1]);
  }
  [[nodiscard]] std::shared_ptr<void> create_stream() const override { return std::make_shared<int>(0); }
  void upload(void* to, const void* from, std::size_t bytes, Stream) const override {
    ++uploads;
    std::memcpy(to, from, bytes);
  }
  void download(void* to, const void* from, std::size_t bytes, Stream) const override { std::memcpy(to, from, bytes); }
  void zero(void* p, std::size_t bytes, Stream) const override { std::memset(p, 0, bytes); }
  void synchronise(Stream) const override {}
  [[nodiscard]] std::function<void(Stream)> record(Stream, const std::function<void()>& queue) const override {
    ++recordings;
    return [queue](Stream) { queue(); };
  }

  std::size_t limit = std::size_t{1} << 30;
  mutable int allocations = 0, uploads = 0, recordings = 0;

 private:
  std::string name_ = "copy:0";
};

struct CopyBackend {
  std::shared_ptr<CopyDevice> device = std::make_shared<CopyDevice>();
  Backend backend{"copy"};

  explicit CopyBackend(std::initializer_list<const char*> ops) {
    backend.device = device;
    backend.fallback = &cpu_backend();
    for (const char* name : ops) backend.add(name, cpu_backend().find(name));
  }
};

// y = sin(x) * c + x, with c constant.
struct Net {
  Graph g;
  Tensor c = Tensor::from<double>({3}, {2, 3, 4}), x = Tensor::from<double>({3}, {0.5, -1, 2});
  Net() {
    Builder b(g);
    const ValueId in = g.add_input("x", DType::f64, {3});
    b.context = "wave (Sin)";
    const ValueId s = b.op("sin", {in});
    g.set_outputs({b.add(b.mul(s, b.constant(c)), in)});
  }
};

Tensor run_once(const Graph& g, const Backend& backend, const Tensor& x) {
  PlanRun run(Plan::compile(g, backend, nullptr));
  run.bind(0, x);
  run.execute();
  return run.output(0);
}

TEST(DevicePlan, GivesTheHostsValues) {
  const Net net;
  const Tensor want = run_once(net.g, cpu_backend(), net.x);
  const CopyBackend all({"sin", "mul", "add"});
  EXPECT_TRUE(run_once(net.g, all.backend, net.x).same_bits(want));
  // Every op on the host, between copies.
  const CopyBackend none({});
  EXPECT_TRUE(run_once(net.g, none.backend, net.x).same_bits(want));
}

TEST(DevicePlan, NamesNodesThatFallBack) {
  const Net net;
  const CopyBackend most({"mul", "add"});
  EXPECT_EQ(Plan::compile(net.g, most.backend, nullptr)->fallbacks(), std::vector<std::string>{"wave (Sin): sin"});
  const CopyBackend all({"sin", "mul", "add"});
  EXPECT_TRUE(Plan::compile(net.g, all.backend, nullptr)->fallbacks().empty());
}

TEST(DevicePlan, UploadsConstantsOncePerModel) {
  const Net net;
  const CopyBackend all({"sin", "mul", "add"});
  const auto prepared = std::make_shared<PreparedConstants>();
  const auto first = Plan::compile(net.g, all.backend, prepared);
  EXPECT_EQ(all.device->uploads, 1);
  const auto second = Plan::compile(net.g, all.backend, prepared);
  EXPECT_EQ(all.device->uploads, 1);
}

TEST(DevicePlan, RecordsOnceAndReadsWhatIsBound) {
  const Net net;
  const CopyBackend all({"sin", "mul", "add"});
  PlanRun run(Plan::compile(net.g, all.backend, nullptr));
  for (int time = 0; time < 4; ++time) {
    const Tensor x = Tensor::full(DType::f64, {3}, 0.1 * time);
    run.bind(0, x);
    run.execute();
    EXPECT_TRUE(run.output(0).same_bits(run_once(net.g, cpu_backend(), x)));
  }
  EXPECT_EQ(all.device->recordings, 1);
  // A step on the host cannot be recorded.
  const CopyBackend most({"mul", "add"});
  PlanRun mixed(Plan::compile(net.g, most.backend, nullptr));
  mixed.bind(0, net.x);
  for (int time = 0; time < 3; ++time) mixed.execute();
  EXPECT_EQ(most.device->recordings, 0);
}

// state += weight * rows, twice; the state stays on the device until it is read back.
void expect_state(const CopyBackend& on) {
  Graph g;
  Builder b(g);
  const ValueId state = g.add_input("state", DType::f64, {2, 1}), rows = g.add_input("rows", DType::f64, {3, 1});
  const ValueId weight = g.add_input("weight", DType::f64, {3}), index = g.add_input("index", DType::i64, {3});
  g.set_outputs({b.op("fold_rows", {state, rows, weight, index})});
  PlanRun run(Plan::compile(g, on.backend, nullptr));
  const Tensor sums = Tensor::zeros(DType::f64, {2, 1});
  run.bind(0, sums);
  run.bind(1, Tensor::from<double>({3, 1}, {1, 2, 3}));
  run.bind(2, Tensor::from<double>({3}, {1, 1, 10}));
  const std::vector<std::int64_t> to{0, 1, 1};
  run.bind(3, Tensor::ints(to));
  run.execute();
  run.execute();
  EXPECT_EQ(sums.to_doubles(), (std::vector<double>{0, 0}));
  EXPECT_EQ(run.state(0).to_doubles(), (std::vector<double>{2, 64}));
  run.bind_zeros(0);
  EXPECT_EQ(run.state(0).to_doubles(), (std::vector<double>{0, 0}));
  run.execute();
  EXPECT_EQ(run.state(0).to_doubles(), (std::vector<double>{1, 32}));
}

TEST(DevicePlan, StatesAreReadBack) {
  expect_state(CopyBackend({"fold_rows"}));
  expect_state(CopyBackend({}));
}

TEST(DevicePlan, ReportsFaultsAndOutOfMemory) {
  Graph g;
  Builder b(g);
  b.context = "pick (Gather)";
  const ValueId x = g.add_input("x", DType::f64, {3}), i = g.add_input("i", DType::i64, {1});
  g.set_outputs({b.op("gather_rows", {x, i}, {{"axis", std::int64_t{0}}})});
  CopyBackend faulty({});
  faulty.backend.add("gather_rows", [](const PrepareCtx&) -> Step {
    return {[](const RunArgs& a) {
      if (a.fault->step == 0) *a.fault = {a.step, 0, static_cast<const std::int64_t*>(a.in[1])[0]};
    }};
  });
  PlanRun run(Plan::compile(g, faulty.backend, nullptr));
  run.bind(0, Tensor::zeros(DType::f64, {3}));
  run.bind(1, Tensor::from<std::int64_t>({1}, {7}));
  run.execute();
  try {
    (void)run.output(0);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "node pick (Gather): gather_rows: index 7 is out of range");
  }

  const Net net;
  const CopyBackend small({"sin", "mul", "add"});
  small.device->limit = 8;
  try {
    (void)run_once(net.g, small.backend, net.x);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kOutOfMemory);
  }
}

}  // namespace
}  // namespace onnxray::testing
