#include "algorithms/attribution/gradient_shap.h"

#include <algorithm>
#include <cstring>

#include "algorithms/attribution/path_ends.h"
#include "algorithms/baselines.h"
#include "algorithms/random.h"

namespace onnxray {
namespace {

std::string stdev_input(std::size_t i) { return "stdev " + std::to_string(i); }
std::string change_input(std::size_t i) { return "change " + std::to_string(i); }

// The varied value with this row's noise.
ValueId noisy(RowCtx& c, std::size_t i, bool noise) {
  const ValueId x = c.actual(i);
  if (!noise || !is_float(c.b.dtype(x))) return x;
  const ValueId n = random_rows(c, "random_normal", random_stream::kNoise + static_cast<std::int64_t>(i),
                                c.session.vary()[i].row_dims);
  return c.b.add(x, c.b.mul(n, c.input(stdev_input(i))));
}

// alpha x~ + (1 - alpha) b
RowMakerFn noisy_path(bool noise) {
  return [noise](RowCtx& c, std::size_t i) {
    const ValueId x = noisy(c, i, noise);
    if (!is_float(c.b.dtype(x))) return x;
    const ValueId alpha = c.column(c.alpha(), c.b.rank(x));
    const ValueId rest = c.b.sub(c.b.scalar_like(alpha, 1), alpha);
    return c.b.add(c.b.mul(x, alpha), c.b.mul(c.baseline(i), rest));
  };
}

struct Sampling {
  const char* name;
  std::int64_t samples;
  std::vector<double> stdevs;
  const Baselines& baselines;
  bool multiply;
};

// One standard deviation per varied value.
std::vector<double> stdevs_of(const Session& session, const Sampling& s) {
  std::size_t floats = 0;
  for (const CutValue& c : session.vary()) floats += is_float(c.dtype) ? 1 : 0;
  ONNXRAY_CHECK(s.stdevs.size() == 1 || s.stdevs.size() == floats, s.name, " got ", s.stdevs.size(), " stdevs for ",
                floats, floats == 1 ? " value" : " values", ", expected one number or one per value");
  std::vector<double> out;
  std::size_t next = 0;
  for (const CutValue& c : session.vary()) {
    const bool real = is_float(c.dtype);
    out.push_back(!real ? 0 : s.stdevs[s.stdevs.size() == 1 ? 0 : next]);
    next += real ? 1 : 0;
  }
  return out;
}

class Sampler {
 public:
  Sampler(Session& session, const Request& request, const Sampling& s)
      : session_(session),
        request_(request),
        s_(s),
        examples_(session.examples()),
        scalars_(static_cast<std::int64_t>(session.to().size())),
        stdevs_(stdevs_of(session, s)),
        noise_(std::any_of(stdevs_.begin(), stdevs_.end(), [](double v) { return v > 0; })),
        baselines_(make_baseline_sample(session, s.baselines)),
        draws_(examples_ * s.samples),
        scheduler_(request.compute, s.name, examples_ + draws_ * (noise_ ? 3 : 2)) {
    for (const CutValue& c : session.from()) {
      const auto it = std::find_if(session.vary().begin(), session.vary().end(),
                                   [&](const CutValue& v) { return v.name == c.name; });
      varied_.push_back(it == session.vary().end() ? -1 : it - session.vary().begin());
    }
  }

