// Where each buffer lies in the activation arena.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "runtime/plan/lifetime.h"
#include "runtime/plan/plan.h"

namespace renga::codegen {

struct Block {
  uint64_t bytes = 0;
  plan::Lifetime life;
};

struct Placement {
  std::vector<uint64_t> offsets;  // one per block, multiples of plan::kAlignment
  uint64_t bytes = 0;             // end of the last block, rounded up
};

// Blocks alive at a common step never overlap. Largest first, each into the smallest gap that holds
// it between the blocks it must avoid, else past them: within a few per cent of the largest sum of
// bytes alive at one step for the graphs of language models.
Placement PlaceBlocks(absl::Span<const Block> blocks);

// Sets the offset of every arena buffer of `plan`, views included.
void PlaceBuffers(plan::Plan& plan);

// Sets the offset of every persistent buffer: one after another.
void PlacePersistent(plan::Plan& plan);

}  // namespace renga::codegen
