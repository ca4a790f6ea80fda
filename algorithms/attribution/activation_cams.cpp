#include "algorithms/attribution/activation_cams.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <memory>

#include "algorithms/interpolate.h"
#include "algorithms/scheduler.h"

namespace onnxray {
namespace {

// sum over k of w_k A_k(p), relu if asked; written to out[positions].
void write_map(const std::vector<double>& a, const std::vector<double>& w, bool relu, double* out) {
  const std::size_t positions = a.size() / w.size();
  std::fill(out, out + positions, 0.0);
  for (std::size_t c = 0; c < w.size(); ++c) {
    for (std::size_t p = 0; p < positions; ++p) out[p] += w[c] * a[c * positions + p];
  }
  for (std::size_t p = 0; p < positions && relu; ++p) out[p] = std::max(0.0, out[p]);
}

double* map_of(Tensor& maps, std::int64_t row) {
  return maps.mutable_data<double>().data() + row * (maps.size() / maps.dims()[0]);
}

// The first right singular vector of A [positions, channels], given as [channels, positions]: an eigenvector of the
// smaller of the two Gram matrices.
std::vector<double> first_direction(const std::vector<double>& a, std::int64_t channels) {
  const auto c = static_cast<Eigen::Index>(channels), p = static_cast<Eigen::Index>(a.size()) / c;
  const Eigen::Map<const Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>> at(a.data(), c, p);
  Eigen::VectorXd v;
  if (c <= p) {
    v = Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>(at * at.transpose()).eigenvectors().rightCols(1);
  } else {
    const Eigen::VectorXd u =
        Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd>(at.transpose() * at).eigenvectors().rightCols(1);
    v = at * u;
    if (v.norm() > 0) v.normalize();
  }
  if ((at.transpose() * v).sum() < 0) v = -v;
  return {v.data(), v.data() + v.size()};
}

// The scalars and the layers of every example: one row each.
struct Plain {
  std::vector<double> values;  // [E * K]
  std::vector<Tensor> layers;  // per from value: [E, row...] in float64
};

Plain run_plain(const Session& session, Scheduler& scheduler) {
  const std::int64_t examples = session.examples(), k = static_cast<std::int64_t>(session.to().size());
  RowProgram program(session, {.key = "values", .values = true}, {}, examples);
  Plain out;
  std::vector<std::vector<Tensor>> parts(session.from().size());
  scheduler.run(
      program, examples, [](std::int64_t e) { return Row{.example = e}; },
      [&](std::int64_t, std::int64_t rows) {
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t j = 0; j < k; ++j) out.values.push_back(program.value(r, static_cast<std::size_t>(j)));
        }
        for (std::size_t i = 0; i < parts.size(); ++i) {
          // A copy: the plan's output is written again by the next chunk.
          const std::vector<double> v = program.from_value(i).to_doubles();
          parts[i].push_back(Tensor::from<double>(program.from_value(i).dims(), std::span<const double>(v)));
        }
      });
  for (const auto& list : parts) out.layers.push_back(stack_rows(list));
  return out;
}

}  // namespace

Attribution run_method(const Model& model, const EigenCam& options, const Request& request) {
  const CamLayers layers(model, request, options.grid);
  return run_by_rows(model, layers.request(), [&](const Request& part, const Split&) {
    Session session(model, part, false);
    const std::int64_t examples = session.examples(), k = static_cast<std::int64_t>(session.to().size());
    const std::vector<SpatialLayout> layouts = layers.layouts(session);
    Scheduler scheduler(part.compute, "eigen-cam", examples);
    Plain plain = run_plain(session, scheduler);
    Attribution out;
    out.values = std::move(plain.values);
    for (std::size_t i = 0; i < layouts.size(); ++i) {
      Tensor maps = Tensor::zeros(DType::f64, map_dims(examples * k, 1, layouts[i]));
      for (std::int64_t e = 0; e < examples; ++e) {
        const std::vector<double> a = channels_and_positions(plain.layers[i], e, layouts[i]);
        const std::vector<double> v = first_direction(a, layouts[i].channels);
        for (std::int64_t j = 0; j < k; ++j) write_map(a, v, options.relu_attributions, map_of(maps, e * k + j));
      }
      out.attributions[session.from()[i].name] = maps;
    }
    scheduler.report(session, out.report);
    return out;
  });
}

