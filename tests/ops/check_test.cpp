// The conformance checks themselves, on ops that are wrong on purpose: each wrong thing must be reported.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cpu/cpu.h"
#include "tests/ops/check.h"

namespace onnxray::testing {
namespace {

// y = x^2 on [7] and other shapes, right in every respect; the tests break one part each.
struct Square {
  OpDef op{.name = "test_square",
           .infer = infer_unary_float,
           .grad = [](GradCtx& c) { c.set(0, c.b.mul(c.b.mul(c.dy(), c.x(0)), 2.0)); },
           .rows = rows_elementwise,
           .expand = nullptr,
           .channels_last = nullptr,
           .traits = {.elementwise = true, .inplace = true}};
  OpCase spec{.op = "test_square",
              .reference =
                  [](const std::vector<Array>& in, const Attrs&) {
                    Array y = in[0];
                    for (double& v : y.v) v *= v;
                    return std::vector<Array>{y};
                  },
              .samples = {{.inputs = {{.dims = {}}}},
                          {.inputs = {{.dims = {0}}}},
                          {.inputs = {{.dims = {1, 1}}}},
                          {.inputs = {{.dims = {7}}}},
                          {.inputs = {{.dims = {1, 33}}}},
                          {.inputs = {{.dims = {2, 3, 5}}}}},
              .errors = {{.inputs = {{.dtype = DType::i64, .dims = {2}}}}}};
  Backend backend = cpu_backend();

  template <class Body>
  static Step step_of(const PrepareCtx& c, Body body) {
    const std::int64_t n = count_of(c.out_dims());
    return visit_float(c.dtype(0), [&]<class T>() {
      return Step{[n, body](const RunArgs& a) { body(static_cast<const T*>(a.in[0]), static_cast<T*>(a.out[0]), n); }};
    });
  }

  Square() {
    backend.add(op.name, [](const PrepareCtx& c) {
      return step_of(c, [](const auto* x, auto* y, std::int64_t n) {
        for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] * x[i];
      });
    });
  }
  [[nodiscard]] Subject subject() const { return {op, spec, backend}; }
};

bool mentions(const Failures& failures, const std::string& text) {
  for (const std::string& f : failures) {
    if (f.find(text) != std::string::npos) return true;
  }
  return false;
}

std::string joined(const Failures& failures) {
  std::string all;
  for (const std::string& f : failures) all += f + "\n";
  return all;
}

#define EXPECT_MENTIONS(failures, text)                         \
  do {                                                          \
    const Failures got = failures;                              \
    EXPECT_TRUE(mentions(got, text)) << "got: " << joined(got); \
  } while (false)

TEST(ConformanceCheck, AcceptsARightOp) {
  const Square q;
  for (const auto check : {check_forward, check_errors, check_gradient, check_second_order, check_plan, check_rows,
                           check_gradient_rows, check_expand}) {
    const Failures f = check(q.subject());
    EXPECT_TRUE(f.empty()) << joined(f);
  }
}

TEST(ConformanceCheck, CoverageNamesWhatIsMissing) {
  Square q;
  OpRegistry registry;
  registry.add(q.op);
  EXPECT_MENTIONS(check_coverage(registry, {}), "test_square: no samples");
  EXPECT_TRUE(check_coverage(registry, std::vector<OpCase>{q.spec}).empty());
  OpCase few = q.spec;
  few.samples.resize(5);
  EXPECT_MENTIONS(check_coverage(registry, std::vector<OpCase>{few}), "5 samples");
  few.op = "unknown";
  EXPECT_MENTIONS(check_coverage(registry, std::vector<OpCase>{q.spec, few}), "unknown: a case for an op that is not");
}

TEST(ConformanceCheck, NoticesWrongValues) {
  Square q;
  q.spec.reference = [](const std::vector<Array>& in, const Attrs&) {
    Array y = in[0];
    for (double& v : y.v) v *= v;
    if (y.v.size() == 30) y.v[17] += 1e-9;
    return std::vector<Array>{y};
  };
  EXPECT_MENTIONS(check_forward(q.subject()), "[1, 0, 2]");
  q.spec.reference = [](const std::vector<Array>& in, const Attrs&) {
    Array y = in[0];
    for (double& v : y.v) v = std::nan("");
    return std::vector<Array>{y};
  };
  EXPECT_MENTIONS(check_forward(q.subject()), "expected nan");
}

TEST(ConformanceCheck, NoticesWritesOutOfBounds) {
  Square q;
  q.backend.add(q.op.name, [](const PrepareCtx& c) {
    return Square::step_of(c, [](const auto* x, auto* y, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] * x[i];
      y[n] = 0;
    });
  });
  EXPECT_MENTIONS(check_forward(q.subject()), "past the end of output 0");
}

