// The documentation's tables, made from the registries that the program itself reads.
//
//   doc_tables                     prints every table
//   doc_tables --check FILE...     fails if a table in a file is not what the registries say
//   doc_tables --write FILE...     brings the tables in the files up to date
//   doc_tables --check-pages DIR   fails if a method's page in a folder is not what the registry says
//   doc_tables --write-pages DIR   writes one page per method, and removes pages of methods that are gone
//
// A table stands between the lines `<!-- generated: NAME -->` and `<!-- /generated -->`. A method's page shows the
// picture DIR/../pictures/methods/NAME.png where there is one (scripts/make_docs_pictures.sh).
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "algorithms/attribution.h"
#include "engine/op.h"
#include "kernels/cpu/cpu.h"
#include "onnx_import/convert.h"

namespace {

using namespace onnxray;

const char* yes_no(bool b) { return b ? "yes" : "no"; }

// A vertical bar would end the cell.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

std::string number(double v) {
  std::ostringstream s;
  s << v;
  return s.str();
}

std::string methods_table() {
  std::string s =
      "| method | computes | paper | baseline | complete | from |\n"
      "|---|---|---|---|---|---|\n";
  for (const MethodInfo& m : methods()) {
    s += "| `" + m.name + "` | " + cell(m.formula) + " | " + cell(m.paper) + " | " + yes_no(m.needs_baseline) + " | " +
         yes_no(m.completeness) + " | " + m.from + " |\n";
  }
  return s;
}

class OptionRows final : public OptionVisitor {
 public:
  void operator()(const OptionInfo& i, bool& f) override { row(i, f ? "true" : "false"); }
  void operator()(const OptionInfo& i, std::int64_t& f) override { row(i, std::to_string(f)); }
  void operator()(const OptionInfo& i, double& f) override { row(i, number(f)); }
  void operator()(const OptionInfo& i, std::string& f) override { row(i, f); }
  void operator()(const OptionInfo& i, std::vector<std::vector<std::int64_t>>&) override { row(i, "none"); }
  void operator()(const OptionInfo& i, std::vector<double>& f) override {
    std::string text;
    for (const double v : f) text += (text.empty() ? "" : ",") + number(v);
    row(i, text);
  }
  void operator()(const OptionInfo& i, Baselines& f) override { row(i, f.text); }
  void operator()(const OptionInfo& i, FeatureMask& f) override { row(i, f.text); }
  std::string rows;

