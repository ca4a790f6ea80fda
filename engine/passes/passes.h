// Graph rewrites, one per file. Each takes a graph and returns another with the same inputs and outputs.
#pragma once
#include <optional>
#include <string>
#include <unordered_set>

#include "engine/backend.h"
#include "engine/passes/rewrite.h"

namespace onnxray {

// How floating values are computed. A plan's precision replaces every float dtype by its own; kDeclared keeps what the
// model says (float16 and bfloat16 are computed in float32).
enum class Precision { kDeclared, kFloat32, kFloat64 };

// Values that a request names: nothing is folded or fused across them.
using Pins = std::unordered_set<ValueId>;

// The part of the graph that computes `outputs` from `cut` (which become inputs, in this order, keeping names and row
// maps) and from the graph inputs that are still read (after them).
[[nodiscard]] Graph extract(const Graph& g, const std::vector<ValueId>& cut, const std::vector<ValueId>& outputs);

// Copies all nodes of `g` into the builder's graph; `inputs` stand for g's inputs. Returns old value -> new value.
std::vector<ValueId> splice(Builder& b, const Graph& g, const std::vector<ValueId>& inputs);

// Removes nodes nobody reads, and nodes that compute what an earlier node with equal op, inputs and attributes did.
[[nodiscard]] Graph clean(const Graph& g);

// Replaces float dtypes. Casts among floats become identities under kFloat32 and kFloat64.
[[nodiscard]] Graph set_precision(const Graph& g, Precision precision, const Evaluator& evaluate);

// The graph for `count` rows from the graph for one row. Row maps of all values are filled in. If a value that the
// outputs need mixes rows, the result is empty and `mixed` names the first node that does.
struct Batched {
  std::optional<Graph> graph;
  std::string mixed;
  std::vector<ValueId> values;  // value of the one-row graph -> value here; kNoValue for what the outputs do not need
};
[[nodiscard]] Batched batch_rows(const Graph& one_row, std::int64_t count);

// Replaces exporters' decompositions of layer_norm, rms_norm, gelu, swish, hard_swish and mish by the composites. What
// only the decomposition reads vanishes, its names with it.
[[nodiscard]] Graph recognise_composites(const Graph& g, const Evaluator& evaluate);

// Folds batch_norm into the convolution or matmul before it (or after it, where padding allows) and rewrites the rest
// into one multiply-add per channel. Pinned values stay.
[[nodiscard]] Graph fold_batch_norm(const Graph& g, const Evaluator& evaluate);

// Expands composites for which `has_kernel` is false.
[[nodiscard]] Graph expand_composites(const Graph& g, const std::function<bool(const Node&)>& has_kernel,
                                      const Evaluator& evaluate);

// Algebra that costs nothing: x*1, x+0, double negation, transposes of transposes, reshape chains.
[[nodiscard]] Graph simplify(const Graph& g, const Evaluator& evaluate);

// softmax(scale q k^T + mask) v, and its gradient where it is there, as one node each, in float32 and where the backend
// wants it. Run simplify() behind it: transposes that meet cancel there.
[[nodiscard]] Graph fuse_attention(const Graph& g, const Backend& backend, const Evaluator& evaluate);

// Bias, residual sum and ReLU (or its mask, in backward passes) into convolution and matmul nodes.
[[nodiscard]] Graph fuse_epilogues(const Graph& g);

// Chains of elementwise nodes into one `map` node with a short program over kernels/functors.h.
[[nodiscard]] Graph fuse_elementwise(const Graph& g);

// NHWC inside: float32 convolutions, pooling and what stands between them compute on channels-last data. A graph
// without convolutions stays as it is. Run simplify() behind it: transposes that meet cancel there.
[[nodiscard]] Graph channels_last(const Graph& g, const Evaluator& evaluate);

// ReLU outputs that backward nodes read only as masks are handed to them as one bit per element, where their innermost
// extent is a multiple of 32, and the winners of max pooling as uint8 taps. For backends whose kernels take them
// (Backend::wants_packed_masks).
[[nodiscard]] Graph pack_masks(const Graph& g);

// Marks float32 convolutions and matrix products with the attribute `mode` ("tf32", "bf16"; exact ones have none). What
// depends on the inputs named in `cotangents` is the backward part. The last pass: others compare attributes.
[[nodiscard]] Graph set_compute_mode(const Graph& g, ComputeMode mode, const std::vector<std::string>& cotangents);

}  // namespace onnxray
