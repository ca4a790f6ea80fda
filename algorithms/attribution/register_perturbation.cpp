// Methods that replace parts of the input and watch the scalar.
#include "algorithms/attribution/feature_ablation.h"
#include "algorithms/attribution/hsic_attribution.h"
#include "algorithms/attribution/kernel_shap.h"
#include "algorithms/attribution/lime.h"
#include "algorithms/attribution/occlusion.h"
#include "algorithms/attribution/rise.h"
#include "algorithms/attribution/shapley.h"
#include "algorithms/attribution/sobol_attribution.h"
#include "algorithms/method_of.h"

namespace onnxray {
namespace {

constexpr const char* kAnyDtype = "any value";  // inputs and layers, of integers too

}  // namespace

template Attribution attribute(const Model&, const Occlusion&, const Request&);
template Attribution attribute(const Model&, const FeatureAblation&, const Request&);
template Attribution attribute(const Model&, const FeaturePermutation&, const Request&);
template Attribution attribute(const Model&, const ShapleyValueSampling&, const Request&);
template Attribution attribute(const Model&, const ShapleyValues&, const Request&);
template Attribution attribute(const Model&, const Lime&, const Request&);
template Attribution attribute(const Model&, const KernelShap&, const Request&);
template Attribution attribute(const Model&, const Rise&, const Request&);
template Attribution attribute(const Model&, const HsicAttribution&, const Request&);
template Attribution attribute(const Model&, const SobolAttribution&, const Request&);

void add_perturbation_methods(std::vector<MethodInfo>& list) {
  list.push_back({.name = "occlusion",
                  .title = "Occlusion",
                  .paper = "Zeiler, Fergus, Visualizing and Understanding Convolutional Networks, 2013",
                  .formula = "mean over windows of F(x) - F(x with window := baseline)",
                  .needs_baseline = true,
                  .from = "inputs, layers",
                  .to = "any scalar",
                  .make = make_method<Occlusion>,
                  .cost = "windows + 1",
                  .captum = {{"Occlusion", ""}}});
  list.push_back({.name = "feature-ablation",
                  .title = "Feature Ablation",
                  .paper = "Zeiler, Fergus, Visualizing and Understanding Convolutional Networks, 2013",
                  .formula = "F(x) - F(x with feature := baseline)",
                  .needs_baseline = true,
                  .from = kAnyDtype,
                  .to = "any scalar",
                  .make = make_method<FeatureAblation>,
                  .cost = "features + 1",
                  .captum = {{"FeatureAblation", ""},
                             {"LayerFeatureAblation", "--from LAYER"},
                             {"NeuronFeatureAblation", "--to LAYER:INDEX"},
                             {"DataLoaderAttribution", "-i of the whole data set"}},
                  .differs_from_captum =
                      "What lies before --from runs once per example instead of once per feature. A scalar of a whole "
                      "batch is explained by a model whose batch is one row. A data set is attributed example by "
                      "example (DataLoaderAttribution's "
                      "default), not against a metric of all its outputs."});
  list.push_back({.name = "feature-permutation",
                  .title = "Feature Permutation",
                  .paper = "Breiman, Random Forests, 2001",
                  .formula = "mean over permutations of F(x) - F(x with feature := another example's)",
                  .stochastic = true,
                  .mixes_examples = true,
                  .from = kAnyDtype,
                  .to = "any scalar",
                  .make = make_method<FeaturePermutation>,
                  .cost = "n_samples * features + 1",
                  .captum = {{"FeaturePermutation", ""}, {"LayerFeaturePermutation", "--from LAYER"}},
                  .differs_from_captum =
                      "A feature that spans several values moves by one permutation; Captum draws one per value. No "
                      "example keeps its own feature. Layers take a target (Captum raises an error)."});
  list.push_back(
      {.name = "shapley-value-sampling",
       .title = "Shapley Value Sampling",
       .paper = "Castro, Gomez, Tejada, Polynomial Calculation of the Shapley Value Based on Sampling, 2009",
       .formula = "mean over random orders of v(predecessors and f) - v(predecessors)",
       .needs_baseline = true,
       .stochastic = true,
       .completeness = true,
       .from = kAnyDtype,
       .to = "any scalar",
       .make = make_method<ShapleyValueSampling>,
       .cost = "at most n_samples * (features - 1) + 2",
       .captum = {{"ShapleyValueSampling", ""}},
       .differs_from_captum =
           "Every second order is the reverse of the one before it (--antithetic false: none is). Coalitions "
           "that orders share are evaluated once."});
  list.push_back({.name = "shapley-values",
                  .title = "Shapley Values",
                  .paper = "Shapley, A Value for n-Person Games, 1953",
                  .formula = "sum over S without f of |S|! (F - |S| - 1)! / F! (v(S and f) - v(S))",
                  .needs_baseline = true,
                  .completeness = true,
                  .from = kAnyDtype,
                  .to = "any scalar",
                  .make = make_method<ShapleyValues>,
                  .cost = "2^features",
                  .captum = {{"ShapleyValues", ""}},
                  .differs_from_captum = "2^F evaluations where Captum makes F * F!; the values are the same."});
  list.push_back({.name = "lime",
                  .title = "LIME",
                  .paper = "Ribeiro, Singh, Guestrin, Why Should I Trust You?, 2016",
                  .formula = "coefficients of a weighted sparse linear model of v(S) on the members of random S",
                  .needs_baseline = true,
                  .stochastic = true,
                  .from = kAnyDtype,
                  .to = "any scalar",
                  .make = make_method<Lime>,
                  .zero_for_ignored = false,
                  .cost = "at most n_samples + 1",
                  .captum = {{"Lime", ""}, {"LimeBase", "the built-in kernels and linear models"}},
                  .differs_from_captum = "All samples of all examples share batches; the fits are our own, with "
                                         "scikit-learn's objectives. Arbitrary perturbation functions of LimeBase are "
                                         "not offered."});
  list.push_back(
      {.name = "kernel-shap",
       .title = "Kernel SHAP",
       .paper = "Lundberg, Lee, A Unified Approach to Interpreting Model Predictions, 2017",
       .formula = "argmin over phi of sum over sampled S of (v(S) - v(none) - phi(S))^2, sum(phi) = v(all) - v(none)",
       .needs_baseline = true,
       .stochastic = true,
       .completeness = true,
       .from = kAnyDtype,
       .to = "any scalar",
       .make = make_method<KernelShap>,
       .zero_for_ignored = false,
       .cost = "at most min(n_samples, 2^features)",
       .captum = {{"KernelShap", ""}},
       .differs_from_captum =
           "The sum is a constraint, not a sample of weight 10^6. Coalitions come in complementary pairs "
           "(--paired false: independent). With n_samples of at least 2^features the values are exact. One "
           "feature is allowed."});
  list.push_back(
      {.name = "rise",
       .title = "RISE",
       .paper = "Petsiuk, Das, Saenko, RISE: Randomized Input Sampling for Explanation of Black-box Models, 2018",
       .formula = "1 / (n p) sum over random smooth masks M of F(M x + (1 - M) baseline) M",
       .needs_baseline = true,
       .stochastic = true,
       .has_offset = true,
       .from = "inputs, layers",
       .to = "any scalar",
       .make = make_method<Rise>,
       .zero_for_ignored = false,
       .cost = "n_samples + 1"});
  list.push_back({.name = "hsic-attribution",
                  .title = "HSIC Attribution",
                  .paper = "Novello, Fel, Vigouroux, Making Sense of Dependence, 2022",
                  .formula = "HSIC(presence of a region, F) = trace(K H L H) / (n - 1)^2",
                  .needs_baseline = true,
                  .stochastic = true,
                  .from = kAnyDtype,
                  .to = "any scalar",
                  .make = make_method<HsicAttribution>,
                  .zero_for_ignored = false,
                  .cost = "at most n_samples + 1"});
  list.push_back(
      {.name = "sobol-attribution",
       .title = "Sobol Attribution",
       .paper = "Fel, Cadene, Chalvidal, Cord, Vigouroux, Serre, Look at the Variance!, 2021",
       .formula =
           "total Sobol index of a region's blending with the baseline: 1 / (2 n Var) sum (v(A) - v(A with B_f))^2",
       .needs_baseline = true,
       .stochastic = true,
       .from = "inputs, layers",
       .to = "any scalar",
       .make = make_method<SobolAttribution>,
       .cost = "n_samples * (features + 1) + 1"});
}

}  // namespace onnxray
