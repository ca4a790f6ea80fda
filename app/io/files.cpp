#include "app/io/files.h"

#include <unistd.h>

#include <atomic>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "engine/base/error.h"

namespace onnxray::app {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path, std::uintmax_t limit) {
  std::error_code error;
  if (fs::is_directory(path, error)) fail(path.string(), " is a folder, expected a file");
  std::ifstream in(path, std::ios::binary);
  if (!in) fail("cannot open ", path.string(), ": ", std::strerror(errno));
  // Read in pieces rather than by the size the file claims, so that pipes work.
  std::string bytes;
  char piece[1 << 16];
  while (in.read(piece, sizeof piece) || in.gcount() > 0) {
    bytes.append(piece, static_cast<std::size_t>(in.gcount()));
    if (bytes.size() > limit) fail(path.string(), " is larger than ", limit, " bytes");
  }
  if (in.bad()) fail("cannot read ", path.string());
  return bytes;
}

void write_file(const fs::path& path, std::string_view bytes) {
  static std::atomic<unsigned> counter{0};
  fs::path temporary = path;
  temporary += detail::concat(".part", ::getpid(), "-", counter++);
  const auto give_up = [&](const std::string& why) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    fail("cannot write ", path.string(), ": ", why);
  };
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    if (!out) fail("cannot write ", path.string(), ": ", std::strerror(errno));
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    out.close();
    if (!out) give_up(std::strerror(errno));
  }
  std::error_code error;
  fs::rename(temporary, path, error);
  if (error) give_up(error.message());
}

std::string safe_file_name(std::string_view value) {
  constexpr std::size_t kLongest = 200;
  std::string name;
  for (const char c : value.substr(0, kLongest)) {
    const bool keep =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    name += keep ? c : '_';
  }
  if (name.empty()) return "_";
  if (name[0] == '.') name[0] = '_';  // "." and ".." are folders, other dots hide the file
  return name;
}

std::string UniqueNames::operator()(std::string_view value) {
  const std::string base = safe_file_name(value);
  const auto lower = [](std::string s) {
    for (char& c : s) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return s;
  };
  std::string name = base;
  for (int n = 2; !taken_.insert(lower(name)).second; ++n) name = base + "_" + std::to_string(n);
  return name;
}

}  // namespace onnxray::app
