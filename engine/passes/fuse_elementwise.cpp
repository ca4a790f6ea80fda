// Chains and trees of elementwise nodes become one `map` node. A node joins its reader when nobody else reads it and
// both have one shape and float type, so that nothing is computed twice or over more elements than before.
#include <algorithm>
#include <cmath>

#include "engine/ops/map_program.h"
#include "engine/passes/passes.h"

namespace onnxray {
namespace {

class Fuser {
 public:
  explicit Fuser(const Graph& g) : g_(g), rw_(g), uses_(g.use_counts()), group_(g.nodes().size(), -1) {
    for (const Node& node : g.nodes()) {
      if (node.op->traits.updates) updated_.push_back(node.inputs[0]);
    }
  }

  Graph run() {
    for (auto n = static_cast<NodeId>(g_.nodes().size()); n-- > 0;) {
      if (group_[index(n)] < 0 && is_root(g_.node(n))) grow(n);
    }
    for (std::size_t n = 0; n < g_.nodes().size(); ++n) {
      const int root = group_[n];
      if (root < 0) {
        rw_.copy(g_.nodes()[n]);
      } else if (root == static_cast<int>(n)) {
        emit(root);
      }
    }
    return rw_.finish();
  }

 private:
  static std::size_t index(NodeId n) { return static_cast<std::size_t>(n); }
  [[nodiscard]] const Value& out(const Node& node) const { return g_.value(node.outputs[0]); }
  [[nodiscard]] bool gives_mask(ValueId v) const { return g_.value(v).dtype == DType::boolean; }

  // The exponent of a power that is one constant.
  [[nodiscard]] double exponent(const Node& node) const {
    const Tensor& t = g_.value(node.inputs[1]).constant;
    return t.defined() && t.size() == 1 && count_of(g_.value(node.inputs[0]).dims) == count_of(out(node).dims)
               ? t.to_doubles()[0]
               : NAN;
  }

  // The step that computes the node, without operands; an empty name when it cannot be one.
  [[nodiscard]] MapStep step_of(const Node& node, DType dtype) const {
    MapStep step{node.op->name, {}, node.attrs};
    if (map_arity(step.op) != static_cast<int>(node.inputs.size())) return {};
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const bool mask = map_reads_mask(step.op, static_cast<int>(i));
      if (g_.value(node.inputs[i]).dtype != (mask ? DType::boolean : dtype)) return {};
    }
    if (step.op == "pow") {
      // The powers that have a kernel of their own, to the same bits.
      const double e = exponent(node);
      if (e == 0 || e == 1) return {};
      if (e == 2) step.op = "square";
      if (e == 3) step.op = "cube";
      if (e == -1) step.op = "reciprocal";
    }
    return step;
  }

  [[nodiscard]] bool reads_state(const Node& node) const {
    return std::any_of(node.inputs.begin(), node.inputs.end(),
                       [&](ValueId v) { return std::find(updated_.begin(), updated_.end(), v) != updated_.end(); });
  }

  [[nodiscard]] bool joins(const Node& node, const Dims& dims, DType dtype) const {
    return node.outputs.size() == 1 && out(node).dims == dims && !step_of(node, dtype).op.empty() && !reads_state(node);
  }

  [[nodiscard]] bool is_root(const Node& node) const {
    const DType dtype = out(node).dtype;
    return (dtype == DType::f32 || dtype == DType::f64) && joins(node, out(node).dims, dtype);
  }

  // The members of root's group in order, their operands that come from outside, and how often each member is read.
  struct Shape {
    std::vector<NodeId> members;
    std::vector<ValueId> inputs;
  };

