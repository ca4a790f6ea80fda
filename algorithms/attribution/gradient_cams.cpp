#include "algorithms/attribution/gradient_cams.h"

#include "algorithms/scheduler.h"

namespace onnxray {
namespace {

// From the gradient and the layer, both [B, channels, positions], to w_k(p) A_k(p) of the same shape.
using WeightedFn = ValueId (*)(Builder& b, ValueId g, ValueId a);

struct Spec {
  const char* name;
  WeightedFn weighted;
  bool relu, summed;
};

ValueId sum_over_positions(Builder& b, ValueId v) { return b.reduce("reduce_sum", v, {2}, true); }

// x / y, zero where y is.
ValueId quotient(Builder& b, ValueId x, ValueId y) {
  const ValueId zero = b.scalar_like(y, 0), one = b.scalar_like(y, 1);
  const ValueId vanishes = b.op("equal", {y, zero});
  return b.where(vanishes, zero, b.div(x, b.where(vanishes, one, y)));
}

ValueId grad_cam(Builder& b, ValueId g, ValueId a) { return b.mul(b.reduce("reduce_mean", g, {2}, true), a); }

ValueId grad_cam_plus_plus(Builder& b, ValueId g, ValueId a) {
  const ValueId g2 = b.mul(g, g);
  const ValueId below = b.add(b.mul(g2, 2.0), b.mul(sum_over_positions(b, a), b.mul(g2, g)));
  const ValueId w = sum_over_positions(b, b.mul(quotient(b, g2, below), b.op("relu", {g})));
  return b.mul(w, a);
}

ValueId hires_cam(Builder& b, ValueId g, ValueId a) { return b.mul(g, a); }

ValueId layer_cam(Builder& b, ValueId g, ValueId a) { return b.mul(b.op("relu", {g}), a); }

ValueId xgrad_cam(Builder& b, ValueId g, ValueId a) {
  return b.mul(quotient(b, sum_over_positions(b, b.mul(g, a)), sum_over_positions(b, a)), a);
}

template <class Options>
Attribution run(const Model& model, const Options& options, const Request& request, const Spec& spec) {
  const CamLayers layers(model, request, options.grid);
  return run_by_rows(model, layers.request(), [&](const Request& part, const Split&) {
    Session session(model, part, false);
    const std::int64_t examples = session.examples(), k = static_cast<std::int64_t>(session.to().size());
    const std::vector<SpatialLayout> layouts = layers.layouts(session);
    std::string key = detail::concat(spec.name, spec.relu, spec.summed);
    for (const SpatialLayout& l : layouts) key += key_of(l);
    const FoldFn fold = [layouts, spec](FoldCtx& c, std::size_t i) {
      const ValueId g = channels_and_positions(c.b, c.gradient(i), layouts[i]);
      const ValueId a = channels_and_positions(c.b, c.spread(c.value(i)), layouts[i]);
      ValueId m = spec.weighted(c.b, g, a);
      if (spec.summed) m = c.b.reduce("reduce_sum", m, {1}, true);
      return spec.relu ? c.b.op("relu", {m}) : m;
    };
    Scheduler scheduler(part.compute, spec.name, examples);
    RowProgram program(session, {.key = std::move(key), .folds = {fold}}, {}, examples);
    Attribution out;
    scheduler.run(
        program, examples, [](std::int64_t e) { return Row{.example = e, .weight = 1}; },
        [&](std::int64_t, std::int64_t rows) {
          for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t j = 0; j < k; ++j) out.values.push_back(program.value(r, static_cast<std::size_t>(j)));
          }
        });
    for (std::size_t i = 0; i < layouts.size(); ++i) {
      const std::int64_t channels = spec.summed ? 1 : layouts[i].channels;
      out.attributions[session.from()[i].name] =
          program.folded(i).reshaped(map_dims(examples * k, channels, layouts[i]));
    }
    scheduler.report(session, out.report);
    return out;
  });
}

}  // namespace

Attribution run_method(const Model& model, const GradCam& o, const Request& request) {
  return run(model, o, request, {"grad-cam", grad_cam, o.relu_attributions, o.attr_dim_summation});
}

Attribution run_method(const Model& model, const GradCamPlusPlus& o, const Request& request) {
  return run(model, o, request, {"grad-cam-plus-plus", grad_cam_plus_plus, o.relu_attributions, true});
}

Attribution run_method(const Model& model, const HiResCam& o, const Request& request) {
  return run(model, o, request, {"hires-cam", hires_cam, o.relu_attributions, o.attr_dim_summation});
}

Attribution run_method(const Model& model, const LayerCam& o, const Request& request) {
  return run(model, o, request, {"layer-cam", layer_cam, o.relu_attributions, true});
}

Attribution run_method(const Model& model, const XGradCam& o, const Request& request) {
  return run(model, o, request, {"xgrad-cam", xgrad_cam, o.relu_attributions, true});
}

}  // namespace onnxray
