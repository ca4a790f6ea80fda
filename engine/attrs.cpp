#include "engine/attrs.h"

#include <algorithm>
#include <functional>

namespace onnxray {
namespace {

auto position(const std::vector<std::pair<std::string, Attr>>& items, std::string_view name) {
  return std::lower_bound(items.begin(), items.end(), name,
                          [](const auto& a, std::string_view b) { return a.first < b; });
}

template <class T>
T get(const Attrs& attrs, std::string_view name, T otherwise) {
  const Attr* a = attrs.find(name);
  if (a == nullptr) return otherwise;
  const T* v = std::get_if<T>(a);
  ONNXRAY_CHECK(v != nullptr, "attribute '", name, "' has another type than expected");
  return *v;
}

std::string print(const Attr& a) {
  struct Printer {
    std::string operator()(std::int64_t v) const { return std::to_string(v); }
    std::string operator()(double v) const { return detail::concat(v); }
    std::string operator()(const std::vector<std::int64_t>& v) const { return to_string(v); }
    std::string operator()(const std::vector<double>& v) const {
      std::string s = "[";
      for (std::size_t i = 0; i < v.size(); ++i) s += (i > 0 ? ", " : "") + detail::concat(v[i]);
      return s + "]";
    }
    std::string operator()(const std::string& v) const { return "\"" + v + "\""; }
    std::string operator()(const Tensor& v) const {
      return detail::concat("tensor<", name_of(v.dtype()), to_string(v.dims()), ">");
    }
  };
  return std::visit(Printer{}, a);
}

}  // namespace

void Attrs::set(std::string_view name, Attr value) {
  const auto it = position(items_, name);
  if (it != items_.end() && it->first == name) {
    items_[static_cast<std::size_t>(it - items_.begin())].second = std::move(value);
  } else {
    items_.insert(it, {std::string(name), std::move(value)});
  }
}

void Attrs::erase(std::string_view name) {
  std::erase_if(items_, [&](const auto& item) { return item.first == name; });
}

const Attr* Attrs::find(std::string_view name) const {
  const auto it = position(items_, name);
  return it != items_.end() && it->first == name ? &it->second : nullptr;
}

std::int64_t Attrs::integer(std::string_view name, std::int64_t otherwise) const { return get(*this, name, otherwise); }
double Attrs::real(std::string_view name, double otherwise) const { return get(*this, name, otherwise); }
std::vector<std::int64_t> Attrs::ints(std::string_view name, std::vector<std::int64_t> otherwise) const {
  return get(*this, name, std::move(otherwise));
}
std::vector<double> Attrs::reals(std::string_view name, std::vector<double> otherwise) const {
  return get(*this, name, std::move(otherwise));
}
std::string Attrs::text(std::string_view name, std::string otherwise) const {
  return get(*this, name, std::move(otherwise));
}
Tensor Attrs::tensor(std::string_view name) const { return get(*this, name, Tensor()); }

bool Attrs::operator==(const Attrs& other) const {
  if (items_.size() != other.items_.size()) return false;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const auto& [name, a] = items_[i];
    const auto& [other_name, b] = other.items_[i];
    if (name != other_name || a.index() != b.index()) return false;
    if (const auto* t = std::get_if<Tensor>(&a)) {
      if (!t->same_bits(std::get<Tensor>(b))) return false;
    } else if (const auto* v = std::get_if<std::int64_t>(&a)) {
      if (*v != std::get<std::int64_t>(b)) return false;
    } else if (const auto* r = std::get_if<double>(&a)) {
      if (*r != std::get<double>(b)) return false;
    } else if (const auto* vi = std::get_if<std::vector<std::int64_t>>(&a)) {
      if (*vi != std::get<std::vector<std::int64_t>>(b)) return false;
    } else if (const auto* vr = std::get_if<std::vector<double>>(&a)) {
      if (*vr != std::get<std::vector<double>>(b)) return false;
    } else if (std::get<std::string>(a) != std::get<std::string>(b)) {
      return false;
    }
  }
  return true;
}

std::size_t Attrs::hash() const { return std::hash<std::string>{}(to_text()); }

std::string Attrs::to_text() const {
  std::string s;
  for (const auto& [name, value] : items_) s += (s.empty() ? "" : ", ") + name + "=" + print(value);
  return s;
}

}  // namespace onnxray
