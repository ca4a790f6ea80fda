// Rearranging kernels; they move bytes and never look at values.
#include <cstring>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/layout_copy.h"

namespace onnxray::cpu {
namespace {

void copy_bytes(std::byte* to, const std::byte* from, std::size_t bytes) {
  constexpr std::int64_t kPiece = 1 << 18;
  parallel_for(static_cast<std::int64_t>(bytes), kPiece, [=](std::int64_t begin, std::int64_t end) {
    std::memcpy(to + begin, from + begin, static_cast<std::size_t>(end - begin));
  });
}

// A view in a plan; computed only on constants.
Step reshape(const PrepareCtx& c) {
  const std::size_t bytes = static_cast<std::size_t>(count_of(c.out_dims())) * size_of(c.dtype(0));
  return {[bytes](const RunArgs& a) {
    copy_bytes(static_cast<std::byte*>(a.out[0]), static_cast<const std::byte*>(a.in[0]), bytes);
  }};
}

Step run_copy(StridedCopy copy) {
  return {[copy = std::move(copy)](const RunArgs& a) { copy(a.in[0], a.out[0]); }};
}

Step transpose(const PrepareCtx& c) {
  const Dims in = strides_of(c.dims(0));
  Dims xs;
  for (const std::int64_t p : c.attrs.ints("perm")) xs.push_back(in[static_cast<std::size_t>(p)]);
  return run_copy({c.out_dims(), xs, strides_of(c.out_dims()), c.dtype(0)});
}

Step expand(const PrepareCtx& c) {
  const Dims &in = c.dims(0), &out = c.out_dims();
  const Dims own = strides_of(in);
  Dims xs(out.size(), 0);
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (in[i] != 1) xs[i + out.size() - in.size()] = own[i];
  }
  return run_copy({out, xs, strides_of(out), c.dtype(0)});
}

// Start and strides of x[starts + i * steps] in elements of the whole array.
std::int64_t cut(const Dims& whole, const std::vector<std::int64_t>& starts, const std::vector<std::int64_t>& steps,
                 const Dims& sizes, Dims& strides) {
  strides = strides_of(whole);
  std::int64_t start = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    if (sizes[i] == 0) return 0;
    start += starts[i] * strides[i];
    strides[i] = sizes[i] == 1 ? 0 : strides[i] * steps[i];
  }
  return start;
}

Step slice(const PrepareCtx& c) {
  Dims xs;
  const std::int64_t start = cut(c.dims(0), c.attrs.ints("starts"), c.attrs.ints("steps"), c.out_dims(), xs);
  return run_copy({c.out_dims(), xs, strides_of(c.out_dims()), c.dtype(0), start});
}

Step unslice(const PrepareCtx& c) {
  Dims ys;
  const std::int64_t start = cut(c.out_dims(), c.attrs.ints("starts"), c.attrs.ints("steps"), c.dims(0), ys);
  StridedCopy copy(c.dims(0), strides_of(c.dims(0)), ys, c.dtype(0), 0, start);
  const std::size_t bytes = static_cast<std::size_t>(count_of(c.out_dims())) * size_of(c.dtype(0));
  return {[=](const RunArgs& a) {
    std::memset(a.out[0], 0, bytes);
    copy(a.in[0], a.out[0]);
  }};
}

Step pad(const PrepareCtx& c) {
  const std::int64_t n = count_of(c.out_dims());
  const std::size_t size = size_of(c.dtype(0));
  Dims ys;
  const std::int64_t start = cut(c.out_dims(), c.attrs.ints("begins"), Dims(c.out_dims().size(), 1), c.dims(0), ys);
  StridedCopy copy(c.dims(0), strides_of(c.dims(0)), ys, c.dtype(0), 0, start);
  const Tensor value = Tensor::full(c.dtype(0), {}, c.attrs.real("value", 0));
  return {[=](const RunArgs& a) {
    visit_bytes(size, [&]<class U>() {
      U fill;
      std::memcpy(&fill, value.raw(), sizeof(U));
      U* y = static_cast<U*>(a.out[0]);
      parallel_for(n, kGrain * 4, [=](std::int64_t begin, std::int64_t end) { std::fill(y + begin, y + end, fill); });
    });
    copy(a.in[0], a.out[0]);
  }};
}

Step concat(const PrepareCtx& c) {
  const auto axis = static_cast<std::size_t>(c.attrs.integer("axis", 0));
  const std::size_t size = size_of(c.dtype(0));
  const std::int64_t outer = product(c.out_dims(), 0, axis);
  struct Part {
    std::size_t bytes, offset;  // of one outer row
  };
  std::vector<Part> parts;
  std::size_t row = 0;
  for (std::size_t i = 0; i < c.node.inputs.size(); ++i) {
    const Dims& d = c.dims(i);
    const std::size_t bytes = static_cast<std::size_t>(product(d, axis, d.size())) * size;
    parts.push_back({bytes, row});
    row += bytes;
  }
  return {[=](const RunArgs& a) {
    auto* y = static_cast<std::byte*>(a.out[0]);
    if (outer == 1) {
      for (std::size_t i = 0; i < parts.size(); ++i) {
        copy_bytes(y + parts[i].offset, static_cast<const std::byte*>(a.in[i]), parts[i].bytes);
      }
      return;
    }
    const auto grain = static_cast<std::int64_t>(std::max<std::size_t>(1, (std::size_t{1} << 16) / (row + 1)));
    parallel_for(outer, grain, [&](std::int64_t begin, std::int64_t end) {
      for (auto o = static_cast<std::size_t>(begin); o < static_cast<std::size_t>(end); ++o) {
        for (std::size_t i = 0; i < parts.size(); ++i) {
          std::memcpy(y + o * row + parts[i].offset, static_cast<const std::byte*>(a.in[i]) + o * parts[i].bytes,
                      parts[i].bytes);
        }
      }
    });
  }};
}

}  // namespace

void register_layout(Backend& b) {
  b.add("reshape", reshape);
  b.add("transpose", transpose);
  b.add("expand", expand);
  b.add("slice", slice);
  b.add("unslice", unslice);
  b.add("pad", pad);
  b.add("concat", concat);
}

}  // namespace onnxray::cpu
