// What a bisect asks of a configuration, and how two answers differ.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/exec/forward.h"
#include "tools/bisect/delta_debug.h"

namespace renga {

struct Question {
  std::vector<int32_t> ids;  // the prompt
  int64_t tokens = 16;       // generated greedily behind it
  // Bad is a mean KL divergence from the good one's distributions, over all positions of the
  // prompt, above this. Without it, other ids than the good one's.
  std::optional<double> kl;
  // Bad is an exit code other than 0 of this command, run by sh with $RENGA_PLAN the plan's file
  // (125: unknown, as with git bisect); 127, no such command, is an error.
  std::string command;
  const std::atomic<bool>* cancel = nullptr;  // looked at before every step

  // All but `cancel`, for people and for the key of a run.
  std::string Text() const;
};

// What a configuration did. Of `kl` only the first, good one keeps its logits.
struct Answer {
  // "ids 3,17,4", "KL 1.2e-05", "exit 1" or "error: what": all that decides, on one line.
  std::string text;
  double kl = 0;              // where that is asked
  std::vector<float> logits;  // likewise, [prompt tokens, vocab]
};

// Runs the model as the question says; `good` has the logits to compare with, null for the good one
// itself. What the run fails with is an answer; Cancelled is an error.
absl::StatusOr<Answer> Ask(const Question& question, Forward& forward, const Answer* good);

// Runs question.command on a plan file.
absl::StatusOr<Answer> AskCommand(const Question& question, const std::string& plan_path);

// `bad` is the answer of the bad configuration, for which a failure may be what is looked for; null
// when it is its own that is judged.
Outcome Judge(const Question& question, const Answer& good, const Answer* bad,
              const Answer& answer);

// Of an answer that a log has, without logits.
Answer AnswerOfText(std::string_view text);

}  // namespace renga
