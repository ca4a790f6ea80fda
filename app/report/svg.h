// Writes SVG: what has words needs no fonts library and no display.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/io/image.h"

namespace onnxray::app {

// Text for XML and HTML: & < > " ' escaped, what is no valid UTF-8 or no printable character as U+FFFD.
[[nodiscard]] std::string escape_markup(std::string_view text);
// "#rrggbb"
[[nodiscard]] std::string hex(const Rgb& color);
// Four significant digits.
[[nodiscard]] std::string short_number(double v);
[[nodiscard]] std::string base64(std::string_view bytes);
// At most `most` characters (code points) of UTF-8, the last one an ellipsis if some are left out.
[[nodiscard]] std::string shortened(std::string_view text, std::size_t most);

class Svg {
 public:
  enum class Anchor { kStart, kMiddle, kEnd };

  // In pixels, on white.
  Svg(double width, double height);
  void rect(double x, double y, double w, double h, std::string_view fill, double opacity = 1);
  void frame(double x, double y, double w, double h);  // a thin grey outline
  void line(double x1, double y1, double x2, double y2, std::string_view stroke, double width = 1);
  void polyline(const std::vector<std::pair<double, double>>& points, std::string_view stroke, double width = 1);
  // `y` is the base line; `size` the height of the font.
  void text(double x, double y, std::string_view text, double size, Anchor anchor = Anchor::kStart,
            std::string_view fill = "#202020", bool bold = false);
  void image(double x, double y, double w, double h, const Image& image);
  // From blue (-1) to red (1), with words at its ends.
  void color_bar(double x, double y, double w);
  [[nodiscard]] std::string finish() const;

 private:
  std::string body_;
};

}  // namespace onnxray::app
