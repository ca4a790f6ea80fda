#include "algorithms/attribution/blur_integrated_gradients.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "algorithms/attribution/path_ends.h"

namespace onnxray {
namespace {

// Inputs of the plan, per row: the matrices of both axes of varied value i and their derivatives.
std::string blur_input(std::size_t i, int axis, bool derivative) {
  return detail::concat(derivative ? "blur derivative " : "blur ", i, axis == 0 ? " height" : " width");
}

// [R, n, n] beside a value of `rank` dims.
ValueId matrix(RowCtx& c, std::size_t i, int axis, bool derivative) {
  const ValueId m = c.input(blur_input(i, axis, derivative));
  const Dims d = c.b.dims(m);
  Dims wide(c.session.vary()[i].row_dims.size() - 2, 1);
  wide.insert(wide.begin(), d[0]);
  wide.insert(wide.end(), d.begin() + 1, d.end());
  return c.b.reshape(m, wide);
}

// H x W^T over the last two axes.
ValueId separable(RowCtx& c, ValueId x, ValueId height, ValueId width) {
  return c.b.matmul(c.b.matmul(height, x), width, false, true);
}

ValueId blurred(RowCtx& c, std::size_t i) {
  return separable(c, c.actual(i), matrix(c, i, 0, false), matrix(c, i, 1, false));
}

// d blurred / d sigma
ValueId blur_change(RowCtx& c, std::size_t i) {
  const ValueId x = c.actual(i);
  return c.b.add(separable(c, x, matrix(c, i, 0, true), matrix(c, i, 1, false)),
                 separable(c, x, matrix(c, i, 0, false), matrix(c, i, 1, true)));
}

std::int64_t extent(const CutValue& c, int axis) { return c.row_dims[c.row_dims.size() - (axis == 0 ? 2 : 1)]; }

// The matrices of the rows first, first + 1, ... of a chunk.
class Matrices {
 public:
  Matrices(const Session& session, double max_sigma)
      : session_(session), radius_(static_cast<std::int64_t>(std::ceil(3 * max_sigma))) {}

  void bind(RowProgram& program, const std::vector<double>& sigmas, bool derivatives) {
    for (std::size_t i = 0; i < session_.vary().size(); ++i) {
      for (const int axis : {0, 1}) {
        const std::int64_t n = extent(session_.vary()[i], axis);
        const auto size = static_cast<std::size_t>(n * n);
        Tensor weights = Tensor::zeros(DType::f64, {program.chunk(), n, n});
        Tensor changes = Tensor::zeros(DType::f64, {derivatives ? program.chunk() : 0, n, n});
        for (std::size_t r = 0; r < sigmas.size(); ++r) {
          const BlurMatrix& m = of(n, sigmas[r]);
          std::copy(m.weights.begin(), m.weights.end(), weights.mutable_data<double>().begin() + r * size);
          if (!derivatives) continue;
          std::copy(m.derivative.begin(), m.derivative.end(), changes.mutable_data<double>().begin() + r * size);
        }
        program.bind(blur_input(i, axis, false), weights.to(session_.float_type()));
        if (derivatives) program.bind(blur_input(i, axis, true), changes.to(session_.float_type()));
      }
    }
  }

 private:
  // Rows of one chunk often share a sigma: every example takes the same steps.
  const BlurMatrix& of(std::int64_t n, double sigma) {
    if (known_.size() > 64) known_.clear();
    const auto [it, fresh] = known_.try_emplace({n, sigma});
    if (fresh) it->second = blur_matrix(n, sigma, radius_);
    return it->second;
  }

