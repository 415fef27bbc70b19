// From a configuration that is right and one that is not to the few differences that matter.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/bisect/delta_debug.h"
#include "tools/bisect/knobs.h"
#include "tools/bisect/question.h"

namespace renga {

// One question that was answered.
struct BisectRun {
  Subset bad;  // differences that were as in the bad configuration
  Outcome outcome = Outcome::kUnknown;
  std::string answer;   // Answer::text
  bool cached = false;  // known from a run before, of this bisect or in the log
  double seconds = 0;
};

struct BisectOptions {
  Question question;
  int most = 4;             // culprits to look for
  std::string log_path;     // see RunLog; empty: none
  std::string plan_folder;  // existing, for the plans that question.command is given
  std::function<void(const BisectRun& run)> on_run;
};

struct BisectReport {
  std::vector<Subset> culprits;  // each is bad by itself, and no smaller part of it
  std::string good, bad;         // answers of the two ends
  std::vector<BisectRun> runs;
  std::unique_ptr<Knobs> knobs;

  int64_t cached() const;
  std::vector<std::string> Names(const Subset& set) const;
};

// FailedPrecondition where both ends do the same, so that there is nothing to find.
absl::StatusOr<BisectReport> Bisect(std::unique_ptr<Knobs> knobs, const BisectOptions& options);

}  // namespace renga
