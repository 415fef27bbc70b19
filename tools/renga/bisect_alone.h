// renga bisect --alone FOLDER: a step that was kept, run by itself.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "tools/open_model.h"

namespace renga {

// The step that `folder` keeps (repro/kept_step.h), as `opened` has it, on the GPU `device`. Prints
// whether it gives what is expected; AnswerIsNo where it does not. Errors as ReadKeptStep, OpenCuda
// and RunStepAlone.
absl::Status PrintAlone(const OpenedPlan& opened, const std::string& device,
                        const std::string& folder, int threads, bool json);

}  // namespace renga
