// Error propagation. Every fallible function returns absl::Status or absl::StatusOr; these two
// macros exist because the abseil of the supported distributions (20220623) has none of its own.
//
// Codes and the exit code the command line gives them (docs in ARCHITECTURE.md, "Errors"):
//   InvalidArgument, NotFound, DataLoss, Unimplemented, OutOfRange, FailedPrecondition -> 2
//   ResourceExhausted, Unavailable -> 3;   Internal is our own bug.
// Build messages with StrCat of ir/base/strings.h (included here), which takes std::string_view
// too. A message reads "where: what, expected, got; what to do", lower case, no final period.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ir/base/strings.h"

namespace renga {

// Puts "prefix: " before the message of an error; an ok status passes unchanged.
inline absl::Status Annotate(const absl::Status& status, std::string_view prefix) {
  if (status.ok()) return status;
  return absl::Status(status.code(), StrCat(prefix, ": ", status.message()));
}

}  // namespace renga

#define RENGA_CONCAT_INNER(a, b) a##b
#define RENGA_CONCAT(a, b) RENGA_CONCAT_INNER(a, b)

#define RENGA_RETURN_IF_ERROR(expr)                                                     \
  do {                                                                                  \
    if (absl::Status renga_status_ = (expr); !renga_status_.ok()) return renga_status_; \
  } while (false)

#define RENGA_ASSIGN_OR_RETURN(lhs, expr) \
  RENGA_ASSIGN_OR_RETURN_IMPL(RENGA_CONCAT(renga_or_, __LINE__), lhs, expr)

#define RENGA_ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr) \
  auto tmp = (expr);                                \
  if (!tmp.ok()) return tmp.status();               \
  lhs = std::move(tmp).value()
