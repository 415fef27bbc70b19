// bisect: a wrong fusion, kernel or cache type among many right ones is found, in few runs.
#include "tools/bisect/bisect.h"

#include <atomic>
#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "tests/support/tiny_model.h"
#include "tests/tools/bisect/wrong_fusion.h"

namespace renga {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class BisectTest : public testing::Test {
 protected:
  BisectTest() {
    model_.layers = 6;
    model_.embedding = 24;
    model_.heads = 3;
    model_.head_dim = 8;
    model_.vocab = 23;
    model_.hidden = 32;
    model_.Fill();
    path_ = model_.Write();
    good_.device = bad_.device = "cpu";
    good_.threads = bad_.threads = 1;
    good_.compile.context = bad_.compile.context = 64;
    good_.compile.threads = bad_.compile.threads = 1;
    options_.question.ids = {1, 4, 2, 6, 3, 5};
    options_.question.kl = 1e-5;
  }

  absl::StatusOr<BisectReport> Run() {
    RENGA_ASSIGN_OR_RETURN(auto knobs, CompiledKnobs(path_, good_, bad_));
    return Bisect(std::move(knobs), options_);
  }

  static std::vector<std::vector<std::string>> Culprits(const BisectReport& report) {
    std::vector<std::vector<std::string>> culprits;
    for (const Subset& set : report.culprits) culprits.push_back(report.Names(set));
    return culprits;
  }

  TinyModel model_;
  std::string path_;
  OpenOptions good_, bad_;
  BisectOptions options_;
  TempFolder folder_;
  const std::vector<Pass> pipeline_ = PipelineWithAWrongFusion();
};

TEST_F(BisectTest, AWrongFusionIsFoundInFewRuns) {
  bad_.compile.pipeline = good_.compile.pipeline = pipeline_;
  good_.compile.only_passes.emplace();
  for (const bool by_kl : {true, false}) {
    if (!by_kl) options_.question.kl.reset();
    const auto report = Run();
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_THAT(Culprits(*report), ElementsAre(ElementsAre("fuse-gate-up:1.act")));
    const double differences = static_cast<double>(report->knobs->items().size());
    EXPECT_GT(differences, 30);
    EXPECT_LE(static_cast<double>(report->runs.size()), 2 * std::log2(differences));
  }
}

TEST_F(BisectTest, TheTypeOfACacheIsADifferenceLikeAnother) {
  good_.compile.k_type = good_.compile.v_type = DType::kF32;
  bad_.compile.v_type = DType::kBF16;  // and k in f16, which is eight times as fine
  options_.question.kl = 3e-7;
  const auto report = Run();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->knobs->items(), ElementsAre("k_type: f32 -> f16", "v_type: f32 -> bf16"));
  EXPECT_THAT(Culprits(*report), ElementsAre(ElementsAre("v_type: f32 -> bf16")));
}

TEST_F(BisectTest, SoAreThoseOfSomeLayers) {
  good_.compile.k_type = good_.compile.v_type = DType::kF32;
  bad_.compile.k_type = bad_.compile.v_type = DType::kF32;
  bad_.compile.kv_of_layers = {{.first = 0, .last = 1, .v = DType::kBF16}};
  options_.question.kl = 1e-8;
  const auto report = Run();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(Culprits(*report), ElementsAre(ElementsAre("kv_of_layers: none -> 0-1:/bf16")));
}

TEST_F(BisectTest, ASingleSiteThatTheGoodSideLeavesOut) {
  bad_.compile.pipeline = good_.compile.pipeline = pipeline_;
  good_.compile.sites_off = {"fuse-gate-up:1.act", "fuse-norm:0.attn_norm"};
  const auto report = Run();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->knobs->items(), ElementsAre("fuse-gate-up:1.act", "fuse-norm:0.attn_norm"));
  EXPECT_THAT(Culprits(*report), ElementsAre(ElementsAre("fuse-gate-up:1.act")));
}

TEST_F(BisectTest, NothingDiffers) {
  EXPECT_TRUE(absl::IsFailedPrecondition(Run().status()));
  good_.compile.only_passes.emplace();  // all passes mean the same
  const absl::Status status = Run().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("got the same of the good and the bad"));
}

