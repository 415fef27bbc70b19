// Putting a plan's weights into the plan file.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/memory/weights.h"
#include "runtime/plan/plan.h"

namespace renga {

// A plan file in parts, to be written one after another.
struct EmbeddedPlan {
  WeightStore store;  // has what the parts between the first and the last show
  std::string head, trailer, zeros;
  std::vector<std::string_view> parts;
  uint64_t bytes = 0;  // of all parts
};

// Packs the plan's weights (errors of WeightStore::Open), notes in `plan` where each will lie in
// the file, and lays the file out. The result holds all packed weights in memory.
absl::StatusOr<std::unique_ptr<EmbeddedPlan>> EmbedWeights(plan::Plan* plan, int threads);

}  // namespace renga
