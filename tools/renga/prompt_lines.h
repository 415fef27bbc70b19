// Prompts as JSON Lines, for `run -f prompts.jsonl`.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/renga/run_flags.h"

namespace renga {

struct PromptLine {
  int number = 0;  // of the line, from 1 on
  Prompt prompt;
  RunFlags flags;  // those of the command, with what the line says otherwise
};

// One object a line: "prompt" (a text) or "ids" (an array), and any of n temp top_k top_p min_p
// typical repeat_penalty presence_penalty frequency_penalty seed stop ignore_eos logits. Empty
// lines are skipped. InvalidArgument naming `name`, the line and what is wrong with it; also where
// there is no prompt at all.
absl::StatusOr<std::vector<PromptLine>> ReadPromptLines(std::string_view text,
                                                        std::string_view name,
                                                        const RunFlags& flags);

}  // namespace renga
