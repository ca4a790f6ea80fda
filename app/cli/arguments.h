// The command line as plain data. CLI11 is seen by arguments.cpp alone.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace onnxray::app {

struct Arguments {
  std::string verb;
  std::string model;
  std::vector<std::string> paths;    // verify
  std::vector<std::string> inputs;   // -i NAME=FILE or FILE
  std::vector<std::string> shapes;   // --shape NAME=1,3,224,224
  std::vector<std::string> values;   // run --value
  std::vector<std::string> to;       // --to / --of
  std::vector<std::string> from;     // --from / --wrt
  std::vector<std::string> targets;  // --target
  std::vector<std::string> vary;     // --vary
  std::string to_mask;
  bool log_probability = false;
  std::vector<std::string> methods;                                 // attribute, bench: --method
  std::vector<std::pair<std::string, std::string>> method_options;  // name without dashes, value
  std::string output = "onnxray-out";
  bool json = false, quiet = false;
  std::string precision, device, memory, preprocess;
  int threads = 0;
  std::int64_t max_rows = 0, chunk = 0;
  std::uint64_t seed = 0;
  std::string expect, only;           // verify
  std::string masks, mask_names;      // attribute: shares inside masks
  std::string picture, sign, tokens;  // attribute: how it is drawn
  double outlier_percentile = 2;
  std::int64_t rows = 0, repeat = 3;  // bench
  bool profile = false, accuracy = false;
};

// Parses; on --help or a usage error prints and sets `exit_code` (0 or 2), returning false.
[[nodiscard]] bool parse_arguments(int argc, char** argv, Arguments& out, int& exit_code);

}  // namespace onnxray::app