  const Session& session_;
  std::int64_t radius_;
  std::map<std::pair<std::int64_t, double>, BlurMatrix> known_;
};

std::vector<RowInput> blur_inputs(const Session& session, bool derivatives) {
  std::vector<RowInput> list;
  for (std::size_t i = 0; i < session.vary().size(); ++i) {
    for (const int axis : {0, 1}) {
      const std::int64_t n = extent(session.vary()[i], axis);
      list.push_back({.name = blur_input(i, axis, false), .dtype = DType::f64, .dims = {n, n}});
      if (derivatives) list.push_back({.name = blur_input(i, axis, true), .dtype = DType::f64, .dims = {n, n}});
    }
  }
  return list;
}

}  // namespace

BlurMatrix blur_matrix(std::int64_t n, double sigma, std::int64_t radius) {
  BlurMatrix m;
  m.weights.assign(static_cast<std::size_t>(n * n), 0);
  m.derivative.assign(m.weights.size(), 0);
  const auto at = [n](std::int64_t i, std::int64_t j) { return static_cast<std::size_t>(i * n + j); };
  if (sigma <= 0) {
    for (std::int64_t i = 0; i < n; ++i) m.weights[at(i, i)] = 1;
    return m;
  }
  // w_d = exp(-d^2 / (2 sigma^2)) / Z and dw_d/dsigma = w_d (d^2 - sum over k of w_k k^2) / sigma^3
  std::vector<double> w;
  double sum = 0, square = 0;
  for (std::int64_t d = -radius; d <= radius; ++d) {
    const auto x = static_cast<double>(d);
    w.push_back(std::exp(-x * x / (2 * sigma * sigma)));
    sum += w.back();
    square += w.back() * x * x;
  }
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t d = -radius; d <= radius; ++d) {
      const double weight = w[static_cast<std::size_t>(d + radius)] / sum, x = static_cast<double>(d);
      const std::size_t to = at(i, std::clamp<std::int64_t>(i + d, 0, n - 1));
      m.weights[to] += weight;
      m.derivative[to] += weight * (x * x - square / sum) / (sigma * sigma * sigma);
    }
  }
  return m;
}

Attribution run_method(const Model& model, const BlurIntegratedGradients& options, const Request& request) {
  const Quadrature q = quadrature(options.method, options.n_steps);
  return run_by_rows(model, request, [&](const Request& part, const Split&) {
    const Session session(model, part, true);
    for (const CutValue& c : session.vary()) {
      ONNXRAY_CHECK(c.row_dims.size() >= 2, "blur-integrated-gradients needs images [..., H, W], a row of '", c.name,
                    "' has shape ", to_string(c.row_dims));
    }
    const std::int64_t examples = session.examples();
    const auto steps = static_cast<std::int64_t>(q.alphas.size());
    Matrices matrices(session, options.max_sigma);
    Scheduler scheduler(part.compute, "blur-integrated-gradients", examples * (steps + 2));
    Attribution out;
    {
      RowProgram ends(session, {.key = "blurred", .make = blurred, .inputs = blur_inputs(session, false)}, {},
                      2 * examples);
      const auto sigma = [&](std::int64_t r) { return r < examples ? 0.0 : options.max_sigma; };
      scheduler.run(
          ends, 2 * examples, [&](std::int64_t r) { return Row{.example = r % examples}; },
          [&](std::int64_t first, std::int64_t rows) {
            for (std::int64_t r = 0; r < rows; ++r) {
              auto& to = first + r < examples ? out.values : out.baseline_values;
              for (std::size_t k = 0; k < session.to().size(); ++k) to.push_back(ends.value(r, k));
            }
          },
          [&](std::int64_t first, std::int64_t rows) {
            std::vector<double> sigmas;
            for (std::int64_t r = 0; r < rows; ++r) sigmas.push_back(sigma(first + r));
            matrices.bind(ends, sigmas, false);
          });
    }
    RowSpec spec{.key = "blurred gradient", .make = blurred, .inputs = blur_inputs(session, true)};
    spec.folds = {[](FoldCtx& c, std::size_t i) { return c.b.mul(c.gradient(i), c.spread(blur_change(c, i))); }};
    RowProgram path(session, spec, {}, examples * steps);
    // sigma falls from max_sigma to 0, hence the sign.
    scheduler.run(
        path, examples * steps,
        [&](std::int64_t r) {
          return Row{.example = r / steps,
                     .weight = -options.max_sigma * q.weights[static_cast<std::size_t>(r % steps)]};
        },
        [](std::int64_t, std::int64_t) {},
        [&](std::int64_t first, std::int64_t rows) {
          std::vector<double> sigmas;
          for (std::int64_t r = 0; r < rows; ++r) {
            sigmas.push_back(options.max_sigma * q.alphas[static_cast<std::size_t>((first + r) % steps)]);
          }
          matrices.bind(path, sigmas, true);
        });
    std::vector<double> delta = rise_of(out);
    for (double& d : delta) d = -d;
    for (std::size_t i = 0; i < session.from().size(); ++i) {
      out.attributions[session.from()[i].name] = path.folded(i);
      const std::vector<double> sums = row_sums(out.attributions[session.from()[i].name]);
      for (std::size_t r = 0; r < delta.size(); ++r) delta[r] += sums[r];
    }
    out.delta = std::move(delta);
    scheduler.report(session, out.report);
    return out;
  });
}

}  // namespace onnxray
