// From the graph for one row to the graph for many: every op's `rows` rule says how it carries them.
#include "engine/passes/passes.h"

namespace onnxray {

Batched batch_rows(const Graph& g, std::int64_t count) {
  // Values that the outputs need; a node beside them may mix rows as it likes.
  std::vector<char> live(g.value_count(), 0);
  for (const ValueId v : g.outputs()) live[static_cast<std::size_t>(v)] = 1;
  for (std::size_t n = g.nodes().size(); n-- > 0;) {
    const Node& node = g.nodes()[n];
    bool keep = false;
    for (const ValueId v : node.outputs) keep = keep || live[static_cast<std::size_t>(v)] != 0;
    if (!keep) continue;
    for (const ValueId v : node.inputs) {
      if (v != kNoValue) live[static_cast<std::size_t>(v)] = 1;
    }
  }

  Graph to;
  Builder b(to);
  std::vector<ValueId> map(g.value_count(), kNoValue);
  const auto index = [](ValueId v) { return static_cast<std::size_t>(v); };
  const auto scaled = [&](Dims dims, const RowMap& rows) {
    if (rows.is_rows()) dims[index(static_cast<ValueId>(rows.axis))] *= count;
    return dims;
  };
  const auto take_names = [&](ValueId old, ValueId fresh, const RowMap& rows) {
    map[index(old)] = fresh;
    to.value(fresh).rows = rows;
    to.set_name(fresh, g.value(old).name);
  };
  for (const ValueId v : g.inputs()) {
    const Value& value = g.value(v);
    take_names(v, to.add_input(value.name, value.dtype, scaled(value.dims, value.rows), value.rows), value.rows);
  }
  const auto mapped = [&](ValueId v) {
    if (v == kNoValue) return v;
    if (map[index(v)] == kNoValue && g.is_constant(v)) {
      const ValueId fresh = to.add_constant(g.value(v).constant);
      to.value(fresh).dtype = g.value(v).dtype;
      take_names(v, fresh, RowMap::none());
    }
    return map[index(v)];
  };

  for (const Node& node : g.nodes()) {
    bool needed = false;
    for (const ValueId v : node.outputs) needed = needed || live[index(v)] != 0;
    if (!needed) continue;
    RowsCtx ctx;
    ctx.count = count;
    ctx.attrs = node.attrs;
    ctx.outputs.assign(node.outputs.size(), RowMap::mixed());
    ctx.expand.assign(node.inputs.size(), RowMap::none());
    bool any = false;
    for (const ValueId v : node.inputs) {
      (void)mapped(v);
      const RowMap rows = v == kNoValue ? RowMap::none() : to.value(mapped(v)).rows;
      if (v == kNoValue) ctx.inputs.push_back({});
      else ctx.inputs.push_back({&g.value(v).dims, rows, g.value(v).dtype});
      any = any || !rows.is_none();
    }
    for (const ValueId v : node.outputs) ctx.output_dims.push_back(&g.value(v).dims);
    if (!any) {
      ctx.outputs.assign(node.outputs.size(), RowMap::none());
    } else if (node.op->rows != nullptr) {
      bool outer = false;
      for (const RowsCtx::Input& in : ctx.inputs) outer = outer || in.rows.outer != 1;
      if (!outer || node.op->traits.elementwise || node.op->traits.outer_rows) node.op->rows(ctx);
    }
    const auto refuse = [&] {
      return Batched{std::nullopt,
                     (node.name.empty() ? "" : node.name + ", ") + "operator '" + node.op->name + "', value " +
                         g.label(node.outputs[0]),
                     {}};
    };
    for (const RowMap& o : ctx.outputs) {
      if (o.is_mixed()) return refuse();
    }
    std::vector<ValueId> inputs;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      ValueId v = mapped(node.inputs[i]);
      if (v != kNoValue && ctx.expand[i].is_rows()) {
        v = b.op("repeat_rows", {v}, {{"axis", ctx.expand[i].axis}, {"inner", ctx.expand[i].inner}, {"count", count}});
        to.value(v).rows = ctx.expand[i];
      }
      inputs.push_back(v);
    }
    const std::vector<ValueId> outs = b.add_node(*node.op, inputs, ctx.attrs, node.name);
    for (std::size_t i = 0; i < outs.size(); ++i) {
      take_names(node.outputs[i], outs[i], ctx.outputs[i]);
      // A rule that forgot an attribute shows here; such a node is treated as mixing rows.
      if (to.value(outs[i]).dims != scaled(g.value(node.outputs[i]).dims, ctx.outputs[i])) return refuse();
    }
  }
  for (const auto& [name, v] : g.names()) {
    if (map[index(v)] != kNoValue) to.set_name(map[index(v)], name);
  }
  std::vector<ValueId> outputs;
  for (const ValueId v : g.outputs()) outputs.push_back(mapped(v));
  to.set_outputs(std::move(outputs));
  return {std::move(to), {}, std::move(map)};
}

}  // namespace onnxray
