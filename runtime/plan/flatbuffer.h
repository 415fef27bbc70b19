// The generated reader and writer of plan.fbs, private to encode.cc and decode.cc.
#pragma once

#include <string_view>

// The generated code is not ours to keep free of warnings.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#include "runtime/plan/plan_generated.h"
#pragma GCC diagnostic pop

namespace renga::plan {

inline constexpr std::string_view kTrailerMagic{"RNGPLAN\0", 8};

}  // namespace renga::plan
