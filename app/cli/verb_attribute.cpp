#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <optional>

#include "app/cli/inputs.h"
#include "app/cli/method_options.h"
#include "app/cli/output.h"
#include "app/cli/verbs.h"
#include "app/io/heatmap.h"
#include "app/io/npy.h"
#include "app/report/mask_shares.h"
#include "app/report/result_json.h"

namespace onnxray::app {
namespace {

// A picture for rows that did not come from one: the input scaled to 0..255, channels first or last.
Image picture_of(const Tensor& row, bool channels_last) {
  const Dims& d = row.dims();
  const std::int64_t c = channels_last ? d[2] : d[0], h = channels_last ? d[0] : d[1], w = channels_last ? d[1] : d[2];
  const std::vector<double> v = row.to_doubles();
  const auto [lo, hi] = std::minmax_element(v.begin(), v.end());
  const double scale = *hi > *lo ? 255 / (*hi - *lo) : 0;
  Image image(static_cast<int>(w), static_cast<int>(h));
  for (std::int64_t y = 0; y < h; ++y) {
    for (std::int64_t x = 0; x < w; ++x) {
      for (std::int64_t k = 0; k < 3; ++k) {
        const std::int64_t channel = c == 3 ? k : 0;
        const std::int64_t at = channels_last ? (y * w + x) * c + channel : (channel * h + y) * w + x;
        image.at(static_cast<int>(x), static_cast<int>(y))[k] =
            static_cast<std::uint8_t>(std::lround((v[static_cast<std::size_t>(at)] - *lo) * scale));
      }
    }
  }
  return image;
}

bool looks_like_image(const Dims& row) {
  return row.size() == 3 && (row[0] == 1 || row[0] == 3) && row[1] >= 8 && row[2] >= 8;
}

}  // namespace

int run_attribute(const Arguments& args) {
  OutputFolder folder(args.output);
  const Model model = load(args.model);
  const MethodInfo& info = method(args.method);
  const std::unique_ptr<Method> chosen = info.make();
  set_method_options(*chosen, args, model);
  const LoadedInputs inputs = load_inputs(model, args);
  Request request{.inputs = inputs.tensors, .to = {}, .from = args.from, .compute = compute_options(args)};
  request.to = scalars_of(args, model, inputs.tensors, inputs.labels);
  std::optional<Image> masks;
  if (!args.masks.empty()) masks = read_image(args.masks);
  const Attribution result = chosen->run(model, request);
  for (const auto& [name, t] : result.attributions) {
    for (const double v : t.data<double>()) {
      if (!std::isfinite(v)) {
        throw Error(ErrorKind::kNonFinite,
                    "the attribution of '" + name + "' is not finite: the model overflows on this input");
      }
    }
  }
  print_notices(args, result.report);

  AttributeFiles files;
  const std::size_t scalars = std::max<std::size_t>(1, request.to.size());
  for (const auto& [name, t] : result.attributions) {
    Dims dims = t.dims();
    if (scalars > 1) {
      dims[0] /= static_cast<std::int64_t>(scalars);
      dims.insert(dims.begin() + 1, static_cast<std::int64_t>(scalars));
    }
    files.arrays[name] = folder.add(
        name, ".npy",
        npy_bytes(t.reshaped(dims).to(result.report.precision == Precision::kFloat64 ? DType::f64 : DType::f32)));
  }
  // Heat maps: one per row, for the input that is a picture.
  std::string image_input = inputs.image_input;
  if (image_input.empty()) {
    for (const auto& [name, t] : result.attributions) {
      if (inputs.tensors.contains(name) && looks_like_image(Dims(t.dims().begin() + 1, t.dims().end())))
        image_input = name;
    }
  }
  if (result.attributions.contains(image_input)) {
    const Tensor& a = result.attributions.at(image_input);
    for (std::int64_t r = 0; r < a.dims()[0]; ++r) {
      const Tensor row = a.rows(r, r + 1).reshaped(Dims(a.dims().begin() + 1, a.dims().end()));
      const std::size_t example = static_cast<std::size_t>(r) / scalars;
      const Image picture =
          example < inputs.images.size()
              ? inputs.images[example]
              : picture_of(inputs.tensors.at(image_input)
                               .rows(static_cast<std::int64_t>(example), static_cast<std::int64_t>(example) + 1)
                               .reshaped(row.dims()),
                           inputs.channels_last);
      files.heatmaps.push_back(folder.add("heatmap_" + std::to_string(r), ".png",
                                          encode_png(heat_map_panel(picture, row, inputs.channels_last))));
      if (masks) files.shares.push_back(mask_shares(row, inputs.channels_last, *masks, args.mask_names));
    }
  }
  ONNXRAY_CHECK(args.masks.empty() || !files.shares.empty(), "--masks needs an attribution to a picture");
  const Predictions predictions = predict(model, request, inputs.labels);
  const std::string json = attribute_json(model, args, info, *chosen, request, inputs, result, files, predictions);
  folder.add("result", ".json", json + "\n");
  folder.write();
  if (args.json) {
    std::cout << json << "\n";
    return 0;
  }
  for (const std::string& line : predictions.lines) std::printf("%s\n", line.c_str());
  for (std::size_t r = 0; r < result.values.size(); ++r) {
    std::printf("row %zu: %s = %.6g", r / scalars, request.to.empty() ? "output" : request.to[r % scalars].text.c_str(),
                result.values[r]);
    if (!result.delta.empty())
      std::printf(", at the baseline %.6g, delta %.3g", result.baseline_values[r], result.delta[r]);
    std::printf("\n");
    if (r < files.shares.size()) {
      std::printf("share of the positive part:");
      for (const auto& [name, share] : files.shares[r]) std::printf(" %s %.3f", name.c_str(), share);
      std::printf("\n");
    }
  }
  for (const auto& [name, file] : files.arrays) std::printf("%s -> %s\n", name.c_str(), folder.path_of(file).c_str());
  for (const std::string& file : files.heatmaps) std::printf("heat map -> %s\n", folder.path_of(file).c_str());
  return 0;
}

}  // namespace onnxray::app
