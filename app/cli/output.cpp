#include "app/cli/output.h"

#include <unistd.h>

#include "engine/base/error.h"

namespace onnxray::app {

namespace fs = std::filesystem;

OutputFolder::OutputFolder(std::string folder) : folder_(std::move(folder)) {
  ONNXRAY_CHECK(!folder_.empty(), "--output is empty");
  // The nearest thing on the way that exists must be a folder one may write to.
  std::error_code error;
  fs::path at = fs::absolute(folder_, error).lexically_normal();
  while (!fs::exists(at, error) && at.has_relative_path()) at = at.parent_path();
  ONNXRAY_CHECK(fs::is_directory(at, error), "cannot write to '", folder_.string(), "': '", at.string(),
                "' is no folder");
  ONNXRAY_CHECK(::access(at.c_str(), W_OK | X_OK) == 0, "cannot write to '", folder_.string(), "': no permission in '",
                at.string(), "'");
}

std::string OutputFolder::add(const std::string& value, const std::string& extension, std::string bytes) {
  files_.emplace_back(names_[extension](value) + extension, std::move(bytes));
  return files_.back().first;
}

void OutputFolder::write() {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) fail("cannot make the folder '", folder_.string(), "': ", error.message());
  std::size_t written = 0;
  try {
    for (; written < files_.size(); ++written) write_file(folder_ / files_[written].first, files_[written].second);
  } catch (...) {
    while (written-- > 0) fs::remove(folder_ / files_[written].first, error);
    throw;
  }
}

}  // namespace onnxray::app
