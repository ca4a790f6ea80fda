// PNG through libpng and JPEG through libjpeg. Both report errors by longjmp: the functions that call them hold nothing
// with a destructor, and the caller turns the message into an Error.
#include "app/io/image.h"

#include <jerror.h>
#include <jpeglib.h>
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <new>

#include "app/io/files.h"
#include "engine/base/error.h"

namespace onnxray::app {
namespace {

constexpr std::uint32_t kMaxSide = 32767;
constexpr std::uint64_t kMaxPixels = std::uint64_t{1} << 26;

// What a decoder works on; it outlives the longjmp.
struct Decoding {
  const std::uint8_t* data = nullptr;
  std::size_t size = 0, position = 0;
  std::uint32_t width = 0, height = 0;
  std::vector<std::uint8_t> pixels;         // as the library gives them
  std::vector<std::uint8_t*> row_pointers;  // into pixels
  std::jmp_buf* jump = nullptr;             // libjpeg's way out
  char message[JMSG_LENGTH_MAX > 256 ? JMSG_LENGTH_MAX : 256] = {};
};

bool too_large(Decoding& d) {
  if (d.width > 0 && d.height > 0 && d.width <= kMaxSide && d.height <= kMaxSide &&
      std::uint64_t{d.width} * d.height <= kMaxPixels) {
    return false;
  }
  std::snprintf(d.message, sizeof d.message, "%u x %u pixels, expected at most %u a side and %llu in all", d.width,
                d.height, kMaxSide, static_cast<unsigned long long>(kMaxPixels));
  return true;
}

// --- PNG ---

void png_failed(png_structp png, png_const_charp text) {
  auto* d = static_cast<Decoding*>(png_get_error_ptr(png));
  std::snprintf(d->message, sizeof d->message, "%s", text);
  std::longjmp(png_jmpbuf(png), 1);
}

void png_warned(png_structp, png_const_charp) {}

void png_take(png_structp png, png_bytep to, std::size_t n) {
  auto* d = static_cast<Decoding*>(png_get_io_ptr(png));
  if (n > d->size - d->position) png_error(png, "the file ends too early");
  std::memcpy(to, d->data + d->position, n);
  d->position += n;
}

// Fills d.pixels with RGBA. False: d.message says why.
bool decode_png(Decoding& d) {
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &d, png_failed, png_warned);
  if (png == nullptr) return false;
  png_infop info = png_create_info_struct(png);
  if (info == nullptr || setjmp(png_jmpbuf(png)) != 0) {
    png_destroy_read_struct(&png, &info, nullptr);
    return false;
  }
  png_set_user_limits(png, kMaxSide, kMaxSide);
  png_set_chunk_malloc_max(png, 1 << 23);
  png_set_chunk_cache_max(png, 128);
  png_set_read_fn(png, &d, png_take);
  png_read_info(png, info);
  d.width = png_get_image_width(png, info);
  d.height = png_get_image_height(png, info);
  if (too_large(d)) {
    png_destroy_read_struct(&png, &info, nullptr);
    return false;
  }
  png_set_expand(png);  // palettes, 1 to 4 bits, transparent colours
  png_set_scale_16(png);
  png_set_gray_to_rgb(png);
  png_set_add_alpha(png, 0xff, PNG_FILLER_AFTER);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  if (png_get_rowbytes(png, info) != std::size_t{d.width} * 4) png_error(png, "unexpected pixel layout");
  try {
    d.pixels.assign(std::size_t{d.width} * d.height * 4, 0);
    d.row_pointers.resize(d.height);
  } catch (const std::bad_alloc&) {
    png_destroy_read_struct(&png, &info, nullptr);
    return false;
  }
  for (std::uint32_t y = 0; y < d.height; ++y) d.row_pointers[y] = d.pixels.data() + std::size_t{y} * d.width * 4;
  png_read_image(png, d.row_pointers.data());
  png_read_end(png, nullptr);
  png_destroy_read_struct(&png, &info, nullptr);
  return true;
}

// --- JPEG ---

void jpeg_failed(j_common_ptr c) {
  auto* d = static_cast<Decoding*>(c->client_data);
  c->err->format_message(c, d->message);
  std::longjmp(*d->jump, 1);
}

// Warnings come for damaged data, which libjpeg fills in with grey: an error here, except where nothing is lost.
void jpeg_warned(j_common_ptr c, int level) {
  if (level >= 0) return;
  const int code = c->err->msg_code;
  if (code == JWRN_EXTRANEOUS_DATA || code == JWRN_JFIF_MAJOR || code == JWRN_ADOBE_XFORM ||
      code == JWRN_TOO_MUCH_DATA) {
    return;
  }
  jpeg_failed(c);
}

void jpeg_silent(j_common_ptr) {}

// Fills d.pixels with RGB, or with CMYK where four_channels is set. False: d.message says why.
bool decode_jpeg(Decoding& d, bool& four_channels, bool& inverted) {
  jpeg_decompress_struct c{};
  jpeg_error_mgr errors;
  std::jmp_buf jump;
  d.jump = &jump;
  c.err = jpeg_std_error(&errors);
  errors.error_exit = jpeg_failed;
  errors.emit_message = jpeg_warned;
  errors.output_message = jpeg_silent;
  c.client_data = &d;
  if (setjmp(jump) != 0) {
    jpeg_destroy_decompress(&c);
    return false;
  }
  jpeg_create_decompress(&c);  // keeps client_data
  c.mem->max_memory_to_use = 1L << 30;
  jpeg_mem_src(&c, d.data, d.size);
  jpeg_read_header(&c, TRUE);
  d.width = c.image_width;
  d.height = c.image_height;
  if (too_large(d)) {
    jpeg_destroy_decompress(&c);
    return false;
  }
  four_channels = c.num_components == 4;
  inverted = c.saw_Adobe_marker != 0;
  c.out_color_space = four_channels ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&c);
  const std::size_t row = std::size_t{c.output_width} * (four_channels ? 4 : 3);
  try {
    d.pixels.assign(row * c.output_height, 0);
  } catch (const std::bad_alloc&) {
    jpeg_destroy_decompress(&c);
    return false;
  }
  while (c.output_scanline < c.output_height) {
    // A progressive file of a few bytes can ask for thousands of passes over a large picture.
    if (c.input_scan_number > 500) {
      std::snprintf(d.message, sizeof d.message, "more than 500 scans");
      jpeg_destroy_decompress(&c);
      return false;
    }
    JSAMPROW to = d.pixels.data() + row * c.output_scanline;
    jpeg_read_scanlines(&c, &to, 1);
  }
  jpeg_finish_decompress(&c);
  jpeg_destroy_decompress(&c);
  return true;
}

