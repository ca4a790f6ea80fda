#include "app/report/svg.h"

#include <cmath>
#include <cstdint>
#include <cstdio>

#include "app/io/heatmap.h"

namespace onnxray::app {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// The bytes of the code point that starts at text[i], 0 where there is no valid one.
std::size_t code_point_length(std::string_view text, std::size_t i) {
  const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned char c = byte(i);
  const std::size_t n = c < 0x80                ? 1
                        : c >= 0xC2 && c < 0xE0 ? 2
                        : c >= 0xE0 && c < 0xF0 ? 3
                        : c >= 0xF0 && c < 0xF5 ? 4
                                                : 0;
  if (n == 0 || i + n > text.size()) return 0;
  std::uint32_t code = n == 1 ? c : c & (0xFFU >> (n + 1));
  for (std::size_t k = 1; k < n; ++k) {
    if ((byte(i + k) & 0xC0) != 0x80) return 0;
    code = code << 6 | (byte(i + k) & 0x3FU);
  }
  const bool overlong = (n == 3 && code < 0x800) || (n == 4 && code < 0x10000);
  const bool forbidden = (code >= 0xD800 && code < 0xE000) || code > 0x10FFFF || code == 0xFFFE || code == 0xFFFF;
  return overlong || forbidden ? 0 : n;
}

std::string number(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", v);
  return text;
}

}  // namespace

std::string escape_markup(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t n = code_point_length(text, i);
    const auto c = static_cast<unsigned char>(text[i]);
    if (n == 0 || (n == 1 && c < 0x20 && c != '\n' && c != '\t') || c == 0x7F) out += kReplacement;
    else if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '"') out += "&quot;";
    else if (c == '\'') out += "&#39;";
    else out += text.substr(i, n);
    i += n == 0 ? 1 : n;
  }
  return out;
}

std::string hex(const Rgb& color) {
  char text[8];
  std::snprintf(text, sizeof text, "#%02x%02x%02x", color[0], color[1], color[2]);
  return text;
}

std::string short_number(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", v);
  return text;
}

std::string base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) out += k <= n ? kDigits[group >> (18 - 6 * k) & 63U] : '=';
  }
  return out;
}

std::string shortened(std::string_view text, std::size_t most) {
  std::size_t count = 0, cut = 0;
  for (std::size_t i = 0; i < text.size(); ++count) {
    if (count + 1 == most) cut = i;
    i += std::max<std::size_t>(1, code_point_length(text, i));
  }
  return count <= most ? std::string(text) : std::string(text.substr(0, cut)) + "\xE2\x80\xA6";
}

Svg::Svg(double width, double height) {
  body_ = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + number(width) + "\" height=\"" + number(height) +
          "\" viewBox=\"0 0 " + number(width) + " " + number(height) +
          "\" font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif\">\n"
          "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
}

void Svg::rect(double x, double y, double w, double h, std::string_view fill, double opacity) {
  body_ += "<rect x=\"" + number(x) + "\" y=\"" + number(y) + "\" width=\"" + number(w) + "\" height=\"" + number(h) +
           "\" fill=\"" + std::string(fill) + "\"";
  if (opacity < 1) body_ += " fill-opacity=\"" + number(opacity) + "\"";
  body_ += "/>\n";
}

void Svg::frame(double x, double y, double w, double h) {
  body_ += "<rect x=\"" + number(x) + "\" y=\"" + number(y) + "\" width=\"" + number(w) + "\" height=\"" + number(h) +
           "\" fill=\"none\" stroke=\"#d0d0d0\"/>\n";
}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view stroke, double width) {
  body_ += "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) + "\" y2=\"" + number(y2) +
           "\" stroke=\"" + std::string(stroke) + "\" stroke-width=\"" + number(width) +
           "\" stroke-linecap=\"round\"/>\n";
}

void Svg::polyline(const std::vector<std::pair<double, double>>& points, std::string_view stroke, double width) {
  body_ += "<polyline fill=\"none\" stroke=\"" + std::string(stroke) + "\" stroke-width=\"" + number(width) +
           "\" stroke-linejoin=\"round\" points=\"";
  for (const auto& [x, y] : points) body_ += number(x) + "," + number(y) + " ";
  body_ += "\"/>\n";
}

void Svg::text(double x, double y, std::string_view text, double size, Anchor anchor, std::string_view fill,
               bool bold) {
  body_ += "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" font-size=\"" + number(size) + "\" fill=\"" +
           std::string(fill) + "\"";
  if (anchor != Anchor::kStart) body_ += anchor == Anchor::kEnd ? " text-anchor=\"end\"" : " text-anchor=\"middle\"";
  if (bold) body_ += " font-weight=\"600\"";
  body_ += ">" + escape_markup(text) + "</text>\n";
}

void Svg::image(double x, double y, double w, double h, const Image& image) {
  body_ += "<image x=\"" + number(x) + "\" y=\"" + number(y) + "\" width=\"" + number(w) + "\" height=\"" + number(h) +
           "\" href=\"data:image/png;base64," + base64(encode_png(image)) + "\"/>\n";
}

void Svg::color_bar(double x, double y, double w) {
  constexpr int kSteps = 40;
  constexpr double kHeight = 10;
  for (int i = 0; i < kSteps; ++i) {
    // A little wider than a step, so that no seam shows.
    rect(x + w * i / kSteps, y, w / kSteps + (i + 1 < kSteps ? 0.6 : 0), kHeight,
         hex(heat_color(2.0 * (i + 0.5) / kSteps - 1)));
  }
  frame(x, y, w, kHeight);
  text(x - 6, y + 9, "against", 11, Anchor::kEnd, "#606060");
  text(x + w + 6, y + 9, "for", 11, Anchor::kStart, "#606060");
}

std::string Svg::finish() const { return body_ + "</svg>\n"; }

}  // namespace onnxray::app
