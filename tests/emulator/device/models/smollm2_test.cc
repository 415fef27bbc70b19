// A real model as a plan for a GPU on the emulator.
#include <filesystem>

#include "gmock/gmock.h"
#include "tests/emulator/device/tests/support.h"
#include "tests/support/real_model.h"

namespace renga::emulator {
namespace {

constexpr size_t kIds = 8;

TEST(SmolLm2OnEmulator, FirstIdsAreThoseOfTheRecord) {
  if (!std::filesystem::exists(SmolLm2())) {
    GTEST_SKIP() << "SKIPPED: " << SmolLm2() << " is absent; tools/fetch-models gets it";
  }
  renga::CompileOptions compile = GpuOptions(64);
  compile.threads = 2;
  const auto plan = PlanFor(SmolLm2(), compile);
  ASSERT_TRUE(plan.ok()) << plan.status();
  // Minutes long already: the order of accesses is checked on the small models.
  DeviceOptions options;
  options.check_order = false;
  const auto forward = OpenOnEmulator(*plan, options);
  ASSERT_TRUE(forward.ok()) << forward.status();
  // The case with the shortest prompt.
  std::vector<int32_t> prompt, greedy;
  for (const nlohmann::json& record : ReadExactRecord("smollm2-135m")) {
    const auto ids = record["prompt_ids"].get<std::vector<int32_t>>();
    if (!prompt.empty() && ids.size() >= prompt.size()) continue;
    prompt = ids;
    greedy = record["greedy_ids"].get<std::vector<int32_t>>();
  }
  ASSERT_FALSE(prompt.empty());
  const auto ids = GenerateIds(**forward, prompt, kIds, 40);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_THAT(*ids, testing::ElementsAreArray(absl::MakeConstSpan(greedy).first(kIds)));
}

}  // namespace
}  // namespace renga::emulator
