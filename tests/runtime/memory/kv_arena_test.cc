#include "runtime/memory/kv_arena.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <random>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "runtime/plan/layout.h"
#include "tests/runtime/memory/kv_plan.h"
#include "tests/support/test_seed.h"

namespace renga {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

KvArena ArenaOf(const plan::Plan& plan) { return KvArena::Create(plan).value(); }

TEST(KvArena, AppendsPageByPage) {
  KvArena arena = ArenaOf(PlanOf(16, 2, 8));
  const int a = arena.NewSequence().value();
  const int b = arena.NewSequence().value();
  std::vector<int32_t> cells;
  ASSERT_TRUE(arena.Append(a, 3, &cells).ok());
  ASSERT_TRUE(arena.Append(b, 5, &cells).ok());
  ASSERT_TRUE(arena.Append(a, 2, &cells).ok());
  EXPECT_THAT(cells, ElementsAre(0, 1, 2, 4, 5, 6, 7, 8, 3, 12));
  EXPECT_THAT(arena.pages(a), ElementsAre(0, 3));
  EXPECT_THAT(arena.pages(b), ElementsAre(1, 2));
  EXPECT_EQ(arena.position(a), 5);
  EXPECT_EQ(arena.free_pages(), 4);
  EXPECT_EQ(arena.cells(), 32);
  EXPECT_TRUE(arena.CheckInvariants().ok());
}

TEST(KvArena, CachesAreApartAlignedAndZero) {
  KvArena arena = ArenaOf(PlanOf(12, 1, 3, 3));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(arena.cache(i)) % plan::kAlignment, 0u);
    for (int byte = 0; byte < 96; ++byte) ASSERT_EQ(arena.cache(i)[byte], 0);
    std::memset(arena.cache(i), i + 1, 96);
  }
  for (int i = 0; i < 3; ++i) EXPECT_EQ(arena.cache(i)[95], i + 1);
}

TEST(KvArena, AFullContextSaysSoAndChangesNothing) {
  KvArena arena = ArenaOf(PlanOf(10, 1, 3));
  const int a = arena.NewSequence().value();
  std::vector<int32_t> cells;
  ASSERT_TRUE(arena.Append(a, 9, &cells).ok());
  const absl::Status status = arena.Append(a, 2, &cells);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(
      ToStd(status.message()),
      "context: 9 of 10 tokens used, 2 more do not fit; use a larger context (-c 11 or more)");
  EXPECT_EQ(arena.position(a), 9);
  EXPECT_EQ(cells.size(), 9u);
  EXPECT_TRUE(arena.Append(a, 1, &cells).ok());
}

TEST(KvArena, NoPagesLeftSaysSoAndChangesNothing) {
  KvArena arena = ArenaOf(PlanOf(16, 2, 5));
  const int a = arena.NewSequence().value();
  const int b = arena.NewSequence().value();
  std::vector<int32_t> cells;
  ASSERT_TRUE(arena.Append(a, 15, &cells).ok());
  const absl::Status status = arena.Append(b, 5, &cells);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(
      ToStd(status.message()),
      HasSubstr("kv pages: 4 of 5 pages of 4 tokens used (context 16), 2 more needed; use a "
                "larger context (-c) or fewer sequences"));
  EXPECT_EQ(arena.position(b), 0);
  EXPECT_EQ(arena.free_pages(), 1);
  EXPECT_EQ(arena.NewSequence().status().code(), absl::StatusCode::kResourceExhausted);
  arena.Free(a);
  EXPECT_EQ(arena.NewSequence().value(), a);
  EXPECT_TRUE(arena.Append(b, 16, &cells).ok());
}

