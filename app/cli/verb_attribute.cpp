#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <set>

#include "app/cli/inputs.h"
#include "app/cli/method_options.h"
#include "app/cli/output.h"
#include "app/cli/verbs.h"
#include "app/io/npy.h"
#include "app/report/grid.h"
#include "app/report/mask_shares.h"
#include "app/report/pictures.h"
#include "app/report/result_json.h"

namespace onnxray::app {
namespace {

void check_finite(const Attribution& result) {
  for (const auto& [name, t] : result.attributions) {
    for (const double v : t.data<double>()) {
      if (!std::isfinite(v)) {
        throw Error(ErrorKind::kNonFinite,
                    "the attribution of '" + name + "' is not finite: the model overflows on this input");
      }
    }
  }
}

std::vector<Answer> chosen_methods(const Arguments& args, const Model& model) {
  std::vector<Answer> answers;
  std::vector<Method*> methods;
  std::string names;
  std::set<std::string> seen;
  for (const std::string& name : args.methods) {
    ONNXRAY_CHECK(seen.insert(name).second, "--method ", name, " is given twice");
    const MethodInfo& info = method(name);
    answers.emplace_back();
    answers.back().info = &info;
    answers.back().method = info.make();
    methods.push_back(answers.back().method.get());
    names += (names.empty() ? "" : ", ") + name;
  }
  set_method_options(methods, names, args, model);
  return answers;
}

// Shares inside the masks, of the picture itself or else of the first layer that lies over it.
std::vector<Shares> shares_of(const LoadedInputs& inputs, const Attribution& result, const Image& masks,
                              const std::string& names) {
  std::vector<Shares> out;
  for (const bool input : {true, false}) {
    for (const auto& [value, t] : result.attributions) {
      const Dims row(t.dims().begin() + 1, t.dims().end());
      const auto map = ImageMap::of(inputs, value, row);
      if (!map || inputs.tensors.contains(value) != input || !out.empty()) continue;
      for (std::int64_t r = 0; r < t.dims()[0]; ++r) {
        const Tensor one = t.rows(r, r + 1).reshaped(row);
        out.push_back(input ? mask_shares(one, map->channels_last(), masks, names)
                            : mask_shares(map->at_picture_size(one), false, masks, names));
      }
    }
  }
  ONNXRAY_CHECK(!out.empty(), "--masks needs an attribution to a picture");
  return out;
}

// Every example beside the maps of all methods; empty where a method has none.
std::string grid_of(const Arguments& args, const Model& model, const LoadedInputs& inputs, const Request& request,
                    const std::vector<Answer>& answers, const std::vector<std::string>& explained) {
  PictureGrid grid{.title = std::filesystem::path(model.metadata().path).filename().string(),
                   .subtitle = {},
                   .columns = {"picture"},
                   .rows = {},
                   .images = {}};
  PictureOptions options = picture_options(args.picture, args.sign, args.outlier_percentile);
  if (options.mode.empty() || options.mode == "panel") options.mode = "blended_heat_map";
  if (!picture_mode_of(options.mode)) return "";
  grid.color_bar = options.mode == "heat_map" || options.mode == "blended_heat_map";
  const std::size_t scalars = std::max<std::size_t>(1, request.to.size());
  for (const Answer& a : answers) {
    grid.columns.push_back(a.info->title);
    const auto first = std::find_if(a.result.attributions.begin(), a.result.attributions.end(), [&](const auto& x) {
      return ImageMap::of(inputs, x.first, {x.second.dims().begin() + 1, x.second.dims().end()}).has_value();
    });
    if (first == a.result.attributions.end()) return "";
    Attribution one;
    one.attributions.insert(*first);
    const std::vector<Picture> drawn = pictures_of(inputs, one, *a.info, explained, options);
    for (std::size_t r = 0; r < drawn.size(); ++r) {
      if (grid.images.size() <= r) {
        const Dims row(first->second.dims().begin() + 1, first->second.dims().end());
        const auto map = ImageMap::of(inputs, first->first, row);
        const Image& picture = map->picture(r / scalars);
        const int side = std::min(picture.width, picture.height);
        grid.images.push_back({enlarge(picture, std::max(1, (HeatMapOptions{}.min_side + side - 1) / side))});
        grid.rows.push_back(explained[r % scalars]);
      }
      grid.images[r].push_back(drawn[r].image);
    }
  }
  if (std::all_of(grid.rows.begin(), grid.rows.end(), [&](const auto& r) { return r == grid.rows[0]; })) {
    grid.subtitle = grid.rows[0].empty() ? "" : "what speaks for " + grid.rows[0];
    grid.rows.clear();
  }
  return grid_svg(grid);
}

void print_answer(const Answer& a, const OutputFolder& folder, const std::vector<std::string>& explained) {
  const Attribution& result = a.result;
  for (std::size_t r = 0; r < result.values.size(); ++r) {
    std::printf("row %zu: %s = %.6g", r / explained.size(),
                explained[r % explained.size()].empty() ? "output" : explained[r % explained.size()].c_str(),
                result.values[r]);
    if (!result.baseline_values.empty()) std::printf(", at the baseline %.6g", result.baseline_values[r]);
    if (!result.delta.empty()) std::printf(", delta %.3g", result.delta[r]);
    std::printf("\n");
    if (r < a.shares.size()) {
      std::printf("share of the positive part:");
      for (const auto& [name, share] : a.shares[r]) std::printf(" %s %.3f", name.c_str(), share);
      std::printf("\n");
    }
  }
  for (const auto& [name, file] : a.arrays) std::printf("%s -> %s\n", name.c_str(), folder.path_of(file).c_str());
  for (const std::string& file : a.heatmaps) std::printf("heat map -> %s\n", folder.path_of(file).c_str());
  for (const std::string& file : a.charts) std::printf("chart -> %s\n", folder.path_of(file).c_str());
}

}  // namespace

int run_attribute(const Arguments& args) {
  OutputFolder folder(args.output);
  const Model model = load_model(args);
  std::vector<Answer> answers = chosen_methods(args, model);
  PictureOptions pictures = picture_options(args.picture, args.sign, args.outlier_percentile);
  if (!args.tokens.empty()) pictures.tokens = read_tokens(args.tokens);
  const LoadedInputs inputs = load_inputs(model, args);
  Request request{
      .inputs = inputs.tensors, .to = {}, .from = args.from, .vary = args.vary, .compute = compute_options(args)};
  request.to = scalars_of(args, model, inputs.tensors, inputs.labels);
  std::optional<Image> masks;
  if (!args.masks.empty()) masks = read_image(args.masks);
  std::vector<std::string> explained;
  for (const Scalar& s : request.to) explained.push_back(s.text);
  if (explained.empty()) explained.emplace_back();

  std::string terminal;
  for (Answer& a : answers) {
    a.result = a.method->run(model, request);
    check_finite(a.result);
    if (answers.size() > 1 && !args.quiet) std::cerr << a.info->name << ":\n";
    print_notices(args, a.result.report);
    // Several methods write to one folder: the method's name comes first.
    const std::string prefix = answers.size() > 1 ? a.info->name + "_" : "";
    for (const auto& [name, t] : a.result.attributions) {
      Dims dims = t.dims();
      if (request.to.size() > 1) {
        dims[0] /= static_cast<std::int64_t>(request.to.size());
        dims.insert(dims.begin() + 1, static_cast<std::int64_t>(request.to.size()));
      }
      a.arrays[name] = folder.add(
          prefix + name, ".npy",
          npy_bytes(t.reshaped(dims).to(a.result.report.precision == Precision::kFloat64 ? DType::f64 : DType::f32)));
    }
    for (Picture& p : pictures_of(inputs, a.result, *a.info, explained, pictures)) {
      auto& list = p.kind == "heat_map" ? a.heatmaps : a.charts;
      list.push_back(folder.add(prefix + p.stem, p.extension, std::move(p.bytes)));
      terminal += p.terminal;
    }
    if (masks) a.shares = shares_of(inputs, a.result, *masks, args.mask_names);
  }
  std::string grid = answers.size() > 1 ? grid_of(args, model, inputs, request, answers, explained) : "";
  if (!grid.empty()) grid = folder.add("grid", ".svg", std::move(grid));
  const Predictions predictions = predict(model, request, inputs.labels);
  const std::string json = attribute_json(model, args, request, inputs, answers, predictions, grid);
  folder.add("result", ".json", json + "\n");
  folder.write();
  if (args.json) {
    std::cout << json << "\n";
    return 0;
  }
  for (const std::string& line : predictions.lines) std::printf("%s\n", line.c_str());
  for (const Answer& a : answers) {
    if (answers.size() > 1) std::printf("%s:\n", a.info->name.c_str());
    print_answer(a, folder, explained);
  }
  if (!grid.empty()) std::printf("grid -> %s\n", folder.path_of(grid).c_str());
  // https://no-color.org
  const char* no_color = std::getenv("NO_COLOR");
  if (isatty(1) == 1 && (no_color == nullptr || *no_color == '\0')) std::printf("%s", terminal.c_str());
  return 0;
}

}  // namespace onnxray::app
