#include "algorithms/attribution/noise_tunnel.h"

#include <algorithm>
#include <chrono>
#include <typeinfo>

#include "algorithms/attribution/path_ends.h"
#include "algorithms/random.h"

namespace onnxray {
namespace {

// Passes the inner method's options on, renaming those that the tunnel has itself.
class Renamed final : public OptionVisitor {
 public:
  explicit Renamed(OptionVisitor& v) : v_(v) {}
  void operator()(const OptionInfo& i, bool& f) override { pass(i, f); }
  void operator()(const OptionInfo& i, std::int64_t& f) override { pass(i, f); }
  void operator()(const OptionInfo& i, double& f) override { pass(i, f); }
  void operator()(const OptionInfo& i, std::string& f) override { pass(i, f); }
  void operator()(const OptionInfo& i, std::vector<std::vector<std::int64_t>>& f) override { pass(i, f); }
  void operator()(const OptionInfo& i, std::vector<double>& f) override { pass(i, f); }
  void operator()(const OptionInfo& i, Baselines& f) override { pass(i, f); }
  void operator()(const OptionInfo& i, FeatureMask& f) override { pass(i, f); }

 private:
  template <class T>
  void pass(const OptionInfo& info, T& field) {
    const std::string_view name = info.name;
    if (name != "inner" && name != "nt_type" && name != "nt_samples" && name != "stdevs") return v_(info, field);
    const std::string other = "inner_" + std::string(name);
    OptionInfo renamed = info;
    renamed.name = other.c_str();
    v_(renamed, field);
  }
  OptionVisitor& v_;
};

// The inputs that get noise: those that are said to vary, else those attributed to, else every float input that carries
// rows.
std::vector<std::string> noisy_inputs(const Model& model, const Request& request) {
  std::vector<std::string> out;
  const std::vector<std::string>& names = request.vary.empty() ? request.from : request.vary;
  const bool named = !request.vary.empty() || (!request.from.empty() && attributes_to_inputs(model, request));
  for (const ValueInfo& in : model.inputs()) {
    const bool asked = !named || std::find(names.begin(), names.end(), in.name) != names.end();
    if (asked && is_float(in.dtype) && model.row_shape(in, request.inputs.at(in.name)).carries_rows) {
      out.push_back(in.name);
    }
  }
  ONNXRAY_CHECK(!out.empty(), "noise-tunnel has no float input to add noise to");
  return out;
}

// Running mean and variance of attributions, sample by sample.
class Moments {
 public:
  explicit Moments(const std::string& type) : type_(type) {}

  void add(const std::string& name, const Tensor& a) {
    State& s = states_[name];
    if (!s.mean.defined()) {
      s.mean = Tensor::zeros(DType::f64, a.dims());
      s.spread = Tensor::zeros(DType::f64, a.dims());
    }
    ++s.count;
    const auto mean = s.mean.mutable_data<double>(), spread = s.spread.mutable_data<double>();
    const auto x = a.data<double>();
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (type_ == "vargrad") {
        // Welford: no difference of large squares.
        const double off = x[i] - mean[i];
        mean[i] += off / static_cast<double>(s.count);
        spread[i] += off * (x[i] - mean[i]);
      } else {
        mean[i] += type_ == "smoothgrad" ? x[i] : x[i] * x[i];
      }
    }
  }

  [[nodiscard]] NamedTensors results() {
    NamedTensors out;
    for (auto& [name, s] : states_) {
      Tensor& t = type_ == "vargrad" ? s.spread : s.mean;
      for (double& v : t.mutable_data<double>()) v /= static_cast<double>(s.count);
      out[name] = t;
    }
    return out;
  }

 private:
  struct State {
    Tensor mean, spread;
    std::int64_t count = 0;
  };
  std::string type_;
  std::map<std::string, State> states_;
};

// F at the examples themselves.
Attribution clean_values(const Model& model, const Request& request) {
  return run_by_rows(model, request, [&](const Request& part, const Split&) {
    const Session session(model, part, false);
    const std::int64_t examples = session.examples();
    Scheduler scheduler(part.compute, "noise-tunnel", examples);
    RowProgram program(session, {.key = "forward"}, {}, examples);
    Attribution out;
    scheduler.run(
        program, examples, [](std::int64_t e) { return Row{.example = e}; },
        [&](std::int64_t, std::int64_t rows) {
          for (std::int64_t r = 0; r < rows; ++r) {
            for (std::size_t k = 0; k < session.to().size(); ++k) out.values.push_back(program.value(r, k));
          }
        });
    scheduler.report(session, out.report);
    return out;
  });
}

}  // namespace

InnerMethod::InnerMethod(const std::string& name) : info_(&onnxray::method(name)), method_(info_->make()) {
  ONNXRAY_CHECK(name != "noise-tunnel", "noise-tunnel cannot wrap itself: noise on noise is noise");
}

InnerMethod::InnerMethod(std::unique_ptr<Method> method) : info_(nullptr), method_(std::move(method)) {
  const Method& given = *method_;
  for (const MethodInfo& m : methods()) {
    const std::unique_ptr<Method> other = m.make();
    const Method& known = *other;
    if (typeid(known) == typeid(given)) info_ = &m;
  }
  ONNXRAY_CHECK(info_ != nullptr, "noise-tunnel got a method that is not registered");
}

