// Files as the command writes them: whole or not at all, under names that any system takes.
#pragma once
#include <filesystem>
#include <set>
#include <string>
#include <string_view>

namespace onnxray::app {

// The whole file. Throws naming the file when it cannot be read or is larger than `limit` bytes.
[[nodiscard]] std::string read_file(const std::filesystem::path& path, std::uintmax_t limit = std::uintmax_t{1} << 34);

// Writes to a temporary name in the same folder, then renames: a reader never sees half a file.
void write_file(const std::filesystem::path& path, std::string_view bytes);

// Every character outside [A-Za-z0-9._-] becomes `_`; never empty, hidden, or longer than 200.
[[nodiscard]] std::string safe_file_name(std::string_view value);

// Safe names that do not collide, also where the file system ignores case: "a", "a_2", "a_3".
class UniqueNames {
 public:
  [[nodiscard]] std::string operator()(std::string_view value);

 private:
  std::set<std::string> taken_;  // lower case
};

}  // namespace onnxray::app
