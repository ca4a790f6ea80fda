// RowProgram: rows made, pushed through the model behind the cut, differentiated and folded, all in one plan. A row is
// an example with its varied values replaced: by the actual ones, by a point on the path from a baseline, by the
// baseline under a mask, or by whatever a method's row maker builds. Memory depends on the rows per chunk, not on how
// many chunks there are.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "algorithms/session.h"
#include "engine/plan.h"
#include "engine/rules.h"

namespace onnxray {

// An input of the plan besides those of the session, bound by the method with RowProgram::bind: one entry per row
// ([R, dims...], bound before every chunk) or shared by all rows (dims, bound once).
struct RowInput {
  std::string name;
  DType dtype = DType::f32;  // float types become the session's float type
  Dims dims;                 // of one row, or whole
  bool per_row = true;
};

// What row makers see while a chunk's graph is built. Every array is rows first, as users see values: [R, row_dims...].
class RowCtx {
 public:
  virtual ~RowCtx() = default;
  [[nodiscard]] virtual std::int64_t rows() const = 0;        // R
  [[nodiscard]] virtual ValueId actual(std::size_t i) = 0;    // varied value i, the row's example
  [[nodiscard]] virtual ValueId baseline(std::size_t i) = 0;  // its baseline, the row's Row::baseline
  // The same as operands that broadcast: [1, row_dims...] where all rows have one of them, which spares the copies.
  [[nodiscard]] virtual ValueId broadcast_actual(std::size_t i) = 0;
  [[nodiscard]] virtual ValueId broadcast_baseline(std::size_t i) = 0;
  [[nodiscard]] virtual ValueId alpha() = 0;  // Row::alpha, [R]
  [[nodiscard]] virtual ValueId input(std::string_view name) = 0;
  // [R] -> [R, 1, ..., 1] with `rank` dims, to broadcast against a value of that rank.
  [[nodiscard]] ValueId column(ValueId per_row, std::size_t rank);

  Builder& b;
  const Session& session;

 protected:
  RowCtx(Builder& b, const Session& session) : b(b), session(session) {}
};

// What folds see. Backward rows: K scalars of each row, scalars innermost.
class FoldCtx : public RowCtx {
 public:
  [[nodiscard]] virtual ValueId gradient(std::size_t i) = 0;  // of from value i: [R * K, row_dims...]
  [[nodiscard]] virtual ValueId value(std::size_t i) = 0;     // from value i in this row: [R, row_dims...]
  // from value i in the reference pass, where spec.rules has one: [R, row_dims...]
  [[nodiscard]] virtual ValueId reference(std::size_t i) = 0;
  [[nodiscard]] virtual ValueId scalars() = 0;  // [R * K]
  [[nodiscard]] ValueId spread(ValueId v);      // [R, ...] -> [R * K, ...]: each row K times
  // The derivative of from value i as the varied values move along RowSpec::direction: [R, row_dims...].
  [[nodiscard]] virtual ValueId tangent(std::size_t i) = 0;
  // The gradient of sum(cotangent . from value i) with respect to varied value j, for a cotangent [R * K, row_dims...]:
  // [R * K, row_dims of j...].
  [[nodiscard]] virtual ValueId pull_back(std::size_t i, ValueId cotangent, std::size_t j) = 0;

