#include "onnx_import/external_data.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "onnx_import/onnx.pb.h"

namespace onnxray::onnx_import {
namespace {

std::uint64_t number(const std::string& text, const char* key) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  ONNXRAY_CHECK(error == std::errc() && end == text.data() + text.size(), "external data: ", key, " '", text,
                "' is not a number");
  return value;
}

class FileHandle {
 public:
  explicit FileHandle(const std::filesystem::path& path)
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~FileHandle() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileHandle(const FileHandle&) = delete;
  FileHandle& operator=(const FileHandle&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const FileHandle handle(path);
  ONNXRAY_CHECK(handle.get() >= 0, "cannot open ", path.string(), ": ", std::strerror(errno));
  struct stat info {};
  ONNXRAY_CHECK(::fstat(handle.get(), &info) == 0, "cannot read ", path.string(), ": ", std::strerror(errno));
  ONNXRAY_CHECK(S_ISREG(info.st_mode), path.string(), S_ISDIR(info.st_mode) ? " is a folder" : " is not a file");
  std::shared_ptr<MappedFile> file(new MappedFile);
  if (info.st_size > 0) {
    const auto size = static_cast<std::size_t>(info.st_size);
    void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, handle.get(), 0);
    ONNXRAY_CHECK(data != MAP_FAILED, "cannot map ", path.string(), ": ", std::strerror(errno));
    file->data_ = data;
    file->size_ = size;
  }
  return file;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

std::shared_ptr<const MappedFile> ExternalFiles::file(const std::string& location) {
  namespace fs = std::filesystem;
  if (const auto it = files_.find(location); it != files_.end()) return it->second;
  ONNXRAY_CHECK(!folder_.empty(), "external data '", location, "' of a model that was not read from a file");
  ONNXRAY_CHECK(!location.empty() && location.find('\0') == std::string::npos, "external data without a location");
  const fs::path relative(location);
  ONNXRAY_CHECK(relative.is_relative(), "external data '", location, "' is an absolute path");
  for (const fs::path& part : relative) {
    ONNXRAY_CHECK(part != "..", "external data '", location, "' leaves the model's folder");
  }
  std::error_code error;
  const fs::path root = fs::canonical(folder_, error);
  ONNXRAY_CHECK(!error, "cannot open folder ", folder_.string(), ": ", error.message());
  const fs::path target = fs::canonical(root / relative, error);
  ONNXRAY_CHECK(!error, "cannot open external data '", location, "': ", error.message());
  const fs::path inside = target.lexically_relative(root);
  ONNXRAY_CHECK(!inside.empty() && *inside.begin() != "..", "external data '", location,
                "' is a link that leaves the model's folder");
  return files_.emplace(location, MappedFile::open(target)).first->second;
}

Tensor ExternalFiles::read(const wire::TensorProto& t, DType dtype, const Dims& dims) {
  std::string location;
  std::uint64_t offset = 0;
  const auto bytes = static_cast<std::uint64_t>(count_of(dims)) * size_of(dtype);
  std::uint64_t length = bytes;
  for (const wire::StringStringEntryProto& entry : t.external_data()) {
    if (entry.key() == "location") location = entry.value();
    if (entry.key() == "offset") offset = number(entry.value(), "offset");
    if (entry.key() == "length") length = number(entry.value(), "length");
  }
  ONNXRAY_CHECK(length == bytes, "external data of ", length, " bytes, but ", name_of(dtype), to_string(dims), " has ",
                bytes);
  const std::shared_ptr<const MappedFile> source = file(location);
  const std::uint64_t available = source->bytes().size();
  ONNXRAY_CHECK(offset <= available && bytes <= available - offset, "external data '", location, "' has ", available,
                " bytes, but bytes ", offset, " to ", offset, " + ", bytes, " are asked for");
  if (bytes == 0) return Tensor(dtype, dims);
  const std::byte* data = source->bytes().data() + offset;
  if (offset % size_of(dtype) == 0) return Tensor(dtype, dims, source, data);
  Tensor copy(dtype, dims);
  std::memcpy(copy.raw_mutable(), data, bytes);
  return copy;
}

}  // namespace onnxray::onnx_import
