// Model: an immutable handle on a loaded model; what algorithms see. Any number of threads may share it.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/builder.h"
#include "engine/graph.h"
#include "engine/passes/passes.h"
#include "engine/plan.h"
#include "engine/run_pool.h"

namespace onnxray {

// A declared extent: a number, a named symbol ("N"), or unknown (value -1 and no symbol).
struct DeclaredDim {
  std::int64_t value = -1;
  std::string symbol;
};

struct ValueInfo {
  std::string name;
  DType dtype = DType::f32;
  bool has_shape = false;
  std::vector<DeclaredDim> dims;
  // Why no Tensor can hold it ("a sequence", "a tensor of type STRING"); empty when one can.
  std::string unsupported;
  // "[N, 3, 224, 224]"
  [[nodiscard]] std::string shape_text() const;
};

struct Metadata {
  std::string path, digest, producer;  // digest: sha256 of the file, in hex
  std::int64_t ir_version = 0;
  std::map<std::string, std::int64_t> opsets;  // domain ("ai.onnx") -> version
};

// One line of `doctor`: an operator as the model uses it.
struct OperatorUse {
  std::string op, domain;
  std::int64_t version = 0;
  int count = 0;
  std::string first_node;
  bool forward = false;   // has a converter
  bool gradient = false;  // differentiable (or piecewise constant plumbing)
};

using NamedTensors = std::map<std::string, Tensor>;

struct Specialisation {
  std::map<std::string, Dims> dims;    // of every input
  std::map<std::string, RowMap> rows;  // of inputs that carry rows
  NamedTensors data;                   // contents, for graphs whose shapes depend on them; may be empty
};

struct SpecialisedGraph {
  Graph graph;
  bool depends_on_data = false;
  std::string first_data_dependence;  // the node that asked for contents first
};

// Where graphs come from; implemented by onnx_import.
class ModelSource {
 public:
  virtual ~ModelSource() = default;
  [[nodiscard]] virtual const std::vector<ValueInfo>& inputs() const = 0;
  [[nodiscard]] virtual const std::vector<ValueInfo>& outputs() const = 0;
  [[nodiscard]] virtual const Metadata& metadata() const = 0;
  [[nodiscard]] virtual std::vector<OperatorUse> operators() const = 0;
  // The graph for concrete input shapes, with the declared dtypes. Throws on unsupported nodes and wrong shapes.
  [[nodiscard]] virtual SpecialisedGraph specialise(const Specialisation& request, const Evaluator& evaluate) const = 0;
};

class Model {
 public:
  Model(std::shared_ptr<const ModelSource> source, const Backend& backend);

  [[nodiscard]] const std::vector<ValueInfo>& inputs() const;
  [[nodiscard]] const std::vector<ValueInfo>& outputs() const;
  [[nodiscard]] const Metadata& metadata() const;
  [[nodiscard]] std::vector<OperatorUse> operators() const;
  [[nodiscard]] const Backend& backend() const;
  [[nodiscard]] const Evaluator& evaluator() const;

  // The declared dims of an input with symbols filled in: a leading symbol is one row; others come from `given` (dims
  // of one row or of a batch) or must be numbers.
  // Throws kBadInput when `given` does not fit: what was got, what was expected.
  struct RowShape {
    Dims one_row;  // dims for one row
    bool carries_rows = false;
    std::int64_t rows = 1;  // rows in `given`
  };
  [[nodiscard]] RowShape row_shape(const ValueInfo& input, const Tensor& given) const;

  // The canonical graph for one row of these inputs: declared dtypes, composites recognised, every ONNX value named.
  // Cached by shapes. `data` lets shapes depend on contents (and then nothing is cached).
  [[nodiscard]] std::shared_ptr<const SpecialisedGraph> canonical(const Specialisation& request) const;

  // A plan for `key`, made on the first call. The key must say everything that `make` depends on. Plans and what
  // shared() made are bounded by number and by the bytes of their graphs' constants, least recently used ones go first.
  [[nodiscard]] std::shared_ptr<const Plan> plan(const std::string& key, const std::function<Graph()>& make) const;
  // The same for what else requests of one structure have in common. T::graphs() lists the graphs that it holds.
  template <class T>
  [[nodiscard]] std::shared_ptr<const T> shared(const std::string& key, const std::function<T()>& make) const {
    return std::static_pointer_cast<const T>(remembered(key, [&]() -> Remembered {
      auto made = std::make_shared<const T>(make());
      return {made, made->graphs()};
    }));
  }

  // A run of the plan for the calling thread alone: one that an earlier request has left, with its memory and its
  // recorded steps, or a new one. It comes back when the pointer goes. Where the device has no memory for a new run or
  // a new plan, idle runs are released first. `memory_bytes`: what this run and the idle ones may take together; 0:
  // three quarters of a device's memory, 1 GiB of the host's.
  [[nodiscard]] RunPool::Run run_of(std::shared_ptr<const Plan> plan, std::size_t memory_bytes = 0) const;
  // Memory that the model holds between requests to make the next one fast: arenas, inputs, recorded graphs.
  [[nodiscard]] std::size_t idle_bytes() const;
  // Gives it back now. Requests that are under way keep theirs.
  void release_idle() const;
  [[nodiscard]] std::shared_ptr<PreparedConstants> prepared() const;

  // float64 for a model whose floats are declared so, else float32.
  [[nodiscard]] Precision default_precision() const;

 private:
  struct Remembered {
    std::shared_ptr<const void> object;
    std::vector<const Graph*> graphs;
    bool plan = false;
  };
  [[nodiscard]] std::shared_ptr<const void> remembered(const std::string& key,
                                                       const std::function<Remembered()>& make) const;

  struct State;
  std::shared_ptr<State> state_;
};

// Runs the model literally on inputs of the given shapes (no rows, no batching) and returns the named values (default:
// the outputs). Integer, bool and float inputs must have the declared dtype; float64 data is accepted for floats.
struct RunOptions {
  Precision precision = Precision::kDeclared;
};
[[nodiscard]] NamedTensors run(const Model& model, const NamedTensors& inputs, std::vector<std::string> values = {},
                               const RunOptions& options = {});

// The passes between a request's forward graph and its gradient, and those after it.
[[nodiscard]] Graph prepare_forward(const Graph& g, Precision precision, const Evaluator& evaluate);
[[nodiscard]] Graph prepare_suffix(const Graph& g, const Evaluator& evaluate);
// `cotangents` names the inputs that seed a gradient: what depends on them is the backward part, which may be computed
// otherwise (Backend::mode).
[[nodiscard]] Graph lower_for(const Backend& backend, const Graph& g, const Evaluator& evaluate,
                              const std::vector<std::string>& cotangents = {});

}  // namespace onnxray
