#include "app/io/npy.h"

#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <optional>

#include "app/io/files.h"

namespace onnxray::app {
namespace {

static_assert(std::endian::native == std::endian::little, "files are read and written as they lie in memory");

constexpr std::string_view kMagic{"\x93NUMPY", 6};
constexpr std::size_t kMaxRank = 32;

// The header is a Python dict literal: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }.
class Header {
 public:
  Header(std::string_view text, const std::string& name) : text_(text), name_(name) { parse(); }

  std::string descr;
  bool fortran = false;
  Dims shape;

 private:
  [[noreturn]] void bad(const char* what) const { fail(name_, ": malformed .npy header: ", what); }

  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  bool take(char c) {
    skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool take(std::string_view word) {
    skip();
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  std::string quoted() {
    skip();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) bad("expected a quoted text");
    const std::size_t end = text_.find(text_[at_], at_ + 1);
    if (end == std::string_view::npos) bad("a text is not closed");
    std::string s(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return s;
  }
  void parse_shape() {
    if (!take('(')) bad("shape is no tuple");
    while (!take(')')) {
      skip();
      std::int64_t n = 0;
      const char* begin = text_.data() + at_;
      const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), n);
      if (error != std::errc() || n < 0) bad("shape holds something that is no dimension");
      at_ += static_cast<std::size_t>(end - begin);
      (void)take('L');  // Python 2 wrote longs
      shape.push_back(n);
      if (shape.size() > kMaxRank) bad("too many dimensions");
      if (!take(',')) {
        if (!take(')')) bad("shape is not closed");
        break;
      }
    }
  }
  void parse() {
    bool has_descr = false, has_order = false, has_shape = false;
    if (!take('{')) bad("expected a dictionary");
    while (!take('}')) {
      const std::string key = quoted();
      if (!take(':')) bad("expected a colon");
      if (key == "descr" && !has_descr) {
        skip();
        if (at_ < text_.size() && text_[at_] == '[') fail(name_, ": structured arrays are not supported");
        descr = quoted();
        has_descr = true;
      } else if (key == "fortran_order" && !has_order) {
        fortran = take("True");
        if (!fortran && !take("False")) bad("fortran_order is neither True nor False");
        has_order = true;
      } else if (key == "shape" && !has_shape) {
        parse_shape();
        has_shape = true;
      } else {
        bad("an unknown or repeated key");
      }
      if (!take(',')) {
        if (!take('}')) bad("the dictionary is not closed");
        break;
      }
    }
    skip();
    if (at_ != text_.size()) bad("text after the dictionary");
    if (!has_descr || !has_order || !has_shape) bad("descr, fortran_order or shape is missing");
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
};

struct TypeCode {
  std::string_view code;
  DType dtype;
};
constexpr std::array<TypeCode, 12> kCodes{{{"f4", DType::f32},
                                           {"f8", DType::f64},
                                           {"f2", DType::f16},
                                           {"i8", DType::i64},
                                           {"i4", DType::i32},
                                           {"i2", DType::i16},
                                           {"i1", DType::i8},
                                           {"u8", DType::u64},
                                           {"u4", DType::u32},
                                           {"u2", DType::u16},
                                           {"u1", DType::u8},
                                           {"b1", DType::boolean}}};

DType dtype_of_descr(const std::string& descr, const std::string& name) {
  const char order = descr.empty() ? ' ' : descr[0];
  const bool has_order = order == '<' || order == '>' || order == '=' || order == '|';
  const std::string_view code = std::string_view(descr).substr(has_order ? 1 : 0);
  for (const TypeCode& t : kCodes) {
    if (t.code != code) continue;
    if (order == '>' && size_of(t.dtype) > 1) {
      fail(name, ": big-endian data ('", descr, "'), expected little-endian; in NumPy: a.astype('<", code, "')");
    }
    return t.dtype;
  }
  if (code.starts_with("O")) fail(name, ": holds Python objects, expected numbers");
  fail(name, ": dtype '", descr, "' is not supported, expected floats, integers or booleans");
}

// Fortran order: the first index runs fastest.
void copy_fortran(const std::byte* from, std::byte* to, const Dims& dims, std::size_t element) {
  const std::int64_t n = count_of(dims);
  Dims index(dims.size(), 0);
  Dims stride(dims.size(), 1);  // in the row-major result
  for (std::size_t i = dims.size(); i-- > 1;) stride[i - 1] = stride[i] * dims[i];
  std::int64_t offset = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    std::memcpy(to + static_cast<std::size_t>(offset) * element, from + static_cast<std::size_t>(i) * element, element);
    for (std::size_t d = 0; d < dims.size(); ++d) {
      offset += stride[d];
      if (++index[d] < dims[d]) break;
      offset -= stride[d] * dims[d];
      index[d] = 0;
    }
  }
}

}  // namespace

Tensor parse_npy(std::string_view bytes, const std::string& name) {
  if (bytes.size() < 10 || bytes.substr(0, 6) != kMagic) fail(name, ": is no .npy file");
  const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(bytes[i])); };
  const std::size_t version = byte(6);
  if (version < 1 || version > 3) fail(name, ": .npy version ", version, ", expected 1 to 3");
  std::size_t begin = 10, length = byte(8) | byte(9) << 8;
  if (version > 1) {
    if (bytes.size() < 12) fail(name, ": truncated .npy header");
    begin = 12;
    length |= byte(10) << 16 | byte(11) << 24;
  }
  if (length > bytes.size() - begin) fail(name, ": truncated .npy header");
  const Header header(bytes.substr(begin, length), name);
  const DType dtype = dtype_of_descr(header.descr, name);
  std::int64_t count = 0;
  try {
    count = count_of(header.shape);
  } catch (const Error& e) {
    fail(name, ": ", e.what());
  }
  const std::string_view data = bytes.substr(begin + length);
  const auto expected = static_cast<std::size_t>(count) * size_of(dtype);  // count_of bounds the product
  if (data.size() != expected) {
    fail(name, ": holds ", data.size(), " bytes of data, expected ", expected, " for shape ", to_string(header.shape));
  }
  Tensor t(dtype, header.shape);
  const auto* from = reinterpret_cast<const std::byte*>(data.data());
  auto* to = static_cast<std::byte*>(t.raw_mutable());
  if (header.fortran && header.shape.size() > 1) {
    copy_fortran(from, to, header.shape, size_of(dtype));
  } else if (expected > 0) {
    std::memcpy(to, from, expected);
  }
  if (dtype == DType::boolean) {
    // A bool that is neither 0 nor 1 is undefined behaviour to read.
    for (std::size_t i = 0; i < expected; ++i) to[i] = to[i] == std::byte{0} ? std::byte{0} : std::byte{1};
  }
  return t;
}

Tensor read_npy(const std::filesystem::path& path) { return parse_npy(read_file(path), path.string()); }

std::string npy_bytes(const Tensor& tensor) {
  const Tensor t = tensor.dtype() == DType::bf16 ? tensor.to(DType::f32) : tensor;
  std::string descr;
  for (const TypeCode& c : kCodes) {
    if (c.dtype == t.dtype()) descr = (size_of(c.dtype) == 1 ? "|" : "<") + std::string(c.code);
  }
  std::string shape = "(";
  for (std::size_t i = 0; i < t.rank(); ++i) {
    shape += (i > 0 ? ", " : "") + std::to_string(t.dims()[i]);
  }
  shape += t.rank() == 1 ? ",)" : ")";
  std::string header = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }";
  // Spaces until the data is 64-byte aligned, then a line feed.
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  std::string bytes(kMagic);
  bytes += '\1';
  bytes += '\0';
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  bytes += header;
  bytes.append(static_cast<const char*>(t.raw()), t.bytes());
  return bytes;
}

void write_npy(const std::filesystem::path& path, const Tensor& tensor) { write_file(path, npy_bytes(tensor)); }

}  // namespace onnxray::app
