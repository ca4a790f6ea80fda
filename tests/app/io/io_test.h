// What the tests of app/io share.
#pragma once
#include <unistd.h>

#include <filesystem>
#include <string>

#include "tests/source_dir.h"

namespace onnxray::app::testing {

inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(onnxray::testing::source_dir()) / "tests/app/io/golden" / name;
}

// A folder of its own, gone at the end.
struct TemporaryFolder {
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "onnxray-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::filesystem::path path;
};

inline int files_in(const std::filesystem::path& folder) {
  int n = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) n += entry.is_regular_file();
  return n;
}

}  // namespace onnxray::app::testing
