#include "app/io/json.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "app/io/files.h"

namespace onnxray::app {
namespace {

using Json = nlohmann::json;
constexpr std::size_t kMaxRank = 16;

class Collector {
 public:
  explicit Collector(const std::string& name) : name_(name) {}

  void walk(const Json& j, std::size_t depth) {
    if (j.is_array()) {
      if (depth == kMaxRank) fail(name_, ": lists are nested deeper than ", kMaxRank);
      const auto n = static_cast<std::int64_t>(j.size());
      if (depth == dims_.size()) {
        if (leaf_seen_) fail(name_, place(depth), " is a list, expected a number");
        dims_.push_back(n);
      } else if (dims_[depth] != n) {
        fail(name_, place(depth), " holds ", n, " elements, expected ", dims_[depth]);
      }
      path_.push_back(0);
      for (const Json& e : j) {
        walk(e, depth + 1);
        ++path_.back();
      }
      path_.pop_back();
      return;
    }
    leaf_seen_ = true;
    if (depth != dims_.size()) fail(name_, place(depth), " is no list, expected one of ", dims_[depth], " elements");
    leaf(j, depth);
  }

  [[nodiscard]] Tensor tensor() const {
    if (!leaf_seen_) return Tensor(DType::f64, dims_);
    if (booleans_ && !numbers_) return Tensor::from<double>(dims_, std::span<const double>(values_)).to(DType::boolean);
    if (booleans_) fail(name_, ": mixes booleans and numbers");
    if (whole_) return Tensor::from<std::int64_t>(dims_, std::span<const std::int64_t>(integers_));
    return Tensor::from<double>(dims_, std::span<const double>(values_));
  }

 private:
  void leaf(const Json& j, std::size_t depth) {
    if (j.is_boolean()) {
      booleans_ = true;
      values_.push_back(j.get<bool>() ? 1 : 0);
      return;
    }
    if (!j.is_number()) fail(name_, place(depth), " is ", j.dump().substr(0, 40), ", expected a number");
    numbers_ = true;
    values_.push_back(j.get<double>());
    const bool fits = j.is_number_integer() &&
                      (!j.is_number_unsigned() ||
                       j.get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
    whole_ = whole_ && fits;
    if (whole_) integers_.push_back(j.get<std::int64_t>());
  }

  [[nodiscard]] std::string place(std::size_t depth) const {
    std::string s = ": element ";
    if (depth == 0) return ": the value";
    for (std::size_t i = 0; i < depth; ++i) s += "[" + std::to_string(path_[i]) + "]";
    return s;
  }

  const std::string& name_;
  Dims dims_;
  std::vector<std::int64_t> path_;
  std::vector<double> values_;
  std::vector<std::int64_t> integers_;
  bool leaf_seen_ = false, booleans_ = false, numbers_ = false, whole_ = true;
};

}  // namespace

Tensor parse_json_tensor(std::string_view text, const std::string& name) {
  Json j;
  try {
    j = Json::parse(text);
  } catch (const Json::exception& e) {
    fail(name, ": malformed JSON: ", e.what());
  }
  Collector c(name);
  c.walk(j, 0);
  return c.tensor();
}

Tensor read_json_tensor(const std::filesystem::path& path) {
  return parse_json_tensor(read_file(path, std::uintmax_t{1} << 32), path.string());
}

}  // namespace onnxray::app
