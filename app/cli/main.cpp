#include <algorithm>
#include <cstdio>
#include <exception>
#include <map>
#include <new>
#include <string>

#include "app/cli/verbs.h"

namespace {

int exit_code_of(const onnxray::Error& e) {
  switch (e.kind()) {
    case onnxray::ErrorKind::kBadInput: return 2;
    case onnxray::ErrorKind::kCancelled: return 130;
    default: return 3;
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace onnxray::app;
  Arguments args;
  int code = 0;
  if (!parse_arguments(argc, argv, args, code)) return code;
  static const std::map<std::string, int (*)(const Arguments&)> verbs = {
      {"doctor", run_doctor}, {"info", run_info},           {"run", run_run},         {"verify", run_verify},
      {"grad", run_grad},     {"attribute", run_attribute}, {"methods", run_methods}, {"bench", run_bench}};
  try {
    return verbs.at(args.verb)(args);
  } catch (const onnxray::Error& e) {
    // One line, also where the library lists several things.
    std::string line = e.what();
    for (std::size_t at = line.find('\n'); at != std::string::npos; at = line.find('\n', at)) {
      const std::size_t end = std::min(line.find_first_not_of(" \n", at), line.size());
      line.replace(at, end - at, at > 0 && line[at - 1] == ':' ? " " : "; ");
    }
    std::fprintf(stderr, "onnxray: %s\n", line.c_str());
    return exit_code_of(e);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "onnxray: out of memory\n");
    return 3;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "onnxray: %s\n", e.what());
    return 3;
  }
}
