#include "app/cli/arguments.h"

#include <CLI/CLI.hpp>
#include <iostream>

#include "api/onnxray.h"

namespace onnxray::app {
namespace {

// The options every computing verb shares.
void add_compute(CLI::App* verb, Arguments& a) {
  verb->add_option("--precision", a.precision,
                   "float32 or float64; on CUDA also exact, balanced, fast, bf16 (default: float32, which is exact; "
                   "float64 for a float64 model)");
  verb->add_option("--device", a.device, "cpu, cuda or cuda:INDEX (default: $ONNXRAY_DEVICE, else cpu)");
  verb->add_option("--threads", a.threads, "threads (default: all)");
  verb->add_option("--memory", a.memory, "budget for activations, e.g. 2G (default: half of the machine's)");
  verb->add_option("--max-rows", a.max_rows, "refuse more rows of input than this");
  verb->add_option("--chunk", a.chunk, "rows per plan, to repeat a result bit for bit (default: chosen)");
  verb->add_option("--seed", a.seed, "for stochastic methods")->capture_default_str();
  verb->add_flag("--quiet", a.quiet, "no progress, no notices");
  verb->add_flag("--json", a.json, "the result as JSON on standard output");
}

void add_inputs(CLI::App* verb, Arguments& a) {
  verb->add_option("-i,--input", a.inputs, "FILE or NAME=FILE (.npy .pb .png .jpg .csv .json); several make a batch")
      ->allow_extra_args(false)
      ->required();
  verb->add_option("--preprocess", a.preprocess, "imagenet, caffe, unit, raw or FILE.json (default: MODEL.json)");
}

void add_output(CLI::App* verb, Arguments& a) {
  verb->add_option("-o,--output", a.output, "folder for the results, created")->capture_default_str();
}

class MethodOptionLines final : public OptionVisitor {
 public:
  explicit MethodOptionLines(std::string& out) : out_(out) {}
  void operator()(const OptionInfo& i, bool& f) override { line(i, f ? "true" : "false"); }
  void operator()(const OptionInfo& i, std::int64_t& f) override { line(i, std::to_string(f)); }
  void operator()(const OptionInfo& i, double& f) override { line(i, detail::concat(f)); }
  void operator()(const OptionInfo& i, std::string& f) override { line(i, f); }
  void operator()(const OptionInfo& i, std::vector<std::vector<std::int64_t>>&) override { line(i, "none"); }
  void operator()(const OptionInfo& i, std::vector<double>& f) override {
    std::string text;
    for (const double v : f) text += (text.empty() ? "" : ",") + detail::concat(v);
    line(i, text);
  }
  void operator()(const OptionInfo& i, Baselines& f) override { line(i, f.text); }
  void operator()(const OptionInfo& i, FeatureMask& f) override { line(i, f.text); }

