// Plans whose caches are in groups with windows: on disk and back, and what makes them valid.
#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/windows.h"
#include "runtime/plan/cache_layout.h"
#include "runtime/plan/print.h"
#include "runtime/plan/serialize.h"
#include "runtime/plan/validate.h"
#include "tests/runtime/plan/sample_plan.h"

namespace renga::plan {
namespace {

using testing::HasSubstr;

// A second cache, for a window of 3 keys: 3 of 4 pages a sequence.
Plan PlanWithWindow() {
  Plan plan = SamplePlan();
  plan.geometry.windows = {3};
  plan.symbols.push_back({"C_w3", 24});
  plan.caches.push_back({"0.v_cache", 0, DType::kF16, 2, 4, 16, 1});
  const TensorType type = {DType::kF16, {{6, 1}, {-1, 2}, {-1, 4}}};
  plan.buffers.push_back(
      {"0.v_cache", type, Space::kCache, 1, 0, MaxBytes(type, plan.symbols).value_or(0), -1});
  plan.memory = ComputeMemory(plan);
  return plan;
}

TEST(Windows, SurviveTheFile) {
  const Plan plan = PlanWithWindow();
  ASSERT_TRUE(Validate(plan).ok()) << Validate(plan);
  const std::string bytes = Serialize(plan).value();
  const auto read =
      Deserialize({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "a.plan");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(*read == plan);
}

TEST(Windows, TakeTheCellsOfTheirGroup) {
  const Plan plan = PlanWithWindow();
  EXPECT_EQ(GroupsOf(plan), 2);
  EXPECT_EQ(WindowOf(plan, 0), 0);
  EXPECT_EQ(WindowOf(plan, 1), 3);
  EXPECT_EQ(CacheCells(plan, 1), 24);
  EXPECT_EQ(plan.memory.kv, 32u * 16 + 24 * 16);
  EXPECT_EQ(PagesOf(plan.geometry, 16, 0), 4);
  EXPECT_EQ(PagesOf(plan.geometry, 16, 3), 3);
  EXPECT_EQ(PagesOf(plan.geometry, 5, 3), 2);
  const std::string text = PrintMemory(plan);
  EXPECT_THAT(text, HasSubstr("2 caches of up to 32 cells"));
}

TEST(Windows, ScalesLieBehindTheCellsOfTheGroup) {
  Plan plan = PlanWithWindow();
  plan.gpu.targets = {{.name = "sm_90a"}};
  Cache cache = plan.caches[1];
  cache.dtype = DType::kQ8_0;
  cache.heads = 1;
  cache.head_dim = 32;
  cache.cell_bytes = 34;
  EXPECT_EQ(ScalesOffset(plan, cache), 24u * 32);
  cache.group = 0;
  EXPECT_EQ(ScalesOffset(plan, cache), 32u * 32);
}

TEST(Windows, WhatIsWrongWithThemIsSaid) {
  const struct {
    std::function<void(Plan&)> change;
    std::string_view message;
  } cases[] = {
      {[](Plan& p) { p.geometry.windows = {0}; }, "geometry: windows (rising): expected 1.."},
      {[](Plan& p) {
         p.geometry.windows = {3, 3};
       },
       "geometry: windows (rising): expected 4.."},
      {[](Plan& p) { p.geometry.windows.assign(17, 3); }, "geometry: windows: expected at most 16"},
      {[](Plan& p) { p.geometry.windows = {2}; }, "symbol C_w2: max: expected a multiple of 4"},
      {[](Plan& p) { p.symbols[6].max = 8; },
       "symbol C_w3: max: expected a multiple of 4 "
       "(page_tokens), 12 (what a sequence needs) or more"},
      {[](Plan& p) { p.symbols[6].max = 26; }, "symbol C_w3: max: expected a multiple of 4"},
      {[](Plan& p) { p.caches[1].group = 2; }, "cache 0.v_cache: group: expected 0..1, got 2"},
      {[](Plan& p) { p.caches[1].group = -1; }, "cache 0.v_cache: group: expected 0..1, got -1"},
      {[](Plan& p) { p.caches[0].group = 1; }, "expected f16[C_w3,2,4] (the cache's)"},
  };
  for (const auto& [change, message] : cases) {
    Plan plan = PlanWithWindow();
    change(plan);
    EXPECT_THAT(std::string(Validate(plan).message()), HasSubstr(message));
  }
}

TEST(WindowNames, AreTakenApartAgain) {
  EXPECT_EQ(WindowInput("cells", 512), "cells.w512");
  EXPECT_EQ(WindowSymbol("C", 512), "C_w512");
  EXPECT_EQ(WindowInput("cells", 0), "cells");
  EXPECT_EQ(SplitWindow("cells.w512").base, "cells");
  EXPECT_EQ(SplitWindow("C_w512").window, 512);
  for (const std::string_view name :
       {"C", "cells", ".w5", "cells.w", "cells.w05", "cells.w5x", "cells.w99999999999", "C_w-1"}) {
    EXPECT_EQ(SplitWindow(name).base, name);
    EXPECT_EQ(SplitWindow(name).window, 0) << name;
  }
}

TEST(WindowPages, HoldASpanThatBeginsAnywhere) {
  for (int64_t page : {1, 3, 16}) {
    for (int64_t window : {1, 2, 7, 16, 33}) {
      for (int64_t step : {1, 5, 16}) {
        int64_t most = 0;
        for (int64_t first = 0; first < page; ++first) {
          const int64_t last = first + window + step - 1;
          most = std::max(most, last / page - first / page + 1);
        }
        EXPECT_EQ(WindowPages(window, step, page), most) << window << " " << step << " " << page;
      }
    }
  }
}

}  // namespace
}  // namespace renga::plan
