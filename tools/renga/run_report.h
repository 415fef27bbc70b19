// What a generation leaves behind, for people and for scripts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/exec/generate.h"
#include "tools/renga/output.h"
#include "tools/renga/timeline_report.h"

namespace renga {

struct RunReport {
  std::string device;                       // "cpu"
  std::optional<int64_t> kernels_compiled;  // of OpenedModel
  double load_seconds = 0;
  double first_token_seconds = 0;  // since the verb began; 0 when none came
  uint64_t seed = 0;
  bool sampled = false;  // the seed had a say
  int logits = 0;        // reported for each token
  std::vector<int32_t> prompt_ids;
  GenerateResult result;
  std::optional<TimelineSummary> timeline;  // --timeline
};

// The object of `run --json`.
Json ToJson(const RunReport& report);

// The logits asked for, one line a token or prompt position; empty when none were.
std::string LogitsText(const RunReport& report);

// Timings and how it ended, on stderr.
void PrintSummary(const RunReport& report);

}  // namespace renga