 private:
  void line(const OptionInfo& i, const std::string& value) {
    std::string flag = flag_name(i);
    for (char& c : flag) c = c == '_' ? '-' : c;
    out_ += "    --" + flag + "  " + i.description + " (default " + value + ")\n";
  }
  std::string& out_;
};

std::string method_help() {
  std::string s = "Methods and their options:\n";
  for (const MethodInfo& m : methods()) {
    s += "  " + m.name + "\n";
    const auto method = m.make();
    MethodOptionLines lines(s);
    method->visit_options(lines);
  }
  return s +
         "\nExample:\n  onnxray attribute squeezenet.onnx -i cat.jpg --preprocess imagenet --target 281 \\\n"
         "      --method integrated-gradients --n-steps 50 --baselines blur -o out\n";
}

}  // namespace

bool parse_arguments(int argc, char** argv, Arguments& a, int& exit_code) {
  CLI::App app("onnxray: X-ray any ONNX model. Which inputs, layers and neurons made it say that?", "onnxray");
  app.footer(
      "Example: onnxray attribute model.onnx -i cat.png --method integrated-gradients --target 281 -o out\n"
      "Exit codes: 0 done, 1 a check failed, 2 bad usage or input, 3 could not evaluate.");
  app.set_version_flag("--version", std::string("onnxray ") + version());
  app.require_subcommand(1);
  app.failure_message([](const CLI::App*, const CLI::Error& e) {
    return std::string("onnxray: ") + e.what() + " (--help says more)\n";
  });
  const auto model = [&](CLI::App* verb) { verb->add_option("MODEL", a.model, "the .onnx file")->required(); };
  const auto json = [&](CLI::App* verb) {
    verb->add_flag("--json", a.json, "as JSON on standard output");
    verb->add_flag("--quiet", a.quiet, "no notices");
  };

  CLI::App* doctor = app.add_subcommand("doctor", "What onnxray can do with a model, operator by operator");
  model(doctor);
  json(doctor);
  doctor->footer("Example: onnxray doctor model.onnx");

  CLI::App* info = app.add_subcommand("info", "Inputs, outputs, values with shapes, parameters, multiply-adds");
  model(info);
  json(info);
  info->add_option("--shape", a.shapes, "NAME=1,3,224,224 for inputs with named dimensions")->allow_extra_args(false);
  info->footer("Example: onnxray info model.onnx --shape x=1,3,224,224");

  CLI::App* run = app.add_subcommand("run", "Outputs, and any named value, to .npy");
  model(run);
  add_inputs(run, a);
  run->add_option("--value", a.values, "a value by name; repeatable (default: the outputs)")->allow_extra_args(false);
  add_output(run, a);
  add_compute(run, a);
  run->add_flag("--profile", a.profile, "time per operator on standard error");
  run->footer("Example: onnxray run model.onnx -i x.npy --value conv4 -o out");

  CLI::App* verify = app.add_subcommand("verify", "Run ONNX test folders (model.onnx, test_data_set_*)");
  verify->add_option("PATH", a.paths, "folders to search")->required();
  verify->add_option("--expect", a.expect, "file of expected failures: case, tab or spaces, reason");
  verify->add_option("--only", a.only, "file of case names to run, one a line");
  verify->add_option("--precision", a.precision, "float32 or float64 (default: the declared types)");
  verify->add_option("--threads", a.threads, "threads (default: all)");
  json(verify);
  verify->footer("Example: onnxray verify /usr/share/onnx-tests/node --expect expected.txt");

  CLI::App* grad = app.add_subcommand("grad", "The gradient of any scalar with respect to any values, to .npy");
  model(grad);
  add_inputs(grad, a);
  grad->add_option("--of", a.to, "VALUE, VALUE:281, VALUE:2,7,7 or A:1-B:2; repeatable")->allow_extra_args(false);
  grad->add_option("--target", a.targets, "class of the first output, index or label; several go one to a row")
      ->allow_extra_args(false);
  grad->add_option("--of-mask,--to-mask", a.to_mask, "FILE.npy: weights that sum a whole value");
  grad->add_option("--wrt", a.from, "a value; repeatable (default: every float input)")->allow_extra_args(false);
  add_output(grad, a);
  add_compute(grad, a);
  grad->footer("Example: onnxray grad model.onnx -i x.npy --of y:281 --wrt x -o out");

  CLI::App* attribute = app.add_subcommand("attribute", "Which inputs or layer values made the model say that");
  model(attribute);
  add_inputs(attribute, a);
  attribute
      ->add_option("--method", a.methods,
                   "see `onnxray methods`; several are compared side by side, in grid.svg for pictures")
      ->allow_extra_args(false)
      ->required();
  attribute->add_option("--target", a.targets, "class of the first output, index or label; several go one to a row")
      ->allow_extra_args(false);
  attribute->add_option("--to", a.to, "what is explained: VALUE, VALUE:281, A:1-B:2; repeatable")
      ->allow_extra_args(false);
  attribute->add_option("--to-mask", a.to_mask, "FILE.npy: weights that sum the value of --to");
  attribute->add_flag("--log-probability", a.log_probability, "explain log softmax of the value");
  attribute->add_option("--from", a.from, "attribute to this value; repeatable (default: every float input)")
      ->allow_extra_args(false);
  attribute
      ->add_option("--vary", a.vary, "what paths, baselines and noise replace where that is not --from; repeatable")
      ->allow_extra_args(false);
  attribute->add_option("--masks", a.masks, "FILE.png of region codes: prints the share of the positive part in each");
  attribute->add_option(
      "--picture", a.picture,
      "panel, heat_map, blended_heat_map, original_image, masked_image, alpha_scaling; for time "
      "series overlay_individual, overlay_combined, colored_graph; bars (default: panel for pictures, "
      "bars for named features)");
  attribute->add_option("--sign", a.sign, "what is drawn: all, positive, negative, absolute_value (default: all)");
  attribute
      ->add_option("--outlier-percentile", a.outlier_percentile, "largest values that are clipped, in % of the sum")
      ->capture_default_str();
  attribute->add_option("--tokens", a.tokens,
                        "the words behind a value's positions, one a line or a JSON list: text.html");
  attribute->add_option("--mask-names", a.mask_names, "names of the codes, e.g. 1=sky,2=tank,3=ground");
  add_output(attribute, a);
  add_compute(attribute, a);
  attribute->allow_extras();
  attribute->footer(method_help());

  CLI::App* list = app.add_subcommand("methods", "All attribution methods with their options");
  list->add_flag("--json", a.json, "as JSON on standard output");
  list->footer("Example: onnxray methods");

  CLI::App* bench = app.add_subcommand("bench", "Throughput of methods on a model: rows/s, memory, setup time");
  model(bench);
  bench->add_option("--shape", a.shapes, "NAME=1,3,224,224 for inputs with named dimensions")->allow_extra_args(false);
  bench->add_option("--method", a.methods, "forward, gradient or a method's name; repeatable (default: these two)")
      ->allow_extra_args(false);
  bench->add_option("--from", a.from, "attribute to this value; repeatable (default: every float input)")
      ->allow_extra_args(false);
  bench->add_option("--rows", a.rows, "steps of a path or rows of a batch (default 16)");
  bench->add_option("--repeat", a.repeat, "timed runs after a warm-up; the median is printed")->capture_default_str();
  add_compute(bench, a);
  bench->add_flag("--profile", a.profile, "where a request spends its time, and time per operator, on standard error");
  bench->add_flag("--accuracy", a.accuracy, "errors of the device's float32 modes against float64 instead of times");
  bench->allow_extras();
  bench->footer(
      "Options of the methods may follow, e.g. --n-steps 50.\n"
      "Example: onnxray bench resnet50.onnx --method integrated-gradients --n-steps 50 --threads 2");

  if (argc > 1 && argv[1][0] != '-') {
    std::string known;
    bool found = false;
    for (const CLI::App* verb : app.get_subcommands({})) {
      known += (known.empty() ? "" : ", ") + verb->get_name();
      found = found || verb->get_name() == argv[1];
    }
    if (!found) {
      std::cerr << "onnxray: unknown verb '" << argv[1] << "', expected one of: " << known << "\n";
      exit_code = 2;
      return false;
    }
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    exit_code = app.exit(e) == 0 ? 0 : 2;
    return false;
  }
  a.verb = app.get_subcommands().front()->get_name();
  if (attribute->parsed() || bench->parsed()) {
    // What is left are the method's own options: --n-steps 50 or --n-steps=50.
    const std::vector<std::string> rest = (attribute->parsed() ? attribute : bench)->remaining();
    for (std::size_t i = 0; i < rest.size(); ++i) {
      std::string name = rest[i];
      const std::size_t equals = name.find('=');
      if (!name.starts_with("--") || (equals == std::string::npos && i + 1 >= rest.size())) {
        std::cerr << "onnxray: cannot use '" << name << "'; see onnxray " << a.verb << " --help\n";
        exit_code = 2;
        return false;
      }
      std::string value = equals == std::string::npos ? rest[++i] : name.substr(equals + 1);
      name = name.substr(2, equals == std::string::npos ? equals : equals - 2);
      for (char& c : name) c = c == '-' ? '_' : c;
      a.method_options.emplace_back(std::move(name), std::move(value));
    }
  }
  return true;
}

}  // namespace onnxray::app
