#include "algorithms/attribution/cam.h"

#include <algorithm>

namespace onnxray {

void LayerGrid::visit(OptionVisitor& v) {
  v({.name = "layout",
     .description = "where the layer's channels are; auto follows them through the model",
     .choices = {"auto", "channels_first", "channels_last"}},
    layout);
  v({.name = "token_grid", .description = "h,w of a layer [tokens, channels]; default: found", .lo = 1}, token_grid);
}

namespace {

// A row's axes with channels first, then positions, then what has extent 1.
std::vector<std::int64_t> axis_order(const SpatialLayout& l, std::size_t rank) {
  std::vector<std::int64_t> order{l.channel_axis};
  order.insert(order.end(), l.axes.begin(), l.axes.end());
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(rank); ++i) {
    if (std::find(order.begin(), order.end(), i) == order.end()) order.push_back(i);
  }
  return order;
}

}  // namespace

CamLayers::CamLayers(const Model& model, const Request& request, LayerGrid grid)
    : values_(model, request), request_(request), grid_(std::move(grid)) {
  if (request_.from.empty()) {
    request_.from = {values_.last()};
    notices_.push_back("the map is of '" + request_.from[0] +
                       "', the last value with positions (another layer is named with --from)");
  }
  ONNXRAY_CHECK(grid_.token_grid.size() <= 1 || grid_.token_grid.size() == request_.from.size(), "got ",
                grid_.token_grid.size(), " token grids for ", request_.from.size(), " layers");
}

std::vector<SpatialLayout> CamLayers::layouts(const Session& session) const {
  for (const std::string& n : notices_) session.notice(n);
  std::vector<SpatialLayout> out;
  for (std::size_t i = 0; i < session.from().size(); ++i) {
    const CutValue& c = session.from()[i];
    LayoutOptions options{.layout = grid_.layout, .token_grid = {}};
    if (!grid_.token_grid.empty()) {
      // In a request of one layer of several, the grid is that of the layer.
      const auto& from = request_.from;
      const auto at = static_cast<std::size_t>(std::find(from.begin(), from.end(), c.name) - from.begin());
      options.token_grid = grid_.token_grid[grid_.token_grid.size() == 1 ? 0 : at];
    }
    const SpatialLayout l = values_.layout_of(c, options);
    if (l.flattened()) {
      session.notice("'" + c.name + "' " + to_string(c.row_dims) + " is read as " +
                     (l.prefix > 0 ? std::to_string(l.prefix) + " class tokens and " : "") + "a grid " +
                     to_string(l.grid) + " of tokens (--token-grid, --layout)");
    }
    out.push_back(l);
  }
  return out;
}

ValueId channels_and_positions(Builder& b, ValueId v, const SpatialLayout& l) {
  const std::size_t rank = b.rank(v) - 1;
  std::vector<std::int64_t> perm{0};
  for (const std::int64_t axis : axis_order(l, rank)) perm.push_back(axis + 1);
  v = b.transpose(v, perm);
  const std::int64_t rows = b.dims(v)[0], positions = l.prefix + count_of(l.grid);
  v = b.reshape(v, {rows, l.channels, positions});
  return l.prefix > 0 ? b.slice(v, 2, l.prefix, positions) : v;
}

std::vector<double> channels_and_positions(const Tensor& rows, std::int64_t e, const SpatialLayout& l) {
  const Dims row(rows.dims().begin() + 1, rows.dims().end());
  const Dims strides = strides_of(row);
  const std::vector<std::int64_t> order = axis_order(l, row.size());
  const std::vector<double> v = rows.rows(e, e + 1).to_doubles();
  std::vector<double> out;
  const std::int64_t positions = l.prefix + count_of(l.grid);
  for (std::int64_t c = 0; c < l.channels; ++c) {
    for (std::int64_t p = l.prefix; p < positions; ++p) {
      std::int64_t rest = p, offset = c * strides[static_cast<std::size_t>(l.channel_axis)];
      for (std::size_t k = l.axes.size(); k-- > 0;) {
        const auto axis = static_cast<std::size_t>(l.axes[k]);
        offset += rest % row[axis] * strides[axis];
        rest /= row[axis];
      }
      out.push_back(v[static_cast<std::size_t>(offset)]);
    }
  }
  return out;
}

Dims map_dims(std::int64_t rows, std::int64_t channels, const SpatialLayout& l) {
  Dims d{rows, channels};
  d.insert(d.end(), l.grid.begin(), l.grid.end());
  return d;
}

std::string key_of(const SpatialLayout& l) {
  return detail::concat("c", l.channel_axis, to_string(l.axes), to_string(l.grid), "p", l.prefix);
}

}  // namespace onnxray
