#include "app/cli/method_options.h"

#include <charconv>
#include <set>

#include "app/cli/inputs.h"

namespace onnxray::app {
namespace {

class Setter final : public OptionVisitor {
 public:
  Setter(const Arguments& args, const Model& model) : args_(args), model_(model) {}

  void operator()(const OptionInfo& i, bool& f) override {
    for (const std::string* v : values(i)) {
      ONNXRAY_CHECK(*v == "true" || *v == "false" || *v == "1" || *v == "0", flag(i), " is '", *v,
                    "', expected true or false");
      f = *v == "true" || *v == "1";
    }
  }
  void operator()(const OptionInfo& i, std::int64_t& f) override {
    for (const std::string* v : values(i)) f = number<std::int64_t>(i, *v);
  }
  void operator()(const OptionInfo& i, double& f) override {
    for (const std::string* v : values(i)) f = number<double>(i, *v);
  }
  void operator()(const OptionInfo& i, std::string& f) override {
    for (const std::string* v : values(i)) f = *v;
  }
  void operator()(const OptionInfo& i, std::vector<std::vector<std::int64_t>>& f) override {
    for (const std::string* v : values(i)) f.push_back(numbers<std::int64_t>(i, *v));
  }
  void operator()(const OptionInfo& i, std::vector<double>& f) override {
    const auto given = values(i);
    if (!given.empty()) f.clear();
    for (const std::string* v : given) {
      const std::vector<double> list = numbers<double>(i, *v);
      f.insert(f.end(), list.begin(), list.end());
    }
  }
  void operator()(const OptionInfo& i, Baselines& f) override {
    const auto given = values(i);
    if (given.empty()) return;
    f.text.clear();
    for (const std::string* v : given) {
      f.text += (f.text.empty() ? "" : " ") + *v;
      double x = 0;
      const auto [end, error] = std::from_chars(v->data(), v->data() + v->size(), x);
      if (error == std::errc() && end == v->data() + v->size()) {
        f.kind = Baselines::Kind::kConstant;
        f.constant = x;
      } else if (*v == "blur" || v->starts_with("blur:")) {
        f.kind = Baselines::Kind::kBlur;
        if (v->size() > 5) f.blur_sigma = number<double>(i, v->substr(5));
      } else {
        f.kind = Baselines::Kind::kTensors;
        load_baseline(*v, f);
      }
    }
  }

  void operator()(const OptionInfo& i, FeatureMask& f) override {
    const auto given = values(i);
    if (given.empty()) return;
    f = {};
    f.text.clear();
    for (const std::string* v : given) {
      f.text += (f.text.empty() ? "" : " ") + *v;
      if (const auto built_in = parse_feature_mask(*v); built_in && !std::filesystem::exists(*v)) {
        ONNXRAY_CHECK(given.size() == 1, flag(i), " ", *v, " stands for all values: give it alone");
        f = *built_in;
      } else {
        f.kind = FeatureMask::Kind::kTensors;
        load_mask(i, *v, f);
      }
    }
  }

  void finish(const std::string& method) const {
    for (const auto& [name, value] : args_.method_options) {
      if (known_.contains(name)) continue;
      std::string list;
      for (const std::string& k : known_) list += (list.empty() ? "" : ", ") + dashed(k);
      fail("unknown option ", dashed(name), " for ", method,
           list.empty() ? ", which has no options" : ", expected one of: " + list);
    }
  }

 private:
  static std::string dashed(std::string name) {
    for (char& c : name) c = c == '_' ? '-' : c;
    return "--" + name;
  }
  static std::string flag(const OptionInfo& i) { return dashed(flag_name(i)); }

  std::vector<const std::string*> values(const OptionInfo& i) {
    known_.insert(flag_name(i));
    std::vector<const std::string*> out;
    for (const auto& [name, value] : args_.method_options) {
      if (name == flag_name(i)) out.push_back(&value);
    }
    return out;
  }

  template <class T>
  static T number(const OptionInfo& i, const std::string& text) {
    T v{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
    ONNXRAY_CHECK(error == std::errc() && end == text.data() + text.size(), flag(i), " is '", text,
                  "', expected a number");
    return v;
  }

  // "3,15,15"
  template <class T>
  static std::vector<T> numbers(const OptionInfo& i, const std::string& text) {
    std::vector<T> list;
    std::size_t begin = 0;
    while (true) {
      const std::size_t comma = text.find(',', begin);
      list.push_back(number<T>(i, text.substr(begin, comma == std::string::npos ? comma : comma - begin)));
      if (comma == std::string::npos) return list;
      begin = comma + 1;
    }
  }

  void load_baseline(const std::string& given, Baselines& f) {
    // NAME=FILE for any varied value; FILE alone for the first float input.
    const std::size_t equals = given.find('=');
    const bool named = equals != std::string::npos && !std::filesystem::exists(given);
    const std::string file = named ? given.substr(equals + 1) : given;
    ONNXRAY_CHECK(std::filesystem::exists(file), "--baselines ", given,
                  ": expected a number, blur, FILE or NAME=FILE; '", file, "' does not exist");
    std::string name = named ? given.substr(0, equals) : "";
    if (name.empty()) name = args_.from.size() == 1 ? args_.from[0] : "";
    for (const ValueInfo& in : model_.inputs()) {
      if (name.empty() && is_float(in.dtype)) name = in.name;
      if (in.name == name) {
        f.tensors[name] = load_tensor(model_, args_, in, file);
        return;
      }
    }
    f.tensors[name] = load_array(file);
  }

  // A picture's red channel holds region codes, [H, W].
  static Tensor load_ids(const std::string& file) {
    if (!is_image(file)) return load_array(file);
    const Image image = read_image(file);
    Tensor ids(DType::i64, {image.height, image.width});
    const auto to = ids.mutable_data<std::int64_t>();
    for (std::size_t at = 0; at < to.size(); ++at) {
      const auto place = static_cast<int>(at);
      to[at] = image.at(place % image.width, place / image.width)[0];
    }
    return ids;
  }

  void load_mask(const OptionInfo& i, const std::string& given, FeatureMask& f) {
    // NAME=FILE for any attributed value; FILE alone where there is only one.
    const std::size_t equals = given.find('=');
    const bool named = equals != std::string::npos && !std::filesystem::exists(given);
    const std::string file = named ? given.substr(equals + 1) : given;
    ONNXRAY_CHECK(std::filesystem::exists(file), flag(i), " ", given,
                  ": expected elements, axis:K, grid:N, slic:N, FILE or NAME=FILE; '", file, "' does not exist");
    std::vector<std::string> candidates = args_.from;
    for (const ValueInfo& in : model_.inputs()) {
      if (args_.from.empty() && is_float(in.dtype)) candidates.push_back(in.name);
    }
    const bool no_floats = candidates.empty();
    for (const ValueInfo& in : model_.inputs()) {
      if (no_floats) candidates.push_back(in.name);
    }
    ONNXRAY_CHECK(named || candidates.size() == 1, flag(i), " ", given,
                  ": several values are attributed to; say which, ", flag(i), " NAME=", given);
    f.tensors[named ? given.substr(0, equals) : candidates[0]] = load_ids(file);
  }

  const Arguments& args_;
  const Model& model_;
  std::set<std::string> known_;
};

}  // namespace

void set_method_options(const std::vector<Method*>& methods, const std::string& names, const Arguments& args,
                        const Model& model) {
  Setter setter(args, model);
  for (Method* method : methods) method->visit_options(setter);
  setter.finish(names);
  for (Method* method : methods) check_options(*method);
}

}  // namespace onnxray::app