Attribution run_method(const Model& model, const AblationCam& options, const Request& request) {
  const CamLayers layers(model, request, options.grid);
  return run_by_rows(model, layers.request(), [&](const Request& part, const Split&) {
    // Each layer is replaced by itself: a layer before another one may change that one.
    std::vector<std::unique_ptr<Request>> requests;
    std::vector<std::unique_ptr<Session>> sessions;
    std::vector<SpatialLayout> layouts;
    std::int64_t total = 0;
    for (const std::string& layer : part.from) {
      requests.push_back(std::make_unique<Request>(part));
      requests.back()->from = {layer};
      sessions.push_back(std::make_unique<Session>(model, *requests.back(), true));
      layouts.push_back(layers.layouts(*sessions.back()).at(0));
      for (const std::string& n : sessions.back()->notices()) sessions[0]->notice(n);
      total += sessions.back()->examples() * (1 + layouts.back().channels);
    }
    Scheduler scheduler(part.compute, "ablation-cam", total);
    Attribution out;
    for (std::size_t i = 0; i < sessions.size(); ++i) {
      const Session& session = *sessions[i];
      const SpatialLayout l = layouts[i];
      const std::int64_t examples = session.examples(), k = static_cast<std::int64_t>(session.to().size());
      const std::int64_t per = 1 + l.channels;  // row 0 of an example is the example, row 1 + c lacks channel c
      const RowMakerFn make = [l](RowCtx& c, std::size_t v) {
        const ValueId x = c.actual(v);
        Dims dims(c.b.rank(x), 1);
        dims[0] = c.b.dims(x)[0];
        dims[static_cast<std::size_t>(l.channel_axis) + 1] = l.channels;
        return c.b.mul(x, c.b.reshape(c.input("keep"), dims));
      };
      RowProgram program(session,
                         {.key = "ablation-cam" + key_of(l),
                          .make = make,
                          .inputs = {{.name = "keep", .dtype = DType::f64, .dims = {l.channels}}}},
                         {}, examples * per);
      Tensor keep = Tensor::full(session.float_type(), {program.chunk(), l.channels}, 1);
      std::vector<double> scores;  // [E * per, K]
      scheduler.run(
          program, examples * per, [&](std::int64_t r) { return Row{.example = r / per}; },
          [&](std::int64_t, std::int64_t rows) {
            for (std::int64_t r = 0; r < rows; ++r) {
              for (std::int64_t j = 0; j < k; ++j) scores.push_back(program.value(r, static_cast<std::size_t>(j)));
            }
          },
          [&](std::int64_t first, std::int64_t rows) {
            Tensor next = Tensor::full(DType::f64, {program.chunk(), l.channels}, 1);
            for (std::int64_t r = 0; r < rows; ++r) {
              const std::int64_t channel = (first + r) % per - 1;
              if (channel >= 0) next.mutable_data<double>()[static_cast<std::size_t>(r * l.channels + channel)] = 0;
            }
            program.bind("keep", next.to(session.float_type()));
          });
      Tensor maps = Tensor::zeros(DType::f64, map_dims(examples * k, 1, l));
      for (std::int64_t e = 0; e < examples; ++e) {
        const std::vector<double> a = channels_and_positions(session.vary()[0].actual, e, l);
        for (std::int64_t j = 0; j < k; ++j) {
          const auto score = [&](std::int64_t row) {
            return scores[static_cast<std::size_t>((e * per + row) * k + j)];
          };
          if (score(0) == 0) {
            throw Error(ErrorKind::kNonFinite,
                        "ablation-cam divides by the scalar, which is 0 in example " + std::to_string(e));
          }
          std::vector<double> w;
          for (std::int64_t c = 1; c < per; ++c) w.push_back((score(0) - score(c)) / score(0));
          write_map(a, w, options.relu_attributions, map_of(maps, e * k + j));
          if (i == 0) out.values.push_back(score(0));
        }
      }
      out.attributions[session.from()[0].name] = maps;
    }
    scheduler.report(*sessions[0], out.report);
    return out;
  });
}

namespace {

// Where the positions of an input are: after the channels, or before them where only the last axis can be channels.
std::optional<std::int64_t> first_position_axis(const CutValue& c, std::size_t axes) {
  if (!is_float(c.dtype) || c.row_dims.size() != axes + 1) return std::nullopt;
  return axes == 2 && c.row_dims[2] <= 4 && c.row_dims[0] > 4 ? 0 : 1;
}

// A channel scaled to [0, 1]; false where it does not vary.
bool scaled_to_unit(const double* a, std::size_t n, double* out) {
  const auto [lo, hi] = std::minmax_element(a, a + n);
  if (*hi == *lo) {
    std::fill(out, out + n, 0.0);
    return false;
  }
  for (std::size_t i = 0; i < n; ++i) out[i] = (a[i] - *lo) / (*hi - *lo);
  return true;
}

}  // namespace

