// run --check: NaN, infinity and unwritten elements are found where they first are.
#include "tools/step_watch.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "runtime/exec/sequence_forward.h"
#include "runtime/plan/serialize.h"
#include "tests/support/tiny_model.h"
#include "tools/open_model.h"

namespace renga {
namespace {

using testing::HasSubstr;

class StepWatchTest : public testing::Test {
 protected:
  StepWatchTest() {
    model_.architecture = "qwen2";
    model_.embedding = 24;
    model_.heads = 3;
    model_.head_dim = 8;
    model_.Fill();
    open_.device = "cpu";
    open_.threads = 1;
    open_.use_cache = false;
    open_.check = true;
    open_.compile.context = 64;
    open_.compile.threads = 1;
  }

  // Two steps: a prompt, and a token behind it.
  absl::Status Run() {
    RENGA_ASSIGN_OR_RETURN(OpenedModel opened, OpenModel(model_.Write(), open_));
    std::vector<float> logits;
    RENGA_RETURN_IF_ERROR(opened.forward->Run({1, 4, 2}, {2}, &logits));
    return opened.forward->Run({3}, {0}, &logits);
  }

  void Break(std::string_view tensor, size_t element, float value) {
    std::string& data = model_.Tensor(tensor).data;
    std::memcpy(data.data() + element * sizeof(float), &value, sizeof(float));
  }

  TinyModel model_;
  OpenOptions open_;
  TempFolder folder_;
};

TEST_F(StepWatchTest, ARightModelPassesOnEveryDeviceWithEveryCache) {
  for (const std::string device : {"cpu", "reference"}) {
    for (const bool fused : {true, false}) {
      for (const DType type : {DType::kF16, DType::kF32}) {
        open_.device = device;
        open_.kv_type_given = true;
        open_.compile.k_type = open_.compile.v_type = type;
        open_.compile.only_passes.reset();
        if (!fused) open_.compile.only_passes.emplace();
        const absl::Status status = Run();
        EXPECT_TRUE(status.ok()) << device << " " << fused << " " << status;
      }
    }
  }
}

TEST_F(StepWatchTest, ABrokenWeightIsTheModels) {
  Break("blk.1.ffn_gate.weight", 24 * 3 + 5, std::numeric_limits<float>::quiet_NaN());
  open_.check_folder = folder_.File("repro");
  const absl::Status status = Run();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  const std::string message(status.message());
  EXPECT_THAT(message, HasSubstr("(1.act), result 1.act: NaN at token 0, dim 3"));
  EXPECT_THAT(message, HasSubstr("the model's own weight @blk.1.ffn_gate.weight is broken: row 3"));
  EXPECT_TRUE(std::filesystem::exists(folder_.File("repro/repro.cc"))) << message;

  open_.device = "reference";
  const absl::Status reference = Run();
  EXPECT_THAT(std::string(reference.message()), HasSubstr("result 1.act: NaN at token 0, dim 3"));
}

TEST_F(StepWatchTest, AnOverflowIsTheSteps) {
  Break("blk.0.attn_v.bias", 2, 1e30f);  // beyond f16, which the cache holds
  const absl::Status status = Run();
  const std::string message(status.message());
  EXPECT_THAT(message, HasSubstr("result 0.v_cells: inf at cell 0, head 0, dim 2; 3 of 24"));
  EXPECT_THAT(message, HasSubstr("all that it reads is finite"));
}

TEST_F(StepWatchTest, AnOutputThatIsNotWritten) {
  auto compiled = Compile(model_.Write(), open_.compile);
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  auto plan = std::make_shared<plan::Plan>(std::move(compiled->plan));
  auto executor = Executor::Create(plan, {});
  ASSERT_TRUE(executor.ok()) << executor.status();
  const absl::StatusOr<StepHooks> watch =
      StepWatch::Hooks(std::make_shared<CpuMemory>(**executor), {});
  ASSERT_TRUE(watch.ok()) << watch.status();
  // A kernel that writes nothing.
  const auto gate = std::find_if(plan->steps.begin(), plan->steps.end(),
                                 [](const plan::Step& step) { return step.name == "1.act"; });
  ASSERT_NE(gate, plan->steps.end());
  const int number = static_cast<int>(gate - plan->steps.begin());
  (*executor)->SetHooks({.before = [&](int step) -> absl::StatusOr<bool> {
                           RENGA_RETURN_IF_ERROR(watch->before(step).status());
                           return step == number;
                         },
                         .after = watch->after});
  const std::vector<int32_t> ids = {1, 4, 2}, positions = {0, 1, 2}, sequences = {0, 0, 0};
  const std::vector<int32_t> pages = {0}, rows = {2};
  const absl::Status status = (*executor)->Run({.tokens = ids,
                                                .positions = positions,
                                                .sequences = sequences,
                                                .cells = positions,
                                                .pages = pages,
                                                .rows = rows});
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("result 1.act: 30 of 30 elements were not written, the first at token 0, "
                        "dim 0"));
}

}  // namespace
}  // namespace renga
