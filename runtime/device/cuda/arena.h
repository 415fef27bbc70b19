// The large pieces of a GPU's memory that a plan asks for.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/device/cuda/resources.h"
#include "runtime/plan/plan.h"

namespace renga::cuda {

// `status`, but where memory is out, for `what` ("weights"): then with what all of the plan's
// arenas take, what the GPU has, and what can be lowered. One that says so already stays as it is.
absl::Status ExplainMemory(const absl::Status& status, const Context& context,
                           const plan::Plan& plan, std::string_view what);

// Memory::Allocate for `what` of the plan ("weights"). Errors as
// ExplainMemory has them.
absl::StatusOr<Memory> AllocateArena(ContextRef context, const plan::Plan& plan,
                                     std::string_view what, uint64_t bytes);

}  // namespace renga::cuda