  [[nodiscard]] Shape shape_of(std::vector<NodeId> members) const {
    std::sort(members.begin(), members.end());
    Shape s{members, {}};
    for (const NodeId m : members) {
      const Node& node = g_.node(m);
      const MapStep step = step_of(node, node_dtype(members));
      for (int k = 0; k < map_arity(step.op); ++k) {
        const ValueId v = node.inputs[static_cast<std::size_t>(k)];
        const NodeId producer = g_.value(v).producer;
        const bool inside = std::binary_search(members.begin(), members.end(), producer);
        if (!inside && std::find(s.inputs.begin(), s.inputs.end(), v) == s.inputs.end()) s.inputs.push_back(v);
      }
    }
    return s;
  }

  // The float type of a group: its last member's, the root's.
  [[nodiscard]] DType node_dtype(const std::vector<NodeId>& sorted) const { return out(g_.node(sorted.back())).dtype; }

  [[nodiscard]] MapProgram program_of(const Shape& s) const {
    MapProgram p;
    p.inputs = static_cast<int>(s.inputs.size());
    const auto slot = [&](ValueId v) {
      const auto member =
          std::find_if(s.members.begin(), s.members.end(), [&](NodeId m) { return g_.node(m).outputs[0] == v; });
      if (member != s.members.end()) return p.inputs + static_cast<int>(member - s.members.begin());
      return static_cast<int>(std::find(s.inputs.begin(), s.inputs.end(), v) - s.inputs.begin());
    };
    for (const NodeId m : s.members) {
      MapStep step = step_of(g_.node(m), node_dtype(s.members));
      for (int k = 0; k < map_arity(step.op); ++k) {
        step.args.push_back(slot(g_.node(m).inputs[static_cast<std::size_t>(k)]));
      }
      p.steps.push_back(std::move(step));
    }
    return p;
  }

  [[nodiscard]] bool fits(const Shape& s) const {
    if (s.members.size() > kMapMaxSteps || s.inputs.size() > kMapMaxInputs) return false;
    int buffers = 0;
    (void)program_of(s).buffers(&buffers);
    return buffers <= kMapMaxBuffers;
  }

  void grow(NodeId root) {
    const Dims dims = out(g_.node(root)).dims;
    const DType dtype = out(g_.node(root)).dtype;
    std::vector<NodeId> members{root};
    // Producers are tried from the last one on, so that all readers of a node are in before it is.
    for (NodeId n = root - 1; n >= 0 && root - n <= kReach; --n) {
      const Node& node = g_.node(n);
      if (group_[index(n)] >= 0 || !joins(node, dims, dtype)) continue;
      int reads = 0;
      for (const NodeId m : members) {
        const auto& in = g_.node(m).inputs;
        reads += static_cast<int>(std::count(in.begin(), in.end(), node.outputs[0]));
      }
      if (reads == 0 || reads != uses_[static_cast<std::size_t>(node.outputs[0])]) continue;
      std::vector<NodeId> more = members;
      more.push_back(n);
      if (!fits(shape_of(more))) continue;
      members = std::move(more);
    }
    if (members.size() < 2) return;
    for (const NodeId m : members) group_[index(m)] = root;
  }

  void emit(NodeId root) {
    std::vector<NodeId> members;
    for (NodeId n = 0; n <= root; ++n) {
      if (group_[index(n)] == root) members.push_back(n);
    }
    const Shape s = shape_of(members);
    const Node& last = g_.node(root);
    std::string name = last.name;
    const ValueId y = rw_.b.add_node(op("map"), rw_.map(s.inputs), program_of(s).to_attrs(), name)[0];
    rw_.set(last.outputs[0], y);
  }

  // Nodes further apart than this are not fused: the values between would have to live for long.
  static constexpr NodeId kReach = 256;

  const Graph& g_;
  Rewriter rw_;
  std::vector<int> uses_;
  std::vector<int> group_;        // per node the root it is computed in; -1: alone
  std::vector<ValueId> updated_;  // states, which change while a plan runs
};

}  // namespace

Graph fuse_elementwise(const Graph& g) { return Fuser(g).run(); }

}  // namespace onnxray
