#include "algorithms/attribution/rise.h"

#include <algorithm>
#include <cmath>

#include "algorithms/baselines.h"
#include "algorithms/random.h"
#include "algorithms/scheduler.h"
#include "algorithms/segments.h"

namespace onnxray {
namespace {

std::string input_name(const char* what, std::size_t i) { return detail::concat(what, " ", i); }

// One picture axis of a value: a mask along it is table[offset] times the cells.
struct MaskAxis {
  std::int64_t extent = 1, cells = 1, offsets = 1;
  Tensor table;  // [offsets, extent, cells]: bilinear weights

  MaskAxis() : table(Tensor::full(DType::f64, {1, 1, 1}, 1)) {}
  MaskAxis(std::int64_t extent, std::int64_t grid) : extent(extent), cells(std::min(grid, extent)) {
    offsets = (extent + cells - 1) / cells;
    const double scale = static_cast<double>(cells) / static_cast<double>((cells + 1) * offsets);
    table = Tensor::zeros(DType::f64, {offsets, extent, cells});
    double* w = table.mutable_data<double>().data();
    for (std::int64_t o = 0; o < offsets; ++o) {
      for (std::int64_t p = 0; p < extent; ++p, w += cells) {
        // Half-pixel centres; beyond the outermost ones a cell continues.
        const double at =
            std::clamp((static_cast<double>(p + o) + 0.5) * scale - 0.5, 0.0, static_cast<double>(cells - 1));
        const auto below = std::min(static_cast<std::int64_t>(at), cells - 1);
        const double part = at - static_cast<double>(below);
        w[below] += 1 - part;
        if (part > 0) w[below + 1] += part;
      }
    }
  }
};

// The masks of one varied value.
struct Masks {
  MaskAxis y, x;
  Dims mask_dims;  // broadcasts to a row

