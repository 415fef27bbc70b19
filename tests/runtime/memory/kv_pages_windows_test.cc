// KvPages of groups with a window: what a token may see is there, what lies behind is given back,
// and what was published is found again for as long as all of it is there.

#include <algorithm>
#include <iostream>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/windows.h"
#include "runtime/memory/kv_arena.h"
#include "runtime/memory/kv_pages.h"
#include "tests/runtime/memory/kv_plan.h"
#include "tests/support/test_seed.h"

namespace renga {
namespace {

using testing::ElementsAre;

struct Config {
  int64_t page_tokens, context, sequences, pages, step;
  std::vector<int64_t> windows;
  int64_t of_sequences;  // for so many there are pages of windows
};

// With a cache in group 0 and one in each group behind.
plan::Plan PlanOf(const Config& config) {
  plan::Plan plan =
      renga::PlanOf(config.context, config.sequences, config.pages, 1, config.page_tokens);
  plan.geometry.max_step_tokens = config.step;
  plan.geometry.windows = config.windows;
  for (size_t i = 0; i < config.windows.size(); ++i) {
    const int64_t window = config.windows[i];
    const int64_t pages =
        config.of_sequences * WindowPages(window, config.step, config.page_tokens);
    plan.symbols.push_back({WindowSymbol("C", window), pages * config.page_tokens});
    plan.caches.push_back({StrCat(i + 1, ".k_cache"), static_cast<int32_t>(i + 1), DType::kF32, 1,
                           2, 8, static_cast<int32_t>(i + 1)});
  }
  return plan;
}

// Pages of 4 tokens, steps of 4, a window of 5 keys: 3 pages a sequence, of 10 in group 0.
Config Small(int64_t sequences = 2) {
  return {4, 40, sequences, 10 * sequences, 4, {5}, sequences};
}

std::vector<int32_t> Cells(KvPages& pages, int sequence, int64_t tokens) {
  std::vector<int32_t> cells;
  const absl::Status status = pages.Append(sequence, tokens, &cells);
  EXPECT_TRUE(status.ok()) << status;
  return cells;
}

TEST(KvPagesWindows, CellsOfAllGroupsFollowEachOther) {
  KvPages pages(PlanOf(Small()));
  ASSERT_EQ(pages.groups(), 2);
  EXPECT_EQ(pages.window(1), 5);
  EXPECT_EQ(pages.cells(0), 80);
  EXPECT_EQ(pages.cells(1), 2 * 3 * 4);
  const int a = pages.NewSequence().value(), b = pages.NewSequence().value();
  EXPECT_THAT(Cells(pages, a, 3), ElementsAre(0, 1, 2, 0, 1, 2));
  EXPECT_THAT(Cells(pages, b, 1), ElementsAre(4, 4));
  EXPECT_THAT(Cells(pages, a, 2), ElementsAre(3, 8, 3, 8));
}

TEST(KvPagesWindows, PagesBehindTheWindowGoBackWithTheNextAppend) {
  KvPages pages(PlanOf(Small(1)));
  const int a = pages.NewSequence().value();
  Cells(pages, a, 4);
  Cells(pages, a, 4);
  EXPECT_THAT(pages.pages(a, 1), ElementsAre(0, 1));
  // The first of these sees 4..8.
  Cells(pages, a, 2);
  EXPECT_THAT(pages.pages(a, 1), ElementsAre(-1, 1, 0));
  EXPECT_THAT(pages.pages(a), ElementsAre(0, 1, 2));
  EXPECT_EQ(pages.first_page(a, 1), 1);
  EXPECT_EQ(pages.free_pages(1), 1);
  for (int64_t i = 10; i < 40; ++i) Cells(pages, a, 1);
  EXPECT_EQ(pages.pages(a, 1).size(), 10u);
  EXPECT_EQ(pages.first_page(a, 1), 8);
  std::vector<int32_t> cells;
  EXPECT_EQ(pages.Append(a, 1, &cells).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(pages.CheckInvariants(), absl::OkStatus());
}

TEST(KvPagesWindows, AStepAndTheTokenStartedAheadOfItCanBeUndone) {
  KvPages pages(PlanOf(Small(1)));
  const int a = pages.NewSequence().value();
  for (int i = 0; i < 4; ++i) Cells(pages, a, 4);
  Cells(pages, a, 4);
  Cells(pages, a, 1);
  EXPECT_TRUE(pages.Truncate(a, 20).ok());
  EXPECT_TRUE(pages.Truncate(a, 16).ok());
  Cells(pages, a, 4);
  Cells(pages, a, 1);
  EXPECT_EQ(pages.CheckInvariants(), absl::OkStatus());
  EXPECT_FALSE(pages.CanTruncate(a, 12));
  EXPECT_EQ(pages.Truncate(a, 12).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(pages.position(a), 21) << "nothing has changed";
  EXPECT_TRUE(pages.Truncate(a, 0).ok()) << "to the beginning it always can";
  EXPECT_EQ(pages.free_pages(1), pages.cells(1) / 4);
  Cells(pages, a, 4);
  EXPECT_EQ(pages.CheckInvariants(), absl::OkStatus());
}

TEST(KvPagesWindows, AGroupWithoutPagesRefuses) {
  Config config = Small(2);
  config.of_sequences = 1;  // 3 pages
  KvPages pages(PlanOf(config));
  const int a = pages.NewSequence().value(), b = pages.NewSequence().value();
  Cells(pages, a, 4);
  Cells(pages, a, 4);
  std::vector<int32_t> cells;
  Cells(pages, b, 4);
  const absl::Status full = pages.Append(b, 1, &cells);
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()),
              testing::HasSubstr("kv pages of windows of 5 keys: 3 of 3 pages"));
  EXPECT_TRUE(cells.empty());
  EXPECT_EQ(pages.position(b), 4);
  EXPECT_EQ(pages.pages(b).size(), 1u) << "in no group";
  pages.Free(a);
  EXPECT_TRUE(pages.Append(b, 1, &cells).ok());
}

TEST(KvPagesWindows, ForksShareAndCopyInEachGroup) {
  KvPages pages(PlanOf(Small(2)));
  const int a = pages.NewSequence().value();
  for (const int64_t tokens : {4, 4, 2}) Cells(pages, a, tokens);
  const int b = pages.Fork(a).value();
  EXPECT_EQ(pages.free_pages(1), 4);
  EXPECT_THAT(Cells(pages, b, 1), ElementsAre(14, 10));
  EXPECT_THAT(pages.TakeCopies(), ElementsAre(PageCopy{2, 3, 0}, PageCopy{0, 2, 1}));
  EXPECT_THAT(Cells(pages, a, 1), ElementsAre(10, 2)) << "the last page is its own again";
  EXPECT_TRUE(pages.TakeCopies().empty());
  EXPECT_EQ(pages.CheckInvariants(), absl::OkStatus());
}

std::vector<int32_t> Counting(int64_t count) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i);
  return tokens;
}