void NoiseTunnel::visit(OptionVisitor& v) {
  std::string name = inner.info().name;
  v({.name = "inner", .description = "the method to run on noisy inputs; its options follow"}, name);
  if (name != inner.info().name) inner = InnerMethod(name);
  v({.name = "nt_type",
     .description = "mean, mean of squares or variance of the samples",
     .choices = {"smoothgrad", "smoothgrad_sq", "vargrad"}},
    nt_type);
  v({.name = "nt_samples", .description = "noisy copies per example", .lo = 1, .hi = 1e6}, nt_samples);
  v({.name = "stdevs", .description = "standard deviation of the noise, or one per noisy input", .lo = 0, .hi = 1e30},
    stdevs);
  Renamed renamed(v);
  inner.method().visit_options(renamed);
}

Attribution run_method(const Model& model, const NoiseTunnel& o, const Request& request) {
  std::int64_t examples = 1;
  (void)specialisation_of(model, request, examples);  // checks the inputs
  const std::vector<std::string> noisy = noisy_inputs(model, request);
  ONNXRAY_CHECK(o.stdevs.size() == 1 || o.stdevs.size() == noisy.size(), "noise-tunnel got ", o.stdevs.size(),
                " stdevs for ", noisy.size(), noisy.size() == 1 ? " input" : " inputs",
                ", expected one number or one per input");
  const MethodInfo& info = o.inner.info();
  // Noisy copies of a single example go through the inner method together, as rows. Where examples have options or
  // draws of their own, one copy of all examples at a time.
  constexpr std::int64_t kMostCopies = 64;
  std::int64_t copies = 1;
  if (examples == 1 && !info.stochastic && !info.mixes_examples) {
    for (std::int64_t c = 1; c <= std::min(kMostCopies, o.nt_samples); ++c) {
      if (o.nt_samples % c == 0) copies = c;
    }
  }
  const bool scalar = info.explains_scalar || !request.to.empty();
  const std::int64_t clean_rows = scalar ? examples : 0;

  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [start] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  Moments moments(o.nt_type);
  Attribution out;
  const std::int64_t runs = o.nt_samples / copies;
  for (std::int64_t run = 0; run < runs; ++run) {
    Request noised = request;
    for (std::size_t i = 0; i < noisy.size(); ++i) {
      const Tensor& x = request.inputs.at(noisy[i]);
      const double stdev = o.stdevs[o.stdevs.size() == 1 ? 0 : i];
      std::vector<RandomKey> keys;
      for (std::int64_t r = 0; r < examples * copies; ++r) {
        keys.push_back({request.compute.seed, request.compute.first_example + (copies > 1 ? 0 : r),
                        run * copies + (copies > 1 ? r : 0)});
      }
      Tensor t = random_tensor(model, "random_normal", keys, random_stream::kTunnel + static_cast<std::int64_t>(i),
                               {x.size() / examples});
      const std::vector<double> clean = x.to_doubles();
      const auto v = t.mutable_data<double>();
      for (std::size_t j = 0; j < v.size(); ++j) v[j] = clean[j % clean.size()] + stdev * v[j];
      Dims dims = x.dims();
      dims[0] *= copies;
      noised.inputs[noisy[i]] = t.reshaped(dims);
    }
    if (copies > 1) {
      // Everything else that carries rows is repeated; masks of one example become masks of all.
      for (const ValueInfo& in : model.inputs()) {
        const Tensor& x = request.inputs.at(in.name);
        if (std::find(noisy.begin(), noisy.end(), in.name) != noisy.end() || !model.row_shape(in, x).carries_rows) {
          continue;
        }
        noised.inputs[in.name] = stack_rows(std::vector<Tensor>(static_cast<std::size_t>(copies), x));
      }
      for (Scalar& s : noised.to) {
        for (Term& t : s.terms) {
          if (!t.mask.defined()) continue;
          const Dims row = row_dims_of_value(model, request, t.value.empty() ? model.outputs().at(0).name : t.value);
          if (t.mask.size() == count_of(row)) t.mask = t.mask.reshaped(row);
        }
      }
    }
    if (info.stochastic) noised.compute.seed = derived_seed(request.compute.seed, run);
    if (request.compute.progress) {
      noised.compute.progress = [&, run](const Progress& part) {
        Progress p = part;
        p.phase = "noise-tunnel";
        p.done += run * part.total;
        p.total = part.total * runs + clean_rows;
        p.seconds = elapsed();
        p.remaining_seconds = p.seconds / static_cast<double>(p.done) * static_cast<double>(p.total - p.done);
        return request.compute.progress(p);
      };
    }
    const Attribution a = o.inner.method().run(model, noised);
    if (run == 0) out.report = a.report;
    else append_report(out.report, a.report);
    for (const auto& [name, t] : a.attributions) {
      const std::int64_t rows = t.dims()[0] / copies;
      for (std::int64_t c = 0; c < copies; ++c) moments.add(name, t.rows(c * rows, (c + 1) * rows));
    }
  }
  out.attributions = moments.results();
  if (scalar) {
    Request clean = request;
    if (request.compute.progress) {
      clean.compute.progress = [&](const Progress& part) {
        Progress p = part;
        p.done += out.report.rows;
        p.total += out.report.rows;
        p.seconds = elapsed();
        return request.compute.progress(p);
      };
    }
    const Attribution a = clean_values(model, clean);
    out.values = a.values;
    append_report(out.report, a.report);
  }
  return out;
}

}  // namespace onnxray
