// What attribution methods give back, and the base that the registry stores them as.
//
//   auto map = attribute(model, IntegratedGradients{.n_steps = 50}, {.inputs = {{"x", image}}, .to = {output(281)}});
//   map.attributions.at("x");  map.delta;
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "algorithms/options.h"
#include "algorithms/request.h"

namespace onnxray {

struct Attribution {
  // By value name: [examples * scalars, one row's dims...] in float64, scalars innermost (one scalar: [examples, ...]).
  // Class activation maps (MethodInfo::is_map): [examples * scalars, 1, positions of the layer...].
  NamedTensors attributions;
  std::vector<double> values;           // the scalar at the input, per example and scalar
  std::vector<double> baseline_values;  // the scalar at the baseline, where the method has one
  // Completeness error per example and scalar, sum(attributions) - (F(x) - F(x')), for relevance sum - F(x); empty
  // where none is claimed.
  std::vector<double> delta;
  // Relevance (MethodInfo::conserves), where there is a delta: what biases and other constants of the model took, per
  // example and scalar. What is left of -delta went into stabilisers.
  std::vector<double> absorbed;
  ComputeReport report;
};

// Which example of a request that had to be split is being run; of none when the request runs as a whole.
struct Split {
  std::int64_t example = 0, examples = 0;
};

// A method with its options, as the registry, the command line and the bindings handle it.
class Method {
 public:
  virtual ~Method() = default;
  virtual void visit_options(OptionVisitor& visitor) = 0;
  [[nodiscard]] virtual Attribution run(const Model& model, const Request& request) const = 0;
  [[nodiscard]] virtual std::unique_ptr<Method> clone() const = 0;
};

// A class of captum.attr and what makes it of this method; empty: the method as it stands.
struct CaptumClass {
  std::string name;       // "LayerIntegratedGradients"
  std::string arguments;  // "--from LAYER"
};

struct MethodInfo {
  std::string name;     // kebab case, as on the command line
  std::string title;    // "Integrated Gradients"
  std::string paper;    // authors, title, year
  std::string formula;  // one line of plain text
  bool needs_baseline = false;
  bool stochastic = false;
  bool completeness = false;     // claims sum(attributions) = F(x) - F(x')
  bool conserves = false;        // relevance: sum(attributions) = F(x) but for a share that delta says
  bool mixes_examples = false;   // an example's result depends on the others
  bool explains_scalar = true;   // false: `to` is not needed
  bool baseline_sample = false;  // baselines are a sample to draw from, any number of rows
  bool is_map = false;           // the result is a map [rows, 1, positions...] of a layer, not of the layer's shape
  bool has_offset = false;       // a constant is added to what the elements say: only differences mean something
  std::string from, to;          // what is supported
  std::unique_ptr<Method> (*make)() = nullptr;
  bool zero_for_ignored = true;  // what the model ignores gets exactly 0
  // For the documentation; each may be left out.
  std::string cost;                 // rows pushed through the model per example, e.g. "n_steps + 2"
  std::vector<CaptumClass> captum;  // the classes of captum.attr that this method covers
  std::string differs_from_captum;  // where and why on purpose, as sentences
};

// All methods, in the order of the documentation.
[[nodiscard]] const std::vector<MethodInfo>& methods();
// Throws kBadInput listing the known names.
[[nodiscard]] const MethodInfo& method(const std::string& name);

// Checks the options' ranges and runs the method; a request whose rows mix is split into single examples.
template <class Options>
[[nodiscard]] Attribution attribute(const Model& model, const Options& options, const Request& request);

// Runs `one` on the whole request, or example by example when rows cannot be batched, and joins the results.
// `any_dtype` as in Session.
[[nodiscard]] Attribution run_by_rows(const Model& model, const Request& request,
                                      const std::function<Attribution(const Request&, const Split&)>& one,
                                      bool any_dtype = false);
// Runs `one` for every scalar alone, for methods whose rows depend on the scalar, and joins the results.
[[nodiscard]] Attribution run_by_scalars(const Request& request, const std::function<Attribution(const Request&)>& one);
// Adds the rows and seconds of another part of the same request, its notices if they are new.
void append_report(ComputeReport& all, const ComputeReport& part);
// Throws kBadInput naming an option that is out of range.
void check_options(Method& method);

}  // namespace onnxray
