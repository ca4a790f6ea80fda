// matmul(softmax(scale q k^T + mask), v) becomes one `attention` node where nothing but its own gradient reads the
// scores and the probabilities; the gradient's nodes, as autodiff writes them, become one `attention_grad`. The
// [.., Sq, Sk] values between, the largest of a transformer, are then never in memory.
#include <algorithm>
#include <cmath>
#include <optional>

#include "engine/passes/passes.h"

namespace onnxray {
namespace {

// The gradient for one cotangent of the result; kNoValue where nobody asks for it.
struct Backward {
  ValueId dy = kNoValue;
  ValueId row_index = kNoValue;  // the forward row of each of dy's rows, where they differ
  ValueId dq = kNoValue, dk = kNoValue, dv = kNoValue;
  NodeId first = 0;  // the first of the nodes it replaces
};

struct Site {
  NodeId result = 0, scores = 0;  // the two products
  ValueId probabilities = kNoValue, v = kNoValue;
  std::vector<ValueId> masks;  // added to the scores
  // The scores' dims where masks are added to them with a batch axis split in more (Swin's windows of one picture);
  // then how many axes each of the others' batch axes is there. Empty: the same dims.
  Dims split;
  std::vector<std::size_t> axes;
  std::vector<char> mask_split;  // which masks are added there
  double scale = 1;
  bool masked = false;
  std::vector<NodeId> inner;  // nodes that vanish, the result's aside
  std::vector<Backward> backward;
};

class Pass {
 public:
  Pass(const Graph& g, const Backend& backend, const Evaluator& evaluate)
      : g_(g), backend_(backend), uses_(g.use_counts()), readers_(g.value_count()), rw_(g, evaluate) {
    for (NodeId n = 0; n < static_cast<NodeId>(g.nodes().size()); ++n) {
      for (const ValueId v : g.node(n).inputs) {
        if (v != kNoValue) readers_[index(v)].push_back(n);
      }
    }
  }

  Graph run() {
    const std::size_t nodes = g_.nodes().size();
    std::vector<char> inner(nodes, 0);
    std::vector<const Site*> at(nodes, nullptr);
    std::vector<std::pair<const Site*, const Backward*>> backward_at(nodes);
    for (NodeId n = 0; n < static_cast<NodeId>(nodes); ++n) {
      if (auto site = find(n)) sites_.push_back(std::move(*site));
    }
    if (sites_.empty()) return g_;
    for (const Site& s : sites_) {
      at[index(s.result)] = &s;
      for (const NodeId n : s.inner) inner[index(n)] = 1;
      for (const Backward& b : s.backward) backward_at[index(b.first)] = {&s, &b};
    }
    log_sum_exp_.assign(g_.value_count(), kNoValue);
    for (std::size_t n = 0; n < nodes; ++n) {
      if (backward_at[n].first != nullptr) emit(*backward_at[n].first, *backward_at[n].second);
      if (at[n] != nullptr) emit(*at[n]);
      else if (inner[n] == 0) rw_.copy(g_.nodes()[n]);
    }
    return rw_.finish();
  }

 private:
  static std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }
  const Dims& dims(ValueId v) const { return g_.value(v).dims; }
  bool only_reads(ValueId v, std::size_t count) const {
    return readers_[index(v)].size() == count && uses_[index(v)] == static_cast<int>(count);
  }
  const Node* node(ValueId v, std::string_view op) const {
    const Node* n = g_.producer(v);
    return n != nullptr && n->op->name == op ? n : nullptr;
  }

  struct Product {
    ValueId a, b;
    bool trans_a, trans_b;
    bool operator==(const Product&) const = default;
  };
  // A plain product of two values.
  std::optional<Product> product(const Node& n) const {
    if (n.op->name != "matmul" || n.inputs.size() != 2 || n.attrs.integer("relu", 0) != 0) return std::nullopt;
    return Product{n.inputs[0], n.inputs[1], n.attrs.integer("trans_a", 0) != 0, n.attrs.integer("trans_b", 0) != 0};
  }

