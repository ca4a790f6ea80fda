// The one source that holds stb_image_write.
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
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

}  // namespace onnxray::app