 protected:
  using RowCtx::RowCtx;
};

// The varied value i in every row: [R, row_dims...]. Integer values (token ids) usually stay actual.
using RowMakerFn = std::function<ValueId(RowCtx&, std::size_t i)>;
// What every backward row adds to the state of from value i, before Row::weight: [R * K, any dims...].
using FoldFn = std::function<ValueId(FoldCtx&, std::size_t i)>;

// The usual makers.
[[nodiscard]] RowMakerFn actual_rows();
[[nodiscard]] RowMakerFn path_rows();                                     // alpha x + (1 - alpha) baseline
[[nodiscard]] ValueId path_row(RowCtx& c, std::size_t i, ValueId alpha);  // the same for alpha [R]
// mask ? baseline : x, with per-row bool inputs named mask_input(i) in the shape of the varied value.
[[nodiscard]] RowMakerFn masked_rows();
[[nodiscard]] std::string mask_input(std::size_t i);
[[nodiscard]] std::vector<RowInput> mask_inputs(const Session& session);
// The usual fold: the gradient.
[[nodiscard]] FoldFn fold_gradient();

struct RowSpec {
  std::string key;  // names make, folds and rules in the model's cache of plans: equal keys, equal functions
  RowMakerFn make;  // empty: actual_rows()
  std::vector<RowInput> inputs;
  std::vector<FoldFn> folds;  // each adds weight * fold per example and scalar, in float64
  bool gradient = false;      // hand gradients out: gradient(i)
  bool values = false;        // hand the from values out: from_value(i)
  bool absorbed = false;      // hand the relevance out that constants take: absorbed(r); rules carry relevance
  // Overrides of gradients. Relevance is seeded with the scalar itself, anything else with 1.
  std::shared_ptr<const RuleSet> rules;
  RowMakerFn reference;  // rows of the reference pass, where rules->reference
  RowMakerFn direction;  // of varied value i in FoldCtx::tangent: [R, row_dims...]; kNoValue: it does not move
};

struct Row {
  std::int64_t example = 0;
  double alpha = 1;
  double weight = 0;           // of this row in the folds
  std::int64_t baseline = -1;  // row of the baselines; -1: the example's own, or the only one
};

class RowProgram {
 public:
  // baselines: one per varied value, [any number of rows, row_dims...]; empty where no maker asks for them. `total`
  // rows will be asked for in all; the chunk follows from the session, the memory budget and `total`.
  RowProgram(const Session& session, RowSpec spec, const std::vector<Tensor>& baselines, std::int64_t total);

  [[nodiscard]] std::int64_t chunk() const { return chunk_; }
  // Binds a RowInput: [chunk(), dims...] per row (rows past the last one of a chunk are ignored), or dims.
  void bind(std::string_view name, const Tensor& tensor);
  // Runs up to chunk() rows; on a device it queues them, and whoever asks for a result waits.
  void run(std::span<const Row> rows);

  // After run(): the scalars of row r, one per `to`.
  [[nodiscard]] double value(std::int64_t r, std::size_t scalar = 0) const;
  // The scalars of row r in the reference pass, where there is one.
  [[nodiscard]] double reference_value(std::int64_t r, std::size_t scalar = 0) const;
  // What constants took of the relevance of row r, with spec.absorbed.
  [[nodiscard]] double absorbed(std::int64_t r, std::size_t scalar = 0) const;
  // The gradients with respect to from()[i]: [rows * K, row_dims...], scalars innermost.
  [[nodiscard]] Tensor gradient(std::size_t i) const;
  // The from value i: [rows, row_dims...].
  [[nodiscard]] Tensor from_value(std::size_t i) const;
  // The state of fold f for from value i: float64 [E * K, dims of the fold...].
  [[nodiscard]] Tensor folded(std::size_t i, std::size_t f = 0) const;
  [[nodiscard]] std::size_t peak_bytes() const { return run_->plan().arena_bytes(); }
  [[nodiscard]] PlanRun& plan_run() { return *run_; }

 private:
  // Of the plan's outputs: the scalars, those of the reference pass, what was absorbed, gradients, values.
  [[nodiscard]] std::size_t first_gradient() const { return 1 + (has_reference() ? 1 : 0) + (spec_.absorbed ? 1 : 0); }
  [[nodiscard]] bool has_reference() const { return spec_.rules != nullptr && spec_.rules->reference; }
  void bind_slot(const std::string& name, const Tensor& tensor);
  void fetch() const;

  const Session& session_;
  RowSpec spec_;
  std::vector<Tensor> baselines_;
  std::int64_t chunk_ = 1, scalars_ = 1;
  RunPool::Run run_;
  std::map<std::string, std::size_t, std::less<>> slots_;  // plan inputs by name
  // Of the last run; empty until somebody asks.
  mutable std::vector<double> values_, reference_values_, absorbed_;
  std::int64_t used_rows_ = 0;
};

}  // namespace onnxray
