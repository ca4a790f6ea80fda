#include "algorithms/coalitions.h"

#include <algorithm>
#include <map>

#include "algorithms/baselines.h"
#include "algorithms/evaluate.h"
#include "algorithms/incremental_rows.h"
#include "algorithms/scheduler.h"

namespace onnxray {
namespace {

constexpr const char* kPresent = "present";   // bool or float [R, F]
constexpr const char* kMaskRow = "mask row";  // int64 [R], where examples differ in their features
std::string ids_input(std::size_t i) { return "ids " + std::to_string(i); }

// Rows of coalitions: where(present, x, baseline), or present x + (1 - present) baseline for blends.
RowSpec coalition_rows(const Features& features, const Session& session, bool blends) {
  RowSpec spec;
  spec.key = detail::concat("coalitions", blends ? " blended" : "", features.shared() ? "" : " of own features");
  spec.inputs.push_back({.name = kPresent, .dtype = blends ? DType::f64 : DType::boolean, .dims = {features.most()}});
  if (!features.shared()) spec.inputs.push_back({.name = kMaskRow, .dtype = DType::i64, .dims = {}});
  for (std::size_t i = 0; i < session.vary().size(); ++i) {
    spec.inputs.push_back(
        {.name = ids_input(i), .dtype = DType::i64, .dims = features.ids(i).dims(), .per_row = false});
  }
  spec.make = [shared = features.shared(), blends](RowCtx& c, std::size_t i) {
    Builder& b = c.b;
    const ValueId present = c.input(kPresent), ids = c.input(ids_input(i));
    const Dims dims = b.dims(ids);
    const Dims mask_dims(dims.begin() + 1, dims.end());
    const std::int64_t size = count_of(mask_dims);
    ValueId mask = kNoValue;
    if (shared) {
      mask = b.op("gather", {present, b.reshape(ids, {size})}, {{"axis", std::int64_t{1}}});
    } else {
      const ValueId rows = b.op("gather_rows", {ids, c.input(kMaskRow)}, {{"axis", std::int64_t{0}}});
      mask = b.op("gather_elements", {present, b.reshape(rows, {c.rows(), size})}, {{"axis", std::int64_t{1}}});
    }
    mask = b.reshape(mask, with_rows(c.rows(), mask_dims));
    const ValueId x = c.broadcast_actual(i), other = c.broadcast_baseline(i);
    if (!blends) return b.where(mask, x, other);
    return b.add(b.mul(mask, x), b.mul(b.sub(b.scalar_like(mask, 1), mask), other));
  };
  return spec;
}

std::uint64_t hash_of(std::span<const std::uint64_t> words) {
  std::uint64_t h = 0x9E3779B97F4A7C15u;
  for (const std::uint64_t w : words) {
    h = (h ^ w) * 0xFF51AFD7ED558CCDu;
    h ^= h >> 32;
  }
  return h;
}

// All examples' contents of the varied values, as baselines for one another.
std::vector<Tensor> all_examples(const Model& model, const Request& request, const Session& session) {
  if (session.batched()) {
    std::vector<Tensor> out;
    for (const CutValue& c : session.vary()) out.push_back(c.actual);
    return out;
  }
  std::vector<std::string> names;
  for (const CutValue& c : session.vary()) names.push_back(c.name);
  ComputeOptions silent = request.compute;
  silent.progress = nullptr;
  const NamedTensors values = evaluate(model, request.inputs, names, silent).values;
  std::vector<Tensor> out;
  for (const CutValue& c : session.vary()) {
    const Tensor& t = values.at(c.name);
    const std::int64_t row = count_of(c.row_dims);
    out.push_back(t.reshaped(with_rows(row == 0 ? 1 : t.size() / row, c.row_dims)));
  }
  return out;
}

// The rows of a request: the coalitions of all examples, one example after the other.
struct Rows {
  std::vector<const CoalitionSet*> sets;  // per example
  std::vector<std::int64_t> firsts{0};    // its first row; then the number of rows

