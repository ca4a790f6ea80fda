// Errors of the whole library: every failure a caller can cause is an onnxray::Error with one readable line.
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>

namespace onnxray {

// What kind of failure, which decides the command's exit code.
enum class ErrorKind {
  kBadInput,     // a wrong argument, file, shape, dtype, name: exit code 2
  kUnsupported,  // an operator, type or request that cannot be evaluated: exit code 3
  kNonFinite,    // a NaN or infinity where a number is needed: exit code 3
  kOutOfMemory,  // the device has not enough memory: exit code 3
  kCancelled,    // the caller's progress callback asked to stop
  kInternal,     // our own bug
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  [[nodiscard]] ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

namespace detail {
template <class... Parts>
[[nodiscard]] std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}
}  // namespace detail

// Throws Error(kBadInput) whose text is the parts, streamed one after another.
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error(ErrorKind::kBadInput, detail::concat(parts...));
}
template <class... Parts>
[[noreturn]] void fail_unsupported(const Parts&... parts) {
  throw Error(ErrorKind::kUnsupported, detail::concat(parts...));
}
template <class... Parts>
[[noreturn]] void fail_internal(const Parts&... parts) {
  throw Error(ErrorKind::kInternal, detail::concat("internal error: ", parts...));
}

}  // namespace onnxray

// A condition the caller must meet; the parts say what, where, got, expected. Never compiled out.
#define ONNXRAY_CHECK(cond, ...)               \
  do {                                         \
    if (!(cond)) ::onnxray::fail(__VA_ARGS__); \
  } while (false)
// A condition that only a bug of ours can break.
#define ONNXRAY_ASSERT(cond, ...)                                                                   \
  do {                                                                                              \
    if (!(cond)) ::onnxray::fail_internal(#cond, " ", __FILE__, ":", __LINE__, " ", ##__VA_ARGS__); \
  } while (false)
