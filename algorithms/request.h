// What every method is asked: inputs, which scalar (`to`), with respect to what (`from`), and how to compute.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "algorithms/scalar.h"
#include "engine/model.h"

namespace onnxray {

struct Progress {
  std::string phase;             // "integrated-gradients"
  std::int64_t done = 0;         // rows pushed through so far
  std::int64_t total = 0;        // exact
  double seconds = 0;            // since the start
  double remaining_seconds = 0;  // estimated from the rows so far
};

struct ComputeOptions {
  Precision precision = Precision::kDeclared;  // kDeclared: float64 for a float64 model, else float32
  std::size_t memory_bytes = 0;                // for activations; 0: half of the machine's (or cgroup's) memory
  std::int64_t chunk = 0;                      // rows per plan; 0: chosen from model, request and memory
  std::uint64_t seed = 0;
  // Id of row 0. Random draws are keyed by (seed, id, sample): an example run alone draws what it drew in its batch.
  std::int64_t first_example = 0;
  bool profile = false;  // fill ComputeReport::op_seconds
  // Called after every chunk; returning false cancels (Error of kind kCancelled).
  std::function<bool(const Progress&)> progress;
};

struct Request {
  NamedTensors inputs;            // rows first; every input of the model
  std::vector<Scalar> to;         // one result each; empty: the first output (its Softmax input), which must be one
                                  // element per row unless `target` says which
  std::vector<std::string> from;  // values to attribute to; empty: every float input
  // What paths, baselines and noise replace where that is not `from` itself (conductance, gradient SHAP); empty: the
  // inputs.
  std::vector<std::string> vary;
  ComputeOptions compute;
};

// Facts about how a request was computed, for result files.
struct ComputeReport {
  std::int64_t rows = 0;   // rows pushed through the model
  std::int64_t chunk = 0;  // rows per plan
  bool batched = true;     // false: single rows, see notices
  double seconds = 0, setup_seconds = 0;
  std::size_t peak_bytes = 0;  // largest arena
  std::vector<std::string> notices;
  std::map<std::string, double> op_seconds;  // time in each operator's kernels, when asked for
  Precision precision = Precision::kFloat32;
};

// Half of the memory this process may use: the machine's, or the cgroup's limit if that is smaller.
[[nodiscard]] std::size_t default_memory_budget();

// What bounds the rows of a chunk: bytes that must not be exceeded (by default half of the device's memory, or of the
// machine's), bytes past which more rows no longer pay, and rows.
struct ChunkLimits {
  std::size_t budget = 0, wanted = 0;
  std::int64_t rows = 1;
};
[[nodiscard]] ChunkLimits chunk_limits(const ComputeOptions& options, const Backend& backend);
// Bytes of the activations of a lowered graph. The model remembers them under a key that says everything `make` depends
// on; empty: it does not.
[[nodiscard]] std::size_t activation_bytes(const Model& model, const std::string& key,
                                           const std::function<Graph()>& make);

}  // namespace onnxray
