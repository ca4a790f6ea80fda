#include "onnx_import/convert.h"

#include <algorithm>

namespace onnxray::onnx_import {
namespace {

template <class T>
const T* typed(const OnnxNode& node, std::string_view name) {
  const auto it = node.attrs.find(std::string(name));
  if (it == node.attrs.end()) return nullptr;
  if (const auto* u = std::get_if<UnsupportedAttr>(&it->second)) {
    fail_unsupported("attribute '", name, "' is ", u->what, ", which is not supported");
  }
  const T* v = std::get_if<T>(&it->second);
  ONNXRAY_CHECK(v != nullptr, "attribute '", name, "' has an unexpected type");
  return v;
}

}  // namespace

bool ConvertCtx::has_attr(std::string_view name) const { return node.attrs.contains(std::string(name)); }

std::int64_t ConvertCtx::attr_int(std::string_view name, std::int64_t otherwise) const {
  const auto* v = typed<std::int64_t>(node, name);
  return v != nullptr ? *v : otherwise;
}
double ConvertCtx::attr_float(std::string_view name, double otherwise) const {
  const auto* v = typed<double>(node, name);
  return v != nullptr ? *v : otherwise;
}
std::string ConvertCtx::attr_string(std::string_view name, std::string otherwise) const {
  const auto* v = typed<std::string>(node, name);
  return v != nullptr ? *v : std::move(otherwise);
}
std::vector<std::int64_t> ConvertCtx::attr_ints(std::string_view name, std::vector<std::int64_t> otherwise) const {
  const auto* v = typed<std::vector<std::int64_t>>(node, name);
  return v != nullptr ? *v : std::move(otherwise);
}
std::vector<double> ConvertCtx::attr_floats(std::string_view name, std::vector<double> otherwise) const {
  const auto* v = typed<std::vector<double>>(node, name);
  return v != nullptr ? *v : std::move(otherwise);
}
std::vector<std::string> ConvertCtx::attr_strings(std::string_view name, std::vector<std::string> otherwise) const {
  const auto* v = typed<std::vector<std::string>>(node, name);
  return v != nullptr ? *v : std::move(otherwise);
}
Tensor ConvertCtx::attr_tensor(std::string_view name) const {
  const auto* v = typed<Tensor>(node, name);
  return v != nullptr ? *v : Tensor();
}

std::optional<std::vector<std::int64_t>> ConvertCtx::axes(std::int64_t since, std::size_t i, std::size_t rank) {
  if (version < since) {
    if (!has_attr("axes")) return std::nullopt;
    return normalize_axes(attr_ints("axes"), rank, node.op_type.c_str());
  }
  if (!has(i)) return std::nullopt;
  return normalize_axes(constant_ints(i), rank, node.op_type.c_str());
}

const OpRow* OpTable::find(const std::string& domain, const std::string& op_type, std::int64_t version) const {
  const auto it = rows_.find((domain == "ai.onnx" ? "" : domain) + ":" + op_type);
  if (it == rows_.end()) return nullptr;
  const OpRow* best = nullptr;
  for (const OpRow& row : it->second) {
    if (row.since <= version && (best == nullptr || row.since > best->since)) best = &row;
  }
  return best;
}

std::vector<OpRow> OpTable::all() const {
  std::vector<OpRow> out;
  for (const auto& [key, rows] : rows_) out.insert(out.end(), rows.begin(), rows.end());
  std::sort(out.begin(), out.end(), [](const OpRow& a, const OpRow& b) {
    return std::tie(a.domain, a.op_type, a.since) < std::tie(b.domain, b.op_type, b.since);
  });
  return out;
}

const OpTable& op_table() {
  static const OpTable table = [] {
    OpTable t;
    add_math_rows(t);
    add_activation_rows(t);
    add_conv_rows(t);
    add_matmul_rows(t);
    add_norm_rows(t);
    add_reduce_rows(t);
    add_layout_rows(t);
    add_index_rows(t);
    add_sequence_rows(t);
    add_constant_rows(t);
    return t;
  }();
  return table;
}

}  // namespace onnxray::onnx_import
