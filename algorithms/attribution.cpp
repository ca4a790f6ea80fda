#include "algorithms/attribution.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "algorithms/session.h"

namespace onnxray {
namespace {

class RangeCheck final : public OptionVisitor {
 public:
  void operator()(const OptionInfo&, bool&) override {}
  void operator()(const OptionInfo& info, std::int64_t& field) override { range(info, static_cast<double>(field)); }
  void operator()(const OptionInfo& info, double& field) override { range(info, field); }
  void operator()(const OptionInfo& info, std::string& field) override {
    if (info.choices.empty()) return;
    std::string known;
    for (const std::string& c : info.choices) {
      if (c == field) return;
      known += (known.empty() ? "" : ", ") + c;
    }
    fail("option ", info.name, " is '", field, "', expected one of: ", known);
  }
  void operator()(const OptionInfo& info, std::vector<std::vector<std::int64_t>>& field) override {
    for (const auto& list : field) {
      for (const std::int64_t v : list) range(info, static_cast<double>(v));
    }
  }
  void operator()(const OptionInfo& info, std::vector<double>& field) override {
    ONNXRAY_CHECK(!field.empty(), "option ", info.name, " is empty, expected a number, or one per value");
    for (const double v : field) range(info, v);
  }
  void operator()(const OptionInfo&, FeatureMask&) override {}
  void operator()(const OptionInfo& info, Baselines& field) override {
    ONNXRAY_CHECK(std::isfinite(field.constant), "option ", info.name, " is not a finite number");
    for (const auto& [name, t] : field.tensors) {
      for (const double v : t.to_doubles()) {
        ONNXRAY_CHECK(std::isfinite(v), "the baseline for '", name, "' holds a NaN or an infinity");
      }
    }
  }

 private:
  static void range(const OptionInfo& info, double v) {
    ONNXRAY_CHECK(v >= info.lo && v <= info.hi, "option ", info.name, " is ", v, ", expected ", info.lo, " to ",
                  info.hi);
  }
};

double seconds_since(std::chrono::steady_clock::time_point t) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - t).count();
}

// The slice of a per-example thing for example e, when there is one entry per example.
Request example_of(const Model& model, const Request& request, std::int64_t e, std::int64_t examples) {
  Request one = request;
  one.compute.first_example += e;
  for (const ValueInfo& in : model.inputs()) {
    const auto it = request.inputs.find(in.name);
    if (it == request.inputs.end()) continue;
    const Model::RowShape shape = model.row_shape(in, it->second);
    if (!shape.carries_rows || shape.rows != examples) continue;
    const std::int64_t unit = shape.one_row[0];
    one.inputs[in.name] = it->second.rows(e * unit, (e + 1) * unit);
  }
  for (Scalar& s : one.to) {
    for (Term& t : s.terms) {
      if (t.index.size() > 1) t.index = {t.index.at(static_cast<std::size_t>(e))};
      if (!t.mask.defined()) continue;
      Dims many = row_dims_of_value(model, one, t.value.empty() ? model.outputs().at(0).name : t.value);
      many.insert(many.begin(), examples);
      if (t.mask.dims() == many) t.mask = t.mask.rows(e, e + 1);
    }
  }
  return one;
}

}  // namespace

void check_options(Method& method) {
  RangeCheck check;
  method.visit_options(check);
}

void append_report(ComputeReport& all, const ComputeReport& part) {
  all.rows += part.rows;
  all.seconds += part.seconds;
  all.setup_seconds += part.setup_seconds;
  all.chunk = std::max(all.chunk, part.chunk);
  all.peak_bytes = std::max(all.peak_bytes, part.peak_bytes);
  for (const auto& [op, seconds] : part.op_seconds) all.op_seconds[op] += seconds;
  for (const std::string& n : part.notices) {
    if (std::find(all.notices.begin(), all.notices.end(), n) == all.notices.end()) all.notices.push_back(n);
  }
}

