// Which few of many differences make an outcome bad: delta debugging (Zeller and Hildebrandt,
// "Simplifying and Isolating Failure-Inducing Input", 2002), over numbered differences and with a
// test that knows nothing but a set of them.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"

namespace renga {

enum class Outcome : uint8_t {
  kGood,
  kBad,
  kUnknown,  // this mixture cannot be run, or does something else entirely
};

// Ascending numbers of the differences that are as in the bad configuration; the others are as in
// the good one.
using Subset = std::vector<int>;
using SubsetTest = std::function<absl::StatusOr<Outcome>(const Subset&)>;

// A good and a bad set, the former within the latter, that differ as little as was found: by one
// difference, unless sets in between are unknown.
struct Isolated {
  Subset good, bad;
};

// `good` within `bad`, and tested. With no unknown outcome ceil(log2(n)) tests, for n differences
// between them; at most about n * n.
absl::StatusOr<Isolated> Isolate(Subset good, Subset bad, const SubsetTest& test);

// A set that is bad by itself, of which no part is needed less: of k differences that are bad only
// together, all k. `bad` is bad, and nothing at all is good. About k * log2(n) tests.
absl::StatusOr<Subset> MinimalBad(Subset bad, const SubsetTest& test);

// One such set after another, each looked for without the differences of those before, until what
// is left is not bad or there are `most` of them. One culprit among n differences takes
// ceil(log2(n)) + 2 tests.
absl::StatusOr<std::vector<Subset>> AllMinimalBad(Subset bad, int most, const SubsetTest& test);

// Of ascending sets.
Subset Union(const Subset& a, const Subset& b);
Subset Minus(const Subset& a, const Subset& b);

}  // namespace renga