std::uint8_t scaled(unsigned a, unsigned b) { return static_cast<std::uint8_t>((a * b + 127) / 255); }

}  // namespace

Image::Image(int w, int h, Rgb fill) : width(w), height(h) {
  ONNXRAY_CHECK(w > 0 && h > 0 && static_cast<std::uint64_t>(w) * static_cast<std::uint64_t>(h) <= 4 * kMaxPixels,
                "a picture of ", w, " x ", h, " pixels");
  pixels.resize(static_cast<std::size_t>(w) * static_cast<std::size_t>(h) * 3);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = fill[i % 3];
}

Image decode_image(std::string_view bytes, const std::string& name) {
  Decoding d;
  d.data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  d.size = bytes.size();
  const auto refuse = [&](const char* format) {
    fail(name, ": cannot read this ", format, ": ", d.message[0] != 0 ? d.message : "out of memory");
  };
  if (bytes.starts_with("\x89PNG\r\n\x1a\n")) {
    if (!decode_png(d)) refuse("PNG");
    Image image(static_cast<int>(d.width), static_cast<int>(d.height));
    for (std::size_t i = 0; i < image.pixels.size(); ++i) {
      const std::size_t p = i / 3 * 4;
      const unsigned alpha = d.pixels[p + 3];
      image.pixels[i] = static_cast<std::uint8_t>(scaled(d.pixels[p + i % 3], alpha) + (255 - alpha));
    }
    return image;
  }
  if (bytes.starts_with("\xff\xd8\xff")) {
    bool four_channels = false, inverted = false;
    if (!decode_jpeg(d, four_channels, inverted)) refuse("JPEG");
    Image image(static_cast<int>(d.width), static_cast<int>(d.height));
    if (!four_channels) {
      image.pixels = std::move(d.pixels);
      return image;
    }
    for (std::size_t i = 0; i < image.pixels.size(); ++i) {
      const std::size_t p = i / 3 * 4;
      const unsigned ink = d.pixels[p + i % 3], black = d.pixels[p + 3];
      image.pixels[i] = inverted ? scaled(ink, black) : scaled(255 - ink, 255 - black);
    }
    return image;
  }
  fail(name, ": is neither a PNG nor a JPEG");
}

Image read_image(const std::filesystem::path& path) {
  return decode_image(read_file(path, std::uintmax_t{1} << 29), path.string());
}

void write_png(const std::filesystem::path& path, const Image& image) { write_file(path, encode_png(image)); }

Image crop(const Image& image, int left, int top, int width, int height) {
  ONNXRAY_CHECK(
      left >= 0 && top >= 0 && width > 0 && height > 0 && left <= image.width - width && top <= image.height - height,
      "cannot cut ", width, " x ", height, " at ", left, ", ", top, " out of ", image.width, " x ", image.height,
      " pixels");
  Image out(width, height);
  for (int y = 0; y < height; ++y) {
    std::memcpy(out.at(0, y), image.at(left, top + y), static_cast<std::size_t>(width) * 3);
  }
  return out;
}

Image enlarge(const Image& image, int factor) {
  ONNXRAY_CHECK(factor > 0 && factor <= 1024, "enlarge by ", factor);
  Image out(image.width * factor, image.height * factor);
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) std::memcpy(out.at(x, y), image.at(x / factor, y / factor), 3);
  }
  return out;
}

std::uint8_t luma(const std::uint8_t* p) {
  return static_cast<std::uint8_t>((p[0] * 19595U + p[1] * 38470U + p[2] * 7471U + 0x8000U) >> 16);
}

}  // namespace onnxray::app
