// Attrs: the attributes of a node, name -> int | float | ints | floats | string | tensor.
// Equality and printing are derived from the contents, never written per op.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/tensor.h"

namespace onnxray {

using Attr = std::variant<std::int64_t, double, std::vector<std::int64_t>, std::vector<double>, std::string, Tensor>;

class Attrs {
 public:
  Attrs() = default;
  Attrs(std::initializer_list<std::pair<std::string, Attr>> items) {
    for (const auto& [name, value] : items) set(name, value);
  }

  void set(std::string_view name, Attr value);
  void erase(std::string_view name);
  [[nodiscard]] const Attr* find(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }

  // The value, or the default when absent. A value of another type throws.
  [[nodiscard]] std::int64_t integer(std::string_view name, std::int64_t otherwise) const;
  [[nodiscard]] double real(std::string_view name, double otherwise) const;
  [[nodiscard]] std::vector<std::int64_t> ints(std::string_view name, std::vector<std::int64_t> otherwise = {}) const;
  [[nodiscard]] std::vector<double> reals(std::string_view name, std::vector<double> otherwise = {}) const;
  [[nodiscard]] std::string text(std::string_view name, std::string otherwise = {}) const;
  [[nodiscard]] Tensor tensor(std::string_view name) const;

  [[nodiscard]] bool operator==(const Attrs& other) const;
  [[nodiscard]] std::size_t hash() const;
  // "axis=1, pads=[0, 1]" in alphabetical order.
  [[nodiscard]] std::string to_text() const;
  [[nodiscard]] const std::vector<std::pair<std::string, Attr>>& items() const { return items_; }

 private:
  std::vector<std::pair<std::string, Attr>> items_;  // sorted by name
};

}  // namespace onnxray
