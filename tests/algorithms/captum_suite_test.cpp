// Captum's values, every case through the method registry with its options set by name, in both precisions and with
// each chunk that is listed: the hard numbers of Captum's own tests (tests/golden/captum_suite/harvest.py), and whole
// methods on small networks (tests/golden/captum_compare/compare.py).
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "algorithms/quadrature.h"
#include "algorithms/session.h"
#include "app/io/json.h"
#include "tests/algorithms/support.h"

namespace onnxray {
namespace {

using Json = nlohmann::json;
using testing::in_source;

Json read(const std::string& file) {
  std::ifstream in(in_source("tests/golden/" + file));
  return Json::parse(in);
}

Tensor array_of(const Json& j) { return app::parse_json_tensor(j.dump(), "cases.json").to(DType::f64); }

const Model& model_named(const std::string& file) {
  static std::map<std::string, Model> loaded;
  auto it = loaded.find(file);
  if (it == loaded.end()) it = loaded.emplace(file, load(in_source("tests/golden/" + file))).first;
  return it->second;
}

// Sets options from a JSON object; a key that no option has is an error.
class JsonSetter final : public OptionVisitor {
 public:
  JsonSetter(const Json& options, const Model& model, const Request& request)
      : options_(options), model_(model), request_(request) {}

  void operator()(const OptionInfo& i, bool& f) override { set(i, f); }
  void operator()(const OptionInfo& i, std::int64_t& f) override { set(i, f); }
  void operator()(const OptionInfo& i, double& f) override { set(i, f); }
  void operator()(const OptionInfo& i, std::string& f) override { set(i, f); }
  void operator()(const OptionInfo& i, std::vector<std::vector<std::int64_t>>& f) override { set(i, f); }
  void operator()(const OptionInfo& i, std::vector<double>& f) override {
    if (const Json* given = find(i)) {
      if (given->is_number()) f = {given->get<double>()};
      else f = given->get<std::vector<double>>();
    }
  }
  void operator()(const OptionInfo& i, Baselines& f) override {
    if (const Json* given = find(i)) {
      f.kind = Baselines::Kind::kTensors;
      for (const auto& [name, value] : given->items()) f.tensors[name] = rows_of(name, value);
    }
  }

  void operator()(const OptionInfo& i, FeatureMask& f) override {
    if (const Json* given = find(i)) {
      f.kind = FeatureMask::Kind::kTensors;
      for (const auto& [name, value] : given->items()) f.tensors[name] = array_of(value).to(DType::i64);
    }
  }

  void finish() const {
    for (const auto& [name, value] : options_.items()) ONNXRAY_CHECK(known_.contains(name), "no option ", name);
  }

 private:
  const Json* find(const OptionInfo& i) {
    known_.insert(i.name);
    const auto it = options_.find(i.name);
    return it == options_.end() ? nullptr : &*it;
  }
  template <class T>
  void set(const OptionInfo& i, T& f) {
    if (const Json* given = find(i)) f = given->get<T>();
  }

  // [1 or examples, one row's dims...]; a number fills one row.
  Tensor rows_of(const std::string& name, const Json& value) const {
    if (!value.is_number()) return array_of(value);
    Dims dims = row_dims_of_value(model_, request_, name);
    dims.insert(dims.begin(), 1);
    return Tensor::full(DType::f64, dims, value.get<double>());
  }

