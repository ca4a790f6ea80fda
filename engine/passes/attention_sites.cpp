// Follows readers and producers from each product of a softmax's output: down to the scores, and along the gradient as
// autodiff writes it. If one reader does not fit, there is no site.
#include "engine/passes/attention_sites.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "engine/op.h"

namespace onnxray {
namespace {

class Finder {
 public:
  Finder(const Graph& g, const Backend& backend)
      : g_(g), backend_(backend), uses_(g.use_counts()), readers_(g.value_count()) {
    for (NodeId n = 0; n < static_cast<NodeId>(g.nodes().size()); ++n) {
      for (const ValueId v : g.node(n).inputs) {
        if (v != kNoValue) readers_[index(v)].push_back(n);
      }
    }
  }

  std::optional<AttentionSite> find(NodeId n) const {
    const auto outer = product(g_.node(n));
    if (!outer || outer->trans_a) return std::nullopt;
    const Node* softmax = node(outer->a, "softmax");
    if (softmax == nullptr || g_.value(outer->a).dtype != DType::f32) return std::nullopt;
    AttentionSite s;
    s.result = n;
    s.outer = *outer;
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
    const MatrixProduct inner = s.scores;
    const auto batch = [&](ValueId v) {
      return dims(v).size() == rank && std::equal(p.begin(), p.end() - 2, dims(v).begin());
    };
    if (!batch(inner.a) || !batch(inner.b) || !batch(s.v) || p[rank - 1] == 0) return std::nullopt;
    const std::int64_t head = dims(inner.a)[rank - (inner.trans_a ? 2 : 1)];
    if (!backend_.wants_attention(head, dims(g_.node(n).outputs[0]).back())) return std::nullopt;
    if (!find_backward(s, inner, outer->trans_b)) return std::nullopt;
    // The gradient's node reads the result.
    if (std::any_of(s.backward.begin(), s.backward.end(), [n](const AttentionBackward& b) { return b.first < n; })) {
      return std::nullopt;
    }
    return s;
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

  // A plain product of two values.
  std::optional<MatrixProduct> product(const Node& n) const {
    if (n.op->name != "matmul" || n.inputs.size() != 2 || n.attrs.integer("relu", 0) != 0) return std::nullopt;
    return MatrixProduct{n.inputs[0], n.inputs[1], n.attrs.integer("trans_a", 0) != 0,
                         n.attrs.integer("trans_b", 0) != 0};
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
  bool find_scores(ValueId x, AttentionSite& s) const {
    bool scaled = false;
    const Dims whole = dims(x);
    for (int steps = 0; steps < 8; ++steps) {
      if (!only_reads(x, 1)) return false;
      const NodeId n = g_.value(x).producer;
      if (n < 0) return false;
      const Node& made = g_.node(n);
      s.inner.push_back(n);
      if (const auto scores = product(made)) {
        s.scores = *scores;
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

  // Explains every reader of the probabilities. False if one is no part of the gradient. Where the gradient has more
  // rows (several targets of an example), it reads saved values through gather_rows.
  bool find_backward(AttentionSite& s, const MatrixProduct& scores, bool v_transposed) const {
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
  bool find_gradient(AttentionSite& s, NodeId r, ValueId p, ValueId row_index, const MatrixProduct& scores,
                     bool v_transposed) const {
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
      AttentionBackward& b = backward_of(s, m->a, row_index, made);
      if (b.dq != kNoValue || b.dk != kNoValue) return false;
      s.inner.push_back(made);
      return find_inputs(s, b, reader.outputs[0], scores);
    }
    const auto m = product(reader);
    if (!m || m->a == m->b) return false;
    const ValueId dy = m->a == p ? m->b : m->a;
    if (*m != (v_transposed ? MatrixProduct{dy, p, true, false} : MatrixProduct{p, dy, true, false})) return false;
    if (dims(dy) != expected) return false;
    AttentionBackward& b = backward_of(s, dy, row_index, r);
    if (b.dv != kNoValue) return false;
    b.dv = reader.outputs[0];
    return true;
  }

  // Whether m is `expected`, whose operands other than `own` are values of the forward pass, in the gradient's rows.
  bool is(const MatrixProduct& m, const MatrixProduct& expected, ValueId own, ValueId row_index) const {
    const auto same = [&](ValueId v, ValueId forward) {
      if (forward == own || row_index == kNoValue || !g_.value(forward).rows.is_rows()) return v == forward;
      const Node* gather = node(v, "gather_rows");
      return gather != nullptr && gather->inputs[0] == forward && gather->inputs[1] == row_index &&
             row_map_of(*gather) == g_.value(forward).rows;
    };
    return m.trans_a == expected.trans_a && m.trans_b == expected.trans_b && same(m.a, expected.a) &&
           same(m.b, expected.b);
  }

  AttentionBackward& backward_of(AttentionSite& s, ValueId dy, ValueId row_index, NodeId n) const {
    const auto found = std::find_if(s.backward.begin(), s.backward.end(),
                                    [&](const AttentionBackward& b) { return b.dy == dy && b.row_index == row_index; });
    if (found != s.backward.end()) {
      found->first = std::min(found->first, n);
      return *found;
    }
    s.backward.push_back({.dy = dy, .row_index = row_index, .first = n});
    return s.backward.back();
  }

  // From the cotangent of the softmax's input to those of q and k.
  bool find_inputs(AttentionSite& s, AttentionBackward& b, ValueId ds, const MatrixProduct& scores) const {
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
    const MatrixProduct of_q = tq ? MatrixProduct{k, ds, tk, true} : MatrixProduct{ds, k, false, !tk};
    const MatrixProduct of_k = tk ? MatrixProduct{ds, q, true, tq} : MatrixProduct{q, ds, !tq, false};
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

  const Graph& g_;
  const Backend& backend_;
  std::vector<int> uses_;
  std::vector<std::vector<NodeId>> readers_;
};

}  // namespace

std::vector<AttentionSite> find_attention(const Graph& g, const Backend& backend) {
  const Finder finder(g, backend);
  std::vector<AttentionSite> sites;
  for (NodeId n = 0; n < static_cast<NodeId>(g.nodes().size()); ++n) {
    if (auto site = finder.find(n)) sites.push_back(std::move(*site));
  }
  return sites;
}

}  // namespace onnxray