TEST(KvPagesWindows, APrefixIsFoundWhileItsWindowIsThere) {
  KvPages pages(PlanOf(Small(3)));
  const int a = pages.NewSequence().value();
  const std::vector<int32_t> tokens = Counting(40);
  for (int i = 1; i <= 3; ++i) {
    Cells(pages, a, 4);
    ASSERT_TRUE(pages.Publish(a, absl::MakeConstSpan(tokens).first(i * 4)).ok());
  }
  // Of 12 tokens the next sees 8..12; the pages of 0..3 it needs in group 0 alone.
  const int b = pages.NewSequence().value();
  EXPECT_EQ(pages.Reuse(b, tokens).value(), 12);
  EXPECT_THAT(pages.pages(b), ElementsAre(0, 1, 2));
  EXPECT_THAT(pages.pages(b, 1), ElementsAre(-1, -1, 2));
  EXPECT_EQ(pages.CheckInvariants(), absl::OkStatus());
  // A shorter one too: what a window has left behind stays known until its memory is needed.
  const int c = pages.NewSequence().value();
  EXPECT_EQ(pages.Reuse(c, absl::MakeConstSpan(tokens).first(9)).value(), 8);
  EXPECT_THAT(pages.pages(c, 1), ElementsAre(-1, 1)) << "a token at 8 sees 4..8";
  pages.Free(c);
  EXPECT_EQ(pages.Reuse(pages.NewSequence().value(), absl::MakeConstSpan(tokens).first(5)).value(),
            4);
  EXPECT_EQ(pages.CheckInvariants(), absl::OkStatus());
}