  const Json& options_;
  const Model& model_;
  const Request& request_;
  std::set<std::string> known_;
};

Scalar scalar_of_json(const Json& j) {
  Scalar scalar;
  for (const Json& t : j.contains("terms") ? j.at("terms") : Json::array({j})) {
    Term term;
    term.value = t.at("value");
    if (t.contains("index")) term.index = t.at("index").get<std::vector<std::vector<std::int64_t>>>();
    if (t.contains("mask")) term.mask = array_of(t.at("mask"));
    scalar.terms.push_back(std::move(term));
  }
  return scalar;
}

Request request_of(const Json& j, const Json& inputs, const Model& model) {
  Request request;
  for (const ValueInfo& in : model.inputs()) {
    request.inputs[in.name] = array_of(inputs.at(in.name)).to(is_float(in.dtype) ? DType::f64 : in.dtype);
  }
  for (const Json& to : j.at("to")) request.to.push_back(scalar_of_json(to));
  request.from = j.at("from").get<std::vector<std::string>>();
  if (j.contains("vary")) request.vary = j.at("vary").get<std::vector<std::string>>();
  return request;
}

// Runs the method of a case in one precision with each of its chunks; `examine` gets the results of every seed, which
// are several where the numbers come from one run of a random method (in float64 and with the first chunk: the others
// draw the same numbers).
constexpr std::uint64_t kSeeds = 16;

void run_case(const Json& j, const Json& inputs, const std::string& folder, Precision precision,
              const std::function<void(const std::vector<Attribution>&)>& examine) {
  const Model& model = model_named(folder + j.at("model").get<std::string>());
  Request request = request_of(j, inputs, model);
  request.compute.precision = precision;
  const auto chosen = method(j.at("method")).make();
  JsonSetter setter(j.at("options"), model, request);
  chosen->visit_options(setter);
  setter.finish();
  check_options(*chosen);
  bool several = j.at("kind") == "random" && precision == Precision::kFloat64;
  for (const std::int64_t chunk : j.at("chunks")) {
    request.compute.chunk = chunk;
    std::vector<Attribution> seeds;
    for (std::uint64_t seed = 0; seed < (several ? kSeeds : 1); ++seed) {
      request.compute.seed = seed;
      seeds.push_back(chosen->run(model, request));
    }
    examine(seeds);
    several = false;
  }
}

std::string text(const std::vector<double>& v) {
  std::ostringstream s;
  for (std::size_t i = 0; i < v.size() && i < 24; ++i) s << (i ? " " : "") << v[i];
  return s.str();
}

// The numbers a check speaks of.
std::vector<double> part_of(const Attribution& got, const Json& check) {
  const std::string of = check.at("of");
  std::vector<double> all = got.delta;
  if (of != "delta") {
    ONNXRAY_CHECK(got.attributions.contains(of), "no attribution of ", of);
    all = got.attributions.at(of).to_doubles();
  }
  if (check.contains("sum")) {
    double sum = 0;
    for (const double v : all) sum += v;
    return {sum};
  }
  const std::size_t n = check.at("expected").size();
  if (check.contains("column")) {
    const Dims& d = got.attributions.at(of).dims();
    const auto columns = static_cast<std::size_t>(d.at(1)), rows = static_cast<std::size_t>(d.at(0));
    const std::size_t inner = n / rows, column = check.at("column");
    std::vector<double> out;
    for (std::size_t r = 0; r < rows; ++r) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>((r * columns + column) * inner);
      out.insert(out.end(), begin, begin + static_cast<std::ptrdiff_t>(inner));
    }
    return out;
  }
  const std::size_t at = check.at("at");
  ONNXRAY_CHECK(at + n <= all.size(), of, " has ", all.size(), " elements, expected at least ", at + n);
  return {all.begin() + static_cast<std::ptrdiff_t>(at), all.begin() + static_cast<std::ptrdiff_t>(at + n)};
}

// Captum's comparison: the sum (or the largest) of the absolute differences.
double distance(const std::vector<double>& got, const std::vector<double>& want, bool largest) {
  if (got.size() != want.size()) return INFINITY;
  double d = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double e = std::abs(got[i] - want[i]);
    if (std::isnan(e)) return INFINITY;
    d = largest ? std::max(d, e) : d + e;
  }
  return d;
}

// Where Captum departs from the definition: the right numbers, by test, rule and what is compared.
struct Difference {
  std::string test, method, of;
  std::vector<double> right;
  double tolerance = 1e-5;
};
const std::vector<Difference>& differences() {
  static const std::vector<Difference> list = {
      // n nodes from 0 to 1 bound n - 1 intervals of width h = 1 / (n - 1): weights h / 2, h, ..., h, h / 2, sum 1.
      // Captum takes h = 1 / n; its weights sum to (n - 1) / n.
      {"test_riemann_2", "riemann_trapezoid", "weights", {1. / 2, 1. / 2}},
      {"test_riemann_3", "riemann_trapezoid", "weights", {1. / 4, 1. / 2, 1. / 4}},
      {"test_riemann_4", "riemann_trapezoid", "weights", {1. / 6, 1. / 3, 1. / 3, 1. / 6}},
      // The gradient of F is 1 where the unit of linear1 is above 0, so the mean over the path is the part of the path
      // on
      // which it is. x_2 runs from -20 to 80: s > 10 on 70 %, s > -1 on 81 %; the second example's sum runs from -40 to
      // 60: 50 % and 61 %. Nodes 1 / 499 apart see a step to half of that. The test says 80 % and 60 %, which Captum
      // reaches only because its weights sum to 499 / 500.
      {"test_simple_with_baseline_internal_inf", "internal-influence", "linear1", {0.7, 0.81, 0.81, 0.81}, 0.5 / 499},
      {"test_multiple_with_baseline_internal_inf",
       "internal-influence",
       "linear1",
       {0.7, 0.81, 0.81, 0.81, 0.5, 0.61, 0.61, 0.61},
       0.5 / 499},
      // x1 = [1, 2, 3], x2 = [3, 6, 9], s = x1 + x2. The units behind linear1 hold 14, 25, 25, 25 and get that
      // relevance
      // of F = 14 + 75 - 1; s_i gets s_i (14 / 14 + 3 * 25 / 25) = 4 s_i. A sum shares relevance in proportion: x1 is a
      // quarter of s. Captum passes a functional sum's relevance to both terms, so it hands out 2 * 96 for F = 88.
      {"test_lrp_multi_inputs", "lrp", "x1", {4, 8, 12}},
      {"test_lrp_multi_inputs", "lrp", "delta", {96 - 88}},
  };
  return list;
}

