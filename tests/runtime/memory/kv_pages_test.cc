#include "runtime/memory/kv_pages.h"

#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "tests/runtime/memory/kv_plan.h"

namespace renga {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Tokens = std::vector<int32_t>;

// `count` tokens from `first` on.
Tokens Counting(int64_t count, int32_t first = 0) {
  Tokens tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

// Pages of 4 tokens, of up to 5 sequences.
class KvPagesTest : public testing::Test {
 protected:
  void Start(int64_t context, int64_t pages) { pages_ = KvPages(PlanOf(context, 5, pages)); }
  ~KvPagesTest() override { EXPECT_EQ(pages_.CheckInvariants(), absl::OkStatus()); }

  absl::Status Append(int sequence, int64_t tokens) {
    cells_.clear();
    const absl::Status status = pages_.Append(sequence, tokens, &cells_);
    EXPECT_EQ(pages_.CheckInvariants(), absl::OkStatus());
    return status;
  }

  // A sequence of so many tokens, which are not known.
  int Sequence(int64_t tokens) {
    const int sequence = pages_.NewSequence().value();
    EXPECT_EQ(Append(sequence, tokens), absl::OkStatus());
    return sequence;
  }

  // One whose whole pages are.
  int Published(const Tokens& tokens) {
    const int sequence = Sequence(tokens.size());
    EXPECT_EQ(pages_.Publish(sequence, tokens), absl::OkStatus());
    return sequence;
  }

  // How many of these tokens are known, and could be reused.
  int64_t Known(Tokens tokens) {
    tokens.push_back(-1);
    const int sequence = pages_.NewSequence().value();
    const int64_t known = pages_.Reuse(sequence, tokens).value();
    EXPECT_EQ(pages_.CheckInvariants(), absl::OkStatus());
    pages_.Free(sequence);
    return known;
  }

  KvPages pages_;
  std::vector<int32_t> cells_;
};

TEST_F(KvPagesTest, AForkSharesAllPagesUntilOneOfTheTwoWrites) {
  Start(16, 8);
  const int a = Sequence(6);
  const int b = pages_.Fork(a).value();
  EXPECT_NE(a, b);
  EXPECT_EQ(pages_.position(b), 6);
  EXPECT_THAT(pages_.pages(b), ElementsAre(0, 1));
  EXPECT_EQ(pages_.free_pages(), 6);
  EXPECT_THAT(pages_.TakeCopies(), IsEmpty());
  // The first to write does so in a page of its own, the other goes on in the old one.
  ASSERT_TRUE(Append(b, 3).ok());
  EXPECT_THAT(pages_.pages(b), ElementsAre(0, 2, 3));
  EXPECT_THAT(cells_, ElementsAre(10, 11, 12));
  ASSERT_TRUE(Append(a, 1).ok());
  EXPECT_THAT(pages_.pages(a), ElementsAre(0, 1));
  EXPECT_THAT(cells_, ElementsAre(6));
  EXPECT_THAT(pages_.TakeCopies(), ElementsAre(PageCopy{1, 2}));
  EXPECT_THAT(pages_.TakeCopies(), IsEmpty());
  // The first page is held until both have let it go.
  pages_.Free(a);
  EXPECT_EQ(pages_.free_pages(), 5);
  pages_.Free(b);
  EXPECT_EQ(pages_.free_pages(), 8);
}

TEST_F(KvPagesTest, NothingIsCopiedWhereNothingIsWrittenToASharedPage) {
  Start(16, 8);
  const int a = Sequence(8);
  const int b = pages_.Fork(a).value();
  ASSERT_TRUE(Append(b, 2).ok());
  const int c = pages_.Fork(b).value();
  ASSERT_TRUE(Append(c, 0).ok());
  EXPECT_THAT(pages_.pages(c), ElementsAre(0, 1, 2));
  EXPECT_THAT(pages_.TakeCopies(), IsEmpty());
}

TEST_F(KvPagesTest, AForkIsASequenceMore) {
  Start(16, 8);
  const int a = Sequence(3);
  for (int i = 1; i < 5; ++i) ASSERT_TRUE(pages_.Fork(a).ok());
  EXPECT_EQ(ToStd(pages_.Fork(a).status().message()),
            "sequences: all 5 are in use; compile with a larger --max-seqs");
}

TEST_F(KvPagesTest, NoPageToCopyToSaysSoAndChangesNothing) {
  Start(16, 3);
  const int a = Sequence(10);
  const int b = pages_.Fork(a).value();
  const absl::Status status = Append(b, 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ToStd(status.message()),
            "kv pages: 3 of 3 pages of 4 tokens used (context 16), 1 more needed, one of them to "
            "copy a shared page to; use a larger context (-c) or fewer sequences");
  EXPECT_THAT(pages_.pages(b), ElementsAre(0, 1, 2));
  EXPECT_EQ(pages_.position(b), 10);
  EXPECT_THAT(pages_.TakeCopies(), IsEmpty());
  pages_.Free(a);
  EXPECT_TRUE(Append(b, 1).ok());
  EXPECT_THAT(cells_, ElementsAre(10));
}

TEST_F(KvPagesTest, RollingBackKeepsTheCopyThatTheSequenceGoesOnWith) {
  Start(16, 8);
  const int a = Sequence(6);
  const int b = pages_.Fork(a).value();
  ASSERT_TRUE(Append(b, 5).ok());
  ASSERT_TRUE(pages_.Truncate(b, 6).ok());
  EXPECT_THAT(pages_.pages(b), ElementsAre(0, 2));
  ASSERT_TRUE(Append(b, 1).ok());
  EXPECT_THAT(cells_, ElementsAre(10));
  EXPECT_THAT(pages_.TakeCopies(), ElementsAre(PageCopy{1, 2}));
}

TEST_F(KvPagesTest, CopiesToPagesGivenBackAreForgotten) {
  Start(16, 8);
  const int a = Sequence(6);
  for (int i = 0; i < 100; ++i) {
    const int b = pages_.Fork(a).value();
    ASSERT_TRUE(Append(b, 1).ok());
    pages_.Free(b);
  }
  EXPECT_THAT(pages_.TakeCopies(), IsEmpty());
}

TEST_F(KvPagesTest, APageIsReadByOneCopyAndWrittenByTheNext) {
  Start(16, 4);
  const int a = Sequence(2);
  const int b = pages_.Fork(a).value();
  ASSERT_TRUE(Append(b, 1).ok());
  const int c = pages_.Fork(b).value();
  pages_.Free(a);  // page 0, which is still to be copied to page 1
  ASSERT_TRUE(Append(c, 1).ok());
  EXPECT_THAT(pages_.TakeCopies(), ElementsAre(PageCopy{0, 1}, PageCopy{1, 0}));
}

TEST_F(KvPagesTest, TheLongestKnownPrefixOfWholePagesIsReused) {
  Start(32, 16);
  const int a = Published(Counting(14));
  const int b = pages_.NewSequence().value();
  Tokens tokens = Counting(14);
  tokens[10] = 99;  // of the third page
  EXPECT_EQ(pages_.Reuse(b, tokens).value(), 8);
  EXPECT_EQ(pages_.position(b), 8);
  EXPECT_THAT(pages_.pages(b), ElementsAre(0, 1));
  EXPECT_EQ(pages_.free_pages(), 12);
  ASSERT_TRUE(Append(b, 6).ok());
  EXPECT_THAT(pages_.pages(b), ElementsAre(0, 1, 4, 5));
  EXPECT_THAT(pages_.TakeCopies(), IsEmpty());
  const absl::Status status = pages_.Reuse(b, tokens).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ToStd(status.message()), "reuse: expected an empty sequence, got one of 14 tokens");
  // The same tokens elsewhere are something else.
  EXPECT_EQ(Known(Counting(4, 4)), 0);
  EXPECT_EQ(Known(Counting(3)), 0);
  EXPECT_EQ(Known({}), 0);
  EXPECT_EQ(pages_.position(a), 14);
}

TEST_F(KvPagesTest, SomethingIsLeftToCompute) {
  Start(32, 16);
  Published(Counting(8));
  const int a = pages_.NewSequence().value();
  EXPECT_EQ(pages_.Reuse(a, Counting(8)).value(), 4);
  pages_.Free(a);
  const int b = pages_.NewSequence().value();
  EXPECT_EQ(pages_.Reuse(b, Counting(9)).value(), 8);
  pages_.Free(b);
  EXPECT_EQ(pages_.Reuse(pages_.NewSequence().value(), {}).value(), 0);
}

TEST_F(KvPagesTest, MoreIsPublishedAsItIsComputed) {
  Start(32, 16);
  const int a = Published(Counting(6));
  EXPECT_EQ(Known(Counting(12)), 4);
  ASSERT_TRUE(Append(a, 6).ok());
  EXPECT_EQ(Known(Counting(12)), 4);
  ASSERT_TRUE(pages_.Publish(a, Counting(11)).ok());  // the last one is not computed yet
  EXPECT_EQ(Known(Counting(12)), 8);
  ASSERT_TRUE(pages_.Publish(a, Counting(12)).ok());
  EXPECT_EQ(Known(Counting(12)), 12);
  ASSERT_TRUE(pages_.Publish(a, Counting(4)).ok());
  EXPECT_EQ(Known(Counting(12)), 12);
}

TEST_F(KvPagesTest, WhatCannotBePublishedSaysSo) {
  Start(32, 16);
  const int a = Sequence(6);
  const int b = pages_.Fork(a).value();
  const absl::Status more = pages_.Publish(a, Counting(7));
  EXPECT_EQ(more.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ToStd(more.message()), "publish: expected at most the sequence's 6 tokens, got 7");
  EXPECT_EQ(Known(Counting(6)), 0);
  ASSERT_TRUE(pages_.Publish(a, Counting(6)).ok());
  const absl::Status other = pages_.Publish(b, Counting(6, 50));
  EXPECT_EQ(other.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ToStd(other.message()),
            "publish: tokens 0..3: expected those that page 0 was published with, got others");
  EXPECT_EQ(Known(Counting(6, 50)), 0);
}

TEST_F(KvPagesTest, KnownPagesStayUntilTheirMemoryIsNeeded) {
  Start(32, 6);
  pages_.Free(Published(Counting(12)));
  EXPECT_EQ(pages_.free_pages(), 6);
  const int a = Sequence(12);  // the three pages never used
  EXPECT_THAT(pages_.pages(a), ElementsAre(3, 4, 5));
  EXPECT_EQ(Known(Counting(12)), 12);
  EXPECT_EQ(pages_.free_pages(), 3);
  // From the end of the chain.
  ASSERT_TRUE(Append(a, 1).ok());
  EXPECT_THAT(pages_.pages(a), ElementsAre(3, 4, 5, 2));
  EXPECT_EQ(Known(Counting(12)), 8);
  EXPECT_EQ(pages_.free_pages(), 2);
  ASSERT_TRUE(Append(a, 10).ok());
  EXPECT_EQ(Known(Counting(12)), 0);
  EXPECT_EQ(pages_.free_pages(), 0);
}

TEST_F(KvPagesTest, WhatWasNotUsedForLongestGoesFirst) {
  Start(16, 5);
  const int a = Published(Counting(4));
  const int b = Published(Counting(4, 100));
  const int c = Published(Counting(4, 200));
  const int d = Published(Counting(8, 300));
  for (int sequence : {b, a, d, c}) pages_.Free(sequence);
  EXPECT_EQ(Known(Counting(4, 100)), 4);  // which uses it
  const int taker = pages_.NewSequence().value();
  const auto known = [&] {
    // Asking uses what is found, so in the same order each time.
    return std::vector<int64_t>{Known(Counting(4)), Known(Counting(8, 300)),
                                Known(Counting(4, 200)), Known(Counting(4, 100))};
  };
  EXPECT_THAT(known(), ElementsAre(4, 8, 4, 4));
  ASSERT_TRUE(Append(taker, 4).ok());
  EXPECT_THAT(known(), ElementsAre(0, 8, 4, 4));
  ASSERT_TRUE(Append(taker, 4).ok());
  EXPECT_THAT(known(), ElementsAre(0, 4, 4, 4));
  ASSERT_TRUE(Append(taker, 4).ok());
  EXPECT_THAT(known(), ElementsAre(0, 0, 4, 4));
  ASSERT_TRUE(Append(taker, 4).ok());
  EXPECT_THAT(known(), ElementsAre(0, 0, 0, 4));
}

TEST_F(KvPagesTest, PagesInUseAreNeverTakenHoweverManyAreKnown) {
  Start(16, 4);
  const int a = Published(Counting(8));
  pages_.Free(Published(Counting(8, 100)));
  const int b = pages_.NewSequence().value();
  EXPECT_EQ(ToStd(Append(b, 9).message()),
            "kv pages: 2 of 4 pages of 4 tokens used (context 16), 3 more needed; use a larger "
            "context (-c) or fewer sequences");
  EXPECT_EQ(Known(Counting(8, 100)), 8);
  ASSERT_TRUE(Append(b, 8).ok());
  EXPECT_EQ(Known(Counting(8)), 8);
  EXPECT_THAT(pages_.pages(a), ElementsAre(0, 1));
}

TEST_F(KvPagesTest, ASecondSequenceOfTheSameTokensGoesOnWithTheFirstOnesPages) {
  Start(16, 8);
  const int a = Sequence(9);
  const int b = Sequence(9);
  EXPECT_EQ(pages_.free_pages(), 2);
  ASSERT_TRUE(pages_.Publish(a, Counting(9)).ok());
  ASSERT_TRUE(pages_.Publish(b, Counting(9)).ok());
  EXPECT_THAT(pages_.pages(a), ElementsAre(0, 1, 2));
  EXPECT_THAT(pages_.pages(b), ElementsAre(0, 1, 5));
  EXPECT_EQ(pages_.free_pages(), 4);
}

TEST_F(KvPagesTest, ASharedKnownPageIsCopiedBeforeItIsWritten) {
  Start(16, 8);
  const int a = Published(Counting(8));
  const int b = pages_.NewSequence().value();
  ASSERT_EQ(pages_.Reuse(b, Counting(9)).value(), 8);
  ASSERT_TRUE(pages_.Truncate(b, 6).ok());
  EXPECT_THAT(pages_.pages(b), ElementsAre(0, 1));
  ASSERT_TRUE(Append(b, 1).ok());
  EXPECT_THAT(pages_.pages(b), ElementsAre(0, 2));
  EXPECT_THAT(pages_.TakeCopies(), ElementsAre(PageCopy{1, 2}));
  EXPECT_EQ(Known(Counting(8)), 8);
  EXPECT_THAT(pages_.pages(a), ElementsAre(0, 1));
}

TEST_F(KvPagesTest, AKnownPageOfOneSequenceIsUnknownOnceItIsWrittenAndAllBehindIt) {
  Start(16, 8);
  const int a = Published(Counting(16));
  ASSERT_TRUE(pages_.Truncate(a, 6).ok());
  EXPECT_EQ(Known(Counting(16)), 16);
  EXPECT_EQ(pages_.free_pages(), 6);
  ASSERT_TRUE(Append(a, 0).ok());
  EXPECT_EQ(Known(Counting(16)), 16);
  ASSERT_TRUE(Append(a, 2).ok());
  EXPECT_THAT(pages_.pages(a), ElementsAre(0, 1));
  EXPECT_THAT(pages_.TakeCopies(), IsEmpty());
  EXPECT_EQ(Known(Counting(16)), 4);
  EXPECT_EQ(pages_.free_pages(), 6);
  Tokens tokens = Counting(8);
  tokens[6] = 99;
  ASSERT_TRUE(pages_.Publish(a, tokens).ok());
  EXPECT_EQ(Known(tokens), 8);
  EXPECT_EQ(Known(Counting(8)), 4);
}

TEST_F(KvPagesTest, ASequenceAloneAlwaysGetsItsContext) {
  Start(16, 4);
  int a = Published(Counting(16));
  for (int64_t position = 15; position >= 0; --position) {
    ASSERT_TRUE(pages_.Truncate(a, position).ok());
    ASSERT_TRUE(Append(a, 16 - position).ok());
    ASSERT_TRUE(pages_.Publish(a, Counting(16, static_cast<int32_t>(position * 100))).ok());
  }
  const int b = pages_.Fork(a).value();
  pages_.Free(a);
  ASSERT_TRUE(pages_.Truncate(b, 2).ok());
  ASSERT_TRUE(Append(b, 14).ok());
  pages_.Free(b);
  a = pages_.NewSequence().value();
  ASSERT_EQ(pages_.Reuse(a, Counting(16)).value(), 0);
  EXPECT_TRUE(Append(a, 16).ok());
}

// A fork from before Publish may hold a page that is found behind one that it does not hold.
TEST_F(KvPagesTest, AHeldPageBehindOneWhoseMemoryIsNeededIsUnknownAndStaysHeld) {
  Start(16, 5);
  const int a = Published(Counting(4));
  const int b = Sequence(8);
  const int c = pages_.Fork(b).value();
  ASSERT_TRUE(pages_.Publish(b, Counting(8)).ok());
  EXPECT_THAT(pages_.pages(b), ElementsAre(0, 2));
  EXPECT_THAT(pages_.pages(c), ElementsAre(1, 2));
  pages_.Free(a);
  pages_.Free(b);
  EXPECT_EQ(Known(Counting(8)), 8);
  EXPECT_EQ(pages_.free_pages(), 3);
  const int d = Sequence(12);
  EXPECT_THAT(pages_.pages(d), ElementsAre(3, 4, 0));
  EXPECT_EQ(Known(Counting(8)), 0);
  EXPECT_THAT(pages_.pages(c), ElementsAre(1, 2));
  // It can make them known itself.
  ASSERT_TRUE(pages_.Publish(c, Counting(8)).ok());
  EXPECT_EQ(Known(Counting(8)), 8);
}

TEST_F(KvPagesTest, WhatASequencePublishedIsKnownWhileItHoldsIt) {
  Start(16, 5);
  const int a = Published(Counting(4));
  const int b = Sequence(8);
  const int c = pages_.Fork(b).value();
  ASSERT_TRUE(pages_.Publish(b, Counting(8)).ok());
  ASSERT_TRUE(pages_.Publish(c, Counting(8)).ok());
  EXPECT_THAT(pages_.pages(c), ElementsAre(0, 2));
  pages_.Free(a);
  pages_.Free(b);
  Sequence(12);
  EXPECT_EQ(Known(Counting(8)), 8);
}

TEST_F(KvPagesTest, MovedPagesAreStillKnown) {
  Start(16, 5);
  Published(Counting(8));
  KvPages moved = std::move(pages_);
  pages_ = std::move(moved);
  EXPECT_EQ(Known(Counting(8)), 8);
}

TEST_F(KvPagesTest, ManyTokensBehindOnePage) {
  Start(16, 40);
  const auto tokens = [](int32_t i) { return Tokens{1, 2, 3, 4, i, i, i, i}; };
  for (int32_t i = 0; i < 30; ++i) pages_.Free(Published(tokens(i)));
  for (int32_t i = 0; i < 30; ++i) EXPECT_EQ(Known(tokens(i)), 8);
  EXPECT_EQ(Known(tokens(30)), 4);
  // One written in the middle of the list, then the page before all.
  const int a = pages_.NewSequence().value();
  Tokens longer = tokens(17);
  longer.push_back(0);
  ASSERT_EQ(pages_.Reuse(a, longer).value(), 8);
  ASSERT_TRUE(pages_.Truncate(a, 7).ok());
  ASSERT_TRUE(Append(a, 1).ok());
  EXPECT_EQ(Known(tokens(17)), 4);
  EXPECT_EQ(Known(tokens(16)), 8);
  EXPECT_EQ(Known(tokens(18)), 8);
  ASSERT_TRUE(pages_.Truncate(a, 3).ok());
  ASSERT_TRUE(Append(a, 1).ok());
  for (int32_t i = 0; i < 30; ++i) EXPECT_EQ(Known(tokens(i)), 0);
  EXPECT_EQ(pages_.free_pages(), 39);
}

}  // namespace
}  // namespace renga
