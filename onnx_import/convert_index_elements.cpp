// GatherElements, GatherND, Scatter, ScatterElements, ScatterND.
#include "onnx_import/convert_layout.h"

namespace onnxray::onnx_import {
namespace {

std::string reduction_of(const ConvertCtx& c) {
  const std::string r = c.version < 16 ? "none" : c.attr_string("reduction", "none");
  ONNXRAY_CHECK(r == "none" || r == "add" || r == "mul" || (c.version >= 18 && (r == "max" || r == "min")),
                "unknown reduction '", r, "'");
  return r;
}

void gather_elements(ConvertCtx& c) {
  const std::int64_t axis = normalize_axis(c.attr_int("axis", 0), c.rank(0), "GatherElements");
  c.out(c.b.op("gather_elements", {c.in(0), int64_input(c, 1)}, {{"axis", axis}}));
}

void scatter_elements(ConvertCtx& c) {
  const std::int64_t axis = normalize_axis(c.attr_int("axis", 0), c.rank(0), "ScatterElements");
  c.out(c.b.op("scatter_elements", {c.in(0), int64_input(c, 1), c.in(2)},
               {{"axis", axis}, {"reduction", reduction_of(c)}}));
}

void gather_nd(ConvertCtx& c) {
  const std::int64_t batch = c.version < 12 ? 0 : c.attr_int("batch_dims", 0);
  c.out(c.b.op("gather_nd", {c.in(0), int64_input(c, 1)}, {{"batch_dims", batch}}));
}

void scatter_nd(ConvertCtx& c) {
  c.out(c.b.op("scatter_nd", {c.in(0), int64_input(c, 1), c.in(2)}, {{"reduction", reduction_of(c)}}));
}

}  // namespace

void add_elements_rows(OpTable& t) {
  t.add({.op_type = "GatherElements", .since = 11, .convert = gather_elements});
  t.add({.op_type = "GatherND", .since = 11, .convert = gather_nd});
  t.add({.op_type = "Scatter", .since = 9, .convert = scatter_elements});
  t.add({.op_type = "ScatterElements", .since = 11, .convert = scatter_elements});
  t.add({.op_type = "ScatterND", .since = 11, .convert = scatter_nd});
}

}  // namespace onnxray::onnx_import
