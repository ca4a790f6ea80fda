// Shared by the tests that run over every registered method: the models they run on, options that keep rows few.
#pragma once
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/algorithms/support.h"

namespace onnxray::testing {

inline constexpr std::int64_t kExamples = 3;

// A model with three examples, a scalar and what to attribute to.
struct Subject {
  std::string name;
  Model model;
  NamedTensors inputs;  // three examples
  Scalar to;
  std::vector<std::string> from;
  bool mixed = false;
};

// A scalar as the command line spells it.
Scalar parsed(const Model& model, const NamedTensors& inputs, const std::string& text);
// A folder of tests/golden/exports; `inner`: attribute to the first inner value it has gradients of.
Subject exported(const std::string& name, bool inner = false);
// Models of every kind, loaded once: models are immutable.
const std::vector<Subject>& subjects();

// Methods share the engine: three of them, a plain gradient, a path and masks, run on every subject; the others on one
// of each kind.
bool runs_on(const MethodInfo& info, const Subject& s);
// What a method cannot be asked here: blurs need images, noise an input that is no integer.
bool applies(const MethodInfo& info, const Subject& s);

// Leaves every option as it is; visitors override what they set.
class LeaveOptions : public OptionVisitor {
 public:
  void operator()(const OptionInfo&, bool&) override {}
  void operator()(const OptionInfo&, std::int64_t&) override {}
  void operator()(const OptionInfo&, double&) override {}
  void operator()(const OptionInfo&, std::string&) override {}
  void operator()(const OptionInfo&, std::vector<std::vector<std::int64_t>>&) override {}
  void operator()(const OptionInfo&, std::vector<double>&) override {}
  void operator()(const OptionInfo&, Baselines&) override {}
  void operator()(const OptionInfo&, FeatureMask&) override {}
};

// Runs a method with few rows (five steps, windows of half an axis) on all examples, or on one alone.
Attribution run_small(const MethodInfo& info, const Subject& s, const ComputeOptions& compute,
                      std::int64_t example = -1);
// The method with those options.
std::unique_ptr<Method> small_method(const MethodInfo& info, const Subject& s, const Request& request);

// Names of the registered methods, and as the name of a test.
std::vector<std::string> method_names();
std::string test_name(const ::testing::TestParamInfo<std::string>& p);

}  // namespace onnxray::testing
