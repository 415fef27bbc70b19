// renga run with many prompts at a time, or many texts for one.
#pragma once

#include "absl/status/status.h"
#include "tools/renga/run_flags.h"

namespace renga {

// Whether the flags ask for that: --parallel, --n-best, or a file of JSON Lines by its name.
bool AsksForMany(const RunFlags& flags);

// Results go to stdout in the order of the prompts, as soon as those before are there too: with
// --json an object a line, else texts under headings. A prompt that the model cannot take is an
// error before anything runs; what fails later has an object with "error" (a message on stderr) and
// the first such error is returned at the end.
absl::Status RunMany(const RunFlags& flags);

}  // namespace renga
