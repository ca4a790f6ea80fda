// matmul(softmax(scale q k^T + mask), v) becomes one `attention` node where nothing but its own gradient reads the
// scores and the probabilities; the gradient's nodes, as autodiff writes them, become one `attention_grad`. The
// [.., Sq, Sk] values between, the largest of a transformer, are then never in memory.
#include "engine/passes/attention_sites.h"
#include "engine/passes/passes.h"

namespace onnxray {
namespace {

class Fusion {
 public:
  Fusion(const Graph& g, std::vector<AttentionSite> sites, const Evaluator& evaluate)
      : g_(g), sites_(std::move(sites)), rw_(g, evaluate) {}

  Graph run() {
    const std::size_t nodes = g_.nodes().size();
    std::vector<char> inner(nodes, 0);
    std::vector<const AttentionSite*> at(nodes, nullptr);
    std::vector<std::pair<const AttentionSite*, const AttentionBackward*>> backward_at(nodes);
    for (const AttentionSite& s : sites_) {
      at[index(s.result)] = &s;
      for (const NodeId n : s.inner) inner[index(n)] = 1;
      for (const AttentionBackward& b : s.backward) backward_at[index(b.first)] = {&s, &b};
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
  ValueId split(const AttentionSite& s, ValueId v) {
    if (s.split.empty()) return v;
    Dims d(s.split.begin(), s.split.end() - 2);
    const Dims own = rw_.b.dims(v);
    d.insert(d.end(), own.end() - 2, own.end());
    return rw_.b.reshape(v, d);
  }
  // A mask that is added before or after the split.
  ValueId split_mask(const AttentionSite& s, ValueId v) {
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
  ValueId joined(const AttentionSite& s, ValueId v) {
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
  Operands operands(const AttentionSite& s, ValueId row_index) {
    const MatrixProduct &scores = s.scores, &outer = s.outer;
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
  static Attrs attrs_of(const AttentionSite& s) {
    Attrs attrs{{"scale", s.scale}};
    if (s.masked) attrs.set("masked", std::int64_t{1});
    return attrs;
  }

  void emit(const AttentionSite& s) {
    const Operands x = operands(s, kNoValue);
    std::vector<ValueId> inputs{x.q, x.k, x.v};
    if (x.mask != kNoValue) inputs.push_back(x.mask);
    const Node& result = g_.node(s.result);
    const std::vector<ValueId> outs = rw_.b.add_node(op("attention"), inputs, attrs_of(s), result.name);
    rw_.set(result.outputs[0], joined(s, outs[0]));
    log_sum_exp_[index(result.outputs[0])] = outs[1];
  }

  void emit(const AttentionSite& s, const AttentionBackward& b) {
    const Operands x = operands(s, b.row_index);
    const Node& result = g_.node(s.result);
    const ValueId y = result.outputs[0];
    const std::vector<ValueId> d =
        rw_.b.add_node(op("attention_grad"),
                       {split(s, rw_(b.dy)), x.q, x.k, x.v, x.mask, split(s, saved(y, b.row_index)),
                        gathered(log_sum_exp_[index(y)], g_.value(y).rows, b.row_index)},
                       attrs_of(s), "gradient of " + result.name);
    const MatrixProduct &scores = s.scores, &outer = s.outer;
    if (b.dq != kNoValue) rw_.set(b.dq, turned(joined(s, d[0]), scores.trans_a));
    if (b.dk != kNoValue) rw_.set(b.dk, turned(joined(s, d[1]), !scores.trans_b));
    if (b.dv != kNoValue) rw_.set(b.dv, turned(joined(s, d[2]), outer.trans_b));
  }

  const Graph& g_;
  std::vector<AttentionSite> sites_;
  Rewriter rw_;
  std::vector<ValueId> log_sum_exp_;  // by the result in the old graph
};

}  // namespace

Graph fuse_attention(const Graph& g, const Backend& backend, const Evaluator& evaluate) {
  if (backend.wants_attention == nullptr) return g;
  std::vector<AttentionSite> sites = find_attention(g, backend);
  if (sites.empty()) return g;
  return Fusion(g, std::move(sites), evaluate).run();
}

}  // namespace onnxray
