// When the bytes of a buffer matter: from the step that writes them to the last that reads them.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/plan/plan.h"

namespace renga::plan {

// Steps, both inclusive. A buffer that no step writes has first = -1; an output of the plan lives
// to the last step, as the caller reads it after the run.
struct Lifetime {
  int32_t first = -1;
  int32_t last = -1;
  friend bool operator==(const Lifetime&, const Lifetime&) = default;
};

// One per buffer. A buffer that others view lives as long as they do, and they as long as it.
// Buffer indices of the plan must be valid.
std::vector<Lifetime> Lifetimes(const Plan& plan);

}  // namespace renga::plan
