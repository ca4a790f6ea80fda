// Which rows are worth computing incrementally, in which classes, and their run over all examples.
#include "algorithms/incremental_rows.h"

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>

#include "algorithms/incremental_program.h"

namespace onnxray {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// What whole rows must cost at least, relative to rectangles, before rectangles are worth their plans.
constexpr double kWorthwhile = 1.15;

}  // namespace

LocalRows rows_of_features(std::size_t value, std::vector<std::int64_t> features, const Dims& row_dims,
                           std::int64_t count) {
  struct Shared {
    std::vector<std::int64_t> features;
    Dims strides;
    std::vector<Dims> begin, end;  // per feature
  };
  const auto shared = std::make_shared<Shared>();
  ONNXRAY_ASSERT(static_cast<std::int64_t>(features.size()) == count_of(row_dims));
  const std::size_t rank = row_dims.size();
  shared->strides = strides_of(row_dims);
  shared->begin.assign(at(count), row_dims);
  shared->end.assign(at(count), Dims(rank, 0));
  for (std::size_t i = 0; i < features.size(); ++i) {
    if (features[i] < 0 || features[i] >= count) continue;
    Dims& begin = shared->begin[at(features[i])];
    Dims& end = shared->end[at(features[i])];
    for (std::size_t d = 0; d < rank; ++d) {
      const std::int64_t p = static_cast<std::int64_t>(i) / shared->strides[d] % row_dims[d];
      begin[d] = std::min(begin[d], p);
      end[d] = std::max(end[d], p + 1);
    }
  }
  // A feature without elements changes nothing.
  for (std::size_t f = 0; f < at(count); ++f) {
    if (rank > 0 && shared->begin[f][0] >= shared->end[f][0]) shared->begin[f] = shared->end[f] = Dims(rank, 0);
  }
  shared->features = std::move(features);
  LocalRows rows{.value = value, .count = count};
  rows.box = [shared](std::int64_t k, Dims& begin, Dims& end) {
    begin = shared->begin[at(k)];
    end = shared->end[at(k)];
  };
  rows.mark = [shared](std::int64_t k, const Dims& begin, const Dims& size, bool* mask) {
    const Dims inside = strides_of(size);
    const std::int64_t n = count_of(size);
    for (std::int64_t i = 0; i < n; ++i) {
      std::int64_t element = 0;
      for (std::size_t d = 0; d < size.size(); ++d)
        element += (begin[d] + i / inside[d] % size[d]) * shared->strides[d];
      mask[i] = shared->features[at(element)] == k;
    }
  };
  return rows;
}

IncrementalRows::IncrementalRows(const Session& session, LocalRows rows, const Tensor& baseline, double plan_work)
    : session_(session), rows_(std::move(rows)), baseline_(baseline.to(session.float_type())) {
  const CutValue& c = session.vary().at(rows_.value);
  const Backend& backend = session.model().backend();
  if (!session.batched() || rows_.count == 0 || backend.find("crop_at") == nullptr ||
      backend.find("paste_at") == nullptr) {
    return;
  }
  // Everything is handed over with the row axis first.
  const auto plain = [](const CutValue& v) { return !v.rows.is_rows() || v.rows == RowMap::rows(0, v.one_row[0]); };
  if (c.rows != RowMap::rows(0) || c.one_row.size() < 3 || c.one_row.size() > 5) return;
  for (const std::vector<CutValue>* list : {&session.vary(), &session.held()}) {
    for (const CutValue& v : *list) {
      if (!plain(v)) return;
    }
  }
  const std::vector<ValueId> outputs = session.suffix().outputs();
  suffix_ = extract(session.suffix(), session.suffix().inputs(),
                    {outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(session.targets().size())});
  classify(plan_work);
  if (session.request().compute.memory_bytes == 0) return;
  const auto fits = [&](const Class& part) { return Program(*this, part).chunk() > 0; };
  if (!std::all_of(classes_.begin(), classes_.end(), fits)) classes_.clear();
}

IncrementalRows::Class IncrementalRows::class_of(std::vector<std::int64_t> rows,
                                                 const std::vector<std::vector<Interval>>& boxes) const {
  Class part{std::move(rows), Intervals(axes_.size()), std::vector<std::vector<std::size_t>>(axes_.size()), 0};
  for (std::size_t i = 0; i < axes_.size(); ++i) {
    std::map<Interval, std::size_t> seen;
    for (const std::int64_t k : part.rows) {
      const auto [it, fresh] = seen.emplace(boxes[at(k)][i], seen.size());
      if (fresh) part.intervals[i].push_back(it->first);
      part.at_axis[i].push_back(it->second);
    }
  }
  part.work = incremental_work(suffix_, suffix_.inputs()[rows_.value], axes_, part.intervals).work *
              static_cast<double>(part.rows.size());
  return part;
}

