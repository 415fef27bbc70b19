// A model with windows on the emulator, with pages apart for them: what a window has left behind
// holds nothing any more, and the numbers are bit by bit those of layers that keep all.
#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/plan/layout.h"
#include "tests/emulator/device/step_reference.h"
#include "tests/emulator/device/tests/support.h"
#include "tests/support/windowed_pipeline.h"

namespace renga::emulator {
namespace {

absl::StatusOr<SharedPlan> PlanWith(bool apart) {
  renga::CompileOptions options = GpuOptions(80);
  options.max_step_tokens = 12;
  options.max_rows = 12;
  std::vector<Pass> pipeline;
  return PlanFor(RENGA_SOURCE_DIR "/tests/data/stories260K.gguf",
                 Windowed(std::move(options), apart, &pipeline));
}

// Logits of all tokens, in steps of one and of many.
std::vector<float> LogitsOf(EmulatorForward& forward) {
  std::vector<float> all;
  int64_t at = 0;
  for (const int64_t count : {12, 12, 1, 1, 7, 12, 12, 1, 12, 1, 1, 8}) {
    std::vector<int32_t> tokens, rows;
    for (int64_t i = 0; i < count; ++i, ++at) {
      tokens.push_back(static_cast<int32_t>((at * at % 23 + at) % 500));
      rows.push_back(static_cast<int32_t>(i));
    }
    std::vector<float> logits;
    const absl::Status status = forward.Run(tokens, rows, &logits);
    EXPECT_TRUE(status.ok()) << status;
    if (!status.ok()) break;
    all.insert(all.end(), logits.begin(), logits.end());
  }
  EXPECT_EQ(at, forward.context());
  return all;
}

TEST(WindowsOnEmulator, NumbersAreThoseOfLayersThatKeepAll) {
  const auto apart = PlanWith(true), together = PlanWith(false);
  ASSERT_TRUE(apart.ok()) << apart.status();
  ASSERT_TRUE(together.ok()) << together.status();
  EXPECT_THAT((*apart)->geometry.windows, testing::ElementsAre(7, 12));
  // 3 pages of 16 instead of 5.
  EXPECT_EQ(plan::CacheCells(**apart, 1), 3 * 16);
  EXPECT_LT((*apart)->memory.kv, (*together)->memory.kv);
  const plan::Plan* const plans[] = {apart->get(), together->get()};
  auto kernels = CompilePlans(plans, KernelOptions());
  ASSERT_TRUE(kernels.ok()) << kernels.status();
  DeviceOptions options;
  options.kernels.push_back(*std::move(kernels));
  const auto a = OpenOnEmulator(*apart, options), b = OpenOnEmulator(*together, options);
  ASSERT_TRUE(a.ok()) << a.status();
  ASSERT_TRUE(b.ok()) << b.status();
  const auto reference = StepReference::Watch(**a);
  ASSERT_TRUE(reference.ok()) << reference.status();
  const std::vector<float> of_a = LogitsOf(**a), of_b = LogitsOf(**b);
  ASSERT_EQ(of_a.size(), of_b.size());
  EXPECT_EQ(std::memcmp(of_a.data(), of_b.data(), of_a.size() * sizeof(float)), 0);
  EXPECT_EQ((*a)->Truncate(40).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE((*a)->Truncate(0).ok());
}

}  // namespace
}  // namespace renga::emulator