  Attribution run() {
    layers_ = s_.multiply && std::any_of(varied_.begin(), varied_.end(), [](std::ptrdiff_t v) { return v < 0; });
    RowProgram gradients(session_, gradient_spec(), baselines_, draws_);
    RowSpec ends_spec{.key = noise_ ? "noisy path" : "path", .make = noisy_path(noise_), .values = layers_};
    ends_spec.inputs = inputs();
    RowProgram ends(session_, ends_spec, baselines_, std::max(examples_, gradients.chunk()));
    bind_stdevs(ends);
    bind_stdevs(gradients);

    // The examples themselves; without noise they are also the upper ends.
    std::vector<Tensor> at_x, upper, lower;
    Attribution out;
    out.values = evaluate(
        ends, examples_, [](std::int64_t r) { return r; }, 1, false, at_x);
    out.baseline_values.assign(out.values.size(), 0);
    std::vector<double> rise(out.values.size(), 0);  // mean of F(x~) - F(b)
    const double share = 1 / static_cast<double>(s_.samples);
    for (std::int64_t first = 0; first < draws_; first += gradients.chunk()) {
      const std::int64_t n = std::min(gradients.chunk(), draws_ - first);
      const auto example = [&](std::int64_t r) { return (first + r) / s_.samples; };
      first_ = first;
      const std::vector<double> f_b = evaluate(ends, n, example, 0, true, lower);
      const std::vector<double> f_x = noise_ ? evaluate(ends, n, example, 1, true, upper) : std::vector<double>();
      for (std::int64_t r = 0; r < n; ++r) {
        for (std::int64_t j = 0; j < scalars_; ++j) {
          const auto to = static_cast<std::size_t>(example(r) * scalars_ + j);
          const auto from = static_cast<std::size_t>(r * scalars_ + j);
          out.baseline_values[to] += share * f_b[from];
          rise[to] += share * ((noise_ ? f_x[from] : out.values[to]) - f_b[from]);
        }
      }
      if (layers_) bind_changes(gradients, n, example, at_x, upper, lower);
      scheduler_.run(
          gradients, n,
          [&](std::int64_t r) {
            const RandomKey key = key_of(first + r);
            return Row{.example = example(r),
                       .alpha = random_uniform(key, random_stream::kAlpha),
                       .weight = share,
                       .baseline = baseline_of(key)};
          },
          [](std::int64_t, std::int64_t) {},
          [&](std::int64_t from, std::int64_t) { bind_keys(gradients, first + from); });
    }
    for (std::size_t i = 0; i < session_.from().size(); ++i) {
      out.attributions[session_.from()[i].name] = gradients.folded(i);
    }
    if (s_.multiply) add_delta(session_, rise, out);
    scheduler_.report(session_, out.report);
    return out;
  }

 private:
  std::vector<RowInput> inputs() const {
    if (!noise_) return {};
    std::vector<RowInput> list{random_key_input()};
    for (std::size_t i = 0; i < stdevs_.size(); ++i) {
      if (is_float(session_.vary()[i].dtype)) {
        list.push_back({.name = stdev_input(i), .dtype = DType::f64, .dims = {}, .per_row = false});
      }
    }
    return list;
  }

  RowSpec gradient_spec() const {
    RowSpec spec{.key = detail::concat("sampled gradient", noise_ ? " noise" : "", s_.multiply ? " multiply" : ""),
                 .make = noisy_path(noise_)};
    spec.inputs = inputs();
    if (s_.multiply) {
      for (std::size_t i = 0; i < varied_.size(); ++i) {
        if (varied_[i] < 0) spec.inputs.push_back({.name = change_input(i), .dims = session_.from()[i].row_dims});
      }
    }
    spec.folds = {[varied = varied_, noise = noise_, multiply = s_.multiply](FoldCtx& c, std::size_t i) {
      const ValueId g = c.gradient(i);
      if (!multiply) return g;
      if (varied[i] < 0) return c.b.mul(g, c.spread(c.input(change_input(i))));
      const auto v = static_cast<std::size_t>(varied[i]);
      return c.b.mul(g, c.spread(c.b.sub(noisy(c, v, noise), c.baseline(v))));
    }};
    return spec;
  }

  RandomKey key_of(std::int64_t draw) const {
    return {request_.compute.seed, request_.compute.first_example + draw / s_.samples, draw % s_.samples};
  }
  std::int64_t baseline_of(const RandomKey& key) const {
    return random_index(key, random_stream::kBaseline, baselines_.empty() ? 1 : baselines_[0].dims()[0]);
  }

  void bind_stdevs(RowProgram& program) const {
    for (std::size_t i = 0; noise_ && i < stdevs_.size(); ++i) {
      if (!is_float(session_.vary()[i].dtype)) continue;
      program.bind(stdev_input(i), Tensor::full(session_.float_type(), {}, stdevs_[i]));
    }
  }
  // Keys of the rows of one chunk, the first of which is draw `first`.
  void bind_keys(RowProgram& program, std::int64_t first) const {
    if (!noise_) return;
    std::vector<RandomKey> keys;
    for (std::int64_t r = 0; r < program.chunk(); ++r) keys.push_back(key_of(std::min(first + r, draws_ - 1)));
    program.bind(random_key_input().name, random_keys(keys));
  }

