// The graphs are what exporters write; with a backend that wants attention and the CPU's kernels for its expansion.
#include <functional>

#include "engine/autodiff.h"
#include "engine/model.h"
#include "tests/engine/passes_util.h"

namespace onnxray::testing {
namespace {

Backend with_attention() {
  Backend b = cpu_backend();
  b.wants_attention = [](std::int64_t head, std::int64_t) { return head <= 8; };
  return b;
}

Graph fused(const Graph& g) {
  const Backend backend = with_attention();
  return clean(simplify(fuse_attention(g, backend, nullptr), nullptr));
}

Graph expanded(const Graph& g) {
  return expand_composites(
      g, [](const Node& n) { return !n.op->name.starts_with("attention"); }, nullptr);
}

struct Net {
  Graph g;
  Builder b{g};
  std::int64_t rows = 2, heads = 3, queries = 5, keys = 7, head = 4;
  ValueId x = kNoValue, context = kNoValue, result = kNoValue;

  // [N, S, heads head] as [N, heads, S, head].
  ValueId split(ValueId v) { return b.transpose(b.reshape(v, {rows, b.dims(v)[1], heads, head}), {0, 2, 1, 3}); }
  ValueId split_transposed(ValueId v) {
    return b.transpose(b.reshape(v, {rows, b.dims(v)[1], heads, head}), {0, 2, 3, 1});
  }
  ValueId merged(ValueId v) { return b.reshape(b.transpose(v, {0, 2, 1, 3}), {rows, queries, heads * head}); }
  ValueId linear(ValueId v, unsigned seed) {
    return b.matmul(v, b.constant(random_floats(DType::f32, {heads * head, heads * head}, seed)));
  }
  ValueId softmax(ValueId v) { return b.op("softmax", {v}, {{"axis", std::int64_t{3}}}); }

