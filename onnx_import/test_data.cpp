#include "onnx_import/test_data.h"

#include <climits>
#include <fstream>

#include "onnx_import/parser.h"
#include "onnx_import/tensor_proto.h"

namespace onnxray::onnx_import {

Tensor read_tensor_file(const std::filesystem::path& path) {
  const std::shared_ptr<const MappedFile> file = MappedFile::open(path);
  return at_place(path.string(), [&] {
    const auto bytes = file->bytes();
    wire::TensorProto t;
    ONNXRAY_CHECK(bytes.size() <= INT_MAX && t.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())),
                  "not a TensorProto");
    ExternalFiles files(path.parent_path());
    return take_tensor(t, files);
  });
}

Tensor read_tensor_file(const std::filesystem::path& path, const ValueInfo& declared) {
  if (!declared.unsupported.empty())
    fail_unsupported(path.string(), ": '", declared.name, "' is ", declared.unsupported);
  const Tensor t = read_tensor_file(path);
  // ONNX 1.12's own data holds bfloat16 as the integers of its bits.
  if (declared.dtype == DType::bf16 && t.dtype() == DType::u16) {
    return Tensor(DType::bf16, t.dims(), std::make_shared<Tensor>(t), t.raw());
  }
  return t;
}

void write_tensor_file(const std::filesystem::path& path, const Tensor& tensor, const std::string& name) {
  ONNXRAY_CHECK(tensor.bytes() < INT_MAX, path.string(), ": a TensorProto may have 2 GB, not ", tensor.bytes(),
                " bytes");
  const std::string bytes = to_proto(tensor, name).SerializeAsString();
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  ONNXRAY_CHECK(out.good(), "cannot write ", path.string());
}

}  // namespace onnxray::onnx_import
