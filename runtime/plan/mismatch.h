// The validator's one form of error.
#pragma once

#include <string_view>

#include "ir/base/status.h"

namespace renga::plan {

// "where: expected X, got Y; compile it again"
template <typename T, typename U>
absl::Status Mismatch(std::string_view where, const T& expected, const U& got) {
  return absl::InvalidArgumentError(
      StrCat(where, ": expected ", expected, ", got ", got, "; compile it again"));
}

}  // namespace renga::plan
