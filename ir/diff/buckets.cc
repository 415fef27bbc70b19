#include "ir/diff/buckets.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace renga {
namespace {

using Keyed = std::pair<uint64_t, int>;

std::vector<Keyed> SortedKeys(
    const LineUpSide& side, const std::function<uint64_t(const LineUpSide& side, int node)>& key) {
  std::vector<Keyed> keyed;
  for (int n = 0; n < side.nodes(); ++n) {
    if (side.match_of[n] >= 0) continue;
    if (const uint64_t k = key(side, n); k != 0) keyed.emplace_back(k, n);
  }
  std::sort(keyed.begin(), keyed.end());
  return keyed;
}

size_t EndOfKey(const std::vector<Keyed>& keyed, size_t begin) {
  size_t end = begin;
  while (end < keyed.size() && keyed[end].first == keyed[begin].first) ++end;
  return end;
}

}  // namespace

int PairBuckets(LineUp* line_up, BucketRule rule,
                const std::function<uint64_t(const LineUpSide& side, int node)>& key) {
  const std::vector<Keyed> a = SortedKeys(line_up->a, key);
  const std::vector<Keyed> b = SortedKeys(line_up->b, key);
  int pairs = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a[i].first != b[j].first) {
      ++(a[i].first < b[j].first ? i : j);
      continue;
    }
    const size_t i_end = EndOfKey(a, i), j_end = EndOfKey(b, j);
    const size_t count_a = i_end - i, count_b = j_end - j;
    const bool take = rule == BucketRule::kInOrder ||
                      (count_a == count_b && (rule == BucketRule::kEqual || count_a == 1));
    for (size_t k = 0; take && k < std::min(count_a, count_b); ++k, ++pairs) {
      line_up->Pair(a[i + k].second, b[j + k].second, MatchBy::kStructure);
    }
    i = i_end;
    j = j_end;
  }
  return pairs;
}

}  // namespace renga
