#include "onnx_import/load.h"

#include <climits>
#include <string_view>

#include "engine/base/sha256.h"
#include "onnx_import/external_data.h"
#include "onnx_import/onnx.pb.h"
#include "onnx_import/parse.h"

namespace onnxray::onnx_import {

OnnxFile parse_bytes(std::span<const std::byte> bytes, const std::filesystem::path& folder) {
  ONNXRAY_CHECK(!bytes.empty(), "not an ONNX model: the file is empty");
  ONNXRAY_CHECK(bytes.size() <= INT_MAX, "the model has ", bytes.size(),
                " bytes; a protobuf file may have 2 GB: store the weights as external data");
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  ONNXRAY_CHECK(!text.starts_with("version https://git-lfs"),
                "not an ONNX model but a Git LFS pointer; fetch the file itself with 'git lfs pull'");
  wire::ModelProto model;
  ONNXRAY_CHECK(model.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())),
                "not an ONNX model, or a truncated or damaged one (the protobuf data cannot be decoded)");
  ONNXRAY_CHECK(model.has_graph(), "not an ONNX model: it has no graph");
  OnnxFile file = parse_model(model, folder);
  file.digest = sha256_hex(bytes);
  return file;
}

OnnxFile load_file(const std::filesystem::path& path) {
  const std::shared_ptr<const MappedFile> file = MappedFile::open(path);
  std::filesystem::path folder = path.parent_path();
  if (folder.empty()) folder = ".";
  try {
    return parse_bytes(file->bytes(), folder);
  } catch (const Error& e) {
    throw Error(e.kind(), path.string() + ": " + e.what());
  }
}

}  // namespace onnxray::onnx_import