TEST(ConformanceCheck, NoticesReadsOutOfBounds) {
  Square q;
  q.backend.add(q.op.name, [](const PrepareCtx& c) {
    return Square::step_of(c, [](const auto* x, auto* y, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] * x[i] + (x[n] > 1 ? 1 : 0);
    });
  });
  EXPECT_MENTIONS(check_forward(q.subject()), "memory that is not the op's own");
}

TEST(ConformanceCheck, NoticesUnwrittenOutputs) {
  Square q;
  q.backend.add(q.op.name, [](const PrepareCtx& c) {
    return Square::step_of(c, [](const auto* x, auto* y, std::int64_t n) {
      for (std::int64_t i = 0; i + 1 < n; ++i) y[i] = x[i] * x[i];
    });
  });
  EXPECT_MENTIONS(check_forward(q.subject()), "nan, expected");
}

TEST(ConformanceCheck, NoticesChangedInputs) {
  Square q;
  q.backend.add(q.op.name, [](const PrepareCtx& c) {
    return Square::step_of(c, []<class T>(const T* x, T* y, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] * x[i];
      if (n > 0) const_cast<T*>(x)[0] = 0;
    });
  });
  EXPECT_MENTIONS(check_forward(q.subject()), "changes input 0");
}

TEST(ConformanceCheck, NoticesScratchOverrun) {
  Square q;
  q.backend.add(q.op.name, [](const PrepareCtx& c) {
    Step step = Square::step_of(c, [](const auto* x, auto* y, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] * x[i];
    });
    step.scratch_bytes = 8;
    step.run = [inner = step.run](const RunArgs& a) {
      inner(a);
      a.scratch[8] = std::byte{1};
    };
    return step;
  });
  EXPECT_MENTIONS(check_forward(q.subject()), "of the scratch memory");
}

TEST(ConformanceCheck, NoticesMissingKernels) {
  Square q;
  q.backend = Backend("empty");
  EXPECT_MENTIONS(check_forward(q.subject()), "no kernel on empty");
}

TEST(ConformanceCheck, NoticesAnErrorThatIsAccepted) {
  Square q;
  q.op.infer = infer_unary;
  EXPECT_MENTIONS(check_errors(q.subject()), "was accepted");
}

TEST(ConformanceCheck, NoticesWrongGradients) {
  Square q;
  q.op.grad = [](GradCtx& c) { c.set(0, c.b.mul(c.b.mul(c.dy(), c.x(0)), 2.00001)); };
  EXPECT_MENTIONS(check_gradient(q.subject()), "by differences");
  q.op.grad = [](GradCtx&) {};
  EXPECT_MENTIONS(check_gradient(q.subject()), "by differences");
  q.op.grad = nullptr;
  EXPECT_TRUE(check_gradient(q.subject()).empty());  // not differentiable and says so
}

// Right at first order: 2x as x + c, where c is x behind a rounding that hides it from the second gradient.
TEST(ConformanceCheck, NoticesWrongSecondOrder) {
  Square q;
  static const OpDef copy{.name = "test_copy",
                          .infer = infer_unary_float,
                          .rows = rows_elementwise,
                          .traits = {.piecewise_constant = true}};
  q.backend.add(copy.name, [](const PrepareCtx& c) {
    return Square::step_of(c, [](const auto* x, auto* y, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) y[i] = x[i];
    });
  });
  q.op.grad = [](GradCtx& c) {
    const ValueId hidden = c.b.add_node(copy, {c.x(0)}, {}, "")[0];
    c.set(0, c.b.mul(c.dy(), c.b.add(c.x(0), hidden)));
  };
  EXPECT_TRUE(check_gradient(q.subject()).empty());
  EXPECT_MENTIONS(check_second_order(q.subject()), "by differences");
}

