#include "runtime/text/merge_ranks.h"

namespace renga {

MergeRanks::MergeRanks(absl::Span<const std::pair<int32_t, int32_t>> merges) {
  size_t slots = 16;
  while (slots < 2 * merges.size()) slots *= 2;
  slots_.assign(slots, {kFree, -1});
  // Differs from run to run, so that no file can be made whose merges all fall on one slot.
  seed_ = reinterpret_cast<uintptr_t>(slots_.data());
  for (size_t i = 0; i < merges.size(); ++i) {
    const uint64_t pair = Pair(merges[i].first, merges[i].second);
    size_t at = Begin(pair);
    while (slots_[at].pair != kFree && slots_[at].pair != pair) at = (at + 1) & (slots - 1);
    if (slots_[at].pair == kFree) slots_[at] = {pair, static_cast<int32_t>(i)};
  }
}

int32_t MergeRanks::Find(int32_t left, int32_t right) const {
  if (left < 0 || right < 0 || slots_.empty()) return -1;
  const uint64_t pair = Pair(left, right);
  size_t at = Begin(pair);
  while (slots_[at].pair != kFree) {
    if (slots_[at].pair == pair) return slots_[at].rank;
    at = (at + 1) & (slots_.size() - 1);
  }
  return -1;
}

// splitmix64's finaliser: every bit of the pair reaches the low bits.
size_t MergeRanks::Begin(uint64_t pair) const {
  uint64_t x = pair ^ seed_;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return (x ^ (x >> 31)) & (slots_.size() - 1);
}

}  // namespace renga
