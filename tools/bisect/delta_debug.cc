#include "tools/bisect/delta_debug.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "ir/base/status.h"

namespace renga {
namespace {

// `set` in `parts` pieces of neighbours, as equal as can be.
std::vector<Subset> Split(const Subset& set, size_t parts) {
  std::vector<Subset> pieces;
  size_t begin = 0;
  for (size_t i = 0; i < parts; ++i) {
    const size_t end = begin + (set.size() - begin) / (parts - i);
    pieces.emplace_back(set.begin() + static_cast<int64_t>(begin),
                        set.begin() + static_cast<int64_t>(end));
    begin = end;
  }
  return pieces;
}

}  // namespace

Subset Union(const Subset& a, const Subset& b) {
  Subset set;
  std::set_union(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(set));
  return set;
}

Subset Minus(const Subset& a, const Subset& b) {
  Subset set;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(set));
  return set;
}

absl::StatusOr<Isolated> Isolate(Subset good, Subset bad, const SubsetTest& test) {
  size_t parts = 2;
  while (true) {
    const Subset between = Minus(bad, good);
    if (between.size() < 2) break;
    parts = std::min(parts, between.size());
    bool closer = false;
    for (const Subset& piece : Split(between, parts)) {
      // A piece on top of what is good, then what is bad without it: of two pieces the second
      // question is that of the first about the other piece.
      Subset more = Union(good, piece);
      RENGA_ASSIGN_OR_RETURN(const Outcome with, test(more));
      if (with == Outcome::kBad) {
        bad = std::move(more);
        parts = 2;
        closer = true;
      } else if (with == Outcome::kGood) {
        good = std::move(more);
        parts = std::max<size_t>(parts - 1, 2);
        closer = true;
      } else {
        Subset less = Minus(bad, piece);
        RENGA_ASSIGN_OR_RETURN(const Outcome without, test(less));
        if (without == Outcome::kUnknown) continue;
        (without == Outcome::kGood ? good : bad) = std::move(less);
        parts = without == Outcome::kGood ? 2 : std::max<size_t>(parts - 1, 2);
        closer = true;
      }
      break;
    }
    if (closer) continue;
    if (parts == between.size()) break;
    parts *= 2;
  }
  return Isolated{std::move(good), std::move(bad)};
}

absl::StatusOr<Subset> MinimalBad(Subset bad, const SubsetTest& test) {
  Subset needed;
  while (true) {
    RENGA_ASSIGN_OR_RETURN(Isolated found, Isolate(needed, bad, test));
    // What was isolated is needed on top of found.good; of that, only some may be.
    const bool alone = found.good == needed;
    needed = Union(needed, Minus(found.bad, found.good));
    if (alone) return needed;
    RENGA_ASSIGN_OR_RETURN(const Outcome outcome, test(needed));
    if (outcome == Outcome::kBad) return needed;
    bad = std::move(found.bad);
  }
}

absl::StatusOr<std::vector<Subset>> AllMinimalBad(Subset bad, int most, const SubsetTest& test) {
  std::vector<Subset> found;
  while (static_cast<int>(found.size()) < most) {
    RENGA_ASSIGN_OR_RETURN(found.emplace_back(), MinimalBad(bad, test));
    bad = Minus(bad, found.back());
    if (bad.empty()) break;
    RENGA_ASSIGN_OR_RETURN(const Outcome outcome, test(bad));
    if (outcome != Outcome::kBad) break;
  }
  return found;
}

}  // namespace renga
