// Method options from the command line's text.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "api/onnxray.h"
#include "app/cli/arguments.h"

namespace onnxray::app {

// Sets the options named in args.method_options on every method that has them; a name that none of them has or a value
// that does not parse throws, listing what the methods know. `names`: the methods' names, for messages.
void set_method_options(const std::vector<Method*>& methods, const std::string& names, const Arguments& args,
                        const Model& model);

}  // namespace onnxray::app
