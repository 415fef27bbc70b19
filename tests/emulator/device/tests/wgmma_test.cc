// Prompts long enough for wgmma, whole models on the emulator: each step against the reference, and
// nothing that depends on who runs first.
#include <cstring>

#include "gmock/gmock.h"
#include "tests/emulator/device/step_reference.h"
#include "tests/emulator/device/tests/support.h"
#include "tests/support/tiny_record.h"

namespace renga::emulator {
namespace {

using testing::Contains;
using testing::HasSubstr;

// A tile of 64 rows and a part of another; then, with those before it to look at, a tile alone,
// which is the least that wgmma is taken for.
constexpr size_t kFirst = 67, kSecond = 64;

renga::CompileOptions WgmmaOptions() {
  renga::CompileOptions options = GpuOptions(kFirst + kSecond);
  options.max_step_tokens = kFirst;
  return options;
}

std::vector<int32_t> Prompt(size_t tokens) {
  std::vector<int32_t> prompt;
  for (size_t i = 0; i < tokens; ++i) {
    prompt.push_back(static_cast<int32_t>(i * i + 3 * i) % TinyRecord::kVocab);
  }
  return prompt;
}

std::vector<std::string> LaunchedNames(const EmulatorDevice& device) {
  std::vector<std::string> names;
  for (const auto& [name, count] : device.launches()) names.push_back(name);
  return names;
}

class WgmmaModelTest : public testing::TestWithParam<const char*> {};

TEST_P(WgmmaModelTest, EveryStepIsCloseToTheReference) {
  const auto plan = PlanFor(TinyRecord::Read(GetParam()).path, WgmmaOptions());
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto forward = OpenOnEmulator(*plan);
  ASSERT_TRUE(forward.ok()) << forward.status();
  const auto reference = StepReference::Watch(**forward);
  ASSERT_TRUE(reference.ok()) << reference.status();
  const std::vector<int32_t> tokens = Prompt(kFirst + kSecond);
  std::vector<float> logits;
  for (const auto part :
       {absl::MakeConstSpan(tokens).first(kFirst), absl::MakeConstSpan(tokens).subspan(kFirst)}) {
    const absl::Status status =
        (*forward)->Run(part, {static_cast<int32_t>(part.size()) - 1}, &logits);
    ASSERT_TRUE(status.ok()) << status;
  }
  const std::vector<std::string> names = LaunchedNames((*forward)->emulator());
  EXPECT_THAT(names, Contains(HasSubstr("wgmma_")));
  EXPECT_THAT(names, Contains(HasSubstr("_norm_wgmma_")));
}

// Between them: super-blocks of two types and blocks of a third; blocks whose padded k is one
// chunk, which another test compiles too; f16, of which one product has a k that wgmma does not
// take.
INSTANTIATE_TEST_SUITE_P(All, WgmmaModelTest,
                         testing::Values("llama-Q4_K_M", "qwen2-Q5_0", "qwen2-F16"),
                         [](const auto& info) { return TinyRecord::TestName(info.param); });

TEST(WgmmaOnEmulator, NoScheduleChangesABit) {
  const auto plan = PlanFor(TinyRecord::Read("qwen2-Q5_0").path, WgmmaOptions());
  ASSERT_TRUE(plan.ok()) << plan.status();
  std::vector<float> first;
  using Kind = Schedule::Kind;
  for (const Schedule& schedule :
       {Schedule{Kind::kForward, 0}, Schedule{Kind::kReverse, 0}, Schedule{Kind::kRandom, 3}}) {
    DeviceOptions options;
    options.schedule = schedule;
    options.placement = Placement::kArena;
    const auto forward = OpenOnEmulator(*plan, options);
    ASSERT_TRUE(forward.ok()) << forward.status();
    std::vector<float> logits;
    const absl::Status status =
        (*forward)->Run(Prompt(kFirst), {0, static_cast<int32_t>(kFirst) - 1}, &logits);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_THAT(LaunchedNames((*forward)->emulator()), Contains(HasSubstr("wgmma_")));
    if (first.empty()) first = logits;
    ASSERT_EQ(first.size(), logits.size());
    EXPECT_EQ(std::memcmp(first.data(), logits.data(), logits.size() * sizeof(float)), 0);
  }
}

}  // namespace
}  // namespace renga::emulator
