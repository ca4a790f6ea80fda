// Runs ONNX's own test folders: model.onnx beside test_data_set_*/input_i.pb, output_i.pb.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <set>

#include "app/cli/verbs.h"
#include "app/report/result_json.h"
#include "onnx_import/test_data.h"

namespace onnxray::app {
namespace {

namespace fs = std::filesystem;

struct Case {
  std::string name;
  fs::path folder;
};

void find_cases(const fs::path& root, std::vector<Case>& out) {
  ONNXRAY_CHECK(fs::exists(root), "'", root.string(), "' does not exist");
  const auto is_case = [](const fs::path& p) {
    if (!fs::exists(p / "model.onnx")) return false;
    for (const auto& entry : fs::directory_iterator(p)) {
      if (entry.is_directory() && entry.path().filename().string().starts_with("test_data_set_")) return true;
    }
    return false;
  };
  if (is_case(root)) {
    const fs::path clean = fs::absolute(root).lexically_normal();
    out.push_back({(clean.has_filename() ? clean : clean.parent_path()).filename().string(), root});
    return;
  }
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(root, fs::directory_options::skip_permission_denied)) {
    if (entry.is_directory() && is_case(entry.path())) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  for (const fs::path& p : found) out.push_back({p.filename().string(), p});
}

// First word of every line -> the rest.
std::map<std::string, std::string> read_list(const std::string& file) {
  std::map<std::string, std::string> out;
  std::ifstream in(file);
  ONNXRAY_CHECK(in.good(), "cannot read '", file, "'");
  std::string line;
  while (std::getline(in, line)) {
    const std::size_t begin = line.find_first_not_of(" \t\r");
    if (begin == std::string::npos || line[begin] == '#') continue;
    const std::size_t end = line.find_first_of(" \t\r", begin);
    std::string reason = end == std::string::npos ? "" : line.substr(end);
    reason.erase(0, std::min(reason.size(), reason.find_first_not_of(" \t")));
    out[line.substr(begin, end == std::string::npos ? end : end - begin)] = reason;
  }
  return out;
}

// Empty when equal at ONNX's tolerance: rtol 1e-3, atol 1e-7 (1e-3 for half precision); dtype and shape exact.
std::string compare(const Tensor& got, const Tensor& want) {
  if (got.dtype() != want.dtype())
    return detail::concat("is ", name_of(got.dtype()), ", expected ", name_of(want.dtype()));
  if (got.dims() != want.dims())
    return detail::concat("has shape ", to_string(got.dims()), ", expected ", to_string(want.dims()));
  if (!is_float(want.dtype())) return got.same_bits(want) ? "" : "differs";
  const bool half = want.dtype() == DType::f16 || want.dtype() == DType::bf16;
  const double rtol = 1e-3, atol = half ? 1e-3 : 1e-7;
  const auto a = got.to_doubles(), b = want.to_doubles();
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if ((std::isnan(a[i]) && std::isnan(b[i])) || a[i] == b[i]) continue;
    double excess = std::abs(a[i] - b[i]) / (atol + rtol * std::abs(b[i]));
    if (std::isnan(excess)) excess = INFINITY;
    if (excess > worst) {
      worst = excess;
      at = i;
    }
  }
  if (worst <= 1) return "";
  return detail::concat("differs: element ", at, " is ", a[at], ", expected ", b[at], " (", worst,
                        " times the tolerance)");
}

// Empty when the case passes.
std::string run_case(const Case& c, const Arguments& args) {
  const Model model = load(c.folder / "model.onnx");
  std::vector<fs::path> sets;
  for (const auto& entry : fs::directory_iterator(c.folder)) {
    if (entry.is_directory() && entry.path().filename().string().starts_with("test_data_set_"))
      sets.push_back(entry.path());
  }
  std::sort(sets.begin(), sets.end());
  for (const fs::path& set : sets) {
    NamedTensors inputs;
    std::size_t k = 0;
    for (const ValueInfo& in : model.inputs()) {
      const fs::path file = set / ("input_" + std::to_string(k++) + ".pb");
      if (!fs::exists(file)) return set.filename().string() + " lacks " + file.filename().string();
      inputs[in.name] = onnx_import::read_tensor_file(file, in);
    }
    const NamedTensors outputs = run(model, inputs, {}, {.precision = precision_of(args)});
    k = 0;
    for (const ValueInfo& out : model.outputs()) {
      const fs::path file = set / ("output_" + std::to_string(k++) + ".pb");
      if (!fs::exists(file)) continue;
      const std::string problem = compare(outputs.at(out.name), onnx_import::read_tensor_file(file, out));
      if (!problem.empty()) return set.filename().string() + ": output '" + out.name + "' " + problem;
    }
  }
  return "";
}

}  // namespace

int run_verify(const Arguments& args) {
  if (args.threads > 0) set_max_threads(args.threads);
  std::vector<Case> cases;
  for (const std::string& p : args.paths) find_cases(p, cases);
  ONNXRAY_CHECK(!cases.empty(), "no test folder (model.onnx with test_data_set_*) under the given paths");
  std::map<std::string, std::string> expected, only;
  if (!args.expect.empty()) expected = read_list(args.expect);
  if (!args.only.empty()) only = read_list(args.only);
  int passed = 0, failed = 0, skipped = 0;
  std::vector<VerifyLine> lines;
  for (const Case& c : cases) {
    if (!args.only.empty() && !only.contains(c.name)) continue;
    VerifyLine line{.name = c.name, .status = "PASS", .detail = ""};
    try {
      line.detail = run_case(c, args);
      if (!line.detail.empty()) line.status = "FAIL";
    } catch (const Error& e) {
      line.status = e.kind() == ErrorKind::kUnsupported ? "UNSUPPORTED" : "FAIL";
      line.detail = e.what();
    } catch (const std::exception& e) {
      line = {.name = c.name, .status = "FAIL", .detail = e.what()};
    }
    if (const auto it = expected.find(c.name); it != expected.end()) {
      if (line.status == "PASS") {
        line.status = "FAIL";
        line.detail = "passes, but is listed as an expected failure (" + it->second + ")";
      } else {
        line.status = "LISTED";
        line.detail = it->second;
      }
    }
    if (line.status == "PASS") ++passed;
    else if (line.status == "FAIL") ++failed;
    else ++skipped;
    if (!args.json) {
      std::replace(line.detail.begin(), line.detail.end(), '\n', ' ');
      std::printf("%s %s%s%s\n", line.status.c_str(), c.name.c_str(), line.detail.empty() ? "" : ": ",
                  line.detail.c_str());
    }
    lines.push_back(std::move(line));
  }
  for (const auto& [name, reason] : only) {
    const bool seen =
        std::any_of(lines.begin(), lines.end(), [&, n = name](const VerifyLine& l) { return l.name == n; });
    if (!seen && !args.quiet) std::fprintf(stderr, "note: --only names '%s', which was not found\n", name.c_str());
  }
  if (args.json) std::cout << verify_json(lines, passed, failed, skipped) << "\n";
  else std::printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
  return failed > 0 ? 1 : 0;
}

}  // namespace onnxray::app
