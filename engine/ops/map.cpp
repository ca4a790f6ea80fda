#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "engine/builder.h"
#include "engine/ops/elementwise_family.h"
#include "engine/ops/map_program.h"
#include "engine/ops/packed_mask.h"

namespace onnxray {
namespace {

const std::unordered_map<std::string_view, int>& arities() {
  static const std::unordered_map<std::string_view, int> table = {{"add", 2},
                                                                  {"sub", 2},
                                                                  {"mul", 2},
                                                                  {"div", 2},
                                                                  {"pow", 2},
                                                                  {"max", 2},
                                                                  {"min", 2},
                                                                  {"max_grad", 3},
                                                                  {"neg", 1},
                                                                  {"abs", 1},
                                                                  {"sign", 1},
                                                                  {"sqrt", 1},
                                                                  {"exp", 1},
                                                                  {"log", 1},
                                                                  {"reciprocal", 1},
                                                                  {"erf", 1},
                                                                  {"floor", 1},
                                                                  {"ceil", 1},
                                                                  {"round", 1},
                                                                  {"sin", 1},
                                                                  {"cos", 1},
                                                                  {"square", 1},
                                                                  {"cube", 1},
                                                                  {"relu", 1},
                                                                  {"relu_grad", 2},
                                                                  {"leaky_relu", 1},
                                                                  {"prelu", 2},
                                                                  {"leaky_relu_grad", 2},
                                                                  {"elu", 1},
                                                                  {"elu_grad", 2},
                                                                  {"sigmoid", 1},
                                                                  {"sigmoid_grad", 2},
                                                                  {"tanh", 1},
                                                                  {"tanh_grad", 2},
                                                                  {"softplus", 1},
                                                                  {"softsign", 1},
                                                                  {"gelu", 1},
                                                                  {"gelu_grad", 2},
                                                                  {"gelu_tanh", 1},
                                                                  {"gelu_tanh_grad", 2},
                                                                  {"swish", 1},
                                                                  {"swish_grad", 2},
                                                                  {"mish", 1},
                                                                  {"mish_grad", 2},
                                                                  {"clip", 1},
                                                                  {"clip_grad", 2},
                                                                  {"hard_sigmoid", 1},
                                                                  {"hard_sigmoid_grad", 2},
                                                                  {"hard_swish", 1},
                                                                  {"hard_swish_grad", 2},
                                                                  {"thresholded_relu", 1},
                                                                  {"shrink", 1},
                                                                  {"equal", 2},
                                                                  {"greater", 2},
                                                                  {"less", 2},
                                                                  {"greater_equal", 2},
                                                                  {"less_equal", 2},
                                                                  {"and", 2},
                                                                  {"or", 2},
                                                                  {"xor", 2},
                                                                  {"not", 1},
                                                                  {"where", 3}};
  return table;
}

bool is_logic(std::string_view op) { return op == "and" || op == "or" || op == "xor" || op == "not"; }

int number(std::string_view text) {
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  ONNXRAY_CHECK(error == std::errc{} && end == text.data() + text.size(), "map: '", text, "' is no slot");
  return value;
}

std::vector<std::string_view> split(std::string_view text, std::string_view separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + separator.size());
  }
}

void infer_map(InferCtx& c) {
  const MapProgram program = MapProgram::parse(c.attrs, c.count());
  int buffers = 0;
  (void)program.buffers(&buffers);
  ONNXRAY_CHECK(buffers <= kMapMaxBuffers, "map: ", buffers, " results at once, at most ", kMapMaxBuffers);
  std::vector<char> mask;  // per slot
  std::vector<std::size_t> packed;
  Dims dims;
  DType dtype = DType::boolean;
  for (std::size_t i = 0; i < c.count(); ++i) {
    ONNXRAY_CHECK(c.has(i), "map: input ", i, " is missing");
    mask.push_back(c.dtype(i) == DType::boolean);
    if (c.dtype(i) == DType::i32) {
      packed.push_back(i);
      continue;
    }
    if (mask.back() == 0) {
      c.expect_float(i);
      ONNXRAY_CHECK(dtype == DType::boolean || dtype == c.dtype(i), "map: inputs of ", name_of(dtype), " and ",
                    name_of(c.dtype(i)));
      dtype = c.dtype(i);
    }
    dims = broadcast(dims, c.dims(i));
  }
  ONNXRAY_CHECK(dtype != DType::boolean, "map: no float input");
  for (const std::size_t i : packed) check_packed_mask(c, i, dims);
  for (const MapStep& step : program.steps) {
    for (std::size_t k = 0; k < step.args.size(); ++k) {
      ONNXRAY_CHECK(std::find(packed.begin(), packed.end(), static_cast<std::size_t>(step.args[k])) == packed.end() ||
                        (step.op == "relu_grad" && k == 1),
                    "map: operand ", k, " of ", step.op, " is a packed mask, which relu_grad alone reads");
      const bool wants = map_reads_mask(step.op, static_cast<int>(k));
      ONNXRAY_CHECK((mask[static_cast<std::size_t>(step.args[k])] != 0) == wants, "map: operand ", k, " of ", step.op,
                    wants ? " must be" : " is", " a mask");
    }
    mask.push_back(map_gives_mask(step.op));
  }
  ONNXRAY_CHECK(mask.back() == 0, "map: the result is a mask");
  c.output(dtype, dims);
  infer_mask_output(c);
}

