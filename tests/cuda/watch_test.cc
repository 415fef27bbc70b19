// run --check and steps that fail, on a GPU.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "runtime/exec/sequence_forward.h"
#include "runtime/plan/launch.h"
#include "tests/cuda/biased_model.h"
#include "tests/cuda/support.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_data.h"
#include "tools/given_steps.h"
#include "tools/open_on_cuda.h"
#include "tools/repro/keep_failed_step.h"
#include "tools/repro/kept_step.h"
#include "tools/step_alone.h"

namespace renga {
namespace {

using testing::HasSubstr;

// Greedy behind a prompt of many tokens.
absl::StatusOr<std::vector<int32_t>> Ids(Forward& forward) {
  std::vector<int32_t> prompt(70), ids;
  for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<int32_t>(1 + i * 7 % 20);
  std::vector<float> logits;
  RENGA_RETURN_IF_ERROR(forward.Run(prompt, {69}, &logits));
  for (int i = 0; i < 12; ++i) {
    ids.push_back(forward.next()[0]);
    RENGA_RETURN_IF_ERROR(forward.Run({ids.back()}, {0}, &logits));
  }
  return ids;
}

class CudaWatchTest : public CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    // What kills the context of a process is tried in another.
    GTEST_FLAG_SET(death_test_style, "threadsafe");
  }

  // The plan of a model, with a change, for this GPU.
  static absl::StatusOr<OpenedPlan> PlanOf(const std::string& gguf, const CudaDevice& device,
                                           std::function<void(plan::Plan*)> change = nullptr) {
    OpenOptions options;
    options.use_cache = false;
    options.compile.target = device.target;
    options.compile.context = 128;
    RENGA_ASSIGN_OR_RETURN(OpenedPlan opened, OpenPlan(gguf, options));
    if (!change) return opened;
    plan::Plan changed = *opened.plan;
    change(&changed);
    opened.plan = std::make_shared<const plan::Plan>(std::move(changed));
    return opened;
  }

  static absl::Status RunChecked(const OpenedPlan& opened, const CudaDevice& device,
                                 const OpenOptions& options, std::vector<int32_t> tokens) {
    std::optional<int64_t> compiled;
    RENGA_ASSIGN_OR_RETURN(std::unique_ptr<StepRunner> runner,
                           OpenOnCuda(opened, device, 2, options, &compiled));
    SequenceForward forward(std::move(runner));
    RENGA_RETURN_IF_ERROR(forward.Run(tokens, {0}, nullptr));
    return forward.Run({3}, {0}, nullptr);
  }

  TempFolder folder_;
};

TEST_F(CudaWatchTest, OfARightModelNothingIsSaid) {
  TinyModel biased = BiasedModel();
  const std::string small = biased.Write();
  struct Case {
    std::string gguf;
    DType k, v;
  };
  for (const Case& c : {Case{TestData("stories260K.gguf"), DType::kF16, DType::kF16},
                        Case{small, DType::kQ8_0, DType::kQ4_0},
                        Case{TestData("tiny/llama-Q4_K.gguf"), DType::kF32, DType::kBF16}}) {
    SCOPED_TRACE(c.gguf);
    OpenOptions options;
    options.kv_type_given = true;
    options.compile.k_type = c.k;
    options.compile.v_type = c.v;
    options.compile.context = 128;
    const OpenedModel plain = Open(c.gguf, options);
    options.check = true;
    const OpenedModel checked = Open(c.gguf, options);
    ASSERT_TRUE(plain.forward != nullptr && checked.forward != nullptr);
    const auto expected = Ids(*plain.forward), ids = Ids(*checked.forward);
    ASSERT_TRUE(expected.ok() && ids.ok()) << expected.status() << ids.status();
    EXPECT_EQ(*ids, *expected);
  }
}

TEST_F(CudaWatchTest, ABrokenWeightIsTheModels) {
  TinyModel model = BiasedModel();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(model.Tensor("blk.1.ffn_gate.weight").data.data() + (96 * 3 + 5) * sizeof(float),
              &nan, sizeof(nan));
  const auto device = OpenCuda(0);
  ASSERT_TRUE(device.ok()) << device.status();
  const auto opened = PlanOf(model.Write(), *device);
  ASSERT_TRUE(opened.ok()) << opened.status();
  OpenOptions options;
  options.check = true;
  options.check_folder = folder_.File("kept");
  const absl::Status found = RunChecked(*opened, *device, options, {1, 4, 2});
  EXPECT_TRUE(absl::IsDataLoss(found)) << found;
  const std::string message(found.message());
  EXPECT_THAT(message, HasSubstr("(1.act), result 1.act: NaN at token 0, dim 3"));
  EXPECT_THAT(message, HasSubstr("the model's own weight @blk.1.ffn_gate.weight is broken: row 3"));
  EXPECT_THAT(message, HasSubstr(StrCat("; kept in ", folder_.File("kept"), ", its kernels in ")));
}

