#include "app/report/text.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "app/io/files.h"
#include "app/report/svg.h"
#include "engine/base/error.h"

namespace onnxray::app {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxBytes = 1 << 26;

std::vector<std::string> texts_of(const Json& list, const std::string& file) {
  std::vector<std::string> out;
  for (const Json& t : list) {
    ONNXRAY_CHECK(t.is_string(), file, ": tokens must be texts, got ",
                  t.dump(-1, ' ', false, Json::error_handler_t::replace));
    out.push_back(t.get<std::string>());
  }
  return out;
}

void check(const TextRecord& r) {
  ONNXRAY_CHECK(r.tokens.size() == r.attributions.size(), "got ", r.tokens.size(), " tokens for ",
                r.attributions.size(), " attributions");
}

// What has no shape of its own gets one.
std::string visible(const std::string& token) {
  if (token.empty()) return "\xE2\x88\x85";  // the empty set
  std::string out;
  for (const char c : token) {
    if (c == '\n') out += "\xE2\x86\xB5";  // a return arrow
    else if (c == '\t') out += "\xE2\x87\xA5";
    else if (c != '\r') out += c;
  }
  return out;
}

// White on what is dark.
bool is_dark(const Rgb& c) { return luma(c.data()) < 140; }

}  // namespace

std::vector<std::vector<std::string>> read_tokens(const std::filesystem::path& file) {
  const std::string text = read_file(file, kMaxBytes);
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  std::vector<std::vector<std::string>> out;
  if (file.extension() == ".json" || (first != std::string::npos && text.substr(first, 2) == "[\"")) {
    const Json j = Json::parse(text, nullptr, false);
    ONNXRAY_CHECK(j.is_array() && !j.empty(), file.string(), ": expected a JSON list of texts, or of lists of texts");
    if (!j[0].is_array()) return {texts_of(j, file.string())};
    for (const Json& row : j) {
      ONNXRAY_CHECK(row.is_array(), file.string(), ": expected a list of texts for every example");
      out.push_back(texts_of(row, file.string()));
    }
    return out;
  }
  std::istringstream lines(text);
  out.emplace_back();
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    out[0].push_back(line);
  }
  ONNXRAY_CHECK(!out[0].empty(), file.string(), " holds no tokens");
  return out;
}

std::string text_html(const std::vector<TextRecord>& records, const HeatMapOptions& heat) {
  std::string s =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>onnxray</title>\n<style>\n"
      "body { font: 16px/2 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #202020; "
      "background: #fff; }\n"
      "h2 { font-size: 1em; line-height: 1.4; margin: 1.5em 0 0; }\n"
      "p { margin: 0; }\n"
      ".note { color: #606060; font-size: .85em; line-height: 1.4; }\n"
      "mark { color: inherit; padding: .15em .2em; margin: 0 .06em; border-radius: .2em; white-space: pre-wrap; "
      "outline: 1px solid #e4e4e4; }\n"
      "</style>\n</head>\n<body>\n";
  for (const TextRecord& r : records) {
    check(r);
    const std::vector<double> v = normalised(r.attributions, heat);
    s += "<h2>" + escape_markup(r.title) + "</h2>\n";
    if (!r.subtitle.empty()) s += "<p class=\"note\">" + escape_markup(r.subtitle) + "</p>\n";
    s += "<p>";
    for (std::size_t i = 0; i < v.size(); ++i) {
      const Rgb color = heat_color(v[i]);
      s += "<mark style=\"background:" + hex(color) + (is_dark(color) ? ";color:#fff" : "") + "\" title=\"" +
           short_number(r.attributions[i]) + "\">" + escape_markup(visible(r.tokens[i])) + "</mark>";
      // A line may break here.
      s += "<wbr>";
    }
    s += "</p>\n";
  }
  s += "<p class=\"note\" style=\"margin-top:2em\">";
  for (const double v : {-1.0, -0.5, 0.5, 1.0}) {
    const Rgb color = heat_color(v);
    s += "<mark style=\"background:" + hex(color) + (is_dark(color) ? ";color:#fff" : "") + "\">" +
         (v < 0 ? "against" : "for") + "</mark> ";
  }
  return s + "</p>\n</body>\n</html>\n";
}

std::string text_ansi(const std::vector<TextRecord>& records, const HeatMapOptions& heat) {
  // Nothing in a token may steer the terminal.
  const auto harmless = [](const std::string& text) {
    std::string out;
    for (const char c : text) {
      const auto u = static_cast<unsigned char>(c);
      out += u < 0x20 || u == 0x7F ? '?' : c;
    }
    // C1 controls are two bytes in UTF-8: C2 80 to C2 9F.
    for (std::size_t i = 0; i + 1 < out.size(); ++i) {
      if (static_cast<unsigned char>(out[i]) == 0xC2 && static_cast<unsigned char>(out[i + 1]) < 0xA0)
        out.replace(i, 2, "?");
    }
    return out;
  };
  std::string s;
  for (const TextRecord& r : records) {
    check(r);
    const std::vector<double> v = normalised(r.attributions, heat);
    s += harmless(r.title) + ":";
    for (std::size_t i = 0; i < v.size(); ++i) {
      const Rgb c = heat_color(v[i]);
      const std::string color = std::to_string(c[0]) + ";" + std::to_string(c[1]) + ";" + std::to_string(c[2]) + "m";
      s += " \x1b[48;2;" + color + (is_dark(c) ? "\x1b[38;2;255;255;255m" : "\x1b[38;2;0;0;0m") +
           harmless(visible(r.tokens[i])) + "\x1b[0m";
    }
    s += "\n";
  }
  return s;
}

}  // namespace onnxray::app
