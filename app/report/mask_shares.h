// How an attribution divides over regions of a picture.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "app/io/image.h"
#include "engine/tensor.h"

namespace onnxray::app {

using Shares = std::vector<std::pair<std::string, double>>;

// The attribution's channel sum, its positive part, and the share of that inside every region of the mask (grey values
// are region codes). names: "1=sky,2=tank"; unnamed codes that occur are called "code 4". Throws unless the mask has
// the attribution's size.
[[nodiscard]] Shares mask_shares(const Tensor& attribution, bool channels_last, const Image& mask,
                                 const std::string& names);

}  // namespace onnxray::app
