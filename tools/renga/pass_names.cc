#include "tools/renga/pass_names.h"

#include <algorithm>
#include <vector>

#include "ir/base/nearest.h"
#include "ir/base/status.h"
#include "passes/core/pipeline.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

absl::StatusOr<std::string> Find(std::string_view flag, std::string_view text,
                                 const std::vector<std::string_view>& names) {
  const std::string name = WithDashes(text);
  if (std::find(names.begin(), names.end(), name) != names.end()) return name;
  return NoSuchName(flag, text, names);
}

std::vector<std::string_view> Passes() {
  std::vector<std::string_view> names;
  for (const Pass& pass : DefaultPipeline()) names.push_back(pass.name);
  return names;
}

}  // namespace

std::string WithDashes(std::string_view text) {
  std::string name(text);
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

absl::StatusOr<std::string> PassNamed(std::string_view flag, std::string_view text) {
  return Find(flag, text, Passes());
}

absl::StatusOr<std::string> PassOrFrontendNamed(std::string_view flag, std::string_view text) {
  std::vector<std::string_view> names = Passes();
  names.insert(names.begin(), "frontend");
  return Find(flag, text, names);
}

absl::Status NoSuchName(std::string_view flag, std::string_view text,
                        absl::Span<const std::string_view> names) {
  std::vector<std::string_view> sorted(names.begin(), names.end());
  std::stable_sort(sorted.begin(), sorted.end(), [text](std::string_view a, std::string_view b) {
    return EditDistance(text.substr(0, 40), a) < EditDistance(text.substr(0, 40), b);
  });
  return absl::InvalidArgumentError(StrCat(flag, ": expected one of ", StrJoin(sorted, ", "),
                                           " (the nearest first), got ", Quoted(text)));
}

}  // namespace renga
