#include "app/report/mask_shares.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "engine/base/error.h"

namespace onnxray::app {

Shares mask_shares(const Tensor& attribution, bool channels_last, const Image& mask, const std::string& names) {
  const Dims& d = attribution.dims();
  ONNXRAY_CHECK(d.size() == 3, "masks need an attribution [C, H, W], got ", to_string(d));
  const std::int64_t c = channels_last ? d[2] : d[0], h = channels_last ? d[0] : d[1], w = channels_last ? d[1] : d[2];
  ONNXRAY_CHECK(mask.width == w && mask.height == h, "the mask is ", mask.width, " x ", mask.height,
                " pixels, the attribution ", w, " x ", h);
  std::map<int, std::string> named;
  std::string_view rest = names;
  while (!rest.empty()) {
    const std::string_view item = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), item.size() + 1));
    int code = 0;
    const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), code);
    const auto used = static_cast<std::size_t>(end - item.data());
    ONNXRAY_CHECK(error == std::errc() && used < item.size() && item[used] == '=',
                  "--mask-names: expected 1=sky,2=tank, got '", item, "'");
    named[code] = item.substr(used + 1);
  }
  const std::vector<double> a = attribution.to_doubles();
  std::map<int, double> sums;
  for (const auto& [code, name] : named) sums[code] = 0;
  double total = 0;
  for (std::int64_t y = 0; y < h; ++y) {
    for (std::int64_t x = 0; x < w; ++x) {
      double sum = 0;
      for (std::int64_t k = 0; k < c; ++k)
        sum += a[static_cast<std::size_t>(channels_last ? (y * w + x) * c + k : (k * h + y) * w + x)];
      const double positive = std::max(0.0, sum);
      sums[mask.at(static_cast<int>(x), static_cast<int>(y))[0]] += positive;
      total += positive;
    }
  }
  Shares out;
  for (const auto& [code, sum] : sums) {
    const auto it = named.find(code);
    out.emplace_back(it == named.end() ? "code " + std::to_string(code) : it->second, total > 0 ? sum / total : 0);
  }
  return out;
}

}  // namespace onnxray::app
