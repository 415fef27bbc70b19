// A trace as a file; docs/trace-format.md says what is in it.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "ir/trace/trace.h"

namespace renga {

// All or nothing, see WriteFileAtomically. InvalidArgument for values of one name.
absl::Status WriteTrace(const Trace& trace, const std::string& path);

}  // namespace renga