 private:
  void row(const OptionInfo& i, const std::string& value) {
    std::string flag = flag_name(i), text = i.description, range;
    for (char& c : flag) c = c == '_' ? '-' : c;
    for (const std::string& choice : i.choices) range += (range.empty() ? "" : ", ") + choice;
    const double infinity = std::numeric_limits<double>::infinity();
    if (i.lo > -infinity && i.hi < infinity) range = number(i.lo) + " to " + number(i.hi);
    else if (i.lo > -infinity) range = "at least " + number(i.lo);
    rows += "| `--" + flag + "` | " + cell(text) + " | " + range + " | " + value + " |\n";
  }
};

// The list of docs/methods.md: every method with its page and its cost.
std::string method_pages() {
  std::string s = "| method | rows for each example | result |\n|---|---|---|\n";
  for (const MethodInfo& m : methods()) {
    s += "| [" + m.title + "](methods/" + m.name + ".md) | " + cell(m.cost) + " | " +
         (m.is_map ? "a map over the layer's positions" : "in the shape of `from`") + " |\n";
  }
  return s;
}

// Every class of captum.attr that is covered, and how it is written here.
std::string captum_table() {
  std::map<std::string, std::string> spelling;
  for (const MethodInfo& m : methods()) {
    for (const CaptumClass& c : m.captum) {
      std::string& text = spelling[c.name];
      text += (text.empty() ? "`--method " : ", or `--method ") + m.name + "`";
      if (!c.arguments.empty()) text += (c.arguments.starts_with("-") ? " `" + c.arguments + "`" : ", " + c.arguments);
    }
  }
  std::string s = "| Captum | here |\n|---|---|\n";
  for (const auto& [name, text] : spelling) s += "| `" + name + "` | " + cell(text) + " |\n";
  return s;
}

std::string method_page(const MethodInfo& m, bool picture) {
  std::string s = "<!-- generated from the registry: cmake --build build --target update_docs -->\n# " + m.title +
                  ": `" + m.name + "`\n\n```\n" + m.formula + "\n```\n\n" + m.paper + "\n\n";
  if (picture) {
    s += "![" + m.title + " of a tank's score, over the picture](../pictures/methods/" + m.name + ".png)\n\n";
  }
  s += std::string("| | |\n|---|---|\n") + "| `--from` | " + cell(m.from) + " |\n| `--to`, `--target` | " + cell(m.to) +
       " |\n| result | " +
       (m.is_map ? "a map over the layer's positions, [rows, 1, positions...]" : "in the shape of the `from` value") +
       " |\n";
  if (!m.cost.empty()) s += "| rows for each example | " + cell(m.cost) + " |\n";
  s += std::string("| needs a baseline | ") + yes_no(m.needs_baseline) + " |\n| random | " +
       (m.stochastic ? "yes, repeatable by `--seed`" : "no") + " |\n| claims completeness | " +
       (m.completeness ? "yes, `delta` says how far it holds" : "no") +
       " |\n| an example's result depends on others | " + yes_no(m.mixes_examples) + " |\n\n";
  OptionRows options;
  m.make()->visit_options(options);
  s += "## Options\n\n";
  s += options.rows.empty() ? "None.\n" : "| option | meaning | range | default |\n|---|---|---|---|\n" + options.rows;
  if (!m.captum.empty() || !m.differs_from_captum.empty()) s += "\n## Captum\n\n";
  if (!m.captum.empty()) {
    s += "| class | here |\n|---|---|\n";
    for (const CaptumClass& c : m.captum) {
      s += "| `" + c.name + "` | `--method " + m.name + "`";
      if (!c.arguments.empty())
        s += c.arguments.starts_with("-") ? " `" + cell(c.arguments) + "`" : ", " + cell(c.arguments);
      s += " |\n";
    }
  }
  if (!m.differs_from_captum.empty()) s += (m.captum.empty() ? "" : "\n") + m.differs_from_captum + "\n";
  return s +
         "\nRows, cuts and batches: [methods](../methods.md). Files and pictures: [the command "
         "line](../command_line.md).\n";
}

struct OnnxOperator {
  std::string versions;
  int count = 0;
  bool gradient = false;
};

std::map<std::string, OnnxOperator> onnx_operators() {
  std::map<std::string, OnnxOperator> out;
  for (const onnx_import::OpRow& row : onnx_import::op_table().all()) {
    OnnxOperator& o = out[row.domain.empty() ? row.op_type : row.domain + "." + row.op_type];
    o.versions += (o.versions.empty() ? "" : ", ") + std::to_string(row.since);
    o.gradient = row.has_gradient;  // of the newest version
    ++o.count;
  }
  return out;
}

std::string operators_table() {
  std::string s =
      "| ONNX operator | converters since opset | gradient |\n"
      "|---|---|---|\n";
  for (const auto& [name, o] : onnx_operators()) {
    s += "| " + name + " | " + o.versions + " | " + (o.gradient ? "yes" : "plumbing") + " |\n";
  }
  return s;
}

std::string gradient_of(const OpDef& op) {
  if (op.grad != nullptr) return "yes";
  if (op.traits.piecewise_constant) return "zero";
  return op.expand != nullptr ? "by its primitives" : "no";
}

std::string engine_ops_table() {
  std::map<std::string, const OpDef*> sorted;
  for (const OpDef& op : ops().all()) sorted[op.name] = &op;
  std::string s =
      "| engine op | gradient | rows of a batch | composite | CPU kernel |\n"
      "|---|---|---|---|---|\n";
  for (const auto& [name, op] : sorted) {
    const bool kernel = cpu_backend().find(name) != nullptr;
    s += "| `" + name + "` | " + gradient_of(*op) + " | " + yes_no(op->rows != nullptr) + " | " +
         yes_no(op->expand != nullptr) + " | " +
         (kernel                  ? "yes"
          : op->expand != nullptr ? "expanded"
                                  : "no") +
         " |\n";
  }
  return s;
}

std::string counts() {
  int differentiable = 0, converters = 0, with_gradient = 0, kernels = 0;
  const auto onnx = onnx_operators();
  for (const auto& [name, o] : onnx) {
    converters += o.count;
    differentiable += static_cast<int>(o.gradient);
  }
  for (const OpDef& op : ops().all()) {
    with_gradient += static_cast<int>(op.grad != nullptr);
    kernels += static_cast<int>(cpu_backend().find(op.name) != nullptr);
  }
  std::ostringstream s;
  s << onnx.size() << " ONNX operators (" << converters << " operator versions), " << differentiable
    << " of them with a gradient; the others are\nplumbing: shapes, integers, comparisons, steps. They lower onto "
    << ops().all().size() << " engine ops, " << with_gradient << " with a gradient rule and\n"
    << kernels << " with a CPU kernel. " << methods().size() << " attribution methods.\n";
  return s.str();
}

const std::map<std::string, std::function<std::string()>>& blocks() {
  static const std::map<std::string, std::function<std::string()>> list = {
      {"counts", counts},         {"engine-ops", engine_ops_table},
      {"captum", captum_table},   {"method-pages", method_pages},
      {"methods", methods_table}, {"operators", operators_table}};
  return list;
}

// The text with every block as the registries say it now. Throws on a marker that is unknown or never closed.
std::string refreshed(const std::string& file, const std::string& text) {
  static const std::string kBegin = "<!-- generated: ", kEnd = "<!-- /generated -->";
  std::istringstream in(text);
  std::string out, line, open;
  while (std::getline(in, line)) {
    if (open.empty()) {
      out += line + "\n";
      if (!line.starts_with(kBegin)) continue;
      open = line.substr(kBegin.size(), line.rfind(" -->") - kBegin.size());
      const auto block = blocks().find(open);
      ONNXRAY_CHECK(block != blocks().end(), file, ": there is no table '", open, "'");
      out += block->second();
    } else if (line == kEnd) {
      out += line + "\n";
      open.clear();
    }
  }
  ONNXRAY_CHECK(open.empty(), file, ": the table '", open, "' has no line ", kEnd);
  return out;
}

std::string contents(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return in.good() ? std::string{std::istreambuf_iterator<char>(in), {}} : std::string();
}

// One page per method in `folder`, no others. Says which are not as they should be, and mends them if asked.
std::string refresh_pages(const std::filesystem::path& folder, bool write) {
  namespace fs = std::filesystem;
  std::string stale;
  std::map<std::string, std::string> pages;
  for (const MethodInfo& m : methods()) {
    pages[m.name + ".md"] = method_page(m, fs::exists(folder.parent_path() / "pictures/methods" / (m.name + ".png")));
  }
  if (write) fs::create_directories(folder);
  if (fs::is_directory(folder)) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() != ".md" || pages.contains(entry.path().filename().string())) continue;
      stale += " " + entry.path().string();
      if (write) fs::remove(entry.path());
    }
  }
  for (const auto& [name, text] : pages) {
    if (contents(folder / name) == text) continue;
    stale += " " + (folder / name).string();
    if (!write) continue;
    std::ofstream out(folder / name, std::ios::binary);
    out << text;
    ONNXRAY_CHECK(out.flush().good(), "cannot write '", (folder / name).string(), "'");
  }
  return stale;
}

