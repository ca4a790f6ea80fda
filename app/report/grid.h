// Several methods side by side: a table of pictures with titles, as one SVG file that needs nothing beside it.
#pragma once
#include <string>
#include <vector>

#include "app/io/image.h"

namespace onnxray::app {

struct PictureGrid {
  std::string title, subtitle;
  std::vector<std::string> columns;        // titles
  std::vector<std::string> rows;           // titles; empty: none are drawn
  std::vector<std::vector<Image>> images;  // [rows][columns]
  bool color_bar = true;                   // maps have two signs
};
[[nodiscard]] std::string grid_svg(const PictureGrid& grid);

}  // namespace onnxray::app
