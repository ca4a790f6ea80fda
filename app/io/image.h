// Pictures: 8-bit RGB, rows from top to bottom. Reading PNG and JPEG, writing PNG, resizing and cropping.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace onnxray::app {

using Rgb = std::array<std::uint8_t, 3>;

struct Image {
  int width = 0, height = 0;
  std::vector<std::uint8_t> pixels;  // [height, width, 3]

  Image() = default;
  Image(int w, int h, Rgb fill = {255, 255, 255});
  [[nodiscard]] const std::uint8_t* at(int x, int y) const { return pixels.data() + offset(x, y); }
  [[nodiscard]] std::uint8_t* at(int x, int y) { return pixels.data() + offset(x, y); }

 private:
  [[nodiscard]] std::size_t offset(int x, int y) const {
    return (static_cast<std::size_t>(y) * static_cast<std::size_t>(width) + static_cast<std::size_t>(x)) * 3;
  }
};

// PNG or JPEG, told apart by their first bytes. Transparency is composited on white, 16 bits are reduced to 8, grey and
// CMYK become RGB; colour profiles and EXIF orientation are not applied. Throws on anything truncated or corrupt.
[[nodiscard]] Image decode_image(std::string_view bytes, const std::string& name);
[[nodiscard]] Image read_image(const std::filesystem::path& path);

[[nodiscard]] std::string encode_png(const Image& image);
void write_png(const std::filesystem::path& path, const Image& image);

// Bilinear, antialiased when shrinking, like Pillow's Image.resize(BILINEAR).
[[nodiscard]] Image resize(const Image& image, int width, int height);
// Whole pixels, repeated `factor` times in both directions.
[[nodiscard]] Image enlarge(const Image& image, int factor);
[[nodiscard]] Image crop(const Image& image, int left, int top, int width, int height);
// ITU-R 601 luma of a pixel, as Pillow's convert("L").
[[nodiscard]] std::uint8_t luma(const std::uint8_t* rgb);

}  // namespace onnxray::app