const Difference* difference_of(const Json& j, const Json& check) {
  for (const Difference& d : differences()) {
    const bool method = j.at("method") == d.method || j.at("options").value("method", "") == d.method;
    if (method && check.at("of") == d.of && j.at("tests").dump().find(d.test + "\"") != std::string::npos) return &d;
  }
  return nullptr;
}

void expect_check(const std::vector<double>& got, const Json& j, const Json& check) {
  const auto want = check.at("expected").get<std::vector<double>>();
  if (const Difference* d = difference_of(j, check)) {
    EXPECT_LE(distance(got, d->right, true), d->tolerance) << "right " << text(d->right) << "\n got   " << text(got);
    EXPECT_GT(distance(got, want, check.contains("mode")), check.at("tol").get<double>()) << "equals what Captum says";
    return;
  }
  // Differences of 0 are asked for between float32 numbers; ours may be their float64 neighbours.
  const double tolerance = std::max(check.at("tol").get<double>(), 1e-6);
  EXPECT_LE(distance(got, want, check.contains("mode")), tolerance)
      << check.at("of") << "\n got      " << text(got) << "\n expected " << text(want);
}

// Sampling methods. What the test holds is one draw of Captum's, or the exact value, and its tolerance is a guess of
// how far two draws lie apart; it is often less than that. The spread s of an element over our own seeds says how far:
// draws of the same estimator by two generators differ by sqrt(2) s, so one seed of ours has to be within the test's
// tolerance and three such standard errors, and the mean over K seeds, which has spread s / sqrt(K), within the
// tolerance and 3 s sqrt(1 + 1 / K). Where the seeds agree, this is the test's tolerance.
struct Spread {
  std::vector<double> mean, deviation;
};

Spread spread_of(const std::vector<Attribution>& seeds, const Json& check) {
  Spread out;
  std::vector<std::vector<double>> all;
  for (const Attribution& a : seeds) all.push_back(part_of(a, check));
  const auto k = static_cast<double>(all.size());
  for (std::size_t i = 0; i < all[0].size(); ++i) {
    double sum = 0, squares = 0;
    for (const auto& v : all) sum += v[i];
    for (const auto& v : all) squares += (v[i] - sum / k) * (v[i] - sum / k);
    out.mean.push_back(sum / k);
    out.deviation.push_back(std::sqrt(squares / (k - 1)));
  }
  return out;
}

void expect_draw(const std::vector<double>& got, const std::vector<double>& want, double tolerance,
                 const std::vector<double>& deviation, double errors, const char* what) {
  ASSERT_EQ(got.size(), want.size());
  ASSERT_EQ(got.size(), deviation.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_LE(std::abs(got[i] - want[i]), tolerance + errors * deviation[i])
        << what << ", element " << i << ": " << got[i] << ", expected " << want[i] << ", deviation " << deviation[i];
  }
}

void expect_quadrature(const Json& j) {
  const Json& o = j.at("options");
  const Quadrature q = quadrature(o.at("method"), o.at("n"));
  for (const Json& check : j.at("checks")) expect_check(check.at("of") == "alphas" ? q.alphas : q.weights, j, check);
}

int failed_parts() {
  const ::testing::TestResult& r = *::testing::UnitTest::GetInstance()->current_test_info()->result();
  int n = 0;
  for (int i = 0; i < r.total_part_count(); ++i) n += r.GetTestPartResult(i).failed();
  return n;
}

