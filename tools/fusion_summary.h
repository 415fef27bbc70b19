// What the fusions of a plan came to, by its ledger.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/plan/plan.h"

namespace renga {

// One pass that fuses: its name begins with "fuse-".
struct FusionCount {
  std::string name;  // "qkv_rope" for the pass fuse-qkv-rope
  int64_t matched = 0;
  int64_t candidates = 0;  // matched and rejected
};

struct FusionSummary {
  std::vector<FusionCount> passes;                 // that ran, in pipeline order
  std::vector<const plan::LedgerEntry*> rejected;  // of these passes; borrowed from the ledger
};

FusionSummary SummarizeFusion(const std::vector<plan::PassRecord>& passes,
                              const std::vector<plan::LedgerEntry>& ledger);

// "qkv_rope 24/24  attention 24/24       0 rejected"; "none" in place of the counts where no
// pass that fuses ran.
std::string FusionText(const FusionSummary& summary);

// Passes of the default pipeline that fuse and did not run.
std::vector<std::string> FusionsLeftOut(const std::vector<plan::PassRecord>& passes);

}  // namespace renga
