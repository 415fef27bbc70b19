// A plan's weights for the reference interpreter.
#pragma once

#include "ir/reference/interpreter.h"
#include "runtime/memory/weights.h"
#include "runtime/plan/plan.h"

namespace renga {

// The bytes of each weight as its file has them, by name. `store` was opened with
// WeightOptions::packed false; it and `plan`, of which it is, outlive the result. InvalidArgument
// for a name that the plan does not have.
WeightBytes FileWeights(const plan::Plan& plan, const WeightStore& store);

}  // namespace renga