  // The factor of x in mul(x, c), mul(c, x) or div(x, c) with one number c; none if the node is another.
  std::optional<double> factor(const Node& n, ValueId x) const {
    const bool divides = n.op->name == "div";
    if (n.op->name != "mul" && !divides) return std::nullopt;
    const ValueId c = n.inputs[0] == x ? n.inputs[1] : n.inputs[0];
    if ((divides && n.inputs[0] != x) || !g_.is_constant(c) || g_.value(c).constant.size() != 1) return std::nullopt;
    if (dims(n.outputs[0]) != dims(x)) return std::nullopt;
    const double f = g_.value(c).constant.to_doubles()[0];
    return divides ? 1 / f : f;
  }

  // How many axes of `fine` each batch axis of `coarse` is; none if fine is no such split.
  static std::vector<std::size_t> axes_of(const Dims& coarse, const Dims& fine) {
    std::vector<std::size_t> axes;
    std::size_t at = 0;
    for (std::size_t i = 0; i + 2 < coarse.size(); ++i) {
      std::int64_t extent = 1;
      axes.push_back(0);
      while (at + 2 < fine.size() && (axes.back() == 0 || extent < coarse[i])) {
        extent *= fine[at++];
        ++axes.back();
      }
      if (extent != coarse[i] || axes.back() == 0) return {};
    }
    return at + 2 == fine.size() ? axes : std::vector<std::size_t>();
  }

  // Follows the softmax's input down to the product of q and k. False if it is made otherwise.
  bool find_scores(ValueId x, Site& s) const {
    bool scaled = false;
    const Dims whole = dims(x);
    for (int steps = 0; steps < 8; ++steps) {
      if (!only_reads(x, 1)) return false;
      const NodeId n = g_.value(x).producer;
      if (n < 0) return false;
      const Node& made = g_.node(n);
      s.inner.push_back(n);
      if (product(made)) {
        s.scores = n;
        return dims(x) == whole;
      }
      const std::string& op = made.op->name;
      if (op == "add" && !scaled) {
        // The scores are what a product makes; the mask is a constant or comes from elsewhere.
        const bool second = !leads_to_product(made.inputs[0], dims(x)) && leads_to_product(made.inputs[1], dims(x));
        s.masks.push_back(made.inputs[second ? 0 : 1]);
        s.mask_split.push_back(dims(x) != whole);
        x = made.inputs[second ? 1 : 0];
      } else if (op == "mul" || op == "div") {
        const bool second = g_.is_constant(made.inputs[0]);
        x = made.inputs[second ? 1 : 0];
        const auto f = factor(made, x);
        if (!f) return false;
        s.scale *= *f;
        scaled = true;
      } else if (op == "reshape") {
        x = made.inputs[0];
        const Dims& d = dims(x);
        if (d != whole && (!s.split.empty() || (s.axes = axes_of(whole, d)).empty())) return false;
        if (!std::equal(whole.end() - 2, whole.end(), d.end() - 2)) return false;
        if (d != whole) s.split = d;
        continue;
      } else {
        return false;
      }
      if (dims(x) != dims(made.outputs[0])) return false;
    }
    return false;
  }
  bool leads_to_product(ValueId v, Dims shape) const {
    for (int steps = 0; steps < 8 && v != kNoValue && dims(v) == shape; ++steps) {
      const Node* n = g_.producer(v);
      if (n == nullptr) return false;
      if (product(*n)) return true;
      const std::string& op = n->op->name;
      if (op == "add") return leads_to_product(n->inputs[0], shape) || leads_to_product(n->inputs[1], shape);
      if (op == "reshape") {
        v = n->inputs[0];
        shape = dims(v);
        continue;
      }
      if (op != "mul" && op != "div") return false;
      v = g_.is_constant(n->inputs[0]) ? n->inputs[1] : n->inputs[0];
    }
    return false;
  }