Attribution run_by_scalars(const Request& request, const std::function<Attribution(const Request&)>& one) {
  const std::size_t scalars = request.to.size();
  if (scalars <= 1) return one(request);
  std::vector<Attribution> parts;
  ComputeReport report;
  const auto start = std::chrono::steady_clock::now();
  for (std::size_t k = 0; k < scalars; ++k) {
    Request single = request;
    single.to = {request.to[k]};
    if (request.compute.progress) {
      single.compute.progress = [&, k](const Progress& part) {
        Progress p = part;
        p.done += static_cast<std::int64_t>(k) * part.total;
        p.total *= static_cast<std::int64_t>(scalars);
        p.seconds = seconds_since(start);
        p.remaining_seconds = p.seconds / static_cast<double>(p.done) * static_cast<double>(p.total - p.done);
        return request.compute.progress(p);
      };
    }
    parts.push_back(one(single));
    if (k == 0) report = parts[0].report;
    else append_report(report, parts.back().report);
  }
  // Scalars innermost.
  Attribution all;
  const auto join = [&](std::vector<double> Attribution::*list) {
    for (std::size_t e = 0; e < (parts[0].*list).size(); ++e) {
      for (const Attribution& a : parts) (all.*list).push_back((a.*list).at(e));
    }
  };
  join(&Attribution::values);
  join(&Attribution::baseline_values);
  join(&Attribution::delta);
  for (const auto& [name, first] : parts[0].attributions) {
    std::vector<Tensor> rows;
    for (std::int64_t e = 0; e < first.dims()[0]; ++e) {
      for (const Attribution& a : parts) rows.push_back(a.attributions.at(name).rows(e, e + 1));
    }
    all.attributions[name] = stack_rows(rows);
  }
  all.report = report;
  return all;
}

Attribution run_by_rows(const Model& model, const Request& request,
                        const std::function<Attribution(const Request&, const Split&)>& one, bool any_dtype) {
  std::int64_t examples = 1;
  for (const ValueInfo& in : model.inputs()) {
    const auto it = request.inputs.find(in.name);
    if (it != request.inputs.end()) examples = std::max(examples, model.row_shape(in, it->second).rows);
  }
  const auto scalars = static_cast<std::int64_t>(std::max<std::size_t>(1, request.to.size()));
  if (examples == 1 && scalars == 1) return one(request, {});
  bool batched = false;
  std::string why;
  try {
    const Session probe(model, request, false, any_dtype);
    batched = probe.batched();
  } catch (const Error& e) {
    // Shapes that depend on contents: the graph of one example does not serve another.
    if (e.kind() != ErrorKind::kUnsupported) throw;
    why = e.what();
  }
  if (batched) return one(request, {});
  for (const Scalar& s : request.to) {
    for (const Term& t : s.terms) {
      ONNXRAY_CHECK(t.index.size() <= 1 || static_cast<std::int64_t>(t.index.size()) == examples, "got ",
                    t.index.size(), " targets for ", examples, " examples");
    }
  }
  const auto start = std::chrono::steady_clock::now();
  Attribution all;
  std::map<std::string, std::vector<Tensor>> parts;
  // Several scalars of one example are backward rows of their own, so they run one at a time as well.
  const std::int64_t count = examples * scalars;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t e = i / scalars;
    Request single = examples == 1 ? request : example_of(model, request, e, examples);
    if (scalars > 1) single.to = {single.to[static_cast<std::size_t>(i % scalars)]};
    if (request.compute.progress) {
      // One count over all examples: those to come are taken to have as many rows as this one.
      single.compute.progress = [&, i](const Progress& part) {
        Progress p = part;
        p.done += all.report.rows;
        p.total = all.report.rows + part.total * (count - i);
        p.seconds = seconds_since(start);
        p.remaining_seconds = p.seconds / static_cast<double>(p.done) * static_cast<double>(p.total - p.done);
        return request.compute.progress(p);
      };
    }
    Attribution a = one(single, {.example = e, .examples = examples});
    for (const auto& [name, t] : a.attributions) parts[name].push_back(t);
    const auto append = [](std::vector<double>& to, const std::vector<double>& from) {
      to.insert(to.end(), from.begin(), from.end());
    };
    append(all.values, a.values);
    append(all.baseline_values, a.baseline_values);
    append(all.delta, a.delta);
    append(all.absorbed, a.absorbed);
    if (i == 0) all.report = a.report;
    else append_report(all.report, a.report);
  }
  for (const auto& [name, list] : parts) all.attributions[name] = stack_rows(list);
  all.report.batched = false;
  if (!why.empty()) all.report.notices.push_back("examples run one at a time: " + why);
  return all;
}

}  // namespace onnxray
