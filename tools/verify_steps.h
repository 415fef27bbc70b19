// Every node of a plan alone, in steps of several kinds: into an empty cache, the last token of a
// full context, behind a filled cache, several sequences at once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "ir/reference/interpreter.h"
#include "ir/trace/verify.h"
#include "tools/step_recorder.h"
#include "tools/verify_log.h"

namespace renga {

struct VerifyStepsOptions {
  std::vector<int32_t> ids;   // of the first step, two at least, and of the others' first tokens
  std::vector<int32_t> more;  // what goes on behind them, again and again; empty: `ids`
  bool quick = false;         // a token behind some others instead of the last of a full context
  VerifyOptions nodes;
  VerifyLog* log = nullptr;  // which knows what was right before and is told what is; null: none
};

struct StepsVerdict {
  Verdict nodes;
  std::vector<std::string> steps;    // "9 tokens from an empty cache"
  std::vector<std::string> not_run;  // "several sequences at once: the plan holds one"
};

// A context up to this is filled to its last token.
inline constexpr int64_t kMostFilled = 1024;

// Errors: InvalidArgument for fewer ids than two or such as the model does not have; OutOfRange
// where the plan has no room for two tokens; those of the recorder and of VerifyTrace.
absl::StatusOr<StepsVerdict> VerifySteps(StepRecorder& recorder, const WeightBytes& weights,
                                         const VerifyStepsOptions& options);

}  // namespace renga
