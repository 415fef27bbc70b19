#include "tools/renga/positions_flag.h"

#include <charconv>
#include <optional>
#include <string>

#include "absl/strings/str_split.h"
#include "ir/base/status.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

std::optional<int64_t> Integer(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

absl::StatusOr<int64_t> Position(std::string_view text, int64_t tokens) {
  const std::optional<int64_t> number = Integer(text);
  if (!number) {
    return absl::InvalidArgumentError(
        StrCat("--positions: expected positions and ranges such as 0,3..5,-1, got ", Quoted(text)));
  }
  if (*number < -tokens || *number >= tokens) {
    return absl::InvalidArgumentError(StrCat("--positions: expected ", -tokens, "..", tokens - 1,
                                             " for a run of ", tokens, " tokens, got ", *number));
  }
  return *number < 0 ? *number + tokens : *number;
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> ParsePositions(std::string_view text, int64_t tokens) {
  std::vector<bool> kept(tokens);
  for (const std::string& part : std::vector<std::string>(absl::StrSplit(std::string(text), ','))) {
    const std::string_view view = part;
    const size_t dots = view.find("..");
    const std::string_view first = view.substr(0, dots);
    RENGA_ASSIGN_OR_RETURN(const int64_t begin, Position(first, tokens));
    int64_t end = begin;
    if (dots != std::string_view::npos) {
      RENGA_ASSIGN_OR_RETURN(end, Position(view.substr(dots + 2), tokens));
    }
    if (end < begin) {
      return absl::InvalidArgumentError(StrCat("--positions: expected a range that ascends, got ",
                                               part, ", which is ", begin, "..", end, " of ",
                                               tokens, " tokens"));
    }
    for (int64_t at = begin; at <= end; ++at) kept[at] = true;
  }
  std::vector<int32_t> positions;
  for (int64_t at = 0; at < tokens; ++at) {
    if (kept[at]) positions.push_back(static_cast<int32_t>(at));
  }
  return positions;
}

}  // namespace renga