  [[nodiscard]] std::int64_t total() const { return firsts.back(); }
  // The example of row r and its coalition there.
  [[nodiscard]] std::pair<std::int64_t, std::int64_t> locate(std::int64_t r) const {
    const std::int64_t e = std::upper_bound(firsts.begin(), firsts.end(), r) - firsts.begin() - 1;
    return {e, r - firsts[static_cast<std::size_t>(e)]};
  }
};

// The worths of whole rows: [rows, scalars].
std::vector<double> worths_of(const Rows& all, const Session& session, const Features& features,
                              const std::vector<Tensor>& baselines, const Split& split, const CoalitionMethod& method,
                              Scheduler& scheduler) {
  RowProgram program(session, coalition_rows(features, session, method.blends), baselines, all.total());
  for (std::size_t i = 0; i < session.vary().size(); ++i) program.bind(ids_input(i), features.ids(i));
  const std::int64_t chunk = program.chunk(), width = features.most();
  const auto k = static_cast<std::int64_t>(session.to().size());
  std::vector<double> worths(static_cast<std::size_t>(all.total() * k));
  std::vector<double> present(static_cast<std::size_t>(width));
  scheduler.run(
      program, all.total(),
      [&](std::int64_t r) {
        const auto [e, u] = all.locate(r);
        const std::int64_t me = split.examples > 0 ? split.example : e;
        return Row{.example = e, .baseline = method.partner ? method.partner(me, u) : -1};
      },
      [&](std::int64_t first, std::int64_t rows) {
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t j = 0; j < k; ++j) {
            worths[static_cast<std::size_t>((first + r) * k + j)] = program.value(r, static_cast<std::size_t>(j));
          }
        }
      },
      [&](std::int64_t first, std::int64_t rows) {
        // Rows past the last one of a chunk repeat it.
        Tensor masks(method.blends ? DType::f64 : DType::boolean, {chunk, width});
        std::vector<std::int64_t> mask_rows;
        for (std::int64_t r = 0; r < chunk; ++r) {
          const auto [e, u] = all.locate(first + std::min(r, rows - 1));
          const CoalitionSet& set = *all.sets[static_cast<std::size_t>(e)];
          std::fill(present.begin(), present.end(), 1.0);
          set.write(u, std::span(present).first(static_cast<std::size_t>(set.features())));
          if (method.blends) {
            std::copy(present.begin(), present.end(), masks.mutable_data<double>().begin() + r * width);
          } else {
            std::transform(present.begin(), present.end(), masks.mutable_data<bool>().begin() + r * width,
                           [](double p) { return p != 0; });
          }
          mask_rows.push_back(e);
        }
        program.bind(kPresent, masks);
        if (!features.shared()) program.bind(kMaskRow, Tensor::ints(mask_rows));
      });
  return worths;
}

// Rows that miss one feature each, where features are local: only what a feature changes is computed anew. Nothing
// where whole rows cost no more.
std::unique_ptr<IncrementalRows> one_missing_rows(const Session& session, const Features& features,
                                                  const std::vector<Tensor>& baselines, const CoalitionMethod& method) {
  const std::vector<CutValue>& vary = session.vary();
  if (!method.one_missing || vary.size() != 1 || !is_float(vary[0].dtype) || !features.shared()) return nullptr;
  auto rows = std::make_unique<IncrementalRows>(
      session, rows_of_features(0, features.of_elements(0, 0), vary[0].row_dims, features.count(0)), baselines[0]);
  return rows->pays() ? std::move(rows) : nullptr;
}

// Their worths: per example the full coalition, then one without each feature.
std::vector<double> worths_of(const IncrementalRows& rows, std::int64_t features, std::int64_t scalars,
                              Scheduler& scheduler) {
  const IncrementalRows::Result result = rows.run(scheduler);
  std::vector<double> worths;
  worths.reserve(result.clean.size() + result.rows.size());
  auto clean = result.clean.begin(), without = result.rows.begin();
  while (clean != result.clean.end()) {
    worths.insert(worths.end(), clean, clean + scalars);
    worths.insert(worths.end(), without, without + features * scalars);
    clean += scalars;
    without += features * scalars;
  }
  return worths;
}