  std::optional<Site> find(NodeId n) const {
    const auto outer = product(g_.node(n));
    if (!outer || outer->trans_a) return std::nullopt;
    const Node* softmax = node(outer->a, "softmax");
    if (softmax == nullptr || g_.value(outer->a).dtype != DType::f32) return std::nullopt;
    Site s;
    s.result = n;
    s.probabilities = outer->a;
    s.v = outer->b;
    const Dims& p = dims(s.probabilities);
    const std::size_t rank = p.size();
    s.masked = softmax->attrs.integer("masked", 0) != 0;
    if (s.v == s.probabilities || softmax->attrs.integer("axis", 0) != static_cast<std::int64_t>(rank) - 1) {
      return std::nullopt;
    }
    s.inner.push_back(g_.value(s.probabilities).producer);
    if (!find_scores(softmax->inputs[0], s)) return std::nullopt;
    const Product inner = *product(g_.node(s.scores));
    const auto batch = [&](ValueId v) {
      return dims(v).size() == rank && std::equal(p.begin(), p.end() - 2, dims(v).begin());
    };
    if (!batch(inner.a) || !batch(inner.b) || !batch(s.v) || p[rank - 1] == 0) return std::nullopt;
    const std::int64_t head = dims(inner.a)[rank - (inner.trans_a ? 2 : 1)];
    if (!backend_.wants_attention(head, dims(g_.node(n).outputs[0]).back())) return std::nullopt;
    if (!find_backward(s, inner, outer->trans_b)) return std::nullopt;
    // The gradient's node reads the result.
    if (std::any_of(s.backward.begin(), s.backward.end(), [n](const Backward& b) { return b.first < n; })) {
      return std::nullopt;
    }
    return s;
  }

  // Explains every reader of the probabilities. False if one is no part of the gradient. Where the gradient has more
  // rows (several targets of an example), it reads saved values through gather_rows.
  bool find_backward(Site& s, const Product& scores, bool v_transposed) const {
    const ValueId p = s.probabilities;
    if (!only_reads(p, readers_[index(p)].size())) return false;
    for (const NodeId r : readers_[index(p)]) {
      if (r == s.result) continue;
      const Node& reader = g_.node(r);
      s.inner.push_back(r);
      if (reader.op->name != "gather_rows") {
        if (!find_gradient(s, r, p, kNoValue, scores, v_transposed)) return false;
        continue;
      }
      const ValueId rows = reader.outputs[0], row_index = reader.inputs[1];
      if (reader.inputs[0] != p || g_.value(p).rows != row_map_of(reader) || !s.split.empty()) return false;
      if (!only_reads(rows, readers_[index(rows)].size())) return false;
      for (const NodeId of_rows : readers_[index(rows)]) {
        s.inner.push_back(of_rows);
        if (!find_gradient(s, of_rows, rows, row_index, scores, v_transposed)) return false;
      }
    }
    return true;
  }
  static RowMap row_map_of(const Node& gather) {
    return RowMap::rows(gather.attrs.integer("axis", 0), gather.attrs.integer("inner", 1),
                        gather.attrs.integer("outer", 1));
  }

  // `r` reads the probabilities p, in the gradient's rows: it is the softmax's gradient or makes dv.
  bool find_gradient(Site& s, NodeId r, ValueId p, ValueId row_index, const Product& scores, bool v_transposed) const {
    const Node& reader = g_.node(r);
    Dims expected = dims(g_.node(s.result).outputs[0]);
    const Dims& rows = dims(p);
    std::copy(rows.begin(), rows.end() - 2, expected.begin());
    if (reader.op->name == "softmax_grad" && reader.inputs[1] == p && reader.inputs[0] != p) {
      const ValueId dp = reader.inputs[0];
      const NodeId made = g_.value(dp).producer;
      const auto m = made < 0 ? std::nullopt : product(g_.node(made));
      if (!m || !only_reads(dp, 1) || dims(m->a) != expected) return false;
      if (!is(*m, {m->a, s.v, false, !v_transposed}, m->a, row_index)) return false;
      Backward& b = backward_of(s, m->a, row_index, made);
      if (b.dq != kNoValue || b.dk != kNoValue) return false;
      s.inner.push_back(made);
      return find_inputs(s, b, reader.outputs[0], scores);
    }
    const auto m = product(reader);
    if (!m || m->a == m->b) return false;
    const ValueId dy = m->a == p ? m->b : m->a;
    if (*m != (v_transposed ? Product{dy, p, true, false} : Product{p, dy, true, false})) return false;
    if (dims(dy) != expected) return false;
    Backward& b = backward_of(s, dy, row_index, r);
    if (b.dv != kNoValue) return false;
    b.dv = reader.outputs[0];
    return true;
  }