  Masks(const Dims& row_dims, std::int64_t grid) : mask_dims(row_dims.size(), 1) {
    const PictureAxes axes = picture_axes(row_dims);
    if (!axes.any) return;
    if (axes.two()) y = MaskAxis(row_dims[axes.y], grid);
    x = MaskAxis(row_dims[axes.x], grid);
    if (axes.two()) mask_dims[axes.y] = y.extent;
    mask_dims[axes.x] = x.extent;
  }
};

// M = T_y cells T_x^T for every row, [R, mask dims...].
ValueId mask_of(RowCtx& c, std::size_t i, const Dims& mask_dims) {
  Builder& b = c.b;
  const auto along = [&](const char* table, const char* offset) {
    return b.op("gather_rows", {c.input(input_name(table, i)), c.input(input_name(offset, i))},
                {{"axis", std::int64_t{0}}});
  };
  const ValueId rows = b.matmul(along("table y", "offset y"), c.input(input_name("cells", i)));
  const Dims dims = with_rows(c.rows(), mask_dims);
  return b.reshape(b.matmul(rows, along("table x", "offset x"), false, true), dims);
}

RowSpec masked(const std::vector<Masks>& masks, std::int64_t grid) {
  RowSpec spec;
  spec.key = "rise " + std::to_string(grid);
  for (std::size_t i = 0; i < masks.size(); ++i) {
    const Masks& m = masks[i];
    spec.inputs.push_back(
        {.name = input_name("table y", i), .dtype = DType::f64, .dims = m.y.table.dims(), .per_row = false});
    spec.inputs.push_back(
        {.name = input_name("table x", i), .dtype = DType::f64, .dims = m.x.table.dims(), .per_row = false});
    spec.inputs.push_back({.name = input_name("cells", i), .dtype = DType::f64, .dims = {m.y.cells, m.x.cells}});
    spec.inputs.push_back({.name = input_name("offset y", i), .dtype = DType::i64, .dims = {}});
    spec.inputs.push_back({.name = input_name("offset x", i), .dtype = DType::i64, .dims = {}});
  }
  spec.make = [&masks](RowCtx& c, std::size_t i) {
    Builder& b = c.b;
    const ValueId m = mask_of(c, i, masks[i].mask_dims);
    return b.add(b.mul(m, c.actual(i)), b.mul(b.sub(b.scalar_like(m, 1), m), c.baseline(i)));
  };
  // F(row) M, every scalar its own.
  spec.folds.push_back([&masks](FoldCtx& c, std::size_t i) {
    const ValueId m = c.spread(mask_of(c, i, masks[i].mask_dims));
    Dims column(c.b.rank(m), 1);
    column[0] = c.b.dims(m)[0];
    return c.b.mul(m, c.b.reshape(c.scalars(), column));
  });
  return spec;
}

Attribution rise(const Model& model, const Rise& options, const Request& part, const Split& split) {
  Session session(model, part, true);
  const std::int64_t examples = session.examples(), k = static_cast<std::int64_t>(session.to().size());
  const std::size_t values = session.vary().size();
  std::vector<Masks> masks;
  for (const CutValue& c : session.vary()) {
    masks.emplace_back(c.row_dims, options.grid);
    for (const MaskAxis* axis : {&masks.back().y, &masks.back().x}) {
      if (axis->extent > 1 && axis->cells < options.grid) {
        session.notice(detail::concat("rise grid ", options.grid, ": '", c.name, "' has only ", axis->extent,
                                      " elements along an axis, each its own cell"));
      }
    }
  }
  const std::vector<Tensor> baselines = make_baselines(session, options.baselines, split);
  const std::int64_t n = options.n_samples, total = examples * n;

  Scheduler scheduler(part.compute, "rise", total + examples);
  Attribution out;
  {
    RowProgram plain(session, {.key = "actual"}, {}, examples);
    scheduler.run(
        plain, examples, [](std::int64_t e) { return Row{.example = e}; },
        [&](std::int64_t, std::int64_t rows) {
          for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t j = 0; j < k; ++j) out.values.push_back(plain.value(r, static_cast<std::size_t>(j)));
          }
        });
  }
  RowProgram program(session, masked(masks, options.grid), baselines, total);
  for (std::size_t i = 0; i < values; ++i) {
    program.bind(input_name("table y", i), masks[i].y.table);
    program.bind(input_name("table x", i), masks[i].x.table);
  }
  const double weight = 1 / (static_cast<double>(n) * options.probability);
  scheduler.run(
      program, total, [&](std::int64_t r) { return Row{.example = r / n, .weight = weight}; },
      [](std::int64_t, std::int64_t) {},
      [&](std::int64_t first, std::int64_t rows) {
        for (std::size_t i = 0; i < values; ++i) {
          const Masks& m = masks[i];
          Tensor cells(DType::f64, {program.chunk(), m.y.cells, m.x.cells});
          double* cell = cells.mutable_data<double>().data();
          std::vector<std::int64_t> down, across;
          for (std::int64_t r = 0; r < program.chunk(); ++r) {
            // Rows past the last one of a chunk repeat it.
            RandomStream random(part.compute.seed, i, (first + std::min(r, rows - 1)) % n);
            down.push_back(random.below(m.y.offsets));
            across.push_back(random.below(m.x.offsets));
            for (std::int64_t j = 0; j < m.y.cells * m.x.cells; ++j) {
              *cell++ = random.uniform() < options.probability ? 1 : 0;
            }
          }
          program.bind(input_name("cells", i), cells);
          program.bind(input_name("offset y", i), Tensor::ints(down));
          program.bind(input_name("offset x", i), Tensor::ints(across));
        }
      });
  for (std::size_t i = 0; i < values; ++i) {
    const CutValue& c = session.vary()[i];
    // A mask covers the other axes alike.
    const Tensor& folded = program.folded(i);
    const auto from = folded.data<double>();
    Dims dims = c.row_dims, strides = strides_of(masks[i].mask_dims);
    for (std::size_t d = 0; d < dims.size(); ++d) strides[d] = masks[i].mask_dims[d] == 1 ? 0 : strides[d];
    const std::int64_t row = count_of(dims), size = count_of(masks[i].mask_dims);
    const Dims row_strides = strides_of(dims);
    dims.insert(dims.begin(), examples * k);
    Tensor a(DType::f64, dims);
    const auto to = a.mutable_data<double>();
    for (std::int64_t at = 0; at < a.size(); ++at) {
      std::int64_t rest = at % row, offset = at / row * size;
      for (std::size_t d = 0; d < row_strides.size(); ++d) {
        offset += rest / row_strides[d] * strides[d];
        rest %= row_strides[d];
      }
      to[static_cast<std::size_t>(at)] = from[static_cast<std::size_t>(offset)];
    }
    out.attributions[c.name] = a;
  }
  scheduler.report(session, out.report);
  return out;
}

}  // namespace

Attribution run_method(const Model& model, const Rise& options, const Request& request) {
  return run_by_rows(model, request,
                     [&](const Request& part, const Split& split) { return rise(model, options, part, split); });
}

}  // namespace onnxray
