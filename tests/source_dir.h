// The repository's root. Not a macro of the compiler's command line, so that objects do not depend on where it lies.
#pragma once

namespace onnxray::testing {
[[nodiscard]] const char* source_dir();
}
