// What somebody may have meant: the names nearest to one that does not exist.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "absl/types/span.h"

namespace renga {

// Levenshtein distance: insertions, deletions and replacements that turn `a` into `b`.
size_t EditDistance(std::string_view a, std::string_view b);

// The nearest of `names`, nearest first, and up to two more that a slip of the pen could have
// meant. Only the first 40 bytes of a name count, so that a long one costs no more. Empty only for
// no names.
std::vector<std::string_view> NearestNames(std::string_view name,
                                           absl::Span<const std::string_view> names);

}  // namespace renga
