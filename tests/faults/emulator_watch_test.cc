// run --check on CUDA kernels, which the emulator runs: the watch that CudaExecutor has, over
// kernels that do something.
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "tests/emulator/device/tests/faulty_kernels.h"
#include "tests/emulator/device/tests/support.h"
#include "tests/faults/zoo/editable_gguf.h"
#include "tests/faults/zoo/emulator_steps.h"
#include "tests/support/test_data.h"
#include "tools/step_watch.h"

namespace renga::faults {
namespace {

using emulator::DeviceOptions;
using emulator::EmulatorForward;
using emulator::KernelOptions;
using emulator::SharedPlan;
using testing::HasSubstr;

const std::vector<int32_t> kPrompt = {1, 40, 77, 5, 9};

absl::StatusOr<SharedPlan> PlanOf(const std::string& gguf) {
  renga::CompileOptions options = emulator::GpuOptions(32);
  options.page_tokens = 4;
  options.max_step_tokens = options.max_rows = 8;  // the kernels for few tokens
  return emulator::PlanFor(gguf, options);
}

// Ids that the model goes on with, all its steps watched or not.
absl::StatusOr<std::vector<int32_t>> Ids(const SharedPlan& plan, bool watched,
                                         DeviceOptions options = {}) {
  const plan::Plan* const plans[] = {plan.get()};
  RENGA_ASSIGN_OR_RETURN(auto kernels, emulator::CompilePlans(plans, KernelOptions()));
  options.kernels.push_back(std::move(kernels));
  RENGA_ASSIGN_OR_RETURN(const auto forward, EmulatorForward::Create(plan, std::move(options)));
  if (watched) {
    RENGA_ASSIGN_OR_RETURN(
        StepHooks hooks,
        StepWatch::Hooks(std::make_shared<EmulatorMemory>(forward->emulator()), {}));
    forward->emulator().SetHooks(std::move(hooks));
  }
  return emulator::GenerateIds(*forward, kPrompt, 4, 3);
}

TEST(EmulatorWatch, OfARightModelNothingIsSaid) {
  const auto plan = PlanOf(TestData("tiny/qwen2.gguf"));
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto plain = Ids(*plan, false), watched = Ids(*plan, true);
  ASSERT_TRUE(plain.ok()) << plain.status();
  ASSERT_TRUE(watched.ok()) << watched.status();
  EXPECT_EQ(*watched, *plain);
}

TEST(EmulatorWatch, ANanInAWeight) {
  auto gguf = EditableGguf(TestData("tiny/qwen2.gguf"));
  ASSERT_TRUE(gguf.ok()) << gguf.status();
  GgufWriter::Tensor* const norm = FindTensor(&*gguf, "blk.1.ffn_norm.weight");
  ASSERT_NE(norm, nullptr);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(norm->data.data() + 5 * sizeof(float), &nan, sizeof(nan));
  const TempFolder folder;
  const auto plan = PlanOf(folder.Write("nan.gguf", gguf->Bytes()));
  ASSERT_TRUE(plan.ok()) << plan.status();
  const absl::Status found = Ids(*plan, true).status();
  EXPECT_TRUE(absl::IsDataLoss(found)) << found;
  const std::string message(found.message());
  EXPECT_THAT(message, HasSubstr("(1.act), result 1.act: NaN at token 0, dim 0; "));
  EXPECT_THAT(message, HasSubstr("the model's own weight @blk.1.ffn_norm.weight is broken"));
}

TEST(EmulatorWatch, ATokenThatAKernelForgets) {
  const auto plan = PlanOf(TestData("tiny/qwen2.gguf"));
  ASSERT_TRUE(plan.ok()) << plan.status();
  emulator::KernelHeaders headers;
  const absl::Status edited = headers.Edit("gate_up.cuh", "up_sums.Add(sums, args.tokens,",
                                           "up_sums.Add(sums, max(1, args.tokens - 1),");
  ASSERT_TRUE(edited.ok()) << edited;
  auto faulty = emulator::CompileSome(**plan, headers.root(), [&](const plan::GpuKernel& kernel) {
    return headers.Includes(kernel.source, "gate_up.cuh");
  });
  ASSERT_TRUE(faulty.ok()) << faulty.status();
  DeviceOptions options;
  options.kernels.push_back(*std::move(faulty));
  const std::string message(Ids(*plan, true, std::move(options)).status().message());
  EXPECT_THAT(message, HasSubstr("result 0.act: "));
  EXPECT_THAT(message, HasSubstr(" elements were not written, the first at token 2, dim 0"));
}

}  // namespace
}  // namespace renga::faults
