// The one source that holds the stb libraries: writing PNG, resizing.
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_RESIZE_IMPLEMENTATION
#define STB_IMAGE_RESIZE_STATIC
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb_image_resize.h>
#include <stb_image_write.h>
#pragma GCC diagnostic pop

#include "app/io/image.h"
#include "engine/base/error.h"

namespace onnxray::app {

std::string encode_png(const Image& image) {
  std::string bytes;
  const auto append = [](void* to, void* data, int n) {
    static_cast<std::string*>(to)->append(static_cast<const char*>(data), static_cast<std::size_t>(n));
  };
  const int ok = stbi_write_png_to_func(append, &bytes, image.width, image.height, 3, image.pixels.data(), 0);
  ONNXRAY_CHECK(ok != 0, "cannot encode a picture of ", image.width, " x ", image.height, " pixels");
  return bytes;
}

Image resize(const Image& image, int width, int height) {
  if (width == image.width && height == image.height) return image;
  Image out(width, height);
  const int ok = stbir_resize_uint8_generic(image.pixels.data(), image.width, image.height, 0, out.pixels.data(), width,
                                            height, 0, 3, STBIR_ALPHA_CHANNEL_NONE, 0, STBIR_EDGE_CLAMP,
                                            STBIR_FILTER_TRIANGLE, STBIR_COLORSPACE_LINEAR, nullptr);
  ONNXRAY_CHECK(ok != 0, "cannot resize ", image.width, " x ", image.height, " to ", width, " x ", height);
  return out;
}

}  // namespace onnxray::app
