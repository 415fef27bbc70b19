// Split models: NAME-00001-of-00003.gguf and its siblings in the same folder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "frontend/gguf/part.h"

namespace renga {

// "model" -> "model-00002-of-00003.gguf" for part 2 of 3.
std::string SplitPath(std::string_view prefix, uint64_t part, uint64_t parts);

// Reads the file at `path` and, where its metadata says that it is the first part of a split model
// (split.count above 1), all other parts found beside it, in order. Only the first part's metadata
// describe the model; of the others' only split.no, split.count and split.tensors.count are used.
// Errors, each with a message of its own: `path` is a later part, its name does not follow the
// pattern, a part is missing, is another part than its name says, or is one that was already read,
// the parts disagree on their number, the tensors do not add up to split.tensors.count.
absl::StatusOr<std::vector<GgufPart>> ReadGgufParts(const std::string& path);

}  // namespace renga
