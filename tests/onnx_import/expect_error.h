#pragma once
#include <gtest/gtest.h>

#include <string>

#include "engine/base/error.h"

namespace onnxray::testing {

// f must throw an Error of that kind, one line, whose text contains `part`.
template <class F>
void expect_error(F&& f, const std::string& part, ErrorKind kind = ErrorKind::kBadInput) {
  try {
    f();
    FAIL() << "no error, expected one with \"" << part << '"';
  } catch (const Error& e) {
    const std::string text = e.what();
    EXPECT_NE(text.find(part), std::string::npos) << "got: " << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << "more than one line: " << text;
    EXPECT_EQ(static_cast<int>(e.kind()), static_cast<int>(kind)) << text;
  }
}

}  // namespace onnxray::testing
