#include "algorithms/attribution/rules/guided.h"

#include <algorithm>

#include "algorithms/attribution/backward_pass.h"
#include "engine/builder.h"

namespace onnxray {
namespace {

bool is_relu(const Graph&, const Node& node) {
  return node.op->name == "relu" || (node.op->name == "clip" && node.attrs.real("min", -1) == 0);
}

Attribution rectified(const Model& model, const Request& request, const char* name, bool guided) {
  RuleSet set;
  set.rules.push_back({name, is_relu, [guided](RuleCtx& c) {
                         const ValueId positive = c.b.op("relu", {c.dy()});
                         c.set(0, guided ? c.vjp(positive)[0] : positive);
                       }});
  const auto check = [name](Session& session) {
    const Graph& g = session.suffix();
    const bool any = std::any_of(g.nodes().begin(), g.nodes().end(), [&](const Node& n) { return is_relu(g, n); });
    if (!any) session.notice(std::string("no ReLU lies before the target: ") + name + " is the plain gradient");
  };
  return run_backward_pass(
      model, request,
      {.phase = name, .key = name, .rules = std::make_shared<const RuleSet>(std::move(set)), .check = check});
}

}  // namespace

Attribution run_method(const Model& model, const GuidedBackprop&, const Request& request) {
  return rectified(model, request, "guided-backprop", true);
}

Attribution run_method(const Model& model, const Deconvolution&, const Request& request) {
  return rectified(model, request, "deconvolution", false);
}

}  // namespace onnxray
