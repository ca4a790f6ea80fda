// Noise tunnel: any method averaged over noisy copies of the input, a_s = method(x + n_s), n_s ~ N(0, stdevs^2).
//   smoothgrad     mean of a_s. Smilkov, Thorat, Kim, Viegas, Wattenberg, "SmoothGrad", 2017.
//   smoothgrad_sq  mean of a_s^2. Hooker, Erhan, Kindermans, Kim, "A Benchmark for Interpretability Methods", 2019.
//   vargrad        mean of a_s^2 - (mean of a_s)^2. Adebayo, Gilmer, Goodfellow, Kim, "Local Explanation Methods for
//                  Deep Neural Networks Lack Sensitivity to Parameter Values", 2018.
// Noise is added to the inputs that `vary` names, else to those that `from` names, else to every float input. Draws
// (algorithms/random.h): random_normal(kTunnel + i) on the i-th of them, keyed by (seed, example, sample).
#pragma once
#include "algorithms/attribution.h"
#include "algorithms/method_of.h"

namespace onnxray {

// A registered method with its options, copied by value.
class InnerMethod {
 public:
  explicit InnerMethod(const std::string& name);  // with its default options
  // InnerMethod(IntegratedGradients{.n_steps = 20})
  template <class Options>
  requires requires(Options o, OptionVisitor& v) { o.visit(v); }
  explicit InnerMethod(Options options) : InnerMethod(std::make_unique<MethodOf<Options>>(std::move(options))) {}
  InnerMethod(const InnerMethod& other) : info_(other.info_), method_(other.method_->clone()) {}
  InnerMethod(InnerMethod&&) = default;
  InnerMethod& operator=(InnerMethod other) {
    info_ = other.info_;
    method_ = std::move(other.method_);
    return *this;
  }
  ~InnerMethod() = default;

  [[nodiscard]] const MethodInfo& info() const { return *info_; }
  [[nodiscard]] Method& method() { return *method_; }
  [[nodiscard]] const Method& method() const { return *method_; }

 private:
  explicit InnerMethod(std::unique_ptr<Method> method);

  const MethodInfo* info_;
  std::unique_ptr<Method> method_;
};

struct NoiseTunnel {
  InnerMethod inner{"saliency"};
  std::string nt_type = "smoothgrad";
  std::int64_t nt_samples = 5;
  std::vector<double> stdevs = {1.0};
  // Its own options, then those of the inner method, which change with `inner`. An inner option of the same name as one
  // of these is called inner_NAME.
  void visit(OptionVisitor& v);
};

Attribution run_method(const Model& model, const NoiseTunnel& options, const Request& request);

}  // namespace onnxray
