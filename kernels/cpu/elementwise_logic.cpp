// Comparisons, logic, selection and tests for special values.
#include "kernels/cpu/broadcast.h"
#include "kernels/cpu/elementwise_family.h"
#include "kernels/functors.h"

namespace onnxray::cpu {
namespace {

template <class F>
struct Compare {
  template <class T>
  bool operator()(T x, T y) const {
    return F::f(x, y);
  }
};

template <class F>
Step compare(const PrepareCtx& c) {
  switch (c.dtype(0)) {
    case DType::f32: return binary_step<Compare<F>, float, float, bool>(c, {});
    case DType::f64: return binary_step<Compare<F>, double, double, bool>(c, {});
    case DType::i64: return binary_step<Compare<F>, std::int64_t, std::int64_t, bool>(c, {});
    case DType::i32: return binary_step<Compare<F>, std::int32_t, std::int32_t, bool>(c, {});
    case DType::boolean: return binary_step<Compare<F>, bool, bool, bool>(c, {});
    default: fail_unsupported("no comparison in ", name_of(c.dtype(0)));
  }
}

template <class F>
Step logic(const PrepareCtx& c) {
  return binary_step<F, bool, bool, bool>(c, {});
}

struct Select {
  template <class T>
  T operator()(bool c, T x, T y) const {
    return c ? x : y;
  }
};

// Selection moves bits, so only the size of an element matters.
Step where(const PrepareCtx& c) {
  switch (size_of(c.dtype(1))) {
    case 8: return ternary_step<Select, bool, std::uint64_t, std::uint64_t>(c, {});
    case 4: return ternary_step<Select, bool, std::uint32_t, std::uint32_t>(c, {});
    case 2: return ternary_step<Select, bool, std::uint16_t, std::uint16_t>(c, {});
    default: return ternary_step<Select, bool, std::uint8_t, std::uint8_t>(c, {});
  }
}

struct IsInf {
  bool positive, negative;
  template <class T>
  bool operator()(T x) const {
    return (positive && x > std::numeric_limits<T>::max()) || (negative && x < std::numeric_limits<T>::lowest());
  }
};

}  // namespace

void register_logic(Backend& b) {
  b.add("equal", compare<fn::Equal>);
  b.add("greater", compare<fn::Greater>);
  b.add("greater_equal", compare<fn::GreaterEqual>);
  b.add("less", compare<fn::Less>);
  b.add("less_equal", compare<fn::LessEqual>);
  b.add("and", logic<std::logical_and<bool>>);
  b.add("or", logic<std::logical_or<bool>>);
  b.add("xor", logic<std::not_equal_to<bool>>);
  b.add("not", [](const PrepareCtx& c) { return unary_step<std::logical_not<bool>, bool, bool>(c, {}); });
  b.add("where", where);
  b.add("is_nan", [](const PrepareCtx& c) {
    return visit_float(c.dtype(0), [&]<class T>() {
      const auto f = [](T x) { return x != x; };
      return unary_step<decltype(f), T, bool>(c, f);
    });
  });
  b.add("is_inf", [](const PrepareCtx& c) {
    const IsInf f{c.attrs.integer("positive", 1) != 0, c.attrs.integer("negative", 1) != 0};
    return visit_float(c.dtype(0), [&]<class T>() { return unary_step<IsInf, T, bool>(c, f); });
  });
}

}  // namespace onnxray::cpu