void rows_map(RowsCtx& c) {
  rows_elementwise(c);
  rows_of_masks(c);
}

std::vector<ValueId> expand_map(Builder& b, const Node& node, std::span<const ValueId> in) {
  const MapProgram program = MapProgram::parse(node.attrs, in.size());
  std::vector<ValueId> slots(in.begin(), in.end());
  for (const MapStep& step : program.steps) {
    std::vector<ValueId> args;
    for (const int a : step.args) args.push_back(slots[static_cast<std::size_t>(a)]);
    if (step.op == "square" || step.op == "cube") {
      slots.push_back(b.op("pow", {args[0], b.scalar_like(args[0], step.op == "square" ? 2 : 3)}));
    } else {
      slots.push_back(b.op(step.op, args, step.attrs));
    }
  }
  // The mask of y is that of relu(y).
  if (gives_mask_output(node.attrs)) {
    return {slots.back(), b.add_node(op("relu"), {slots.back()}, {{"mask_output", std::int64_t{1}}}, node.name)[1]};
  }
  return {slots.back()};
}

}  // namespace

int map_arity(std::string_view op) {
  const auto it = arities().find(op);
  return it == arities().end() ? 0 : it->second;
}

bool map_reads_mask(std::string_view op, int i) { return is_logic(op) || (op == "where" && i == 0); }

bool map_gives_mask(std::string_view op) {
  return is_logic(op) || op == "equal" || op == "greater" || op == "less" || op == "greater_equal" ||
         op == "less_equal";
}

MapProgram MapProgram::parse(const Attrs& attrs, std::size_t inputs) {
  const std::string text = attrs.text("program");
  ONNXRAY_CHECK(inputs > 0 && inputs <= kMapMaxInputs, "map: ", inputs, " inputs, expected 1 to ", kMapMaxInputs);
  MapProgram p;
  p.inputs = static_cast<int>(inputs);
  for (const std::string_view line : split(text, "; ")) {
    const std::vector<std::string_view> words = split(line, " ");
    MapStep step{std::string(words[0]), {}, {}};
    const int arity = map_arity(step.op);
    ONNXRAY_CHECK(arity > 0, "map: '", step.op, "' is no elementwise op");
    ONNXRAY_CHECK(words.size() == static_cast<std::size_t>(arity) + 1, "map: ", step.op, " takes ", arity, " operands");
    const int slots = p.inputs + static_cast<int>(p.steps.size());
    for (std::size_t i = 1; i < words.size(); ++i) {
      const int a = number(words[i]);
      ONNXRAY_CHECK(a >= 0 && a < slots, "map: step ", p.steps.size(), " reads slot ", a, " of ", slots);
      step.args.push_back(a);
    }
    const std::string prefix = std::to_string(p.steps.size()) + ".";
    for (const auto& [name, value] : attrs.items()) {
      if (name.starts_with(prefix)) step.attrs.set(name.substr(prefix.size()), value);
    }
    p.steps.push_back(std::move(step));
    ONNXRAY_CHECK(p.steps.size() <= kMapMaxSteps, "map: more than ", kMapMaxSteps, " steps");
  }
  return p;
}

Attrs MapProgram::to_attrs() const {
  Attrs attrs;
  std::string text;
  for (std::size_t k = 0; k < steps.size(); ++k) {
    text += (k == 0 ? "" : "; ") + steps[k].op;
    for (const int a : steps[k].args) text += " " + std::to_string(a);
    for (const auto& [name, value] : steps[k].attrs.items()) attrs.set(std::to_string(k) + "." + name, value);
  }
  attrs.set("program", text);
  return attrs;
}

std::vector<int> MapProgram::buffers(int* count) const {
  const std::size_t n = steps.size();
  std::vector<std::size_t> last(n, 0);  // the step that reads a result last
  for (std::size_t k = 0; k < n; ++k) {
    last[k] = std::max(last[k], k);
    for (const int a : steps[k].args) {
      if (a >= inputs) last[static_cast<std::size_t>(a - inputs)] = k;
    }
  }
  std::vector<int> of(n, -1);
  std::vector<char> busy;
  for (std::size_t k = 0; k < n; ++k) {
    // Operands that end here free their buffers first: a step may write over its own operand.
    for (std::size_t j = 0; j < k; ++j) {
      if (last[j] == k) busy[static_cast<std::size_t>(of[j])] = 0;
    }
    if (k + 1 == n) break;
    const auto free = std::find(busy.begin(), busy.end(), 0);
    of[k] = static_cast<int>(free - busy.begin());
    if (free == busy.end()) busy.push_back(1);
    busy[static_cast<std::size_t>(of[k])] = last[k] > k;
  }
  *count = static_cast<int>(busy.size());
  return of;
}

void register_map_op(OpRegistry& r) {
  r.add({.name = "map",
         .infer = infer_map,
         .rows = rows_map,
         .expand = expand_map,
         .traits = {.elementwise = true, .inplace = true}});
}

}  // namespace onnxray