bool known(const std::string& name) {
  for (const MethodInfo& m : methods()) {
    if (m.name == name) return true;
  }
  return name == "quadrature";
}

TEST(CaptumSuite, EveryAssertion) {
  std::map<std::string, int> passed, pending, failed;
  int deterministic = 0, random = 0, own = 0, draws = 0;
  for (const Json& j : read("captum_suite/cases.json")) {
    SCOPED_TRACE(j.at("file").get<std::string>() + j.at("tests").dump() + " " + j.value("model", "") + " " +
                 j.at("method").get<std::string>() + " " + j.at("options").dump());
    const std::string name = j.at("method");
    const int assertions = j.at("assertions");
    if (!known(name)) {
      pending[name] += assertions;
      continue;
    }
    const int failures = failed_parts();
    try {
      if (name == "quadrature") {
        expect_quadrature(j);
      } else {
        std::vector<Spread> spreads;
        const auto examine = [&](const std::vector<Attribution>& seeds) {
          std::size_t k = 0;
          for (const Json& check : j.at("checks")) {
            const auto got = part_of(seeds[0], check);
            if (j.at("kind") != "random") {
              expect_check(got, j, check);
              continue;
            }
            const auto want = check.at("expected").get<std::vector<double>>();
            const double tolerance = check.at("tol");
            if (seeds.size() > 1) {
              const Spread& s = spreads.emplace_back(spread_of(seeds, check));
              expect_draw(s.mean, want, tolerance, s.deviation, 3 * std::sqrt(1 + 1.0 / kSeeds), "mean");
              own += distance(got, want, true) <= tolerance;
              ++draws;
            }
            expect_draw(got, want, tolerance, spreads.at(k++).deviation, 3 * std::sqrt(2.0), "one seed");
          }
        };
        for (const Precision precision : {Precision::kFloat64, Precision::kFloat32}) {
          run_case(j, j.at("inputs"), "captum_suite/", precision, examine);
        }
      }
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
    (failed_parts() == failures ? passed : failed)[name] += assertions;
    (j.at("kind") == "random" ? random : deterministic) += failed_parts() == failures ? assertions : 0;
  }
  for (const auto& [name, n] : passed) std::cout << name << ": " << n << "\n";
  for (const auto& [name, n] : failed) std::cout << "FAILED " << name << ": " << n << "\n";
  for (const auto& [name, n] : pending) std::cout << "no such method: " << name << ", " << n << " assertions\n";
  std::cout << deterministic << " deterministic assertions, " << random << " tolerant of randomness\n"
            << own << " of " << draws << " comparisons with a draw hold with seed 0 at the test's tolerance alone\n";
  if (pending.empty()) {
    EXPECT_GE(deterministic, 780);
  }
}

TEST(CaptumCompare, DeterministicMethodsOnSmallNetworks) {
  const Json inputs = read("captum_compare/inputs.json");
  for (const Json& j : read("captum_compare/cases.json")) {
    SCOPED_TRACE(j.at("tests").dump() + " " + j.at("method").get<std::string>());
    if (!known(j.at("method"))) continue;
    for (const Precision precision : {Precision::kFloat64, Precision::kFloat32}) {
      try {
        run_case(j, inputs.at(j.at("inputs").get<std::string>()), "captum_compare/", precision,
                 [&](const std::vector<Attribution>& results) {
                   const Attribution& got = results.at(0);
                   for (const Json& check : j.at("checks")) {
                     const auto want = check.at("expected").get<std::vector<double>>();
                     double d = 0, n = 0;
                     const auto values = part_of(got, check);
                     ASSERT_EQ(values.size(), want.size());
                     ASSERT_EQ(values.size(), got.attributions.at(check.at("of")).to_doubles().size());
                     for (std::size_t i = 0; i < want.size(); ++i) {
                       d += (values[i] - want[i]) * (values[i] - want[i]);
                       n += want[i] * want[i];
                     }
                     const double bound = precision == Precision::kFloat64 ? check.at("tol").get<double>() : 2e-5;
                     EXPECT_LE(std::sqrt(d / std::max(n, 1e-300)), bound) << check.at("of");
                   }
                 });
      } catch (const std::exception& e) {
        ADD_FAILURE() << e.what();
      }
    }
  }
}

}  // namespace
}  // namespace onnxray