TEST_F(BisectTest, AWrongKernelIsFoundByGivingStepsToTheInterpreter) {
  auto compiled = Compile(path_, bad_.compile);
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  for (plan::Step& step : compiled->plan.steps) {
    if (step.name != "4.q") continue;
    for (plan::Attr& attr : step.attrs) {
      if (attr.name == "pairing") attr.value = std::string("neox");  // llama pairs neighbours
    }
  }
  OpenedPlan opened;
  opened.plan = std::make_shared<const plan::Plan>(std::move(compiled->plan));
  for (const std::string& ir : {opened.plan->ir, opened.plan->source_ir}) {
    auto knobs = StepKnobs(opened, "cpu", ir, 1);
    ASSERT_TRUE(knobs.ok()) << knobs.status();
    EXPECT_GT((*knobs)->items().size(), 30u);
    const auto report = Bisect(*std::move(knobs), options_);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_THAT(Culprits(*report), ElementsAre(ElementsAre("4.q")));
    EXPECT_LE(report->runs.size(), 10u);
    const auto nodes = report->knobs->NodesOf(report->culprits[0], *opened.plan);
    EXPECT_THAT(nodes.nodes, ElementsAre("4.q"));
  }
}

TEST_F(BisectTest, AnInterruptedBisectGoesOnFromItsLog) {
  bad_.compile.pipeline = good_.compile.pipeline = pipeline_;
  good_.compile.only_passes.emplace();
  options_.question.kl.reset();
  options_.log_path = folder_.File("log.tsv");
  std::atomic<bool> cancel = false;
  options_.question.cancel = &cancel;
  int runs = 0;
  options_.on_run = [&](const BisectRun&) { cancel = ++runs == 4; };
  EXPECT_TRUE(absl::IsCancelled(Run().status()));
  EXPECT_EQ(runs, 4);
  cancel = false;
  options_.on_run = nullptr;
  const auto report = Run();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->cached(), 4);
  EXPECT_THAT(Culprits(*report), ElementsAre(ElementsAre("fuse-gate-up:1.act")));
  const auto again = Run();
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->cached(), static_cast<int64_t>(again->runs.size()));
}

TEST_F(BisectTest, ACommandDecides) {
  good_.compile.only_passes.emplace();
  options_.question.kl.reset();
  options_.plan_folder = folder_.path();
  // Bad is a plan with a fused attention in layer 3.
  options_.question.command = "! grep -q '%3.mix: f32.T,3,8. = attention(' \"$RENGA_PLAN\"";
  const auto report = Run();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(Culprits(*report), ElementsAre(ElementsAre("fuse-attention:3.mix")));
  options_.question.command = "/no/such/command";
  const absl::Status status = Run().status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
}

// Plans for a GPU whose products are done in other ways; bad is one of them, of a layer in the
// middle.
TEST_F(BisectTest, AKernelOfAGpuAmongOthers) {
  good_.device = bad_.device = "cuda";
  good_.compile.target = bad_.compile.target = "sm_90a";
  good_.compile.only_lower = bad_.compile.only_lower = true;
  good_.compile.kernels = {"*=mma"};
  options_.question.kl.reset();
  options_.plan_folder = folder_.path();
  options_.question.command = RENGA_BINARY_DIR
      "/renga dump --stage ledger --node 3.act \"$RENGA_PLAN\" | grep -q 'kernel: mma of'";
  const auto report = Run();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->knobs->items().size(), 25u) << "four products a layer, and the head";
  EXPECT_THAT(Culprits(*report), ElementsAre(ElementsAre("kernel:3.act: mma -> auto")));
  EXPECT_LE(report->runs.size(), 9u);
  const auto plan = report->knobs->Mix(report->culprits[0]);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(report->knobs->NodesOf(report->culprits[0], *plan->plan).nodes, ElementsAre("3.act"));
  EXPECT_TRUE(absl::IsUnimplemented(plan->open().status()));
}

// On the cpu both run; bad is one of six kernels of attention.
TEST_F(BisectTest, AKernelOfTheCpu) {
  TinyModel model;  // of heads that both kernels take
  model.layers = 6;
  model.embedding = 48;
  model.heads = 3;
  model.head_dim = 16;
  model.vocab = 23;
  model.hidden = 32;
  model.Fill();
  path_ = model.Write();
  good_.compile.kernels = {"*=attention"};
  bad_.compile.kernels = {"*=attention_direct"};
  options_.question.kl.reset();
  options_.plan_folder = folder_.path();
  options_.question.command = RENGA_BINARY_DIR
      "/renga dump --stage ledger --node 4.mix \"$RENGA_PLAN\" | grep -q 'kernel: attention of'";
  const auto report = Run();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->knobs->items().size(), 6u);
  EXPECT_THAT(Culprits(*report),
              ElementsAre(ElementsAre("kernel:4.mix: attention -> attention_direct")));
}

}  // namespace
}  // namespace renga
