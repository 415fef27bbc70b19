#include "tools/bisect/delta_debug.h"

#include <cmath>
#include <numeric>
#include <random>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"

namespace renga {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Subset FirstNumbers(int count) {
  Subset all(static_cast<size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

bool Has(const Subset& set, const Subset& part) { return Minus(part, set).empty(); }

// Bad where one of `causes` is there as a whole; counts the sets that were asked for, each once.
class Oracle {
 public:
  explicit Oracle(std::vector<Subset> causes) : causes_(std::move(causes)) {}

  SubsetTest Test() {
    return [this](const Subset& set) -> absl::StatusOr<Outcome> {
      asked_.insert(set);
      if (unknown_ && unknown_(set)) return Outcome::kUnknown;
      for (const Subset& cause : causes_) {
        if (Has(set, cause)) return Outcome::kBad;
      }
      return Outcome::kGood;
    };
  }
  void Unknown(std::function<bool(const Subset&)> unknown) { unknown_ = std::move(unknown); }
  size_t asked() const { return asked_.size(); }

 private:
  std::vector<Subset> causes_;
  std::function<bool(const Subset&)> unknown_;
  std::set<Subset> asked_;
};

TEST(DeltaDebugTest, OneCulpritTakesTwoRunsMoreThanTheLogarithm) {
  for (const int count : {1, 2, 3, 7, 16, 33, 100, 350}) {
    for (int culprit = 0; culprit < count; culprit += 1 + count / 9) {
      Oracle oracle(std::vector<Subset>{{culprit}});
      const auto found = AllMinimalBad(FirstNumbers(count), 8, oracle.Test());
      ASSERT_TRUE(found.ok()) << found.status();
      EXPECT_THAT(*found, ElementsAre(ElementsAre(culprit)));
      EXPECT_LE(oracle.asked(), std::ceil(std::log2(count)) + 2) << count;
    }
  }
}

TEST(DeltaDebugTest, CulpritsThatAreBadOnlyTogetherAreAllThere) {
  Oracle oracle(std::vector<Subset>{{3, 40, 77}});
  const auto found = AllMinimalBad(FirstNumbers(100), 8, oracle.Test());
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(*found, ElementsAre(ElementsAre(3, 40, 77)));
  EXPECT_LE(oracle.asked(), 3 * 8u);
}

TEST(DeltaDebugTest, CulpritsOfTheirOwnAreFoundOneAfterTheOther) {
  Oracle oracle(std::vector<Subset>{{12}, {50, 51}, {90}});
  const auto found = AllMinimalBad(FirstNumbers(100), 8, oracle.Test());
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(*found,
              testing::UnorderedElementsAre(ElementsAre(12), ElementsAre(50, 51), ElementsAre(90)));
  const auto first = AllMinimalBad(FirstNumbers(100), 1, oracle.Test());
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->size(), 1u);
}

// What the bad set gives is bad, and what it gives without any one of its members is not.
TEST(DeltaDebugTest, RandomCausesAndMixturesThatCannotBeRun) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    const int count = 1 + static_cast<int>(random() % 40);
    Subset cause;
    for (int i = 0; i < count; ++i) {
      if (random() % 8 == 0) cause.push_back(i);
    }
    if (cause.empty()) cause.push_back(static_cast<int>(random() % count));
    // Two differences that must not be told apart, as often as not.
    const int pair = count > 1 ? static_cast<int>(random() % (count - 1)) : 0;
    const bool bound = count > 1 && random() % 2 == 0;
    Oracle oracle(std::vector<Subset>{cause});
    oracle.Unknown(
        [&](const Subset& set) { return bound && Has(set, {pair}) != Has(set, {pair + 1}); });
    const auto found = MinimalBad(FirstNumbers(count), oracle.Test());
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_TRUE(Has(*found, cause));
    if (!bound) {
      EXPECT_EQ(*found, cause);
    } else {
      EXPECT_THAT(Minus(*found, Union(cause, {pair, pair + 1})), IsEmpty());
    }
    EXPECT_EQ(*oracle.Test()(*found), Outcome::kBad);
  }
}

TEST(DeltaDebugTest, AnErrorOfTheTestEndsTheSearch) {
  const auto found = AllMinimalBad(
      FirstNumbers(5), 8,
      [](const Subset&) -> absl::StatusOr<Outcome> { return absl::CancelledError("interrupted"); });
  EXPECT_TRUE(absl::IsCancelled(found.status()));
}

}  // namespace
}  // namespace renga