Attribution play(const Model& model, const Request& whole, const Request& part, const Split& split,
                 const CoalitionMethod& method) {
  Session session(model, part, true, true);
  Features features(session, method.feature_mask, split);
  const std::int64_t examples = session.examples(), k = static_cast<std::int64_t>(session.to().size());
  if (method.blends) {
    for (const CutValue& c : session.vary()) {
      ONNXRAY_CHECK(is_float(c.dtype), method.phase, " blends contents with a baseline: '", c.name, "' is ",
                    name_of(c.dtype), ", expected a float value");
    }
  }
  for (const CutValue& c : session.vary()) {
    ONNXRAY_CHECK(is_float(c.dtype) || method.baselines.kind != Baselines::Kind::kBlur, "'", c.name, "' is ",
                  name_of(c.dtype), " and cannot be blurred: give an id as its baseline");
  }
  std::map<std::int64_t, std::unique_ptr<CoalitionSet>> sets;
  Rows rows;
  for (std::int64_t e = 0; e < examples; ++e) {
    auto& set = sets[features.count(e)];
    if (set == nullptr) set = method.set(features.count(e));
    rows.sets.push_back(set.get());
    rows.firsts.push_back(rows.firsts.back() + set->size());
  }
  const std::vector<Tensor> baselines =
      method.partner ? all_examples(model, whole, session) : make_baselines(session, method.baselines, split);

  Scheduler scheduler(part.compute, method.phase, rows.total());
  const auto incremental = one_missing_rows(session, features, baselines, method);
  if (incremental != nullptr) session.notice(incremental->notice());
  const std::vector<double> worths = incremental != nullptr
                                         ? worths_of(*incremental, features.count(0), k, scheduler)
                                         : worths_of(rows, session, features, baselines, split, method, scheduler);

  Attribution out;
  std::vector<std::vector<double>> scores;
  for (std::int64_t e = 0; e < examples; ++e) {
    const CoalitionSet& set = *rows.sets[static_cast<std::size_t>(e)];
    const auto first = static_cast<std::size_t>(rows.firsts[static_cast<std::size_t>(e)] * k);
    const Game game{.session = session,
                    .features = features,
                    .baselines = baselines,
                    .example = e,
                    .scalars = k,
                    .set = set,
                    .worths = std::span(worths).subspan(first, static_cast<std::size_t>(set.size() * k))};
    const std::vector<double> all = method.scores(game);
    const auto players = static_cast<std::size_t>(set.features());
    ONNXRAY_ASSERT(all.size() == players * static_cast<std::size_t>(k));
    for (std::int64_t j = 0; j < k; ++j) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(j) * players);
      scores.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(players));
      out.values.push_back(game.v(set.full(), j));
      if (set.none() < 0) continue;
      out.baseline_values.push_back(game.v(set.none(), j));
      if (!method.complete) continue;
      double sum = 0;
      for (const double s : scores.back()) sum += s;
      out.delta.push_back(sum - (out.values.back() - out.baseline_values.back()));
    }
  }
  for (std::size_t i = 0; i < session.vary().size(); ++i) {
    out.attributions[session.vary()[i].name] = features.spread(i, scores, k);
  }
  scheduler.report(session, out.report);
  return out;
}

}  // namespace

CoalitionList::CoalitionList(std::int64_t features)
    : CoalitionSet(features), words_(static_cast<std::size_t>(features + 63) / 64) {
  add(std::vector<std::uint8_t>(static_cast<std::size_t>(features), 1));
}

std::int64_t CoalitionList::add(std::span<const std::uint8_t> present) {
  ONNXRAY_ASSERT(static_cast<std::int64_t>(present.size()) == features());
  std::vector<std::uint64_t> words(words_, 0);
  std::size_t members = 0;
  for (std::size_t f = 0; f < present.size(); ++f) {
    if (present[f] == 0) continue;
    words[f / 64] |= std::uint64_t{1} << (f % 64);
    ++members;
  }
  const std::uint64_t hash = hash_of(words);
  const auto [begin, end] = numbers_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    if (std::equal(words.begin(), words.end(), bits_.begin() + it->second * static_cast<std::ptrdiff_t>(words_))) {
      return it->second;
    }
  }
  bits_.insert(bits_.end(), words.begin(), words.end());
  numbers_.emplace(hash, count_);
  if (members == 0) none_ = count_;
  return count_++;
}

void CoalitionList::write(std::int64_t u, std::span<double> present) const {
  const std::uint64_t* words = bits_.data() + static_cast<std::size_t>(u) * words_;
  for (std::size_t f = 0; f < present.size(); ++f) present[f] = static_cast<double>((words[f / 64] >> (f % 64)) & 1);
}

Attribution play_games(const Model& model, const Request& request, const CoalitionMethod& method) {
  return run_by_rows(
      model, request,
      [&](const Request& part, const Split& split) { return play(model, request, part, split, method); }, true);
}

}  // namespace onnxray
