// Real models against the record. Qwen2.5-Coder's long prompt is more than half of its work, and
// what it reaches SmolLM2's does too: it is in tests/e2e/long.
#include <filesystem>

#include "tests/e2e/compare_with_record.h"

namespace renga {
namespace {

constexpr size_t kLong = 100;  // tokens of a prompt

class RealModelTest : public testing::TestWithParam<RealModel> {};

TEST_P(RealModelTest, ReferenceIsExactAndCpuIsClose) {
  const RealModel& model = GetParam();
  if (!std::filesystem::exists(model.path)) {
    GTEST_SKIP() << "SKIPPED: " << model.path << " is absent; tools/fetch-models gets it";
  }
  const bool all = model.path != QwenCoder();
  CompareWithRecord(model, [all](size_t prompt_tokens) { return all || prompt_tokens < kLong; });
}

INSTANTIATE_TEST_SUITE_P(All, RealModelTest, testing::ValuesIn(RealModels()),
                         [](const auto& info) { return TestNameOf(info.param); });

}  // namespace
}  // namespace renga
