// Constants in half precision fold: they are computed in float32 and stored back.
#include <gtest/gtest.h>

#include "engine/builder.h"
#include "kernels/cpu/cpu.h"

namespace onnxray {
namespace {

TEST(HalfPrecision, ConstantsFold) {
  for (const DType t : {DType::f16, DType::bf16}) {
    Graph g;
    Builder b(g, evaluator_of(cpu_backend()));
    const ValueId x = b.constant(Tensor::from<double>({3}, {1, -2, 0.5}).to(t));
    const ValueId y = b.op("relu", {b.add(b.mul(x, x), -1.0)});
    ASSERT_TRUE(g.is_constant(y));
    EXPECT_EQ(g.value(y).constant.dtype(), t);
    EXPECT_EQ(g.value(y).constant.to_doubles(), (std::vector<double>{0, 3, 0}));
    const ValueId wide = b.cast(y, DType::f64);
    EXPECT_EQ(g.value(wide).constant.to_doubles(), (std::vector<double>{0, 3, 0}));
  }
}

}  // namespace
}  // namespace onnxray
