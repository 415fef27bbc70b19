// Cells of q8_0 and q4_0 lie apart on GPUs: together they cover the cache, once.
#include "runtime/plan/cache_layout.h"

#include <algorithm>

#include "gmock/gmock.h"

namespace renga::plan {
namespace {

using testing::ElementsAre;

Plan PlanWith(DType type, uint64_t cell_bytes, bool gpu) {
  Plan plan;
  plan.symbols = {{"T", 4}, {"C", 6}};
  plan.caches = {{"0.k_cache", 0, type, 3, 64, cell_bytes}};
  if (gpu) plan.gpu.targets.push_back({.name = "sm_80"});
  return plan;
}

void ExpectCovered(const Plan& plan, int bytes) {
  std::vector<int> covered(bytes);
  for (int64_t cell = 0; cell < 6; ++cell) {
    for (const ByteRange& range : CellRanges(plan, plan.caches[0], cell)) {
      for (uint64_t i = 0; i < range.bytes; ++i) ++covered.at(range.offset + i);
    }
  }
  EXPECT_EQ(std::count(covered.begin(), covered.end(), 1), bytes);
}

TEST(CacheLayout, QuantsAndScalesLieApartOnAGpu) {
  const Plan bytes = PlanWith(DType::kQ8_0, 204, true);
  EXPECT_EQ(ScalesOffset(bytes, bytes.caches[0]), 1152u);
  EXPECT_THAT(CellRanges(bytes, bytes.caches[0], 2),
              ElementsAre(ByteRange{384, 192}, ByteRange{1176, 12}));
  ExpectCovered(bytes, 6 * 204);
  const Plan halves = PlanWith(DType::kQ4_0, 108, true);
  EXPECT_EQ(ScalesOffset(halves, halves.caches[0]), 576u);
  EXPECT_THAT(CellRanges(halves, halves.caches[0], 2),
              ElementsAre(ByteRange{192, 96}, ByteRange{600, 12}));
  ExpectCovered(halves, 6 * 108);
}

TEST(CacheLayout, OthersLieCellByCell) {
  for (const Plan& plan : {PlanWith(DType::kF16, 384, true), PlanWith(DType::kQ8_0, 204, false),
                           PlanWith(DType::kF8_E4M3, 192, true)}) {
    const Cache& cache = plan.caches[0];
    EXPECT_EQ(ScalesOffset(plan, cache), 0u);
    EXPECT_THAT(CellRanges(plan, cache, 5),
                ElementsAre(ByteRange{5 * cache.cell_bytes, cache.cell_bytes}));
  }
}

}  // namespace
}  // namespace renga::plan
