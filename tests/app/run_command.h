// A program run in a folder, as a shell runs it.
#pragma once
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace onnxray::testing {

struct Result {
  int code = -1;  // -1: ended by a signal
  std::string out, err;
};

inline std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// What it prints is left in the folder's .stdout and .stderr.
inline Result run_command(const std::filesystem::path& folder, const std::string& line) {
  const int status =
      std::system(("cd '" + folder.string() + "' && " + line + " >.stdout 2>.stderr </dev/null").c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, text_of(folder / ".stdout"), text_of(folder / ".stderr")};
}

}  // namespace onnxray::testing
