#include "algorithms/scalar.h"

#include <charconv>
#include <optional>

namespace onnxray {
namespace {

std::optional<std::vector<std::int64_t>> parse_index(std::string_view text) {
  std::vector<std::int64_t> out;
  while (true) {
    std::int64_t v = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
    if (error != std::errc()) return std::nullopt;
    out.push_back(v);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (text.empty()) return out;
    if (text.front() != ',') return std::nullopt;
    text.remove_prefix(1);
  }
}

std::optional<Term> parse_term(std::string_view text, const std::function<bool(std::string_view)>& is_value) {
  if (is_value(text)) return Term{.value = std::string(text)};
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || !is_value(text.substr(0, colon))) return std::nullopt;
  const auto index = parse_index(text.substr(colon + 1));
  if (!index) return std::nullopt;
  return Term{.value = std::string(text.substr(0, colon)), .index = {*index}};
}

}  // namespace

Scalar output(std::int64_t index) { return scalar_of("", {index}); }

Scalar scalar_of(std::string value, std::vector<std::int64_t> index) {
  Scalar s;
  s.text = value;
  for (std::size_t i = 0; i < index.size(); ++i) s.text += (i == 0 ? ":" : ",") + std::to_string(index[i]);
  Term term{.value = std::move(value)};
  if (!index.empty()) term.index = {std::move(index)};
  s.terms.push_back(std::move(term));
  return s;
}

Scalar operator-(Scalar a, const Scalar& b) {
  for (Term t : b.terms) {
    t.coefficient = -t.coefficient;
    a.terms.push_back(std::move(t));
  }
  a.text += "-" + b.text;
  return a;
}

Scalar output_per_example(const std::vector<std::int64_t>& targets) {
  Scalar s;
  Term term;
  for (const std::int64_t t : targets) {
    term.index.push_back({t});
    s.text += (s.text.empty() ? "target " : " ") + std::to_string(t);
  }
  s.terms.push_back(std::move(term));
  return s;
}

Scalar parse_scalar(std::string_view text, const std::function<bool(std::string_view)>& is_value) {
  if (auto whole = parse_term(text, is_value)) return {{*whole}, std::string(text)};
  // A difference: the first split where both sides are terms.
  for (std::size_t i = text.find('-', 1); i != std::string_view::npos && i + 1 < text.size();
       i = text.find('-', i + 1)) {
    auto a = parse_term(text.substr(0, i), is_value);
    auto b = parse_term(text.substr(i + 1), is_value);
    if (!a || !b) continue;
    b->coefficient = -1;
    return {{*a, *b}, std::string(text)};
  }
  fail("'", text,
       "' names no value of the model; expected VALUE, VALUE:INDEX or A:I-B:J (`onnxray info` lists values)");
}

}  // namespace onnxray
