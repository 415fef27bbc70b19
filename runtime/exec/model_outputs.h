// What a plan for a language model gives back.
#pragma once

#include "absl/status/status.h"
#include "runtime/plan/plan.h"

namespace renga {

// A valid plan has an output logits f32[R,n], n at least the model's vocab, so that rows can be
// read by what R was bound to, and where it has an output next, that is i32[R]. InvalidArgument
// otherwise.
absl::Status CheckModelOutputs(const plan::Plan& plan);

}  // namespace renga
