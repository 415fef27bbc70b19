// The passes between frontend and codegen, in order.
#pragma once

#include "absl/types/span.h"
#include "passes/core/pass.h"

namespace renga {

// For the cpu.
absl::Span<const Pass> DefaultPipeline();

// For GPUs: the same passes, of which that about the bias of keys takes more caches, and those
// about layouts choose others. pack-weights must run.
absl::Span<const Pass> GpuPipeline();

}  // namespace renga
