#include <cstdio>
#include <iostream>

#include "app/cli/verbs.h"
#include "app/report/result_json.h"

namespace onnxray::app {

int run_methods(const Arguments& args) {
  if (args.json) {
    std::cout << methods_json() << "\n";
    return 0;
  }
  std::printf("%-22s %-9s %-11s %-12s %-16s %s\n", "method", "baseline", "stochastic", "complete", "from", "formula");
  for (const MethodInfo& m : methods()) {
    std::printf("%-22s %-9s %-11s %-12s %-16s %s\n", m.name.c_str(), m.needs_baseline ? "yes" : "no",
                m.stochastic ? "yes" : "no", m.completeness ? "yes" : "no", m.from.c_str(), m.formula.c_str());
  }
  std::printf("\nOptions of each: onnxray attribute --help\n");
  return 0;
}

}  // namespace onnxray::app
