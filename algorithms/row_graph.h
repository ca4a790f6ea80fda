// The graph of one chunk of rows: row maker, model behind the cut, gradient and folds.
#pragma once
#include <string>

#include "algorithms/row_program.h"

namespace onnxray {

// Names of the graph's inputs. Only those that somebody reads exist.
namespace row_input {
[[nodiscard]] inline std::string x(const CutValue& c) { return "x " + c.name; }                // [E, row_dims...]
[[nodiscard]] inline std::string baseline(const CutValue& c) { return "baseline " + c.name; }  // [any, row_dims...]
[[nodiscard]] inline std::string held(const CutValue& c) { return "held " + c.name; }  // [E, row_dims...] or shared
[[nodiscard]] inline std::string given(std::string_view name) { return "given " + std::string(name); }
[[nodiscard]] inline std::string seed(const Session::Target& t) {
  return (t.log_probability ? "log seed " : "seed ") + t.value;  // [E * K, row_dims...]
}
[[nodiscard]] inline std::string state(std::size_t fold, const CutValue& c) {
  return "state " + std::to_string(fold) + " " + c.name;  // float64 [E * K, dims of the fold...]
}
inline constexpr const char* kExample = "example";           // int64 [R]
inline constexpr const char* kBaselineRow = "baseline row";  // int64 [R]
inline constexpr const char* kAlpha = "alpha";               // [R]
inline constexpr const char* kScalarRow = "scalar row";      // int64 [R * K]: example * K + scalar
inline constexpr const char* kForwardRow = "forward row";    // int64 [R * K]
inline constexpr const char* kWeight = "weight";             // float64 [R * K]
}  // namespace row_input

// Outputs: the scalars [R * K]; those of the reference pass [R * K] where there is one; with spec.gradient one gradient
// for each from value; with spec.values every from value; then for each fold one state for each from value.
[[nodiscard]] Graph build_row_graph(const Session& session, const RowSpec& spec, const std::vector<Tensor>& baselines,
                                    std::int64_t rows);

}  // namespace onnxray
