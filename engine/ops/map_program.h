// The program of a `map` node: a chain or tree of elementwise ops, computed block by block without storing what lies
// between. Attribute `program` is text, e.g. "mul 0 1; add 3 2; relu 4": each step names an op and its operand slots;
// slots 0 .. inputs-1 are the node's inputs, step k writes slot inputs + k, and the last step is the result. Attribute
// `a` of step k is the node's attribute "k.a". Comparisons give masks (1 or 0 in the node's float type) that where,
// and, or, xor and not read; a boolean input is loaded as a mask. An int32 input is a mask of one bit per element
// (packed_mask.h), which relu_grad reads as its second operand.
#pragma once
#include <string>
#include <vector>

#include "engine/attrs.h"

namespace onnxray {

struct MapStep {
  std::string op;
  std::vector<int> args;
  Attrs attrs;
};

struct MapProgram {
  int inputs = 0;
  std::vector<MapStep> steps;

  // Throws when the text is no valid program over that many inputs.
  [[nodiscard]] static MapProgram parse(const Attrs& attrs, std::size_t inputs);
  [[nodiscard]] Attrs to_attrs() const;
  // For every step the buffer that its result takes while later steps need it; the last step has none (-1).
  [[nodiscard]] std::vector<int> buffers(int* count) const;
};

// Operands of a fusable op; 0 for any other. Beside ops of the registry there are "square" and "cube".
[[nodiscard]] int map_arity(std::string_view op);
// Whether the op reads a mask as operand i, and whether it gives one.
[[nodiscard]] bool map_reads_mask(std::string_view op, int i);
[[nodiscard]] bool map_gives_mask(std::string_view op);

inline constexpr int kMapMaxInputs = 12;
inline constexpr int kMapMaxSteps = 24;
inline constexpr int kMapMaxBuffers = 8;  // results that are alive at once

}  // namespace onnxray
