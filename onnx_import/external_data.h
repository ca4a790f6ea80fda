// Files on disk, mapped read-only: the model file itself and the external data beside it.
#pragma once
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>

#include "engine/tensor.h"

namespace onnxray::wire {
class TensorProto;
}

namespace onnxray::onnx_import {

class MappedFile {
 public:
  // A regular file; anything else throws. The file must not shrink while the mapping lives.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }

 private:
  MappedFile() = default;
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

// Tensors stored outside the model file. Locations are confined to the model's folder: no absolute path, no "..", no
// symbolic link that leaves it.
class ExternalFiles {
 public:
  // An empty folder: the model came from memory and may have no external data.
  explicit ExternalFiles(std::filesystem::path folder) : folder_(std::move(folder)) {}
  // Shares the mapping where alignment allows.
  [[nodiscard]] Tensor read(const wire::TensorProto& t, DType dtype, const Dims& dims);

 private:
  std::shared_ptr<const MappedFile> file(const std::string& location);

  std::filesystem::path folder_;
  std::unordered_map<std::string, std::shared_ptr<const MappedFile>> files_;  // by location
};

}  // namespace onnxray::onnx_import
