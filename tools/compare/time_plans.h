// How fast two plans are on this machine's cpu, measured in turns so that both see the same
// machine.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/open_model.h"

namespace renga {

struct TimePlansOptions {
  int threads = 0;       // 0: all cores
  int rounds = 5;        // medians over these
  int64_t prefill = 64;  // tokens of one step; fewer where a plan takes no more
  int64_t decode = 16;   // steps of one token each behind them
  const std::atomic<bool>* cancel = nullptr;  // set: Cancelled at the next step
};

// Medians over the rounds, milliseconds.
struct PlanTime {
  double prefill_ms = 0;                // of all tokens, logits of the last
  double decode_ms = 0;                 // of one token
  std::vector<double> prefill_step_us;  // by plan step
};

struct TimeReport {
  PlanTime a, b;
  int64_t prefill = 0;  // tokens
  int threads = 0, rounds = 0;
  // Medians over the rounds of b's speed relative to a's in the same round; above 1: b is faster.
  double prefill_speedup = 0, decode_speedup = 0;
};

absl::StatusOr<TimeReport> TimePlans(const OpenedPlan& a, const OpenedPlan& b,
                                     const TimePlansOptions& options);

}  // namespace renga
