#include "algorithms/attribution/lrp/lrp.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "algorithms/attribution/backward_pass.h"
#include "algorithms/attribution/lrp/lrp_rules.h"

namespace onnxray {
namespace {

using lrp::LayerRule;
using lrp::Recipe;
using Kind = LayerRule::Kind;

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(at), text.size());
    parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

// The rule of that name with the options' parameters.
LayerRule layer_rule(const Lrp& o, std::string_view name, double default_epsilon) {
  LayerRule r{.stabilizer = o.stabilizer, .gamma = o.gamma, .alpha = o.alpha, .beta = o.beta};
  if (name == "epsilon") {
    r.stabilizer = o.epsilon < 0 ? default_epsilon : o.epsilon;
  } else if (name == "gamma") {
    r.kind = Kind::kGamma;
  } else if (name == "alpha-beta") {
    r.kind = Kind::kAlphaBeta;
    ONNXRAY_CHECK(std::abs(o.alpha - o.beta - 1) < 1e-9, "alpha - beta is ", o.alpha - o.beta, ", expected 1 (alpha ",
                  o.alpha, ", beta ", o.beta, ")");
  } else if (name == "z-plus") {
    r.kind = Kind::kAlphaBeta;
    r.alpha = 1;
    r.beta = 0;
  } else if (name == "alpha2-beta1") {
    r.kind = Kind::kAlphaBeta;
    r.alpha = 2;
    r.beta = 1;
  } else if (name == "z-box") {
    r.kind = Kind::kZBox;
    r.low = o.low;
    r.high = o.high;
    const std::size_t n = std::max(r.low.size(), r.high.size());
    for (std::size_t i = 0; i < n; ++i) {
      const double low = r.low[std::min(i, r.low.size() - 1)], high = r.high[std::min(i, r.high.size() - 1)];
      ONNXRAY_CHECK(low < high, "z-box needs the range of the inputs, options low and high, got ", low, " to ", high);
    }
  } else if (name == "w-square") {
    r.kind = Kind::kWSquare;
  } else if (name == "flat") {
    r.kind = Kind::kFlat;
  } else if (name == "identity") {
    r.kind = Kind::kIdentity;
  } else {
    fail("option rules names the rule '", name,
         "', expected one of: epsilon, gamma, alpha-beta, z-plus, z-box, w-square, flat, identity");
  }
  return r;
}

Recipe recipe_of(const Lrp& o) {
  const bool preset = o.composite.starts_with("preset");
  const double epsilon = preset ? 0.1 : 1e-6;
  const auto rule = [&](std::string_view name) { return layer_rule(o, name, epsilon); };
  Recipe r{.stabilizer = o.stabilizer, .ignore_bias = o.ignore_bias};
  if (o.composite == "none") {
    const bool box = o.rule == "z-box";
    r.convolution = r.dense = rule(box ? "epsilon" : o.rule);
    if (box) r.first_convolution = r.first_dense = rule("z-box");
  } else {
    const bool flat = o.composite.ends_with("-flat");
    std::string_view name = o.composite;
    if (flat) name.remove_suffix(5);
    r.dense = rule("epsilon");
    if (name == "epsilon-plus" || name == "preset-a") r.convolution = rule("z-plus");
    else if (name == "epsilon-alpha2-beta1" || name == "preset-b") r.convolution = rule("alpha2-beta1");
    else r.convolution = rule("gamma");
    if (name == "epsilon-gamma-box") r.first_convolution = rule("z-box");
    if (flat) r.first_convolution = r.first_dense = rule("flat");
  }
  for (const std::string_view part : split(o.rules, ',')) {
    const std::size_t at = part.rfind('=');
    ONNXRAY_CHECK(at != std::string_view::npos && at > 0, "option rules holds '", part, "', expected VALUE=RULE");
    r.by_value[std::string(part.substr(0, at))] = rule(part.substr(at + 1));
  }
  return r;
}

// Named layers must be there, and what is asked before a folded batch norm is said to be folded.
void check(Session& session, const Recipe& recipe) {
  const Graph& g = session.suffix();
  const auto layer_of = [&](ValueId v) {
    const Node* node = v == kNoValue ? nullptr : g.producer(v);
    if (node != nullptr && (node->op->name == "add" || node->op->name == "sub")) {
      const ValueId other = g.is_constant(node->inputs[1])   ? node->inputs[0]
                            : g.is_constant(node->inputs[0]) ? node->inputs[1]
                                                             : kNoValue;
      node = other == kNoValue ? nullptr : g.producer(other);
    }
    return node != nullptr && lrp::is_layer(*node);
  };
  for (const auto& [name, rule] : recipe.by_value) {
    ONNXRAY_CHECK(layer_of(g.find(name)), "option rules names '", name,
                  "', which is no output of a convolution or matrix product on the way to the target (batch norm is "
                  "folded: name its output)");
  }
  for (std::size_t i = session.targets().size(); i < g.outputs().size(); ++i) {
    const ValueId v = g.outputs()[i];
    const Node* made = g.producer(v);
    if (made == nullptr || !lrp::is_layer(*made)) continue;
    for (const Node& node : g.nodes()) {
      const bool reads = std::find(node.inputs.begin(), node.inputs.end(), v) != node.inputs.end();
      if (reads && node.name.ends_with("(BatchNormalization)")) {
        session.notice("relevance folds batch norm: '" + g.label(v) + "' has the relevance of what " + node.name +
                       " makes of it");
      }
    }
  }
}

// Everything a recipe says, for the cache of plans.
std::string text_of(const Recipe& recipe) {
  std::string text = detail::concat(static_cast<int>(recipe.products), "|", recipe.stabilizer, "|", recipe.ignore_bias);
  const auto add = [&](std::string_view name, const LayerRule& r) {
    text += detail::concat("|", name, "=", static_cast<int>(r.kind), ",", r.stabilizer, ",", r.gamma, ",", r.alpha, ",",
                           r.beta);
    for (const std::vector<double>* list : {&r.low, &r.high}) {
      text += ";";
      for (const double v : *list) text += detail::concat(v, " ");
    }
  };
  add("conv", recipe.convolution);
  add("dense", recipe.dense);
  if (recipe.first_convolution) add("first conv", *recipe.first_convolution);
  if (recipe.first_dense) add("first dense", *recipe.first_dense);
  for (const auto& [name, rule] : recipe.by_value) add("value " + name, rule);
  return text;
}

Attribution run(const Model& model, const Request& request, const char* phase, const Recipe& recipe, Carries carries) {
  return run_backward_pass(model, request,
                           {.phase = phase,
                            .key = detail::concat(phase, "|", text_of(recipe)),
                            .rules = std::make_shared<const RuleSet>(lrp::rules_of(recipe, carries)),
                            .check = [&recipe](Session& session) { check(session, recipe); }});
}

}  // namespace

Attribution run_method(const Model& model, const Lrp& options, const Request& request) {
  return run(model, request, "lrp", recipe_of(options), Carries::kRelevance);
}

Attribution run_method(const Model& model, const AttnLrp& o, const Request& request) {
  const LayerRule rule{.kind = o.gamma > 0 ? Kind::kGamma : Kind::kEpsilon, .stabilizer = o.epsilon, .gamma = o.gamma};
  const Recipe recipe{.convolution = rule,
                      .dense = rule,
                      .products = lrp::Products::kHalves,
                      .stabilizer = o.epsilon,
                      .ignore_bias = o.ignore_bias};
  return run(model, request, "attn-lrp", recipe, Carries::kRelevance);
}

Attribution run_method(const Model& model, const ExcitationBackprop&, const Request& request) {
  const LayerRule rule{.kind = Kind::kAlphaBeta, .alpha = 1, .beta = 0};
  return run(model, request, "excitation-backprop", {.convolution = rule, .dense = rule, .ignore_bias = true},
             Carries::kGradient);
}

}  // namespace onnxray