int run(const std::vector<std::string>& args) {
  if (args.empty()) {
    for (const auto& [name, make] : blocks()) std::cout << "<!-- generated: " << name << " -->\n" << make() << "\n";
    return 0;
  }
  const bool write = args[0] == "--write";
  if (args.size() == 2 && (args[0] == "--write-pages" || args[0] == "--check-pages")) {
    const std::string stale = refresh_pages(args[1], args[0] == "--write-pages");
    if (args[0] == "--write-pages" || stale.empty()) return 0;
    std::cerr << "pages are out of date:" << stale << "\nto make them anew: doc_tables --write-pages " << args[1]
              << "\n";
    return 1;
  }
  ONNXRAY_CHECK((write || args[0] == "--check") && args.size() > 1,
                "usage: doc_tables [--check|--write FILE...] | [--check-pages|--write-pages DIR]");
  std::string stale;
  for (std::size_t i = 1; i < args.size(); ++i) {
    std::ifstream in(args[i], std::ios::binary);
    ONNXRAY_CHECK(in.good(), "cannot read '", args[i], "'");
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const std::string now = refreshed(args[i], text);
    if (now == text) continue;
    stale += " " + args[i];
    if (!write) continue;
    std::ofstream out(args[i], std::ios::binary);
    out << now;
    ONNXRAY_CHECK(out.flush().good(), "cannot write '", args[i], "'");
  }
  if (write || stale.empty()) return 0;
  std::cerr << "the tables are out of date in" << stale << "\nto make them anew: doc_tables --write" << stale << "\n";
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const onnxray::Error& e) {
    std::cerr << "doc_tables: " << e.what() << "\n";
    return 2;
  }
}