TEST(ConformanceCheck, RedrawsAtKinks) {
  Square q;  // |x|, whose gradient is sign(x) = x / |x|
  q.spec.reference = [](const std::vector<Array>& in, const Attrs&) {
    Array y = in[0];
    for (double& v : y.v) v = std::abs(v);
    return std::vector<Array>{y};
  };
  q.backend.add(q.op.name, [](const PrepareCtx& c) {
    return Square::step_of(c, [](const auto* x, auto* y, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) y[i] = std::abs(x[i]);
    });
  });
  q.op.grad = [](GradCtx& c) { c.set(0, c.b.mul(c.dy(), c.b.div(c.x(0), c.y()))); };
  q.spec.has_kinks = true;
  for (OpSample& s : q.spec.samples) s.inputs[0].lo = -1e-3, s.inputs[0].hi = 1e-3;
  Failures f = check_gradient(q.subject());
  EXPECT_TRUE(f.empty()) << joined(f);
  // A wrong gradient does not hide behind the redraws.
  q.op.grad = [](GradCtx& c) { c.set(0, c.b.mul(c.b.mul(c.dy(), c.b.div(c.x(0), c.y())), 1.001)); };
  EXPECT_MENTIONS(check_gradient(q.subject()), "by differences");
}

TEST(ConformanceCheck, NoticesFalseInPlaceClaims) {
  Square q;  // y[i] = x[n - 1 - i]: reads what was overwritten when it runs in place
  q.spec.reference = [](const std::vector<Array>& in, const Attrs&) {
    Array y = in[0];
    std::reverse(y.v.begin(), y.v.end());
    return std::vector<Array>{y};
  };
  q.backend.add(q.op.name, [](const PrepareCtx& c) {
    return Square::step_of(c, [](const auto* x, auto* y, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) y[i] = x[n - 1 - i];
    });
  });
  EXPECT_TRUE(check_forward(q.subject()).empty());
  EXPECT_MENTIONS(check_plan(q.subject()), "inputs that die at the node");
  // It is not elementwise either: rows come out exchanged.
  EXPECT_MENTIONS(check_rows(q.subject()), "rows of input 0");
}

TEST(ConformanceCheck, SameBitsButTheNaNs) {
  const auto of = [](double a, double b) {
    return Tensor::from<float>({2}, {static_cast<float>(a), static_cast<float>(b)});
  };
  EXPECT_EQ(difference(of(1, std::nan("7")), of(1, -std::nan("")), 0), "");
  EXPECT_NE(difference(of(0, 1), of(-0.0, 1), 0).find("not the same bits at 0"), std::string::npos);
  EXPECT_NE(difference(of(1, 0), of(1, 0x1p-149), 0).find("not the same bits at 1"), std::string::npos);
  EXPECT_NE(difference(of(1, 2), of(1, std::nan("")), 0).find("not the same bits"), std::string::npos);
}

TEST(ConformanceCheck, NoticesUselessRowRules) {
  Square q;
  q.op.rows = [](RowsCtx& c) {
    for (RowMap& o : c.outputs) o = RowMap::mixed();
  };
  EXPECT_MENTIONS(check_rows(q.subject()), "answers mixed for every sample");
}

TEST(ConformanceCheck, NoticesGradientsThatKeepTheForwardRows) {
  Square q;
  // The shape is taken from the node instead of c.dims(), which fails with more backward rows than forward rows.
  q.op.grad = [](GradCtx& c) {
    const Dims forward = c.b.dims(c.node.inputs[0]);
    const ValueId two = c.b.constant(Tensor::full(c.b.dtype(c.dy()), forward, 2));
    c.set(0, c.b.mul(c.b.mul(c.dy(), c.x(0)), two));
  };
  EXPECT_TRUE(check_gradient(q.subject()).empty());
  EXPECT_FALSE(check_gradient_rows(q.subject()).empty());
}

TEST(ConformanceCheck, NoticesWrongExpansions) {
  Square q;
  q.op.expand = [](Builder& b, const Node&, std::span<const ValueId> in) {
    return std::vector<ValueId>{b.mul(b.mul(in[0], in[0]), 1.01)};
  };
  EXPECT_MENTIONS(check_expand(q.subject()), "expansion");
  q.op.expand = [](Builder& b, const Node&, std::span<const ValueId> in) {
    return std::vector<ValueId>{b.mul(in[0], in[0])};
  };
  EXPECT_TRUE(check_expand(q.subject()).empty());
}

}  // namespace
}  // namespace onnxray::testing
