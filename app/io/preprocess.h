// From a picture to a model's input tensor, as a small description says it.
//
//   {"resize": 256, "crop": [224, 224], "channels": "RGB", "scale": 0.00392156862745098,
//    "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "layout": "NCHW"}
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/io/image.h"
#include "engine/tensor.h"

namespace onnxray::app {

struct Preprocess {
  enum class Channels { kFromInput, kRgb, kBgr, kGray };
  enum class Layout { kFromInput, kNchw, kNhwc };

  std::vector<std::int64_t> resize;  // empty; the shorter side; or height, width
  std::vector<std::int64_t> crop;    // empty; or height, width of the centre
  // Set: the centre crop has the size of the model's input and is this part of the resized shorter side (0.875 for
  // 224 of 256). Excludes `resize` and `crop`.
  std::optional<double> crop_fraction;
  Channels channels = Channels::kFromInput;  // from the input: RGB for 3 channels, grey for 1
  double scale = 1;                          // value = (pixel * scale - mean) / std
  std::vector<double> mean, std;  // none, one for all channels, or one per channel in the order of `channels`
  Layout layout = Layout::kFromInput;
};

// "imagenet", "caffe", "unit" or "raw", else a JSON file.
[[nodiscard]] Preprocess preprocess_of(const std::string& name_or_file);
// A JSON object with the fields above, or a preset's name as a JSON text.
[[nodiscard]] Preprocess parse_preprocess(std::string_view json, const std::string& name);

// What MODEL.json beside MODEL.onnx says; empty where there is none.
struct Sidecar {
  std::optional<Preprocess> preprocess;
  std::vector<std::string> labels;  // a list in the file, or the name of a file beside it, one label a line
  // Names of the elements of an input by the input's name, or by "" for a list that names no input:
  // "features": ["age", "income"] or {"x": ["age", "income"]}.
  std::map<std::string, std::vector<std::string>> features;
};
[[nodiscard]] Sidecar read_sidecar(const std::filesystem::path& model);
// One label a line, or a JSON list.
[[nodiscard]] std::vector<std::string> read_labels(const std::filesystem::path& path);

struct Prepared {
  Tensor tensor;  // float32, one row: [1, C, H, W] or [1, H, W, C]; without the 1 for an input of rank 3
  Image image;    // after resize and crop, for overlays
  bool channels_last = false;
};
// `input` are the model's input dims of rank 3 or 4, the batch first in rank 4; a dim <= 0 is free.
[[nodiscard]] Prepared image_to_tensor(const Image& image, const Preprocess& preprocess, const Dims& input);

}  // namespace onnxray::app