  // Whether m is `expected`, whose operands other than `own` are values of the forward pass, in the gradient's rows.
  bool is(const Product& m, const Product& expected, ValueId own, ValueId row_index) const {
    const auto same = [&](ValueId v, ValueId forward) {
      if (forward == own || row_index == kNoValue || !g_.value(forward).rows.is_rows()) return v == forward;
      const Node* gather = node(v, "gather_rows");
      return gather != nullptr && gather->inputs[0] == forward && gather->inputs[1] == row_index &&
             row_map_of(*gather) == g_.value(forward).rows;
    };
    return m.trans_a == expected.trans_a && m.trans_b == expected.trans_b && same(m.a, expected.a) &&
           same(m.b, expected.b);
  }

  Backward& backward_of(Site& s, ValueId dy, ValueId row_index, NodeId n) const {
    const auto found = std::find_if(s.backward.begin(), s.backward.end(),
                                    [&](const Backward& b) { return b.dy == dy && b.row_index == row_index; });
    if (found != s.backward.end()) {
      found->first = std::min(found->first, n);
      return *found;
    }
    s.backward.push_back({.dy = dy, .row_index = row_index, .first = n});
    return s.backward.back();
  }

  // From the cotangent of the softmax's input to those of q and k.
  bool find_inputs(Site& s, Backward& b, ValueId ds, const Product& scores) const {
    double scale = 1;
    while (only_reads(ds, 1)) {
      const NodeId r = readers_[index(ds)][0];
      if (g_.node(r).op->name != "reshape" || s.split.empty()) {
        const auto f = factor(g_.node(r), ds);
        if (!f) break;
        scale *= *f;
      }
      s.inner.push_back(r);
      ds = g_.node(r).outputs[0];
    }
    if (std::abs(scale - s.scale) > 1e-12 * std::abs(s.scale)) return false;
    if (!only_reads(ds, readers_[index(ds)].size())) return false;
    const auto& [q, k, tq, tk] = scores;
    const Product of_q = tq ? Product{k, ds, tk, true} : Product{ds, k, false, !tk};
    const Product of_k = tk ? Product{ds, q, true, tq} : Product{q, ds, !tq, false};
    for (const NodeId r : readers_[index(ds)]) {
      const auto m = product(g_.node(r));
      if (!m) return false;
      const bool is_q = is(*m, of_q, ds, b.row_index);
      if (!is_q && !is(*m, of_k, ds, b.row_index)) return false;
      ValueId& slot = is_q ? b.dq : b.dk;
      if (slot != kNoValue) return false;
      slot = g_.node(r).outputs[0];
      s.inner.push_back(r);
    }
    return true;
  }

  // v with its last two axes swapped where a product took it transposed.
  ValueId turned(ValueId v, bool transposed) {
    if (!transposed) return v;
    std::vector<std::int64_t> perm(rw_.b.rank(v));
    for (std::size_t i = 0; i < perm.size(); ++i) perm[i] = static_cast<std::int64_t>(i);
    std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
    return rw_.b.transpose(v, perm);
  }
  // The new value for an old one, or for its rows in the gradient.
  ValueId saved(ValueId old, ValueId row_index) { return gathered(rw_(old), g_.value(old).rows, row_index); }
  ValueId gathered(ValueId v, const RowMap& rows, ValueId row_index) {
    if (row_index == kNoValue || !rows.is_rows()) return v;
    const ValueId gather = rw_.b.op("gather_rows", {v, rw_(row_index)},
                                    {{"axis", rows.axis}, {"inner", rows.inner}, {"outer", rows.outer}});
    rw_.to.value(gather).rows = rows;
    return gather;
  }

