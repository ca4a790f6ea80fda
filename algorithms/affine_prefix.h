// Paths commute with affine operators: f(alpha x + (1 - alpha) x') = alpha f(x) + (1 - alpha) f(x'). Where
// convolutions or matrix products read the varied value, a path method may cut behind them: each then runs once for
// each end of the path instead of once for each step, and its gradient once for the whole sum of steps. A value may
// have several such readers (the branches of a residual block, the projections of an attention), and others besides,
// for which it stays cut itself.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "algorithms/session.h"

namespace onnxray {

class AffinePrefix {
 public:
  // Moves the cut of `session` (varied = read values) behind the affine operators that read each varied value, up to
  // the first convolution or matrix product on each way, where that saves work for a path of `rows` points.
  AffinePrefix(const Session& session, std::int64_t rows);

  // The session with its cut behind the affine operators, or the given one if there are none. It may have more varied
  // values.
  [[nodiscard]] const Session& session() const { return moved_ ? *moved_ : given_; }
  // Rows of the varied values (points, baselines: [any, row_dims...]) as rows of session()'s.
  [[nodiscard]] std::vector<Tensor> push(const std::vector<Tensor>& rows) const;
  // Sums of gradients of session()'s varied values (float64 [any, row_dims...]) as sums of gradients of the given ones.
  [[nodiscard]] std::vector<Tensor> pull(const std::vector<Tensor>& gradients) const;

 private:
  // Of one varied value.
  struct Part {
    bool stays = true;     // it is itself a varied value of session(), the first of the part
    std::size_t ends = 0;  // further ones, in order the outputs of `graph`
    Graph graph;           // from the value
  };
  // What requests of one structure have in common.
  struct Prefix {
    std::int64_t row_work = 0;  // what it was found with
    std::vector<Part> parts;
    std::optional<Session::Cut> cut;  // none: nothing is worth moving
    [[nodiscard]] std::vector<const Graph*> graphs() const;
  };
  [[nodiscard]] Prefix find(std::int64_t row_work) const;
  [[nodiscard]] std::shared_ptr<const Plan> plan(const std::string& what, std::size_t part,
                                                 const std::function<Graph()>& make) const;
  [[nodiscard]] std::vector<Tensor> push_part(std::size_t i, const CutValue* to, const Tensor& rows) const;
  [[nodiscard]] Tensor pull_part(std::size_t i, const CutValue* to, const Tensor* gradients) const;

  const Session& given_;
  std::shared_ptr<const Prefix> prefix_;
  std::optional<Session> moved_;
};

}  // namespace onnxray
