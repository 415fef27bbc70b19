#include "runtime/exec/row_sampling.h"

#include <cmath>

#include "ir/base/status.h"
#include "ir/base/strings.h"

namespace renga {
namespace {

absl::Status CheckDraw(const NextDraw& draw, int64_t vocab) {
  const bool numbers = draw.temperature > 0 && std::isfinite(draw.temperature) && draw.repeat > 0 &&
                       std::isfinite(draw.repeat) && draw.uniform >= 0 && draw.uniform < 1 &&
                       std::isfinite(draw.top_p) && std::isfinite(draw.typical_p) &&
                       draw.log_min_p <= 0;
  if (!numbers) return absl::InvalidArgumentError("expected parameters in their ranges");
  int64_t before = -1;
  for (const NextDraw::Change& change : draw.changes) {
    if (change.id <= before || change.id >= vocab) {
      return absl::OutOfRangeError(
          StrCat("changes: expected rising ids below ", vocab, ", got ", change.id));
    }
    before = change.id;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckSampling(absl::Span<const RowSampling> asked, int64_t rows, int64_t vocab) {
  int64_t before = -1;
  for (const RowSampling& one : asked) {
    if (one.row <= before || one.row >= rows) {
      return absl::OutOfRangeError(
          StrCat("sampling: expected rising rows below ", rows, ", got ", one.row));
    }
    before = one.row;
    RENGA_RETURN_IF_ERROR(
        Annotate(CheckDraw(one.draw, vocab), StrCat("sampling of row ", one.row)));
  }
  return absl::OkStatus();
}

}  // namespace renga
