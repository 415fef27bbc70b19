// Where a verb's result goes: stdout, or a file that is replaced as a whole.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "nlohmann/json.hpp"

namespace renga {

using Json = nlohmann::ordered_json;  // keys in the order they were written

// Writes all of `text` at once, unbuffered. ResourceExhausted on a full disk; InvalidArgument when
// stdout cannot be written otherwise, a pipe that nobody reads any more included.
absl::Status WriteStdout(std::string_view text);

// One object on one line. Bytes that are no UTF-8 come out as U+FFFD.
std::string JsonText(const Json& json);

// To the file `path`, all or nothing, Ctrl-C included (Cancelled, after the write); to stdout where
// the path is empty.
absl::Status WriteResult(const std::string& path, std::string_view text);

// The same for a file in parts, which come one after another.
absl::Status WriteResult(const std::string& path, absl::Span<const std::string_view> parts);

// Whether both paths name the same existing file.
bool SameFile(const std::string& a, const std::string& b);

}  // namespace renga
