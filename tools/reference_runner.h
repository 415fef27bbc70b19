// The reference interpreter behind the interface of a device: `--device reference`.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "ir/reference/interpreter.h"
#include "runtime/exec/step_runner.h"
#include "runtime/memory/weights.h"
#include "runtime/plan/plan.h"

namespace renga {

// Interprets the plan's final graph. `weights` maps the plan's files and is kept.
absl::StatusOr<std::unique_ptr<StepRunner>> OpenReference(
    std::shared_ptr<const plan::Plan> plan, std::shared_ptr<const WeightStore> weights, int threads,
    Observer observer = nullptr);

}  // namespace renga
