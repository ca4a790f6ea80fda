#include "app/io/csv.h"

#include <charconv>
#include <optional>

#include "app/io/files.h"

namespace onnxray::app {
namespace {

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t' || s.back() == '\r')) s.remove_suffix(1);
  return s;
}

std::optional<double> number(std::string_view s) {
  s = trim(s);
  if (s.size() > 1 && s[0] == '+' && s[1] != '-' && s[1] != '+') s.remove_prefix(1);
  double v = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
  if (error != std::errc() || end != s.data() + s.size() || s.empty()) return std::nullopt;
  return v;
}

// Walks records; a quoted cell may hold separators, line ends and doubled quotes.
class Reader {
 public:
  Reader(std::string_view text, char separator) : text_(text), separator_(separator) {}

  // False at the end. Empty lines are passed over.
  bool next(std::vector<std::string>& cells) {
    while (at_ < text_.size()) {
      cells.clear();
      ++line_;
      begin_ = line_;
      bool more = true;
      while (more) more = cell(cells);
      if (cells.size() > 1 || !trim(cells[0]).empty()) return true;
    }
    return false;
  }
  [[nodiscard]] std::int64_t line() const { return begin_; }  // counted from 1
  [[nodiscard]] bool open_quote() const { return open_quote_; }

 private:
  // Whether another cell of the same record follows.
  bool cell(std::vector<std::string>& cells) {
    std::string c;
    std::size_t start = at_;
    while (start < text_.size() && text_[start] == ' ') ++start;
    if (start < text_.size() && text_[start] == '"') {
      at_ = start + 1;
      open_quote_ = true;
      while (at_ < text_.size()) {
        if (text_[at_] != '"') {
          if (text_[at_] == '\n') ++line_;
          c += text_[at_++];
        } else if (at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
          c += '"';
          at_ += 2;
        } else {
          ++at_;
          open_quote_ = false;
          break;
        }
      }
    }
    while (at_ < text_.size() && text_[at_] != separator_ && text_[at_] != '\n') c += text_[at_++];
    cells.push_back(std::move(c));
    return at_ < text_.size() && text_[at_++] == separator_;
  }

  std::string_view text_;
  char separator_;
  std::size_t at_ = 0;
  std::int64_t line_ = 0, begin_ = 0;
  bool open_quote_ = false;
};

char separator_of(std::string_view text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  for (const char c : {'\t', ';', ','}) {
    if (line.find(c) != std::string_view::npos) return c;
  }
  return ',';
}

}  // namespace

Table parse_csv(std::string_view text, const std::string& name) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  if (text.find('\0') != std::string_view::npos) fail(name, ": is no text file");
  Reader reader(text, separator_of(text));
  Table table;
  std::vector<double> values;
  std::size_t width = 0;
  std::int64_t rows = 0;
  std::vector<std::string> cells;
  for (bool first = true; reader.next(cells); first = false) {
    if (reader.open_quote()) fail(name, ": row ", reader.line(), ": a quote is not closed");
    if (first) {
      width = cells.size();
      bool header = false;
      for (const std::string& c : cells) header = header || !number(c);
      if (header) {
        for (const std::string& c : cells) table.columns.emplace_back(trim(c));
        continue;
      }
    }
    if (cells.size() != width) {
      fail(name, ": row ", reader.line(), " has ", cells.size(), " columns, expected ", width);
    }
    for (std::size_t i = 0; i < width; ++i) {
      const auto v = number(cells[i]);
      if (!v) {
        const std::string label = table.columns.empty() ? "" : " '" + table.columns[i] + "'";
        fail(name, ": row ", reader.line(), ", column ", i + 1, label, ": '", trim(cells[i]).substr(0, 40),
             "' is not a number");
      }
      values.push_back(*v);
    }
    ++rows;
  }
  if (rows == 0) fail(name, ": holds no rows of numbers");
  table.values = Tensor::from<double>({rows, static_cast<std::int64_t>(width)}, std::span<const double>(values));
  return table;
}

Table read_csv(const std::filesystem::path& path) {
  return parse_csv(read_file(path, std::uintmax_t{1} << 32), path.string());
}

}  // namespace onnxray::app
