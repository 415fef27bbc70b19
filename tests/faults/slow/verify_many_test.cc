// verify over many right models, and the faults on a real one.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/faults/zoo/random_model.h"
#include "tests/faults/zoo/zoo.h"
#include "tools/verify_model.h"

namespace renga::faults {
namespace {

using testing::IsEmpty;

TEST(VerifyMany, NoFalseAlarmIn200RandomModels) {
  double worst = 0;
  for (uint32_t seed = 1000; seed < 1200; ++seed) {
    RandomModel model(seed);
    SCOPED_TRACE(model.what());
    VerifyModelOptions options;
    options.open.device = "cpu";
    options.open.use_cache = false;
    options.open.compile.max_step_tokens = model.step_tokens();
    options.open.compile.context = model.context();
    options.open.compile.page_tokens = seed % 2 == 0 ? 8 : 64;
    options.ids = options.text_ids = model.ids();
    const auto report = VerifyModel(model.Write(), options);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_THAT(Named(*report->nodes), IsEmpty());
    EXPECT_TRUE(report->ok());
    EXPECT_EQ(report->steps.size(), 3u) << testing::PrintToString(report->not_run);
    worst = std::max(worst, report->nodes->worst_share);
  }
  RecordProperty("worst_share", std::to_string(worst));
  std::cout << "worst share of a tolerance: " << worst << "\n";
}

}  // namespace
}  // namespace renga::faults