  // Scalars of n rows at alpha 0 or 1; `drawn`: row r is draw first_ + r, else example r without noise. The from values
  // are put into `values` where the program hands them out.
  std::vector<double> evaluate(RowProgram& ends, std::int64_t n,
                               const std::function<std::int64_t(std::int64_t)>& example, double alpha, bool drawn,
                               std::vector<Tensor>& values) {
    std::vector<double> f;
    std::vector<std::vector<Tensor>> parts(session_.from().size());
    const bool clean = noise_ && !drawn;
    if (clean) {
      for (std::size_t i = 0; i < stdevs_.size(); ++i) {
        if (is_float(session_.vary()[i].dtype)) ends.bind(stdev_input(i), Tensor::zeros(session_.float_type(), {}));
      }
    }
    scheduler_.run(
        ends, n,
        [&](std::int64_t r) {
          return Row{.example = example(r), .alpha = alpha, .baseline = drawn ? baseline_of(key_of(first_ + r)) : 0};
        },
        [&](std::int64_t, std::int64_t rows) {
          for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t j = 0; j < scalars_; ++j) f.push_back(ends.value(r, static_cast<std::size_t>(j)));
          }
          for (std::size_t i = 0; layers_ && i < parts.size(); ++i) {
            const Tensor v = ends.from_value(i);
            Tensor copy(v.dtype(), v.dims());
            std::memcpy(copy.raw_mutable(), v.raw(), v.bytes());
            parts[i].push_back(std::move(copy));
          }
        },
        [&](std::int64_t from, std::int64_t) { bind_keys(ends, first_ + from); });
    if (clean) bind_stdevs(ends);
    values.clear();
    for (const std::vector<Tensor>& list : parts) {
      if (!list.empty()) values.push_back(stack_rows(list));
    }
    return f;
  }

  // y(x~) - y(b) of the layers, for the n rows of the chunk that comes next.
  void bind_changes(RowProgram& gradients, std::int64_t n, const std::function<std::int64_t(std::int64_t)>& example,
                    const std::vector<Tensor>& at_x, const std::vector<Tensor>& upper,
                    const std::vector<Tensor>& lower) const {
    for (std::size_t i = 0; i < varied_.size(); ++i) {
      if (varied_[i] >= 0) continue;
      Dims dims = session_.from()[i].row_dims;
      const auto size = static_cast<std::size_t>(count_of(dims));
      dims.insert(dims.begin(), gradients.chunk());
      Tensor change = Tensor::zeros(DType::f64, dims);
      const auto c = change.mutable_data<double>();
      const std::vector<double> b = lower[i].to_doubles(), x = (noise_ ? upper : at_x)[i].to_doubles();
      for (std::int64_t r = 0; r < n; ++r) {
        const auto row = static_cast<std::size_t>(r);
        const std::size_t from = noise_ ? row : static_cast<std::size_t>(example(r));
        for (std::size_t k = 0; k < size; ++k) c[row * size + k] = x[from * size + k] - b[row * size + k];
      }
      gradients.bind(change_input(i), change.to(session_.float_type()));
    }
  }

  Session& session_;
  const Request& request_;
  const Sampling& s_;
  std::int64_t examples_, scalars_;
  std::vector<double> stdevs_;
  bool noise_;
  std::vector<Tensor> baselines_;
  std::int64_t draws_;
  std::int64_t first_ = 0;  // draw of the block's first row
  bool layers_ = false;     // some attributed value is not varied itself
  Scheduler scheduler_;
  std::vector<std::ptrdiff_t> varied_;  // index among the varied values, or -1 for a layer
};

Attribution sample(const Model& model, const Request& request, const Sampling& s) {
  return run_by_rows(model, request, [&](const Request& part, const Split&) {
    Session session = session_of_path(model, part);
    return Sampler(session, part, s).run();
  });
}

}  // namespace

Attribution run_method(const Model& model, const GradientShap& o, const Request& request) {
  return sample(model, request, {"gradient-shap", o.n_samples, o.stdevs, o.baselines, o.multiply_by_inputs});
}

Attribution run_method(const Model& model, const ExpectedGradients& o, const Request& request) {
  return sample(model, request, {"expected-gradients", o.n_samples, {0.0}, o.baselines, true});
}

}  // namespace onnxray
