// verify over many right models, and the faults on a real one.
#include <filesystem>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/faults/zoo/random_model.h"
#include "tests/faults/zoo/zoo.h"
#include "tests/support/real_model.h"
#include "tools/verify_model.h"

namespace renga::faults {
namespace {

using testing::HasSubstr;
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

TEST(VerifyMany, FaultsOfSmolLm2) {
  if (!std::filesystem::exists(SmolLm2())) {
    GTEST_SKIP() << "SKIPPED: " << SmolLm2() << " is absent; tools/fetch-models gets it";
  }
  ZooOptions options;
  options.quick = true;
  options.ids = {504, 3575, 282, 4649, 314};
  Faults faults;
  faults.kernels = {&kQkvRopeOtherPairs};
  options.fused = true;
  Graph graph;
  auto verdict = VerifyWith(SmolLm2(), faults, options, &graph);
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  auto said = Named(verdict->nodes);
  for (const std::string& name : ResultsOf(graph, "qkv_rope", {".q", ".k_cells"})) {
    EXPECT_THAT(said[name], HasSubstr("rotates the pairs")) << name;
    said.erase(name);
  }
  EXPECT_THAT(said, IsEmpty());
  faults.kernels = {&kScoresStride, &kAppendNotInDecode};
  options.fused = false;
  verdict = VerifyWith(SmolLm2(), faults, options, &graph);
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  said = Named(verdict->nodes);
  for (const std::string& name : ResultsOf(graph, "attn_scores")) {
    EXPECT_THAT(said[name], HasSubstr("the current length")) << name;
    said.erase(name);
  }
  for (const std::string& name : ResultsOf(graph, "kv_append")) {
    EXPECT_THAT(said[name], HasSubstr("nothing was written")) << name;
    said.erase(name);
  }
  EXPECT_THAT(said, IsEmpty());
}

}  // namespace
}  // namespace renga::faults
