// A step that failed or hung on a GPU, as a folder. After such a fault nothing can be read from the
// GPU, in no context of the process; so what the step was given is computed again, by the reference
// interpreter on the host, which needs no GPU.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/given_steps.h"

namespace renga {

struct KeepOptions {
  std::string found;                                          // how it failed, for people
  int threads = 1;                                            // of the interpreter
  std::function<void(int64_t done, int64_t total)> progress;  // in tokens; may be null
};

struct KeptFailure {
  std::string node;
  // Of `renga bisect`, and what follows it: runs the step by itself.
  std::vector<std::string> alone;
  std::string without;  // why there is no repro.cu; empty: there is one
};

// Writes into `folder` what ReadKeptStep reads, repro.cu with what goes with it (cuda_repro.h), and
// the plan where its file does not have the code that ran. FailedPrecondition where the tokens
// before the step are not known; Unimplemented for plans with windows; else errors are those of the
// interpreter and of writing.
absl::StatusOr<KeptFailure> KeepFailedStep(const GivenSteps& given, const std::string& folder,
                                           const KeepOptions& options);

}  // namespace renga
