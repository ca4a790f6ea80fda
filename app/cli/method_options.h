// Method options from the command line's text.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "api/onnxray.h"
#include "app/cli/arguments.h"

namespace onnxray::app {

// Sets the options named in args.method_options; an unknown name or a value that does not parse throws, listing what
// the method knows.
void set_method_options(Method& method, const Arguments& args, const Model& model);

}  // namespace onnxray::app