Attribution run_method(const Model& model, const ScoreCam& options, const Request& request) {
  const CamLayers layers(model, request, options.grid);
  return run_by_rows(model, layers.request(), [&](const Request& part, const Split&) {
    Session session(model, part, false);
    const std::int64_t examples = session.examples(), k = static_cast<std::int64_t>(session.to().size());
    const std::vector<SpatialLayout> layouts = layers.layouts(session);
    std::int64_t total = examples;
    for (const SpatialLayout& l : layouts) {
      const bool masks = std::any_of(session.vary().begin(), session.vary().end(), [&](const CutValue& c) {
        return first_position_axis(c, l.grid.size()).has_value();
      });
      ONNXRAY_CHECK(!l.grid.empty() && masks,
                    "score-cam masks the input by the layer's channels: the layer needs "
                    "positions and the model an input with as many axes of positions, got a layer of ",
                    l.grid.size());
      total += examples * l.channels;
    }
    Scheduler scheduler(part.compute, "score-cam", total);
    Plain plain = run_plain(session, scheduler);
    Attribution out;
    out.values = std::move(plain.values);
    for (std::size_t i = 0; i < layouts.size(); ++i) {
      const SpatialLayout l = layouts[i];
      const std::size_t axes = l.grid.size(), positions = static_cast<std::size_t>(count_of(l.grid));
      std::vector<std::vector<double>> activations;
      for (std::int64_t e = 0; e < examples; ++e) {
        activations.push_back(channels_and_positions(plain.layers[i], e, l));
      }
      const std::vector<CutValue>* inputs = &session.vary();
      const RowMakerFn make = [axes, inputs](RowCtx& c, std::size_t v) {
        const ValueId x = c.actual(v);
        const auto first = first_position_axis((*inputs)[v], axes);
        if (!first) return x;
        const Dims dims = c.b.dims(x);
        Dims size, wide(dims.size(), 1);
        wide[0] = dims[0];
        for (std::size_t a = 0; a < axes; ++a) {
          const std::size_t axis = 1 + static_cast<std::size_t>(*first) + a;
          size.push_back(dims[axis]);
          wide[axis] = dims[axis];
        }
        return c.b.mul(x, c.b.reshape(interpolate(c.b, c.input("mask"), size,
                                                  axes == 1   ? "linear"
                                                  : axes == 2 ? "bilinear"
                                                              : "trilinear"),
                                      wide));
      };
      RowProgram program(session,
                         {.key = "score-cam" + to_string(l.grid),
                          .make = make,
                          .inputs = {{.name = "mask", .dtype = DType::f64, .dims = l.grid}}},
                         {}, examples * l.channels);
      std::vector<double> scores;  // [E * channels, K]
      scheduler.run(
          program, examples * l.channels, [&](std::int64_t r) { return Row{.example = r / l.channels}; },
          [&](std::int64_t, std::int64_t rows) {
            for (std::int64_t r = 0; r < rows; ++r) {
              for (std::int64_t j = 0; j < k; ++j) scores.push_back(program.value(r, static_cast<std::size_t>(j)));
            }
          },
          [&](std::int64_t first, std::int64_t rows) {
            const Dims dims = with_rows(program.chunk(), l.grid);
            Tensor mask = Tensor::zeros(DType::f64, dims);
            for (std::int64_t r = 0; r < rows; ++r) {
              const auto& a = activations[static_cast<std::size_t>((first + r) / l.channels)];
              (void)scaled_to_unit(a.data() + static_cast<std::size_t>((first + r) % l.channels) * positions, positions,
                                   mask.mutable_data<double>().data() + static_cast<std::size_t>(r) * positions);
            }
            program.bind("mask", mask.to(session.float_type()));
          });
      Tensor maps = Tensor::zeros(DType::f64, map_dims(examples * k, 1, l));
      std::vector<double> unit(positions);
      for (std::int64_t e = 0; e < examples; ++e) {
        const std::vector<double>& a = activations[static_cast<std::size_t>(e)];
        for (std::int64_t j = 0; j < k; ++j) {
          const auto score = [&](std::int64_t c) {
            return scores[static_cast<std::size_t>((e * l.channels + c) * k + j)];
          };
          std::vector<double> w(static_cast<std::size_t>(l.channels), 0);
          double top = -INFINITY, sum = 0;
          for (std::int64_t c = 0; c < l.channels; ++c) top = std::max(top, score(c));
          for (std::int64_t c = 0; c < l.channels; ++c) {
            const auto at = static_cast<std::size_t>(c);
            if (!scaled_to_unit(a.data() + at * positions, positions, unit.data())) continue;
            w[at] = std::exp(score(c) - top);
            sum += w[at];
          }
          for (double& x : w) x = sum > 0 ? x / sum : 0;
          write_map(a, w, options.relu_attributions, map_of(maps, e * k + j));
        }
      }
      out.attributions[session.from()[i].name] = maps;
    }
    scheduler.report(session, out.report);
    return out;
  });
}

}  // namespace onnxray
