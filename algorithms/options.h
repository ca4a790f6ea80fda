// Options of methods are plain aggregates with one `visit` each; from it come command-line flags, JSON, bindings and
// documentation. A visitor gets (name, field, description, range) for every option in order.
#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "algorithms/feature_mask.h"
#include "engine/model.h"

namespace onnxray {

struct OptionInfo {
  const char* name;         // snake_case, as in Captum or the paper
  const char* description;  // one line: meaning and unit
  double lo = -std::numeric_limits<double>::infinity(), hi = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices = {};
};

// The option's flag without dashes, still in snake_case. Captum calls the rule on a path `method`; on the command line
// --method chooses the attribution method.
[[nodiscard]] inline std::string flag_name(const OptionInfo& info) {
  const std::string name = info.name;
  return name == "method" ? "quadrature" : name;
}

// What replaces the input where a method needs an absence: a number, "blur", or tensors by value name.
struct Baselines {
  enum class Kind { kConstant, kBlur, kTensors } kind = Kind::kConstant;
  double constant = 0;
  double blur_sigma = 0;      // pixels; 0: a tenth of the longer side
  NamedTensors tensors = {};  // rows first: [1 or examples, ...]; where a method draws from a sample: [any number, ...]
  std::string text = "0";     // as the user wrote it
};

class OptionVisitor {
 public:
  virtual ~OptionVisitor() = default;
  virtual void operator()(const OptionInfo& info, bool& field) = 0;
  virtual void operator()(const OptionInfo& info, std::int64_t& field) = 0;
  virtual void operator()(const OptionInfo& info, double& field) = 0;
  virtual void operator()(const OptionInfo& info, std::string& field) = 0;
  virtual void operator()(const OptionInfo& info,
                          std::vector<std::vector<std::int64_t>>& field) = 0;       // one list per value
  virtual void operator()(const OptionInfo& info, std::vector<double>& field) = 0;  // one for all values, or one each
  virtual void operator()(const OptionInfo& info, Baselines& field) = 0;
  virtual void operator()(const OptionInfo& info, FeatureMask& field) = 0;
};

}  // namespace onnxray
