// Rows that differ from one clean example inside a rectangle each (occlusion, ablation of segments) recompute, layer by
// layer, only the rectangle that the change has reached; the rest is the clean example's. The result is the full
// computation's: every element that may have changed is computed from the very operands that the full pass would see.
// S. Nakandala, A. Kumar, Y. Papakonstantinou, "Incremental and approximate inference for faster occlusion-based deep
// CNN explanations" (Krypton), SIGMOD 2019, without the approximation.
//
// Where a rectangle has grown so far that the whole value costs no more, it is pasted into the clean value, and
// ordinary rows go on from there.
#pragma once
#include <optional>

#include "engine/passes/passes.h"

namespace onnxray {

// Elements [begin, end) of one axis.
struct Interval {
  std::int64_t begin = 0, end = 0;
  auto operator<=>(const Interval&) const = default;
};

// Rows change a box each: the product of one interval per spatial axis. Here the intervals that occur, per axis; which
// row has which does not matter.
using Intervals = std::vector<std::vector<Interval>>;

struct Incremental {
  // One row each. `clean` has the inputs of the given graph and computes its outputs, then the values that `rows`
  // keeps. `rows` has as inputs
  //   0                             the varied value's rectangle, [1, ..., patch extents, ...], carries rows
  //   1 .. I                        the inputs of the given graph, the varied one with its clean contents; no rows
  //   then one per kept value       its clean contents, no rows
  //   then one per entry of places  int64 [1, S], carries rows
  // and the outputs of the given graph. Batch it (batch_rows) for any number of rows.
  Graph clean, rows;
  std::size_t kept = 0;
  // Per places input, spatial axis and interval on that axis: where the rectangle begins. Entry 0 is the varied
  // value's.
  std::vector<std::vector<std::vector<std::int64_t>>> places;
  std::vector<std::int64_t> patch;       // the varied value's rectangle: its extents
  std::vector<std::int64_t> axes;        // and its spatial axes
  std::int64_t work = 0, full_work = 0;  // per row: multiply-adds, other elements and copies weighed in
  std::string switches_at;               // the first node that is computed whole
};

// The graph for one row, whose `varied` input changes only inside a box along `axes` (ascending, contiguous, not 0).
// `channels_last`: kept values are handed over in NHWC order, so that a plan that computes in it need not turn them.
// Nothing where no node behind the varied value can be cut to a rectangle.
[[nodiscard]] std::optional<Incremental> incremental(const Graph& g, ValueId varied,
                                                     const std::vector<std::int64_t>& axes, const Intervals& intervals,
                                                     bool channels_last, const Evaluator& evaluate);

// The same decisions without the graphs: {work, full_work} per row; equal when nothing can be cut.
struct IncrementalWork {
  double work = 0, full_work = 0;
};
[[nodiscard]] IncrementalWork incremental_work(const Graph& g, ValueId varied, const std::vector<std::int64_t>& axes,
                                               const Intervals& intervals);

}  // namespace onnxray