  explicit Net(std::int64_t rows = 2) : rows(rows) {
    x = g.add_input("x", DType::f32, {rows, queries, heads * head}, RowMap::rows(0));
    context = g.add_input("context", DType::f32, {rows, keys, heads * head}, RowMap::rows(0));
  }
  // From a function of q, k [.., head, keys] and v.
  void attend(const std::function<ValueId(ValueId, ValueId, ValueId)>& f) {
    const ValueId q = split(linear(x, 1)), k = split_transposed(linear(context, 2)), v = split(linear(context, 3));
    result = linear(merged(f(q, k, v)), 4);
  }
  // The graph of the result and the gradients with respect to `wrt`.
  Graph with_gradient(std::vector<ValueId> wrt) {
    const ValueId seed = g.add_input("seed", DType::f32, b.dims(result));
    std::vector<ValueId> outputs = gradient(b, {.seeds = {{result, seed}}, .wrt = std::move(wrt)});
    outputs.push_back(result);
    g.set_outputs(outputs);
    return clean(simplify(g, nullptr));
  }
};

void expect_fused(const Graph& g, int backward = 1) {
  const Graph after = fused(g);
  EXPECT_EQ(count_ops(after, "attention"), 1) << after.to_text();
  EXPECT_EQ(count_ops(after, "attention_grad"), backward) << after.to_text();
  EXPECT_EQ(count_ops(after, "softmax") + count_ops(after, "softmax_grad"), 0) << after.to_text();
  expect_same(g, expanded(after), 2e-6);
}

void expect_untouched(const Graph& g) {
  const Graph after = fused(g);
  EXPECT_EQ(count_ops(after, "attention"), 0) << after.to_text();
  EXPECT_EQ(after.to_text(), g.to_text());
}

TEST(FuseAttention, AsExportersWriteIt) {
  Net bert;
  bert.attend([&](ValueId q, ValueId k, ValueId v) {
    return bert.b.matmul(bert.softmax(bert.b.mul(bert.b.matmul(q, k), 0.5)), v);
  });
  expect_fused(bert.with_gradient({bert.x, bert.context}));

  Net masked;  // the scores divided, the mask first
  masked.attend([&](ValueId q, ValueId k, ValueId v) {
    Builder& b = masked.b;
    const ValueId scores = b.div(b.matmul(q, k), b.constant(Tensor::full(DType::f32, {}, 2)));
    const ValueId mask = masked.g.add_input("mask", DType::f32, {masked.rows, 1, 1, masked.keys});
    return b.matmul(masked.softmax(b.add(mask, scores)), v);
  });
  expect_fused(masked.with_gradient({masked.x, masked.context}));

  Net biased;  // scaled queries, a bias for each head and a mask
  biased.attend([&](ValueId q, ValueId k, ValueId v) {
    Builder& b = biased.b;
    const ValueId bias = b.constant(random_floats(DType::f32, {1, biased.heads, biased.queries, biased.keys}, 5));
    const ValueId mask = b.constant(random_floats(DType::f32, {biased.queries, biased.keys}, 6));
    return b.matmul(biased.softmax(b.add(b.add(b.matmul(b.mul(q, 0.5), k), bias), mask)), v);
  });
  expect_fused(biased.with_gradient({biased.x, biased.context}));
}

// Swin adds the mask of its shifted windows to the scores of [pictures, windows, ..], a bias to those of all windows.
TEST(FuseAttention, MasksOfSplitBatches) {
  for (const bool first : {true, false}) {
    Net n;
    n.attend([&](ValueId q, ValueId k, ValueId v) {
      Builder& b = n.b;
      const ValueId bias = b.constant(random_floats(DType::f32, {n.heads, n.queries, n.keys}, 5));
      const ValueId mask = b.constant(random_floats(DType::f32, {1, n.rows, 1, n.queries, n.keys}, 6));
      const Dims whole{n.rows, n.heads, n.queries, n.keys}, split{1, n.rows, n.heads, n.queries, n.keys};
      ValueId s = b.mul(b.matmul(q, k), 0.5);
      if (first) s = b.add(s, bias);
      s = b.reshape(b.add(b.reshape(s, split), mask), whole);
      if (!first) s = b.add(s, bias);
      return b.matmul(n.softmax(s), v);
    });
    expect_fused(n.with_gradient({n.x, n.context}));
  }
}

TEST(FuseAttention, EveryTransposition) {
  for (int trans = 0; trans < 8; ++trans) {
    Net n;
    n.attend([&](ValueId q, ValueId k, ValueId v) {
      const auto turned = [&](ValueId w) { return n.b.op("neg", {n.b.transpose(n.b.op("neg", {w}), {0, 1, 3, 2})}); };
      const bool a = (trans & 1) != 0, b = (trans & 2) != 0, c = (trans & 4) != 0;
      const ValueId p = n.softmax(n.b.matmul(a ? turned(q) : q, b ? turned(k) : k, a, b));
      return n.b.matmul(p, c ? turned(v) : v, false, c);
    });
    SCOPED_TRACE(trans);
    expect_fused(n.with_gradient({n.x, n.context}));
  }
}

TEST(FuseAttention, AnyPartOfTheGradient) {
  for (int part = 0; part < 5; ++part) {
    Net n;
    std::vector<ValueId> wrt;
    n.attend([&](ValueId q, ValueId k, ValueId v) {
      const ValueId each[] = {q, k, v};
      if (part < 3) wrt = {each[part]};
      if (part == 3) wrt = {q, v};
      return n.b.matmul(n.softmax(n.b.mul(n.b.matmul(q, k), 0.5)), v);
    });
    SCOPED_TRACE(part);
    if (part == 4) n.g.set_outputs({n.result});
    expect_fused(part == 4 ? clean(n.g) : n.with_gradient(wrt), part == 4 ? 0 : 1);
  }
}

TEST(FuseAttention, TwoCotangents) {
  Net n;
  n.attend([&](ValueId q, ValueId k, ValueId v) { return n.b.matmul(n.softmax(n.b.matmul(q, k)), v); });
  std::vector<ValueId> outputs{n.result};
  for (const char* name : {"one", "two"}) {
    const ValueId seed = n.g.add_input(name, DType::f32, n.b.dims(n.result));
    outputs.push_back(gradient(n.b, {.seeds = {{n.result, seed}}, .wrt = {n.x}})[0]);
  }
  n.g.set_outputs(outputs);
  expect_fused(clean(simplify(n.g, nullptr)), 2);
}

// Several targets of one example: the gradient has more rows, and reads saved values through their index.
TEST(FuseAttention, MoreRowsInTheGradient) {
  Net n(1);
  n.attend([&](ValueId q, ValueId k, ValueId v) {
    const ValueId mask = n.b.constant(random_floats(DType::f32, {n.queries, n.keys}, 6));
    return n.b.matmul(n.softmax(n.b.add(n.b.mul(n.b.matmul(q, k), 0.5), mask)), v);
  });
  n.g.set_outputs({n.result});
  Graph g = *batch_rows(n.g, 2).graph;
  Builder b(g);
  const ValueId result = g.outputs()[0], rows = b.constant(Tensor::ints(std::vector<std::int64_t>{0, 1, 1}));
  const ValueId seed = g.add_input("seed", DType::f32, {3, n.queries, n.heads * n.head});
  std::vector<ValueId> outputs =
      gradient(b, {.seeds = {{result, seed}}, .wrt = {g.inputs()[0], g.inputs()[1]}, .row_index = rows});
  outputs.push_back(result);
  g.set_outputs(outputs);
  expect_fused(clean(simplify(g, nullptr)));
}

// Where the scores or the probabilities are asked for, or read by anything but the gradient, they are needed.
TEST(FuseAttention, KeepsWhatOthersRead) {
  for (int who = 0; who < 7; ++who) {
    Net n;
    ValueId scores = kNoValue, p = kNoValue, mask = kNoValue;
    n.attend([&](ValueId q, ValueId k, ValueId v) {
      mask = n.g.add_input("mask", DType::f32, {1, n.heads, n.queries, n.keys});
      const ValueId masked = n.b.add(n.b.matmul(q, k), mask);
      scores = who == 3 ? n.b.mul(masked, 0.5) : masked;  // a mask under the scale
      p = n.softmax(scores);
      if (who == 4) n.b.op("relu", {p});
      if (who == 5) p = n.b.mul(p, p);
      return n.b.matmul(p, who == 6 ? n.b.expand(n.b.slice(v, 1, 0, 1), n.b.dims(v)) : v);
    });
    const ValueId extra = who == 0 ? p : who == 1 ? scores : n.result;
    std::vector<ValueId> wrt{n.x};
    if (who == 2) wrt.push_back(mask);
    Graph g = n.with_gradient(wrt);
    SCOPED_TRACE(who);
    if (who == 4 || who == 6) {  // a reader that is dead, and heads that are expanded, are no obstacle
      expect_fused(g);
      continue;
    }
    if (who < 2) {
      n.g.set_outputs({extra, n.result});
      g = clean(n.g);
    }
    expect_untouched(g);
  }
}

TEST(FuseAttention, OnlyWhereTheBackendWantsItInFloat32) {
  Net n;
  n.attend([&](ValueId q, ValueId k, ValueId v) { return n.b.matmul(n.softmax(n.b.matmul(q, k)), v); });
  n.g.set_outputs({n.result});
  const Graph g = clean(n.g);
  EXPECT_EQ(fuse_attention(g, cpu_backend(), nullptr).to_text(), g.to_text());
  Backend small = with_attention();
  small.wants_attention = [](std::int64_t head, std::int64_t) { return head <= 2; };
  EXPECT_EQ(fuse_attention(g, small, nullptr).to_text(), g.to_text());
  Backend large = with_attention();
  EXPECT_EQ(count_ops(lower_for(large, g, evaluator_of(cpu_backend())), "attention"), 1);
  const Graph wide = set_precision(g, Precision::kFloat64, evaluator_of(cpu_backend()));
  EXPECT_EQ(count_ops(lower_for(large, wide, evaluator_of(cpu_backend())), "attention"), 0);
}

// What it is for: the [Sq, Sk] values are not in memory.
TEST(FuseAttention, NeedsNoMemoryForScores) {
  Net n;
  n.queries = n.keys = 128;
  n.x = n.g.add_input("long x", DType::f32, {n.rows, n.queries, n.heads * n.head});
  n.context = n.x;
  n.attend([&](ValueId q, ValueId k, ValueId v) { return n.b.matmul(n.softmax(n.b.matmul(q, k)), v); });
  const Graph g = n.with_gradient({n.x});
  const std::size_t scores = sizeof(float) * static_cast<std::size_t>(n.rows * n.heads * n.queries * n.keys);
  EXPECT_GT(plan_buffers(g).bytes, 2 * scores);
  EXPECT_LT(plan_buffers(fused(g)).bytes, scores);
}

}  // namespace
}  // namespace onnxray::testing