  // v, whose batch axes are the probabilities', with those of s.split.
  ValueId split(const Site& s, ValueId v) {
    if (s.split.empty()) return v;
    Dims d(s.split.begin(), s.split.end() - 2);
    const Dims own = rw_.b.dims(v);
    d.insert(d.end(), own.end() - 2, own.end());
    return rw_.b.reshape(v, d);
  }
  // A mask that is added before or after the split.
  ValueId split_mask(const Site& s, ValueId v) {
    Dims own = rw_.b.dims(v), d;
    own.insert(own.begin(), s.axes.size() + 2 - own.size(), 1);
    std::size_t at = 0;
    for (std::size_t i = 0; i < s.axes.size(); ++i) {
      for (std::size_t k = 0; k < s.axes[i]; ++k, ++at) d.push_back(own[i] == 1 ? 1 : s.split[at]);
    }
    d.insert(d.end(), own.end() - 2, own.end());
    return rw_.b.reshape(v, d);
  }
  // And back.
  ValueId joined(const Site& s, ValueId v) {
    if (s.split.empty()) return v;
    const Dims& p = dims(s.probabilities);
    Dims d(p.begin(), p.end() - 2);
    const Dims own = rw_.b.dims(v);
    d.insert(d.end(), own.end() - 2, own.end());
    return rw_.b.reshape(v, d);
  }

  struct Operands {
    ValueId q, k, v, mask;
  };
  Operands operands(const Site& s, ValueId row_index) {
    const Product scores = *product(g_.node(s.scores)), outer = *product(g_.node(s.result));
    ValueId mask = kNoValue;
    for (std::size_t i = 0; i < s.masks.size(); ++i) {
      ValueId next = saved(s.masks[i], row_index);
      if (!s.split.empty() && s.mask_split[i] == 0) next = split_mask(s, next);
      mask = mask == kNoValue ? next : rw_.b.add(next, mask);
    }
    return {split(s, turned(saved(scores.a, row_index), scores.trans_a)),
            split(s, turned(saved(scores.b, row_index), !scores.trans_b)),
            split(s, turned(saved(s.v, row_index), outer.trans_b)), mask};
  }
  static Attrs attrs_of(const Site& s) {
    Attrs attrs{{"scale", s.scale}};
    if (s.masked) attrs.set("masked", std::int64_t{1});
    return attrs;
  }

  void emit(const Site& s) {
    const Operands x = operands(s, kNoValue);
    std::vector<ValueId> inputs{x.q, x.k, x.v};
    if (x.mask != kNoValue) inputs.push_back(x.mask);
    const Node& result = g_.node(s.result);
    const std::vector<ValueId> outs = rw_.b.add_node(op("attention"), inputs, attrs_of(s), result.name);
    rw_.set(result.outputs[0], joined(s, outs[0]));
    log_sum_exp_[index(result.outputs[0])] = outs[1];
  }

  void emit(const Site& s, const Backward& b) {
    const Operands x = operands(s, b.row_index);
    const Node& result = g_.node(s.result);
    const ValueId y = result.outputs[0];
    const std::vector<ValueId> d =
        rw_.b.add_node(op("attention_grad"),
                       {split(s, rw_(b.dy)), x.q, x.k, x.v, x.mask, split(s, saved(y, b.row_index)),
                        gathered(log_sum_exp_[index(y)], g_.value(y).rows, b.row_index)},
                       attrs_of(s), "gradient of " + result.name);
    const Product scores = *product(g_.node(s.scores)), outer = *product(result);
    if (b.dq != kNoValue) rw_.set(b.dq, turned(joined(s, d[0]), scores.trans_a));
    if (b.dk != kNoValue) rw_.set(b.dk, turned(joined(s, d[1]), !scores.trans_b));
    if (b.dv != kNoValue) rw_.set(b.dv, turned(joined(s, d[2]), outer.trans_b));
  }

  const Graph& g_;
  const Backend& backend_;
  std::vector<int> uses_;
  std::vector<std::vector<NodeId>> readers_;
  Rewriter rw_;
  std::vector<Site> sites_;
  std::vector<ValueId> log_sum_exp_;  // by the result in the old graph
};

}  // namespace

Graph fuse_attention(const Graph& g, const Backend& backend, const Evaluator& evaluate) {
  if (backend.wants_attention == nullptr) return g;
  return Pass(g, backend, evaluate).run();
}

}  // namespace onnxray
