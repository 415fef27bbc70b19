// Rows so long that those of 8 tokens do not fit a block's shared memory: fewer at a time, and
// products of matrices for more.
#include "tests/emulator/device/step_reference.h"
#include "tests/emulator/device/tests/support.h"
#include "tests/support/tiny_model.h"

namespace renga::emulator {
namespace {

TEST(LongRows, TakeFewerTokensAtATime) {
  TinyModel model;
  model.layers = 1;
  model.embedding = 16;
  model.heads = model.kv_heads = 1;
  model.head_dim = 16;
  model.hidden = 16384;
  model.vocab = 19;
  model.Fill();
  const TempFolder folder;
  const std::string path = folder.Write("long.gguf", model.writer.Bytes());
  renga::CompileOptions options = GpuOptions(48);
  options.target = "sm_86";  // 99 KiB a block; a row in two parts is 64
  const auto plan = PlanFor(path, options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto down = std::find_if((*plan)->steps.begin(), (*plan)->steps.end(),
                                 [](const plan::Step& step) { return step.name == "0.out"; });
  ASSERT_NE(down, (*plan)->steps.end());
  ASSERT_GE(down->variants.size(), 2u);
  EXPECT_EQ(down->variants[0].last, 1);
  EXPECT_EQ(down->variants[0].launches.size(), 1u);
  EXPECT_EQ(down->variants[1].launches.size(), 2u);  // rows as f16, and their product

  const auto forward = OpenOnEmulator(*plan);
  ASSERT_TRUE(forward.ok()) << forward.status();
  const auto reference = StepReference::Watch(**forward);
  ASSERT_TRUE(reference.ok()) << reference.status();
  std::vector<float> logits;
  for (const std::vector<int32_t>& tokens :
       {std::vector<int32_t>{1, 5, 7}, {4, 6}, {9}, {3, 3, 18, 5, 11, 12, 8, 2, 10, 7, 6, 4}}) {
    const absl::Status status =
        (*forward)->Run(tokens, {static_cast<int32_t>(tokens.size()) - 1}, &logits);
    ASSERT_TRUE(status.ok()) << status;
  }
}

}  // namespace
}  // namespace renga::emulator
