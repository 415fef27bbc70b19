// A plan in memory, on this machine's processor.
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/exec/forward.h"
#include "runtime/plan/plan.h"

namespace renga {

// One sequence on "reference", or else on the cpu. Errors as WeightStore::Open and OpenReference,
// or CpuRunner::Create.
absl::StatusOr<std::unique_ptr<Forward>> OpenOnHost(std::string_view device,
                                                    std::shared_ptr<const plan::Plan> plan,
                                                    int threads);

}  // namespace renga