TEST_F(CudaWatchTest, BlocksThatAreMissing) {
  const auto device = OpenCuda(0);
  ASSERT_TRUE(device.ok()) << device.status();
  const auto opened = PlanOf(TestData("stories260K.gguf"), *device, [](plan::Plan* plan) {
    for (plan::Variant& variant : plan->steps[0].variants) {
      for (plan::Launch& launch : variant.launches) launch.grid[0] = plan::Constant(1);
    }
  });
  ASSERT_TRUE(opened.ok()) << opened.status();
  ASSERT_EQ(opened->plan->steps[0].name, "embed");
  OpenOptions options;
  options.check = true;
  const absl::Status found = RunChecked(*opened, *device, options, std::vector<int32_t>(100, 1));
  EXPECT_TRUE(absl::IsDataLoss(found)) << found;
  EXPECT_THAT(std::string(found.message()), HasSubstr("(embed), result embed: "));
  EXPECT_THAT(std::string(found.message()), HasSubstr(" elements were not written"));
}

// Its input is read from where nothing is.
void PointNowhere(plan::Plan* plan) {
  for (plan::Step& step : plan->steps) {
    if (step.name != "1.act") continue;
    for (plan::Variant& variant : step.variants) {
      for (plan::Launch& launch : variant.launches) {
        for (plan::Arg& arg : launch.args) {
          if (arg.name == "x") arg = {.kind = plan::ArgKind::kNull, .name = arg.name};
        }
      }
    }
  }
}

TEST_F(CudaWatchTest, AnIllegalAddressIsKeptAndFailsAloneToo) {
  // The folder that the other process, which runs this test from its start, is told of.
  constexpr char kFolder[] = "RENGA_TEST_FOLDER_OF_A_KEPT_STEP";
  setenv(kFolder, folder_.path().c_str(), /*overwrite=*/0);
  const std::string folder = StrCat(getenv(kFolder), "/kept");
  const auto fail_and_keep = [&] {
    const auto device = OpenCuda(0);
    if (!device.ok()) exit(2);
    const auto opened = PlanOf(TestData("stories260K.gguf"), *device, PointNowhere);
    if (!opened.ok()) exit(3);
    GivenSteps given;
    OpenOptions options;
    options.check_steps = true;
    options.given = &given;
    const absl::Status failed = RunChecked(*opened, *device, options, {1, 403, 407});
    const auto kept = KeepFailedStep(given, folder, {.found = std::string(failed.message())});
    fprintf(stderr, "%s\n%s\n", failed.ToString().c_str(), kept.status().ToString().c_str());
    exit(kept.ok() && kept->node == "1.act" && absl::IsUnavailable(failed) ? 0 : 4);
  };
  EXPECT_EXIT(fail_and_keep(), testing::ExitedWithCode(0), "step [0-9]+ \\(1.act\\), T = 3: ");
  const auto step = ReadKeptStep(folder);
  ASSERT_TRUE(step.ok()) << step.status();
  const auto fail_alone = [&] {
    const auto device = OpenCuda(0);
    if (!device.ok()) exit(2);
    const auto opened = PlanOf(TestData("stories260K.gguf"), *device, PointNowhere);
    const absl::Status failed = RunStepAlone(*opened, *device, *step, {}).status();
    fprintf(stderr, "%s\n", failed.ToString().c_str());
    exit(absl::IsUnavailable(failed) ? 0 : 3);
  };
  EXPECT_EXIT(fail_alone(), testing::ExitedWithCode(0), "step [0-9]+ \\(1.act\\), T = 3: ");
  // The right kernel gives what the interpreter expects of the same.
  const auto device = OpenCuda(0);
  ASSERT_TRUE(device.ok()) << device.status();
  const auto right = PlanOf(TestData("stories260K.gguf"), *device);
  ASSERT_TRUE(right.ok()) << right.status();
  const auto alone = RunStepAlone(*right, *device, *step, {});
  ASSERT_TRUE(alone.ok()) << alone.status();
  EXPECT_TRUE(alone->right()) << alone->values[0].error;
  unsetenv(kFolder);
}

}  // namespace
}  // namespace renga
