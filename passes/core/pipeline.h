// The passes between frontend and codegen, in order.
#pragma once

#include "absl/types/span.h"
#include "passes/core/pass.h"

namespace renga {

absl::Span<const Pass> DefaultPipeline();

}  // namespace renga