TEST(KvPagesWindows, WithoutItsWindowAPrefixIsAShorterOne) {
  Config config = Small(2);
  config.of_sequences = 1;  // 3 pages
  KvPages pages(PlanOf(config));
  const int a = pages.NewSequence().value();
  const std::vector<int32_t> tokens = Counting(40);
  for (int i = 1; i <= 8; ++i) {
    Cells(pages, a, 4);
    ASSERT_TRUE(pages.Publish(a, absl::MakeConstSpan(tokens).first(i * 4)).ok());
  }
  EXPECT_EQ(pages.CheckInvariants(), absl::OkStatus());
  const int b = pages.NewSequence().value();
  EXPECT_EQ(pages.Reuse(b, absl::MakeConstSpan(tokens).first(20)).value(), 0);
  EXPECT_EQ(pages.Reuse(b, tokens).value(), 32);
  EXPECT_EQ(pages.CheckInvariants(), absl::OkStatus());
}

TEST(KvPagesWindows, WhatIsPutIntoPagesNeedsOnlyTheWindow) {
  KvPages pages(PlanOf(Small(1)));
  const int a = pages.NewSequence().value();
  const std::vector<int32_t> tokens = Counting(37);
  ASSERT_TRUE(pages.Extend(a, 36).ok());
  EXPECT_EQ(pages.pages(a).size(), 9u);
  EXPECT_EQ(pages.first_page(a, 1), 8);
  EXPECT_EQ(pages.free_pages(1), 2);
  ASSERT_TRUE(pages.Publish(a, absl::MakeConstSpan(tokens).first(36)).ok());
  EXPECT_EQ(pages.CheckInvariants(), absl::OkStatus());
  pages.Free(a);
  EXPECT_EQ(pages.Reuse(pages.NewSequence().value(), tokens).value(), 36);
}

TEST(KvArenaWindows, PagesAreThoseOfTheGroupsCaches) {
  auto arena = KvArena::Create(PlanOf(Small(2)));
  ASSERT_TRUE(arena.ok()) << arena.status();
  EXPECT_EQ(arena->page_bytes(0), 32u);
  EXPECT_EQ(arena->page_bytes(1), 32u);
  EXPECT_EQ(arena->cache(1) - arena->cache(0), 80 * 8);
  std::fill_n(arena->cache(0), 80 * 8, uint8_t{7});
  arena->WritePage(1, 2, std::string(32, 'x'));
  arena->CopyPage({2, 4, 1});
  std::string bytes;
  arena->ReadPage(1, 4, &bytes);
  EXPECT_EQ(bytes, std::string(32, 'x'));
  EXPECT_EQ(arena->cache(1)[4 * 32], 'x');
  EXPECT_EQ(arena->cache(0)[4 * 32], 7) << "another group's page 4";
}

#if defined(__SANITIZE_ADDRESS__)
constexpr int kOperations = 20'000;
#else
constexpr int kOperations = 60'000;
#endif

// Each cell holds a hash of the tokens up to the one that wrote it.
class Model {
 public:
  Model(const Config& config, uint32_t seed)
      : config_(config), random_(seed), pages_(PlanOf(config)), sequences_(config.sequences) {
    for (int group = 0; group < pages_.groups(); ++group) {
      cells_.emplace_back(static_cast<size_t>(pages_.cells(group)));
    }
  }

  void Step() {
    const int sequence = Random(config_.sequences);
    if (!sequences_[sequence].has_value()) return New();
    const int kind = Random(100);
    if (kind < 6) return Fork(sequence);
    if (kind < 9) return Free(sequence);
    if (kind < 15) return Truncate(sequence);
    if (kind < 40) return Publish(sequence);
    Append(sequence, Random(3) == 0 ? 1 + Random(config_.step) : 1);
  }

  absl::Status CheckInvariants() const { return pages_.CheckInvariants(); }
  int64_t reused = 0, refused = 0, copies = 0, undone = 0, impossible = 0, put = 0;