TEST(KvArena, TruncateReturnsPages) {
  KvArena arena = ArenaOf(PlanOf(16, 1, 4));
  const int a = arena.NewSequence().value();
  std::vector<int32_t> cells;
  ASSERT_TRUE(arena.Append(a, 16, &cells).ok());
  EXPECT_EQ(arena.Truncate(a, 17).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(arena.Truncate(a, -1).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(arena.Append(a, -1, &cells).code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(arena.Truncate(a, 5).ok());
  EXPECT_EQ(arena.free_pages(), 2);
  cells.clear();
  ASSERT_TRUE(arena.Append(a, 11, &cells).ok());
  EXPECT_THAT(cells, ElementsAre(5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

TEST(KvArena, CopiesAPageOfEveryCacheAndNothingElse) {
  // Of one layer each, f32 and blocks of q8_0; on a GPU q8_0 lies as quants and scales apart.
  plan::Plan plan = PlanOf(24, 1, 6, 0);
  plan.caches = {{"0.k_cache", 0, DType::kF32, 3, 2, 24},
                 {"0.v_cache", 0, DType::kQ8_0, 1, 32, 34}};
  for (const bool gpu : {false, true}) {
    plan.gpu.targets.clear();
    if (gpu) plan.gpu.targets.emplace_back();
    KvArena arena = ArenaOf(plan);
    std::vector<std::vector<uint8_t>> expected;
    for (int i = 0; i < 2; ++i) {
      const plan::Cache& cache = plan.caches[i];
      std::vector<uint8_t> bytes(24 * cache.cell_bytes);
      for (size_t j = 0; j < bytes.size(); ++j)
        bytes[j] = static_cast<uint8_t>(j * 7 + j / 256 + i);
      std::memcpy(arena.cache(i), bytes.data(), bytes.size());
      // Page 4 becomes what page 1 is, cell by cell.
      for (int cell = 0; cell < 4; ++cell) {
        const auto from = plan::CellRanges(plan, cache, 4 + cell);
        const auto to = plan::CellRanges(plan, cache, 16 + cell);
        ASSERT_EQ(from.size(), gpu && i == 1 ? 2u : 1u);
        for (size_t range = 0; range < from.size(); ++range) {
          std::copy_n(bytes.begin() + from[range].offset, from[range].bytes,
                      bytes.begin() + to[range].offset);
        }
      }
      expected.push_back(std::move(bytes));
    }
    arena.CopyPage({1, 4});
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(std::memcmp(arena.cache(i), expected[i].data(), expected[i].size()), 0)
          << "cache " << i << (gpu ? " as on a GPU" : "");
    }
  }
}

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * 4096;
}

TEST(KvArena, UntouchedMemoryCostsNothing) {
  const int64_t before = ResidentBytes();
  // 64 caches of 2^20 pages of 32 bytes: 2 GiB.
  KvArena arena = ArenaOf(PlanOf(int64_t{1} << 22, 1, int64_t{1} << 20, 64));
  const int a = arena.NewSequence().value();
  std::vector<int32_t> cells;
  ASSERT_TRUE(arena.Append(a, 5, &cells).ok());
  arena.cache(63)[cells[4] * 8] = 1;
  EXPECT_LT(ResidentBytes() - before, int64_t{16} << 20);
}

// A sequence of the naive model: what each of its positions holds.
using Tokens = std::vector<int>;

TEST(KvArena, RandomOperationsKeepEverySequencesContent) {
  const uint32_t seed = TestSeed();
  std::mt19937 random(seed);
  KvArena arena = ArenaOf(PlanOf(24, 5, 17));
  std::map<int, Tokens> model;
  int next = 1;
  std::vector<int32_t> cells;
  for (int i = 0; i < 20000; ++i) {
    const int sequence = static_cast<int>(random() % 5);
    const bool live = model.contains(sequence);
    switch (random() % 5) {
      case 0: {
        const absl::StatusOr<int> made = arena.NewSequence();
        EXPECT_EQ(made.ok(), model.size() < 5);
        if (made.ok()) {
          EXPECT_TRUE(model.emplace(*made, Tokens()).second);
        }
        break;
      }
      case 1:
        if (!live || random() % 4 != 0) break;
        arena.Free(sequence);
        model.erase(sequence);
        break;
      case 2: {
        if (!live) break;
        const int64_t keep = random() % (model[sequence].size() + 2);
        const bool possible = keep <= static_cast<int64_t>(model[sequence].size());
        EXPECT_EQ(arena.Truncate(sequence, keep).ok(), possible);
        if (possible) model[sequence].resize(keep);
        break;
      }
      default: {
        if (!live) break;
        const int64_t count = random() % 9;
        int64_t used = 0;
        for (const auto& [id, tokens] : model) used += (tokens.size() + 3) / 4;
        const int64_t size = static_cast<int64_t>(model[sequence].size());
        const bool fits =
            size + count <= 24 && used + (size + count + 3) / 4 - (size + 3) / 4 <= 17;
        cells.clear();
        const absl::Status status = arena.Append(sequence, count, &cells);
        ASSERT_EQ(status.ok(), fits) << status;
        ASSERT_EQ(cells.size(), fits ? count : 0);
        for (int32_t cell : cells) {
          std::memcpy(arena.cache(1) + cell * 8, &next, sizeof(next));
          model[sequence].push_back(next++);
        }
      }
    }
    ASSERT_TRUE(arena.CheckInvariants().ok()) << arena.CheckInvariants();
    for (const auto& [id, tokens] : model) {
      ASSERT_EQ(arena.position(id), static_cast<int64_t>(tokens.size()));
      for (size_t position = 0; position < tokens.size(); ++position) {
        int value;
        std::memcpy(&value, arena.cache(1) + arena.CellOf(id, position) * 8, sizeof(value));
        ASSERT_EQ(value, tokens[position]);
      }
    }
  }
}

}  // namespace
}  // namespace renga
