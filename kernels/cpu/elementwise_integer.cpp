// Integer arithmetic in int64 and int32.
#include "kernels/cpu/broadcast.h"
#include "kernels/cpu/elementwise_family.h"
#include "kernels/integer_functors.h"

namespace onnxray::cpu {
namespace {

template <class F>
Step with_type(const PrepareCtx& c, F&& f) {
  switch (c.dtype(0)) {
    case DType::i64: return f.template operator()<std::int64_t>();
    case DType::i32: return f.template operator()<std::int32_t>();
    default: fail_unsupported("no kernel of '", c.node.op->name, "' in ", name_of(c.dtype(0)));
  }
}

template <class F>
Step binary(const PrepareCtx& c) {
  return with_type(c, [&]<class T>() { return binary_step<F, T, T, T>(c, {}); });
}

template <class F>
Step unary(const PrepareCtx& c) {
  return with_type(c, [&]<class T>() { return unary_step<F, T, T>(c, {}); });
}

}  // namespace

Step prepare_binary_integer(const PrepareCtx& c) {
  const std::string& op = c.node.op->name;
  if (op == "add") return binary<integer::Add>(c);
  if (op == "sub") return binary<integer::Sub>(c);
  if (op == "mul") return binary<integer::Mul>(c);
  if (op == "div") return binary<integer::Div>(c);
  if (op == "max") return binary<integer::Max>(c);
  if (op == "min") return binary<integer::Min>(c);
  if (op == "pow") return binary<integer::Pow>(c);
  if (op == "mod") return c.attrs.integer("fmod", 0) != 0 ? binary<integer::Fmod>(c) : binary<integer::FloorMod>(c);
  fail_unsupported("no kernel of '", op, "' in ", name_of(c.dtype(0)));
}

Step prepare_unary_integer(const PrepareCtx& c) {
  const std::string& op = c.node.op->name;
  if (op == "neg") return unary<integer::Neg>(c);
  if (op == "abs") return unary<integer::Abs>(c);
  if (op == "sign") return unary<integer::Sign>(c);
  if (op == "relu") return unary<integer::Relu>(c);
  fail_unsupported("no kernel of '", op, "' in ", name_of(c.dtype(0)));
}

}  // namespace onnxray::cpu
