// What every method of the registry must do on every small model: rows are independent of each other and of the chunk,
// seeds repeat, ignored inputs get nothing, progress is exact.
#include <gtest/gtest.h>

#include <map>

#include "app/io/npy.h"
#include "tests/algorithms/method_conformance.h"

namespace onnxray {
namespace {

using testing::applies;
using testing::exported;
using testing::in_source;
using testing::kExamples;
using testing::parsed;
using testing::relative_distance;
using testing::run_small;
using testing::runs_on;
using testing::Subject;
using testing::subjects;
using testing::wave;

// The relative difference between chunks that rounding may cause in float32. Guided IG decides by the order of
// gradients, which rounding may turn around.
double float32_tolerance(const MethodInfo& info) { return info.name == "guided-integrated-gradients" ? 2e-2 : 1e-5; }

class Methods : public ::testing::TestWithParam<std::string> {
 protected:
  const MethodInfo& info() const { return method(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(Registry, Methods, ::testing::ValuesIn(testing::method_names()), testing::test_name);

// float64: the same bits for any chunk and for single rows; float32: within rounding.
TEST_P(Methods, RowsAreIndependentOfTheChunkAndOfEachOther) {
  if (info().mixes_examples) GTEST_SKIP() << "examples belong together";
  for (const Subject& s : subjects()) {
    SCOPED_TRACE(s.name);
    if (!runs_on(info(), s)) continue;
    if (!applies(info(), s)) continue;
    for (const Precision precision : {Precision::kFloat64, Precision::kFloat32}) {
      // float32 is another set of kernels under the same rows: the models declared so show it.
      if (precision == Precision::kFloat32 && s.model.default_precision() != precision) continue;
      SCOPED_TRACE(precision == Precision::kFloat64 ? "float64" : "float32");
      const auto same = [&](const Attribution& got, const Attribution& want, const std::string& what) {
        ASSERT_EQ(got.attributions.size(), want.attributions.size());
        for (const auto& [name, t] : want.attributions) {
          if (precision == Precision::kFloat64) {
            EXPECT_TRUE(got.attributions.at(name).same_bits(t))
                << what << " " << name << ": relative distance " << relative_distance(got.attributions.at(name), t);
          } else {
            EXPECT_LE(relative_distance(got.attributions.at(name), t), float32_tolerance(info()))
                << what << " " << name;
          }
        }
        EXPECT_LE(testing::largest_difference(got.values, want.values),
                  precision == Precision::kFloat64 ? 0 : 1e-5 * (1 + testing::largest(want.values)))
            << what;
      };
      try {
        const Attribution all = run_small(info(), s, {.precision = precision});
        for (const auto& [name, t] : all.attributions) {
          EXPECT_EQ(t.dims()[0], kExamples);
          // Some maps keep only what is positive.
          if (!info().is_map || !s.mixed) {
            EXPECT_GT(testing::largest(t.to_doubles()), 0) << "nothing is attributed";
          }
        }
        EXPECT_EQ(all.report.batched, !s.mixed);
        for (const std::int64_t chunk : {1, 2, 7}) {
          const Attribution a = run_small(info(), s, {.precision = precision, .chunk = chunk});
          same(a, all, "chunk " + std::to_string(chunk));
          if (chunk != 2) continue;
          const Attribution again = run_small(info(), s, {.precision = precision, .chunk = chunk});
          for (const auto& [name, t] : a.attributions) EXPECT_TRUE(again.attributions.at(name).same_bits(t));
        }
        Attribution singles;
        std::map<std::string, std::vector<Tensor>> rows;
        for (std::int64_t e = 0; e < kExamples; ++e) {
          const Attribution one = run_small(info(), s, {.precision = precision}, e);
          for (const auto& [name, t] : one.attributions) rows[name].push_back(t);
          singles.values.insert(singles.values.end(), one.values.begin(), one.values.end());
        }
        for (const auto& [name, list] : rows) singles.attributions[name] = stack_rows(list);
        same(singles, all, "single rows");
      } catch (const std::exception& e) {
        ADD_FAILURE() << e.what();
      }
    }
  }
}

// z reaches only another output, the last two columns of x nothing at all.
TEST_P(Methods, GiveNothingToWhatTheModelIgnores) {
  if (info().is_map || info().name == "guided-grad-cam") GTEST_SKIP() << "the model has no positions";
  if (!info().zero_for_ignored) GTEST_SKIP() << "estimates that are 0 only on average, or not at all";
  if (!info().explains_scalar) GTEST_SKIP() << "explains no scalar";
  if (info().name == "blur-integrated-gradients") GTEST_SKIP() << "the rows are no images";
  testing::ModelBuilder m;
  m.input("x", {"N", 5}, DType::f64).input("z", {"N", 2}, DType::f64);
  m.output("y", {"N", 2}, DType::f64).output("other", {"N", 2}, DType::f64);
  m.initializer("w", wave({3, 2}, 1));
  m.initializer("begin", Tensor::from<std::int64_t>({1}, {0})).initializer("end", Tensor::from<std::int64_t>({1}, {3}));
  m.initializer("axis", Tensor::from<std::int64_t>({1}, {1}));
  m.node("Slice", {"x", "begin", "end", "axis"}, {"head"});
  m.node("MatMul", {"head", "w"}, {"a"});
  m.node("Tanh", {"a"}, {"y"});
  m.node("Mul", {"z", "z"}, {"other"});
  Subject s{.name = "ignores",
            .model = testing::model_of(m),
            .inputs = {{"x", wave({kExamples, 5}, 1)}, {"z", wave({kExamples, 2}, 2)}},
            .to = scalar_of("y", {1}),
            .from = {"x", "z"}};
  const auto method = info().make();
  class One final : public testing::LeaveOptions {
   public:
    using LeaveOptions::operator();
    void operator()(const OptionInfo&, std::vector<std::vector<std::int64_t>>& f) override { f = {{1}, {1}}; }
    void operator()(const OptionInfo&, Baselines& f) override { f.constant = 0.5; }
  } one;
  method->visit_options(one);
  for (const std::vector<std::string>& from : {std::vector<std::string>{"x", "z"}, std::vector<std::string>{}}) {
    const Attribution a = method->run(s.model, {.inputs = s.inputs, .to = {s.to}, .from = from});
    EXPECT_EQ(testing::largest(a.attributions.at("z").to_doubles()), 0);
    const auto x = a.attributions.at("x").to_doubles();
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (i % 5 >= 3) {
        EXPECT_EQ(x[i], 0) << i;
      } else if (info().name != "excitation-backprop") {  // that one drops negative weights
        EXPECT_NE(x[i], 0) << i;
      }
    }
  }
}

TEST_P(Methods, SeveralScalarsEqualSingleOnes) {
  for (const char* name : {"resnet-opset17-double", "lstm-opset17-double", "mixed_rows-opset17-double"}) {
    SCOPED_TRACE(name);
    const Subject s = exported(name);
    if (!runs_on(info(), s)) continue;
    if (!applies(info(), s)) continue;
    Request request{.inputs = s.inputs, .to = {}, .from = s.from};
    const std::vector<std::string> texts = {"logits:0", "logits:3", "logits:1-logits:2"};
    const auto run = [&](std::vector<Scalar> to) {
      request.to = std::move(to);
      return testing::small_method(info(), s, request)->run(s.model, request);
    };
    std::vector<Scalar> to;
    std::vector<Attribution> single;
    for (const std::string& text : texts) {
      to.push_back(parsed(s.model, s.inputs, text));
      single.push_back(run({to.back()}));
    }
    const Attribution all = run(to);
    for (const std::string& from : s.from) {
      const Tensor& t = all.attributions.at(from);
      ASSERT_EQ(t.dims()[0], kExamples * 3);
      for (std::int64_t e = 0; e < kExamples; ++e) {
        for (std::int64_t k = 0; k < 3; ++k) {
          const auto& one = single[static_cast<std::size_t>(k)];
          const std::int64_t row = e * 3 + k;  // scalars innermost
          EXPECT_LE(relative_distance(t.rows(row, row + 1), one.attributions.at(from).rows(e, e + 1)), 1e-12);
          EXPECT_NEAR(all.values[static_cast<std::size_t>(row)], one.values[static_cast<std::size_t>(e)], 1e-12);
        }
      }
    }
  }
}

TEST_P(Methods, LeaveTheModelAsItWas) {
  const Subject s = exported("resnet-opset17-double");
  const Attribution before = run_small(info(), s, {.chunk = 2});
  Subject wrong = s;
  wrong.to = scalar_of("logits", {1000});
  EXPECT_NE(testing::thrown_by([&] { (void)run_small(info(), wrong, {.chunk = 2}); }).text.find("out of range"),
            std::string::npos);
  EXPECT_NE(testing::thrown_by([&] {
              (void)run_small(info(), s, {.chunk = 2, .progress = [](const Progress&) { return false; }});
            }).text.find("cancelled"),
            std::string::npos);
  const Attribution after = run_small(info(), s, {.chunk = 2});
  for (const auto& [name, t] : before.attributions) EXPECT_TRUE(after.attributions.at(name).same_bits(t));
}

TEST_P(Methods, ReportExactProgressAndCanBeCancelled) {
  for (const char* name : {"resnet-opset17-double", "mixed_rows-opset17-double"}) {
    SCOPED_TRACE(name);
    const Subject s = exported(name);
    if (!runs_on(info(), s)) continue;
    if (!applies(info(), s)) continue;
    std::vector<Progress> seen;
    const Attribution a = run_small(info(), s, {.chunk = 2, .progress = [&](const Progress& p) {
                                                  seen.push_back(p);
                                                  return true;
                                                }});
    ASSERT_GE(seen.size(), 2u);
    for (std::size_t i = 0; i < seen.size(); ++i) {
      EXPECT_EQ(seen[i].phase, info().name);
      // Adaptive steps are counted once they are known to be needed.
      if (info().name != "adaptive-integrated-gradients") {
        EXPECT_EQ(seen[i].total, seen[0].total);
      }
      EXPECT_GT(seen[i].done, i == 0 ? 0 : seen[i - 1].done);
      EXPECT_GE(seen[i].seconds, i == 0 ? 0 : seen[i - 1].seconds);
      EXPECT_GE(seen[i].remaining_seconds, 0);
    }
    EXPECT_EQ(seen.back().done, seen.back().total);
    EXPECT_EQ(a.report.rows, seen.back().total);
    int calls = 0;
    const auto e = testing::thrown_by(
        [&] { (void)run_small(info(), s, {.chunk = 1, .progress = [&](const Progress&) { return ++calls < 2; }}); });
    EXPECT_EQ(e.kind, ErrorKind::kCancelled) << e.text;
    EXPECT_EQ(calls, 2);
  }
}

// A file that fixes the batch at 1 still attributes fifty steps in one go.
TEST(Rows, AModelExportedAtBatchOneIsBatched) {
  for (const char* name : {"constant_reshape-opset17-double", "own_vit-opset17-double"}) {
    SCOPED_TRACE(name);
    const Subject s = exported(name);
    Request request{.inputs = s.inputs, .to = {s.to}, .from = s.from};
    for (auto& [input, t] : request.inputs) t = t.rows(0, 1);
    const Attribution a = attribute(s.model, IntegratedGradients{.n_steps = 50}, request);
    EXPECT_TRUE(a.report.batched);
    EXPECT_EQ(a.report.chunk, 50);
    EXPECT_EQ(a.report.rows, 52);
    EXPECT_TRUE(a.report.notices.empty());
    request.compute.chunk = 1;
    const Attribution one = attribute(s.model, IntegratedGradients{.n_steps = 50}, request);
    for (const auto& [value, t] : a.attributions) EXPECT_TRUE(one.attributions.at(value).same_bits(t));
  }
}

TEST(Rows, ThatMixRunOneAtATimeAndSaySo) {
  const Subject s = exported("mixed_rows-opset17-double");
  const auto folder = in_source("tests/golden/exports/mixed_rows-opset17-double");
  const Attribution a = attribute(s.model, Saliency{.abs = false}, {.inputs = s.inputs, .to = {s.to}, .from = s.from});
  EXPECT_FALSE(a.report.batched);
  EXPECT_EQ(a.report.chunk, 1);
  EXPECT_EQ(a.report.rows, kExamples);
  ASSERT_FALSE(a.report.notices.empty());
  EXPECT_NE(a.report.notices[0].find("rows run one at a time: they mix at "), std::string::npos);
  EXPECT_NE(a.report.notices[0].find("(ReduceMean)"), std::string::npos) << a.report.notices[0];
  std::vector<Tensor> want;
  for (const char* file : {"g0.npy", "g1.npy", "g2.npy"}) want.push_back(app::read_npy(folder / file));
  EXPECT_LE(relative_distance(a.attributions.at(s.from[0]), stack_rows(want)), 1e-12);
  // Everything that has an entry per example is divided with them.
  Baselines b{.kind = Baselines::Kind::kTensors};
  b.tensors[s.from[0]] = wave(s.inputs.at(s.from[0]).dims(), 8);
  Scalar each = scalar_of("logits");
  each.terms[0].index = {{2}, {0}, {1}};
  Scalar masked = scalar_of("logits");
  const Dims logits = evaluate(s.model, s.inputs, {"logits"}).values.at("logits").dims();
  masked.terms[0].mask = wave(logits, 3);
  const Attribution split = attribute(s.model, IntegratedGradients{.n_steps = 4, .baselines = b},
                                      {.inputs = s.inputs, .to = {each, masked}, .from = s.from});
  for (std::int64_t e = 0; e < kExamples; ++e) {
    Request one{.inputs = s.inputs, .to = {each, masked}, .from = s.from};
    for (auto& [name, t] : one.inputs) t = t.rows(e, e + 1);
    one.to[0].terms[0].index = {each.terms[0].index[static_cast<std::size_t>(e)]};
    one.to[1].terms[0].mask = masked.terms[0].mask.rows(e, e + 1);
    Baselines own{.kind = Baselines::Kind::kTensors};
    own.tensors[s.from[0]] = b.tensors.at(s.from[0]).rows(e, e + 1);
    const Attribution want_one = attribute(s.model, IntegratedGradients{.n_steps = 4, .baselines = own}, one);
    EXPECT_TRUE(split.attributions.at(s.from[0]).rows(2 * e, 2 * e + 2).same_bits(want_one.attributions.at(s.from[0])));
    EXPECT_EQ(split.values[static_cast<std::size_t>(2 * e)], want_one.values[0]);
    EXPECT_EQ(split.values[static_cast<std::size_t>(2 * e + 1)], want_one.values[1]);
  }
}

TEST(Registry, DescribesEveryMethod) {
  EXPECT_GE(methods().size(), 4u);
  for (const MethodInfo& m : methods()) {
    EXPECT_EQ(&method(m.name), &m);
    for (const std::string* text : {&m.title, &m.paper, &m.formula, &m.from, &m.to})
      EXPECT_FALSE(text->empty()) << m.name;
    EXPECT_EQ(m.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-"), std::string::npos) << m.name;
  }
  const auto e = testing::thrown_by([] { (void)method("magic"); });
  EXPECT_NE(e.text.find("unknown method 'magic', expected one of: saliency"), std::string::npos) << e.text;
}

}  // namespace
}  // namespace onnxray
