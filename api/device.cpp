#include "api/device.h"

#include <dlfcn.h>

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>

#include "algorithms/session.h"
#include "engine/autodiff.h"
#include "engine/host_nodes.h"
#include "kernels/cpu/cpu.h"
#include "kernels/device_module.h"

namespace onnxray {
namespace {

namespace fs = std::filesystem;

// Folders that may hold modules: ONNXRAY_MODULES, where this code lies, and where an installation puts libraries.
std::vector<fs::path> module_folders() {
  std::vector<fs::path> folders;
  if (const char* given = std::getenv("ONNXRAY_MODULES"); given != nullptr && *given != '\0')
    folders.emplace_back(given);
  Dl_info here{};
  if (dladdr(reinterpret_cast<const void*>(&device_backend), &here) != 0 && here.dli_fname != nullptr) {
    std::error_code ignored;
    // A program's own name may be relative or a link.
    fs::path self = fs::canonical(here.dli_fname, ignored);
    if (self.empty()) self = fs::canonical("/proc/self/exe", ignored);
    const fs::path own = self.parent_path();
    for (const fs::path& f : {own, own.parent_path(), own.parent_path() / ONNXRAY_LIBDIR}) folders.push_back(f);
  }
  return folders;
}

struct Module {
  DeviceBackendFn backend = nullptr;
  DevicePeakBytesFn peak_bytes = nullptr;
  std::string missing;  // why there is none
};

Module open_module(const std::string& kind) {
  const std::string name = "libonnxray_" + kind + ".so";
  std::string looked;
  for (const fs::path& folder : module_folders()) {
    const fs::path file = folder / name;
    std::error_code ignored;
    if (!fs::exists(file, ignored)) {
      looked += (looked.empty() ? "" : ", ") + folder.string();
      continue;
    }
    void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) return {.missing = detail::concat(file.string(), " cannot be opened: ", dlerror())};
    const auto version = reinterpret_cast<DeviceModuleVersionFn>(dlsym(handle, "onnxray_device_module_version"));
    const auto backend = reinterpret_cast<DeviceBackendFn>(dlsym(handle, "onnxray_device_backend"));
    if (version == nullptr || backend == nullptr) return {.missing = file.string() + " is no module of onnxray"};
    if (std::string_view(version()) != kDeviceModuleVersion) {
      return {.missing = detail::concat(file.string(), " belongs to another version of onnxray (", version(),
                                        ", expected ", kDeviceModuleVersion, ")")};
    }
    return {.backend = backend,
            .peak_bytes = reinterpret_cast<DevicePeakBytesFn>(dlsym(handle, "onnxray_device_peak_bytes"))};
  }
  return {.missing = detail::concat("the module ", name, " is not there (looked in ", looked,
                                    "); build it with -DONNXRAY_CUDA=ON")};
}

const Module& module(const std::string& kind) {
  static std::mutex mutex;
  static auto* modules = new std::map<std::string, Module>;
  std::lock_guard<std::mutex> lock(mutex);
  const auto [it, is_new] = modules->try_emplace(kind);
  if (is_new) it->second = open_module(kind);
  return it->second;
}

bool is_kind(std::string_view s) { return s == "cuda" || s == "cuda-sim"; }

const Backend& backend_of(std::string_view name) {
  if (name.empty()) {
    const char* given = std::getenv("ONNXRAY_DEVICE");
    name = given != nullptr && *given != '\0' ? given : "cpu";
  }
  if (name == "cpu") return cpu_backend();
  const std::size_t colon = name.find(':');
  const std::string kind(name.substr(0, colon));
  int index = 0;
  bool valid = is_kind(kind);
  if (valid && colon != std::string_view::npos) {
    const std::string_view digits = name.substr(colon + 1);
    const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    valid = end.ec == std::errc() && end.ptr == digits.data() + digits.size() && index >= 0;
  }
  ONNXRAY_CHECK(valid, "unknown device '", name, "', expected cpu, cuda or cuda:INDEX");
  const Module& m = module(kind);
  if (m.backend == nullptr) fail_unsupported("device ", name, ": ", m.missing);
  return *m.backend(index, &cpu_backend());
}

}  // namespace

const Backend& device_backend(std::string_view name, ComputeMode mode) {
  const Backend& exact = backend_of(name);
  if (mode == ComputeMode::kExact) return exact;
  ONNXRAY_CHECK(exact.device != nullptr, "modes balanced, fast and bf16 are for CUDA devices, the device is ",
                exact.name(), "; expected float32 or float64");
  static std::mutex mutex;
  static auto* others = new std::map<std::pair<const Backend*, ComputeMode>, std::unique_ptr<Backend>>;
  std::lock_guard<std::mutex> lock(mutex);
  std::unique_ptr<Backend>& slot = (*others)[{&exact, mode}];
  if (!slot) {
    slot = std::make_unique<Backend>(exact);
    slot->mode = mode;
  }
  return *slot;
}

const Backend* device_table(std::string_view kind) {
  if (kind == "cpu") return &cpu_backend();
  const Module& m = module(std::string(kind));
  return m.backend == nullptr ? nullptr : m.backend(-1, &cpu_backend());
}

std::size_t device_peak_bytes(const Backend& backend) {
  if (backend.device == nullptr) return 0;
  const Module& m = module(backend.name());
  return m.peak_bytes == nullptr ? 0 : m.peak_bytes(&backend);
}

std::vector<std::string> device_kinds() {
  std::vector<std::string> kinds{"cpu"};
  if (module("cuda").backend != nullptr) kinds.emplace_back("cuda");
  return kinds;
}

std::vector<DeviceGap> device_gaps(const Model& model, const NamedTensors& inputs, const Backend& table) {
  std::int64_t examples = 1;
  const Request request{.inputs = inputs, .to = {}, .from = {}, .compute = {}};
  const auto canonical = model.canonical(specialisation_of(model, request, examples));
  Graph g = prepare_suffix(prepare_forward(extract(canonical->graph, {}, canonical->graph.outputs()),
                                           Precision::kFloat32, model.evaluator()),
                           model.evaluator());
  std::vector<ValueId> outputs = g.outputs();
  GradientRequest gradients;
  for (const ValueId v : g.inputs()) {
    if (is_float(g.value(v).dtype)) gradients.wrt.push_back(v);
  }
  Builder b(g, model.evaluator());
  for (const ValueId v : outputs) {
    if (g.is_constant(v) || !is_float(g.value(v).dtype)) continue;
    gradients.seeds.push_back({v, g.add_input("seed " + std::to_string(v), g.value(v).dtype, Dims(g.value(v).dims))});
  }
  for (const ValueId v : gradient(b, gradients)) {
    if (v != kNoValue) outputs.push_back(v);
  }
  g.set_outputs(outputs);
  std::vector<DeviceGap> gaps;
  const Graph lowered = lower_for(table, g, model.evaluator());
  for (const NodeId n : host_nodes(lowered, table)) {
    gaps.push_back({lowered.node(n).name, lowered.node(n).op->name});
  }
  return gaps;
}

}  // namespace onnxray