 private:
  struct Sequence {
    std::vector<int32_t> tokens;
    std::vector<uint64_t> hashes;
    std::vector<int64_t> back;  // where it can be shortened to for sure
  };

  int Random(int64_t below) { return static_cast<int>(random_() % static_cast<uint64_t>(below)); }
  int32_t Token() { return Random(12) == 0 ? 1 : 0; }

  static void Add(Sequence& to, int32_t token) {
    uint64_t hash = (to.hashes.empty() ? 1 : to.hashes.back()) + static_cast<uint64_t>(token) + 1;
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111eb;
    to.tokens.push_back(token);
    to.hashes.push_back(hash ^ (hash >> 31));
  }

  // All that a token at `position` sees of those before.
  void CheckSees(int sequence, int64_t position, const char* when) const {
    const Sequence& of = *sequences_[sequence];
    for (int group = 0; group < pages_.groups(); ++group) {
      const int64_t window = pages_.window(group);
      for (int64_t i = window == 0 ? 0 : std::max<int64_t>(0, position - window + 1); i < position;
           ++i) {
        const int64_t cell = pages_.CellOf(sequence, i, group);
        if (cell < 0 || cells_[group][cell] != of.hashes[i]) {
          ADD_FAILURE() << when << ": sequence " << sequence << ", group " << group
                        << ", a token at " << position << " does not see " << i;
          return;
        }
      }
    }
  }

  void New() {
    const int made = pages_.NewSequence().value();
    ASSERT_FALSE(sequences_[made].has_value());
    Sequence& sequence = sequences_[made].emplace();
    std::vector<int32_t> prompt;
    if (!old_.empty()) prompt = old_[Random(old_.size())];
    if (const auto& other = sequences_[Random(config_.sequences)]; other && Random(2) == 0) {
      prompt = other->tokens;
    }
    if (!prompt.empty() && Random(4) == 0) prompt.resize(Random(prompt.size() + 1));
    for (int i = Random(3); i > 0; --i) prompt.push_back(Token());
    const int64_t found = pages_.Reuse(made, prompt).value();
    ASSERT_LE(found, std::max<int64_t>(0, prompt.size() - 1));
    for (int64_t i = 0; i < found; ++i) Add(sequence, prompt[i]);
    sequence.back = {found};
    reused += found;
    CheckSees(made, found, "reused");
    if (found == 0 && Random(4) == 0) Put(made);
  }

  // As whoever restores what was saved.
  void Put(int sequence) {
    const int64_t count = config_.page_tokens * (1 + Random(config_.context / config_.page_tokens));
    if (count > config_.context || !pages_.Extend(sequence, count).ok()) return;
    Sequence& of = *sequences_[sequence];
    for (int64_t i = 0; i < count; ++i) Add(of, Token());
    for (int group = 0; group < pages_.groups(); ++group) {
      for (int64_t i = pages_.first_page(sequence, group) * config_.page_tokens; i < count; ++i) {
        cells_[group][pages_.CellOf(sequence, i, group)] = of.hashes[i];
      }
    }
    of.back = {count};
    ++put;
    CheckSees(sequence, count, "put");
  }

  void Append(int sequence, int64_t count) {
    Sequence& of = *sequences_[sequence];
    const int64_t begin = pages_.position(sequence);
    std::vector<int32_t> cells;
    const absl::Status status = pages_.Append(sequence, count, &cells);
    if (!status.ok()) {
      ++refused;
      ASSERT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
      ASSERT_TRUE(cells.empty());
      ASSERT_EQ(pages_.position(sequence), begin);
      const auto live = std::count_if(sequences_.begin(), sequences_.end(),
                                      [](const auto& each) { return each.has_value(); });
      ASSERT_TRUE(live > 1 || begin + count > config_.context) << "alone it gets its context";
      CheckSees(sequence, begin, "refused");
      of.back = {count > 1 ? begin : of.back.back()};
      if (Random(2) == 0) Free(sequence);
      return;
    }
    ASSERT_EQ(cells.size(), static_cast<size_t>(count * pages_.groups()));
    for (const PageCopy& copy : pages_.TakeCopies()) {
      std::vector<uint64_t>& memory = cells_[copy.group];
      std::copy_n(memory.begin() + copy.from * config_.page_tokens, config_.page_tokens,
                  memory.begin() + copy.to * config_.page_tokens);
      ++copies;
    }
    of.back =
        count == 1 ? std::vector<int64_t>{of.back.back(), begin} : std::vector<int64_t>{begin};
    for (int64_t i = 0; i < count; ++i) {
      CheckSees(sequence, begin + i, "appended");
      Add(of, Token());
      for (int group = 0; group < pages_.groups(); ++group) {
        cells_[group][cells[group * count + i]] = of.hashes.back();
      }
    }
  }

