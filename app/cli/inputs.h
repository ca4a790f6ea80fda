// From the command line's -i to tensors, with what the pictures among them looked like.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "api/onnxray.h"
#include "app/cli/arguments.h"
#include "app/io/image.h"
#include "app/io/preprocess.h"

namespace onnxray::app {

struct LoadedInputs {
  NamedTensors tensors;        // rows first
  std::vector<Image> images;   // one per row, for an input given as pictures
  std::string image_input;     // the input they belong to
  bool channels_last = false;  // layout of that input
  std::vector<std::string> labels;
  std::map<std::string, std::vector<std::string>> features;  // names of elements, as in Sidecar
  std::vector<std::string> files;
};

[[nodiscard]] LoadedInputs load_inputs(const Model& model, const Arguments& args);

// One tensor from a file for the given input (images go through the preprocessing).
[[nodiscard]] Tensor load_tensor(const Model& model, const Arguments& args, const ValueInfo& input,
                                 const std::string& file);

// By the file's ending: .png, .jpg, .jpeg.
[[nodiscard]] bool is_image(const std::string& file);

// A tensor from .npy, .pb, .csv or .json, as it is.
[[nodiscard]] Tensor load_array(const std::string& file);

// Index or label (whole, or up to its first comma) of a class.
[[nodiscard]] std::int64_t resolve_target(const std::string& text, const std::vector<std::string>& labels);

}  // namespace onnxray::app
