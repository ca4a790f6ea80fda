#include <algorithm>
#include <cstdio>
#include <iostream>

#include "app/cli/verbs.h"
#include "app/report/result_json.h"

namespace onnxray::app {
namespace {

// Which operators have kernels on a device, as far as that can be said before a run.
DeviceColumn column_of(const Model& model, const std::vector<OperatorUse>& uses, const std::string& kind,
                       const Arguments& args, bool supported) {
  DeviceColumn column{.kind = kind, .on_host = std::vector<char>(uses.size(), 0)};
  if (kind == "cpu") return column;
  try {
    (void)device_backend(kind);
  } catch (const Error& e) {
    column.absent = e.what();
  }
  if (!supported) {
    column.problem = "some operators are not supported";
    return column;
  }
  try {
    column.gaps = device_gaps(model, nominal_inputs(model, args), *device_table(kind));
  } catch (const Error& e) {
    column.problem = e.what();
  }
  for (const DeviceGap& gap : column.gaps) {
    for (std::size_t i = 0; i < uses.size(); ++i) {
      // Nodes are called "name (Operator)".
      if (gap.node.find("(" + uses[i].op + ")") != std::string::npos) column.on_host[i] = 1;
    }
  }
  return column;
}

}  // namespace

int run_doctor(const Arguments& args) {
  const Model model = inspect(args.model);
  const std::vector<OperatorUse> uses = model.operators();
  const bool all = std::all_of(uses.begin(), uses.end(), [](const OperatorUse& u) { return u.forward; });
  std::vector<DeviceColumn> columns;
  for (const std::string& kind : device_kinds()) columns.push_back(column_of(model, uses, kind, args, all));
  if (args.json) {
    std::cout << doctor_json(model, uses, columns) << "\n";
    return all ? 0 : 3;
  }
  std::printf("%-28s %-14s %5s %6s  %-8s %-9s", "operator", "domain", "opset", "nodes", "forward", "gradient");
  for (const DeviceColumn& c : columns) std::printf(" %-5s", c.kind.c_str());
  std::printf("\n");
  for (std::size_t i = 0; i < uses.size(); ++i) {
    const OperatorUse& u = uses[i];
    std::printf("%-28s %-14s %5lld %6d  %-8s %-9s", u.op.c_str(), u.domain.c_str(), static_cast<long long>(u.version),
                u.count, u.forward ? "yes" : "NO", u.forward ? (u.gradient ? "yes" : "constant") : "NO");
    for (const DeviceColumn& c : columns) {
      std::printf(" %-5s", !u.forward ? "NO" : (!c.problem.empty() ? "?" : (c.on_host[i] != 0 ? "host" : "yes")));
    }
    std::printf("%s\n", u.forward ? "" : (" first: " + u.first_node).c_str());
  }
  std::printf(all ? "every operator is supported\n" : "some operators are not supported: the model cannot be run\n");
  for (const DeviceColumn& c : columns) {
    if (!c.problem.empty()) std::printf("%s: not known: %s\n", c.kind.c_str(), c.problem.c_str());
    else if (!c.gaps.empty()) {
      std::printf("%s: %zu nodes run on the host, the first is %s: %s\n", c.kind.c_str(), c.gaps.size(),
                  c.gaps[0].node.c_str(), c.gaps[0].op.c_str());
    }
    if (!c.absent.empty()) std::printf("%s cannot be used here: %s\n", c.kind.c_str(), c.absent.c_str());
  }
  return all ? 0 : 3;
}

}  // namespace onnxray::app