// Chooses the spatial axes, and the distance from the border at which classes part.
void IncrementalRows::classify(double plan_work) {
  const CutValue& c = session_.vary()[rows_.value];
  const auto rank = static_cast<std::int64_t>(c.one_row.size());
  std::vector<std::int64_t> every(at(rows_.count));
  std::iota(every.begin(), every.end(), 0);
  std::vector<std::vector<Interval>> boxes;
  const auto take_boxes = [&] {
    boxes.clear();
    Dims begin, end;
    for (const std::int64_t k : every) {
      rows_.box(k, begin, end);
      boxes.emplace_back();
      for (const std::int64_t a : axes_) boxes.back().push_back({begin[at(a) - 1], end[at(a) - 1]});
    }
  };

  // Channels first or channels last.
  std::vector<std::int64_t> best_axes;
  for (const std::int64_t first : {std::int64_t{2}, std::int64_t{1}}) {
    axes_.clear();
    for (std::int64_t a = first; a < first + rank - 2; ++a) axes_.push_back(a);
    take_boxes();
    Class all = class_of(every, boxes);
    const double full = incremental_work(suffix_, suffix_.inputs()[rows_.value], axes_, all.intervals).full_work *
                        static_cast<double>(rows_.count);
    if (all.work <= 0 || full < kWorthwhile * all.work || (!classes_.empty() && classes_[0].work <= all.work)) continue;
    best_axes = axes_;
    full_work_ = full;
    classes_.clear();
    classes_.push_back(std::move(all));
  }
  if (classes_.empty()) return;
  axes_ = best_axes;
  take_boxes();

  // Rows nearer to a border than `threshold` of the extent, on an axis, form a class of their own there.
  const auto split = [&](double threshold) {
    std::map<std::vector<char>, std::vector<std::int64_t>> parts;
    for (const std::int64_t k : every) {
      std::vector<char> near;
      for (std::size_t i = 0; i < axes_.size(); ++i) {
        const std::int64_t extent = c.one_row[at(axes_[i])];
        const std::int64_t distance = std::min(boxes[at(k)][i].begin, extent - boxes[at(k)][i].end);
        near.push_back(static_cast<double>(distance) < threshold * static_cast<double>(extent));
      }
      parts[near].push_back(k);
    }
    std::vector<Class> classes;
    for (auto& [near, rows] : parts) classes.push_back(class_of(std::move(rows), boxes));
    return classes;
  };
  const auto total = [](const std::vector<Class>& classes) {
    double sum = 0;
    for (const Class& part : classes) sum += part.work;
    return sum;
  };
  constexpr int kSteps = 16;
  plan_work /= static_cast<double>(session_.examples());
  for (int i = 1; i <= kSteps / 2; ++i) {
    std::vector<Class> trial = split(static_cast<double>(i) / kSteps);
    if (total(trial) + plan_work * static_cast<double>(trial.size()) <
        total(classes_) + plan_work * static_cast<double>(classes_.size())) {
      classes_ = std::move(trial);
    }
  }
  work_ = total(classes_);
}

std::string IncrementalRows::notice() const {
  std::ostringstream text;
  text.precision(2);
  text << "rows that change part of '" << session_.vary()[rows_.value].name
       << "' are computed incrementally: " << full_work_ / work_ << " times less work than whole rows";
  return text.str();
}

IncrementalRows::Result IncrementalRows::run(Scheduler& scheduler) const {
  const std::int64_t examples = session_.examples(), k = static_cast<std::int64_t>(session_.to().size());
  Result result{std::vector<double>(at(examples * k)), std::vector<double>(at(examples * rows_.count * k))};
  std::vector<double> scalars;
  std::shared_ptr<const Plan> previous;  // keeps prepared weights alive for the next class
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    const Class& part = classes_[i];
    Program program(*this, part);
    previous = program.plan();
    const auto count = static_cast<std::int64_t>(part.rows.size());
    for (std::int64_t e = 0; e < examples; ++e) {
      program.start(e);
      if (i == 0) {
        const std::vector<double>& clean = program.clean_scalars();
        std::copy(clean.begin(), clean.end(), result.clean.begin() + static_cast<std::ptrdiff_t>(e * k));
      }
      const auto step = [&](std::int64_t first, std::int64_t rows) {
        scalars.resize(at(rows * k));
        program.run(first, rows, scalars.data());
        for (std::int64_t r = 0; r < rows; ++r) {
          const std::int64_t row = part.rows[at(first + r)];
          std::copy_n(scalars.begin() + static_cast<std::ptrdiff_t>(r * k), k,
                      result.rows.begin() + static_cast<std::ptrdiff_t>((e * rows_.count + row) * k));
        }
      };
      scheduler.run(program.plan_run(), program.chunk(), program.peak_bytes(), count, step);
      if (i == 0) scheduler.count(1);
    }
  }
  return result;
}

}  // namespace onnxray
