// Every prompt of every real model against the record, the long ones too.
#include <filesystem>

#include "tests/e2e/compare_with_record.h"

namespace renga {
namespace {

class WholeRecordTest : public testing::TestWithParam<RealModel> {};

TEST_P(WholeRecordTest, ReferenceIsExactAndCpuIsClose) {
  const RealModel& model = GetParam();
  if (!std::filesystem::exists(model.path)) {
    GTEST_SKIP() << "SKIPPED: " << model.path << " is absent; tools/fetch-models gets it";
  }
  CompareWithRecord(model, [](size_t) { return true; });
}

INSTANTIATE_TEST_SUITE_P(All, WholeRecordTest, testing::ValuesIn(RealModels()),
                         [](const auto& info) { return TestNameOf(info.param); });

}  // namespace
}  // namespace renga
