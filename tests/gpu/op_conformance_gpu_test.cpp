// The op conformance loop on a CUDA device. Without one every test is skipped, and says why; with
// ONNXRAY_REQUIRE_DEVICE set it fails.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "api/device.h"
#include "tests/ops/check.h"

namespace onnxray::testing {
namespace {

// Null, and why, where there is no device.
const Backend* device(std::string& why) {
  try {
    return &device_backend("cuda");
  } catch (const Error& e) {
    why = e.what();
    return nullptr;
  }
}

class OpOnDevice : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    std::string why;
    backend_ = device(why);
    if (backend_ == nullptr && std::getenv("ONNXRAY_REQUIRE_DEVICE") != nullptr) FAIL() << why;
    if (backend_ == nullptr) GTEST_SKIP() << why;
    if (backend_->find(GetParam()) == nullptr) GTEST_SKIP() << "no CUDA kernel: the host computes it";
  }
  void expect_none(Failures (*check)(const Subject&)) {
    const auto found =
        std::find_if(all_cases().begin(), all_cases().end(), [&](const OpCase& c) { return c.op == GetParam(); });
    const Failures failures = check({op(GetParam()), *found, *backend_});
    for (std::size_t i = 0; i < std::min<std::size_t>(8, failures.size()); ++i) ADD_FAILURE() << failures[i];
    EXPECT_TRUE(failures.empty()) << failures.size() << " in all";
  }
  const Backend* backend_ = nullptr;
};

TEST_P(OpOnDevice, Reference) { expect_none(check_reference); }
TEST_P(OpOnDevice, Plan) { expect_none(check_plan); }
TEST_P(OpOnDevice, Rows) { expect_none(check_rows); }

INSTANTIATE_TEST_SUITE_P(Ops, OpOnDevice, ::testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const OpDef& def : ops().all()) names.push_back(def.name);
                           return names;
                         }()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace onnxray::testing
