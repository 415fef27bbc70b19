#include "runtime/exec/step_runner.h"

#include "runtime/plan/layout.h"

namespace renga {

int64_t MaxRows(const plan::Plan& plan) {
  return plan::SymbolMax(plan, "R", plan.geometry.max_step_tokens);
}

}  // namespace renga
