#include <cstdio>
#include <iostream>

#include "app/cli/verbs.h"
#include "app/report/result_json.h"

namespace onnxray::app {

int run_doctor(const Arguments& args) {
  const Model model = inspect(args.model);
  const std::vector<OperatorUse> uses = model.operators();
  bool all = true;
  for (const OperatorUse& u : uses) all = all && u.forward;
  if (args.json) {
    std::cout << doctor_json(model, uses) << "\n";
    return all ? 0 : 3;
  }
  std::printf("%-28s %-14s %5s %6s  %-8s %-9s %s\n", "operator", "domain", "opset", "nodes", "forward", "gradient",
              "device");
  for (const OperatorUse& u : uses) {
    std::printf("%-28s %-14s %5lld %6d  %-8s %-9s %s\n", u.op.c_str(), u.domain.c_str(),
                static_cast<long long>(u.version), u.count, u.forward ? "yes" : "NO",
                u.forward ? (u.gradient ? "yes" : "constant") : "NO",
                u.forward ? "cpu" : ("first: " + u.first_node).c_str());
  }
  std::printf(all ? "every operator is supported\n" : "some operators are not supported: the model cannot be run\n");
  return all ? 0 : 3;
}

}  // namespace onnxray::app
