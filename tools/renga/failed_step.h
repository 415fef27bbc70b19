// What becomes of a step that failed on a GPU: it is kept, and run again alone.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "tools/given_steps.h"

namespace renga {

// `status`, the error that the step ended in, and behind it: where the step is kept, and whether it
// fails alone too, in a process of its own (`renga bisect --alone`), for after such a fault this
// one can use no GPU. Or why not. `threads`: 0 for all cores.
absl::Status WithKeptStep(const absl::Status& status, const GivenSteps& given,
                          const std::string& folder, int threads);

}  // namespace renga
