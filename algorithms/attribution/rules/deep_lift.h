// DeepLIFT and DeepLIFT SHAP.
#pragma once
#include "algorithms/attribution.h"

namespace onnxray {

// The options that both have but for the baselines.
template <class Options>
void visit_multipliers(OptionVisitor& v, Options& o) {
  v({.name = "rule", .description = "for nonlinearities", .choices = {"rescale", "reveal-cancel"}}, o.rule);
  v({.name = "multiply_by_inputs", .description = "multiply by x - baseline; false: the multipliers themselves"},
    o.multiply_by_inputs);
  v({.name = "eps",
     .description = "differences below this take the gradient at functions with a kink",
     .lo = 0,
     .hi = 1},
    o.eps);
}

// m_i (x_i - x'_i), with multipliers m that replace the gradient: at every nonlinearity the slope between the
// baseline's value and the actual one. Complete: the attributions sum to F(x) - F(x'). Every operator with a gradient
// that the models of the field use has an exact rule (algorithms/attribution/rules/deep_lift_rules.h): products by the
// mean of both passes, softmax and normalisations by their primitives, maxima by the place that moved.
//   Shrikumar, Greenside, Kundaje, "Learning Important Features Through Propagating Activation Differences", ICML 2017.
// `from` an inner value reads m (v - v') there; what varies are the inputs. Integer inputs (token ids) stay as they are
// unless a baseline is given for them; in a model that has nothing else, the baseline takes the place of `from`.
struct DeepLift {
  std::string rule = "rescale";
  bool multiply_by_inputs = true;
  double eps = 1e-10;
  Baselines baselines;
  void visit(OptionVisitor& v) {
    visit_multipliers(v, *this);
    v({.name = "baselines", .description = "the reference: a number, blur, or a file"}, baselines);
  }
};

// The mean of DeepLift over a set of baselines, an approximation of SHAP values.
//   Lundberg, Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017.
struct DeepLiftShap {
  std::string rule = "rescale";
  bool multiply_by_inputs = true;
  double eps = 1e-10;
  Baselines baselines;  // tensors hold one baseline a row, any number of them
  void visit(OptionVisitor& v) {
    visit_multipliers(v, *this);
    v({.name = "baselines", .description = "the references, one a row: a number, blur, or a file"}, baselines);
  }
};

Attribution run_method(const Model& model, const DeepLift& options, const Request& request);
Attribution run_method(const Model& model, const DeepLiftShap& options, const Request& request);

}  // namespace onnxray
