// run --prompt-cache FILE: keys and values of a prompt that outlive the process; and --shift.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/exec/generate.h"
#include "runtime/exec/step_runner.h"
#include "runtime/text/tokenizer.h"

namespace renga {

// As Generate on an empty sequence, with GenerateOptions::shift, and what the file at `path` knows
// of the beginning of the prompt is not computed again. Afterwards the file has what is known of
// the whole prompt, unless it is of a prompt that this one does not begin with: that stays as it
// is. `note` becomes a line for people about what happened. Without a path there is no file and no
// note. Errors also as Engine::RestorePrefix, of a file that is there, and of writing it.
absl::StatusOr<GenerateResult> GenerateWithCache(const std::string& path,
                                                 std::unique_ptr<StepRunner> runner,
                                                 const Tokenizer& tokenizer,
                                                 const std::vector<int32_t>& prompt,
                                                 const GenerateOptions& options, std::string* note);

}  // namespace renga
