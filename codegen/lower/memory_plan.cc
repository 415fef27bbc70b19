#include "codegen/lower/memory_plan.h"

#include <algorithm>
#include <numeric>

#include "runtime/plan/layout.h"

namespace renga::codegen {
namespace {

bool Together(const plan::Lifetime& a, const plan::Lifetime& b) {
  return a.first <= b.last && b.first <= a.last;
}

// Start of the smallest gap that holds `bytes` between `taken`, which is sorted by offset.
uint64_t BestGap(uint64_t bytes, absl::Span<const size_t> taken, absl::Span<const Block> blocks,
                 const std::vector<uint64_t>& offsets) {
  uint64_t free = 0;  // end of the blocks looked at so far
  uint64_t best = 0;
  uint64_t best_size = UINT64_MAX;
  for (size_t block : taken) {
    if (offsets[block] > free) {
      const uint64_t gap = offsets[block] - free;
      if (gap >= bytes && gap < best_size) {
        best = free;
        best_size = gap;
      }
    }
    free = std::max(free, offsets[block] + plan::AlignUp(blocks[block].bytes));
  }
  return best_size == UINT64_MAX ? free : best;
}

}  // namespace

Placement PlaceBlocks(absl::Span<const Block> blocks) {
  std::vector<size_t> order(blocks.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return blocks[a].bytes > blocks[b].bytes; });
  Placement placement;
  placement.offsets.assign(blocks.size(), 0);
  std::vector<size_t> placed;  // sorted by offset
  std::vector<size_t> taken;
  for (size_t block : order) {
    taken.clear();
    for (size_t other : placed) {
      if (Together(blocks[block].life, blocks[other].life)) taken.push_back(other);
    }
    const uint64_t bytes = plan::AlignUp(blocks[block].bytes);
    const uint64_t offset = BestGap(bytes, taken, blocks, placement.offsets);
    placement.offsets[block] = offset;
    placement.bytes = std::max(placement.bytes, offset + bytes);
    const auto at = std::upper_bound(
        placed.begin(), placed.end(), offset,
        [&](uint64_t value, size_t other) { return value < placement.offsets[other]; });
    placed.insert(at, block);
  }
  return placement;
}

void PlaceBuffers(plan::Plan& plan) {
  const std::vector<plan::Lifetime> lives = plan::Lifetimes(plan);
  std::vector<Block> blocks;
  std::vector<size_t> owners;
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const plan::Buffer& buffer = plan.buffers[i];
    if (buffer.space != plan::Space::kArena || buffer.view_of >= 0) continue;
    blocks.push_back({buffer.bytes, lives[i]});
    owners.push_back(i);
  }
  const Placement placement = PlaceBlocks(blocks);
  for (size_t i = 0; i < owners.size(); ++i) plan.buffers[owners[i]].offset = placement.offsets[i];
  for (plan::Buffer& buffer : plan.buffers) {
    if (buffer.view_of >= 0) buffer.offset = plan.buffers[buffer.view_of].offset;
  }
}

void PlacePersistent(plan::Plan& plan) {
  uint64_t end = 0;
  for (plan::Buffer& buffer : plan.buffers) {
    if (buffer.space != plan::Space::kPersistent) continue;
    buffer.offset = end;
    end += plan::AlignUp(buffer.bytes);
  }
}

}  // namespace renga::codegen
