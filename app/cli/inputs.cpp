#include "app/cli/inputs.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>

#include "app/io/csv.h"
#include "app/io/files.h"
#include "app/io/json.h"
#include "app/io/npy.h"
#include "onnx_import/test_data.h"

namespace onnxray::app {
namespace {

std::string extension_of(const std::string& file) {
  std::string e = std::filesystem::path(file).extension().string();
  std::transform(e.begin(), e.end(), e.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return e;
}

Preprocess preprocess_for(const Model& model, const Arguments& args) {
  if (!args.preprocess.empty()) return preprocess_of(args.preprocess);
  const Sidecar sidecar = read_sidecar(model.metadata().path);
  ONNXRAY_CHECK(sidecar.preprocess.has_value(),
                "no preprocessing is known for pictures: give --preprocess imagenet, "
                "caffe, unit, raw or FILE.json, or put a description beside the model");
  return *sidecar.preprocess;
}

Dims declared_dims(const ValueInfo& input) {
  Dims d;
  for (const DeclaredDim& x : input.dims) d.push_back(x.value);
  return d;
}

// The declared dtype, and the batch axis if only it is missing.
Tensor fit(Tensor t, const ValueInfo& input) {
  if (input.has_shape && t.rank() + 1 == input.dims.size()) {
    Dims d = t.dims();
    d.insert(d.begin(), 1);
    t = t.reshaped(d);
  }
  if (is_float(input.dtype) || t.dtype() == input.dtype)
    return is_float(input.dtype) && !is_float(t.dtype()) ? t.to(DType::f64) : t;
  // Text formats know only float64 and int64.
  ONNXRAY_CHECK(!is_float(t.dtype()), "input '", input.name, "' is ", name_of(t.dtype()), ", expected ",
                name_of(input.dtype));
  return t.to(input.dtype);
}

Tensor image_tensor(const Model& model, const Arguments& args, const ValueInfo& input, const std::string& file,
                    LoadedInputs* images) {
  ONNXRAY_CHECK(is_float(input.dtype) || input.dtype == DType::u8, "input '", input.name, "' is ", name_of(input.dtype),
                ": pictures go to float or uint8 inputs");
  const Prepared p = image_to_tensor(read_image(file), preprocess_for(model, args), declared_dims(input));
  if (images != nullptr) {
    images->images.push_back(p.image);
    images->image_input = input.name;
    images->channels_last = p.channels_last;
  }
  return input.dtype == DType::u8 ? p.tensor.to(DType::u8) : p.tensor;
}

}  // namespace

bool is_image(const std::string& file) {
  const std::string e = extension_of(file);
  return e == ".png" || e == ".jpg" || e == ".jpeg";
}

Tensor load_array(const std::string& file) {
  const std::string e = extension_of(file);
  if (e == ".npy") return read_npy(file);
  if (e == ".pb") return onnx_import::read_tensor_file(file);
  if (e == ".csv") return read_csv(file).values;
  if (e == ".json") return read_json_tensor(file);
  fail("'", file, "': expected .npy, .pb, .png, .jpg, .csv or .json");
}

Tensor load_tensor(const Model& model, const Arguments& args, const ValueInfo& input, const std::string& file) {
  return is_image(file) ? image_tensor(model, args, input, file, nullptr) : fit(load_array(file), input);
}

LoadedInputs load_inputs(const Model& model, const Arguments& args) {
  LoadedInputs out;
  const Sidecar sidecar = read_sidecar(model.metadata().path);
  out.labels = sidecar.labels;
  out.features = sidecar.features;
  std::map<std::string, std::vector<Tensor>> parts;
  for (const std::string& given : args.inputs) {
    const ValueInfo* input = nullptr;
    std::string file = given;
    for (const ValueInfo& in : model.inputs()) {
      if (given.starts_with(in.name + "=")) {
        input = &in;
        file = given.substr(in.name.size() + 1);
      }
    }
    if (input == nullptr) {
      const std::size_t equals = given.find('=');
      const bool named = equals != std::string::npos && !std::filesystem::exists(given);
      std::string known;
      for (const ValueInfo& in : model.inputs()) known += (known.empty() ? "" : ", ") + in.name;
      ONNXRAY_CHECK(!named, "the model has no input '", given.substr(0, equals), "', its inputs are: ", known);
      ONNXRAY_CHECK(model.inputs().size() == 1, "the model has ", model.inputs().size(),
                    " inputs: say which, -i NAME=", given, " (", known, ")");
      input = &model.inputs()[0];
    }
    ONNXRAY_CHECK(std::filesystem::exists(file), "input file '", file, "' does not exist");
    out.files.push_back(file);
    parts[input->name].push_back(is_image(file) ? image_tensor(model, args, *input, file, &out)
                                                : fit(load_array(file), *input));
  }
  for (const auto& [name, list] : parts) {
    out.tensors[name] = list.size() == 1 ? list[0] : stack_rows(list);
    const Tensor& t = out.tensors[name];
    ONNXRAY_CHECK(args.max_rows <= 0 || t.rank() == 0 || t.dims()[0] <= args.max_rows, "input '", name, "' has ",
                  t.rank() == 0 ? 1 : t.dims()[0], " rows, more than --max-rows ", args.max_rows);
  }
  return out;
}

std::int64_t resolve_target(const std::string& text, const std::vector<std::string>& labels) {
  std::int64_t index = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error == std::errc() && end == text.data() + text.size()) return index;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] == text || labels[i].substr(0, labels[i].find(',')) == text) return static_cast<std::int64_t>(i);
  }
  ONNXRAY_CHECK(!labels.empty(), "target '", text, "' is no index, and the model has no labels (MODEL.json beside it)");
  fail("target '", text, "' is neither an index nor one of the model's ", labels.size(), " labels");
}

}  // namespace onnxray::app