  void Truncate(int sequence) {
    Sequence& of = *sequences_[sequence];
    const int64_t size = pages_.position(sequence);
    const bool undo = Random(3) > 0;
    const int64_t keep = undo ? of.back[Random(of.back.size())] : Random(size + 1);
    const bool can = pages_.CanTruncate(sequence, keep);
    ASSERT_TRUE(can || !undo) << keep << " of " << size;
    ASSERT_EQ(pages_.Truncate(sequence, keep).ok(), can || keep == size);
    if (pages_.position(sequence) != keep) {
      ++impossible;
      return;
    }
    undone += undo;
    of.tokens.resize(keep);
    of.hashes.resize(keep);
    for (int64_t& back : of.back) back = std::min(back, keep);
    CheckSees(sequence, keep, "truncated");
  }

  void Fork(int sequence) {
    const absl::StatusOr<int> made = pages_.Fork(sequence);
    if (!made.ok()) return;
    sequences_[*made] = sequences_[sequence];
    CheckSees(*made, pages_.position(*made), "forked");
  }

  void Free(int sequence) {
    if (old_.size() < 8) old_.emplace_back();
    old_[Random(old_.size())] = sequences_[sequence]->tokens;
    pages_.Free(sequence);
    sequences_[sequence].reset();
  }

  void Publish(int sequence) {
    const absl::Status status = pages_.Publish(sequence, sequences_[sequence]->tokens);
    ASSERT_TRUE(status.ok()) << status;
    CheckSees(sequence, pages_.position(sequence), "published");
  }

  const Config config_;
  std::mt19937 random_;
  KvPages pages_;
  std::vector<std::vector<uint64_t>> cells_;  // by group
  std::vector<std::optional<Sequence>> sequences_;
  std::vector<std::vector<int32_t>> old_;
};

class KvPagesWindowsModel : public testing::TestWithParam<Config> {};

TEST_P(KvPagesWindowsModel, EveryTokenSeesItsWindow) {
  const uint32_t seed = TestSeed();
  Model model(GetParam(), seed);
  for (int i = 0; i < kOperations && !HasFailure(); ++i) {
    SCOPED_TRACE(i);
    model.Step();
    if (i % 16 == 0) {
      ASSERT_EQ(model.CheckInvariants(), absl::OkStatus());
    }
  }
  std::cout << model.reused << " tokens reused, " << model.refused << " refused, " << model.copies
            << " copies, " << model.undone << " undone, " << model.impossible << " too far back, "
            << model.put << " put\n";
  EXPECT_GT(model.reused, kOperations / 100);
  EXPECT_GT(model.refused, kOperations / 1000);
  EXPECT_GT(model.undone, kOperations / 100);
  EXPECT_GT(model.impossible, 0);
  EXPECT_GT(model.put, 0);
  if (GetParam().page_tokens > 1) {
    EXPECT_GT(model.copies, kOperations / 1000);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Configs, KvPagesWindowsModel,
    testing::Values(Config{4, 60, 4, 40, 4, {5}, 4}, Config{4, 60, 6, 50, 3, {2, 9}, 3},
                    Config{1, 30, 4, 60, 2, {3}, 4}, Config{3, 50, 5, 40, 7, {1, 4, 11}, 2},
                    Config{8, 96, 8, 40, 8, {16}, 1}),
    [](const auto& info) {
      return StrCat(info.param.windows.size(), "WindowsPagesOf", info.param.page_tokens);
    });

}  // namespace
}  // namespace renga
