#include "api/onnxray.h"

#include "kernels/cpu/cpu.h"
#include "onnx_import/load.h"
#include "onnx_import/onnx_model.h"

namespace onnxray {

Model load(const std::filesystem::path& path, const LoadOptions& options) {
  const Backend& backend = device_backend(options.device, options.mode);
  return Model(std::make_shared<onnx_import::OnnxModel>(onnx_import::load_file(path), path.string()), backend);
}

Model load(std::span<const std::byte> bytes, const std::filesystem::path& folder, const LoadOptions& options) {
  const Backend& backend = device_backend(options.device, options.mode);
  return Model(std::make_shared<onnx_import::OnnxModel>(onnx_import::parse_bytes(bytes, folder)), backend);
}

Model inspect(const std::filesystem::path& path) {
  return Model(std::make_shared<onnx_import::OnnxModel>(onnx_import::load_file(path), path.string(), true),
               cpu_backend());
}

const char* version() { return ONNXRAY_VERSION; }

}  // namespace onnxray
