// The folder of a command's results. Everything is computed first and written at the end, result.json last.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "app/io/files.h"

namespace onnxray::app {

class OutputFolder {
 public:
  // Throws when `folder` cannot be made or written, before any work; creates nothing yet.
  explicit OutputFolder(std::string folder);

  // Notes a file to be written; returns its name, unique in the folder: the value in safe characters + extension.
  std::string add(const std::string& value, const std::string& extension, std::string bytes);
  // All files or, on an error, none of them.
  void write();
  [[nodiscard]] std::string path_of(const std::string& file) const { return (folder_ / file).string(); }

 private:
  std::filesystem::path folder_;
  std::map<std::string, UniqueNames> names_;  // by extension
  std::vector<std::pair<std::string, std::string>> files_;
};

}  // namespace onnxray::app
