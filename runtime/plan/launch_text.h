// What a step starts on a GPU, for people: after a failure, when nothing more can be asked there.
#pragma once

#include <string>

#include "absl/types/span.h"
#include "runtime/plan/plan.h"

namespace renga::plan {

// "\n  kernel NAME, grid 7 x 1 x 1 of 128 threads, 4096 bytes of shared memory, x = 0.q, w =
// blk.0.attn_q.weight + 64, tokens = 3" for each launch that the step makes with symbol i at
// symbols[i].
std::string LaunchesText(const Plan& plan, const Step& step, absl::Span<const int64_t> symbols);

}  // namespace renga::plan
