#include "tools/library/error.h"

#include <algorithm>
#include <iterator>
#include <memory>

#include "ir/base/status.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

struct CodeRow {
  absl::StatusCode code;
  renga_status status;
};

constexpr CodeRow kCodes[] = {
    {absl::StatusCode::kOk, RENGA_OK},
    {absl::StatusCode::kInvalidArgument, RENGA_INVALID_ARGUMENT},
    {absl::StatusCode::kOutOfRange, RENGA_INVALID_ARGUMENT},
    {absl::StatusCode::kNotFound, RENGA_NOT_FOUND},
    {absl::StatusCode::kUnimplemented, RENGA_UNSUPPORTED},
    {absl::StatusCode::kFailedPrecondition, RENGA_NOT_NOW},
    {absl::StatusCode::kDataLoss, RENGA_BAD_DATA},
    {absl::StatusCode::kResourceExhausted, RENGA_EXHAUSTED},
    {absl::StatusCode::kUnavailable, RENGA_UNAVAILABLE},
};

}  // namespace

renga_status CodeOf(const absl::Status& status) {
  const auto row = std::find_if(std::begin(kCodes), std::end(kCodes),
                                [&](const CodeRow& row) { return row.code == status.code(); });
  return row == std::end(kCodes) ? RENGA_INTERNAL : row->status;
}

renga_status Report(const absl::Status& status, renga_error** error) noexcept {
  const renga_status code = CodeOf(status);
  if (error == nullptr) return code;
  *error = nullptr;
  if (status.ok()) return code;
  try {
    // Messages quote files that nobody vouches for.
    *error =
        std::make_unique<renga_error>(renga_error{code, EscapeForTerminal(ToStd(status.message()))})
            .release();
  } catch (const std::bad_alloc&) {
  }
  return code;
}

absl::Status CheckGiven(const void* pointer, std::string_view what) {
  if (pointer != nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat(what, ": expected a pointer, got null"));
}

}  // namespace renga
