// What kernels of the cpu work in: what is said before a run, against what the run asks for.
#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/exec/cpu_kernels.h"
#include "runtime/exec/cpu_runner.h"
#include "runtime/exec/sequence_forward.h"
#include "tests/support/tiny_record.h"
#include "tools/compiler.h"

namespace renga {
namespace {

class CpuScratchTest : public testing::TestWithParam<std::tuple<std::string, bool, int>> {};

// All of a context, in steps as long as may be and one token at a time.
TEST_P(CpuScratchTest, IsWhatRunsAskFor) {
  const auto& [name, fused, threads] = GetParam();
  const TinyRecord record = TinyRecord::Read(name);
  CompileOptions options;
  options.context = 320;  // more than one chunk of attention (256)
  options.max_step_tokens = 64;
  if (!fused) options.only_passes = std::vector<std::string>();
  auto compilation = Compile(record.path, options);
  ASSERT_TRUE(compilation.ok()) << compilation.status();
  const auto plan = std::make_shared<const plan::Plan>(std::move(compilation->plan));
  const auto kernels = PrepareCpuKernels(*plan);
  ASSERT_TRUE(kernels.ok()) << kernels.status();
  const cpu::ScratchBytes said = CpuScratch(*plan, *kernels, threads);

  auto runner = CpuRunner::Create(plan, {.threads = threads});
  ASSERT_TRUE(runner.ok()) << runner.status();
  const cpu::ThreadPool& pool = (*runner)->executor().pool();
  SequenceForward forward(*std::move(runner));
  const int64_t context = plan->geometry.context, step = plan->geometry.max_step_tokens;
  const int32_t row = 0;
  while (forward.position() < context - step) {
    const std::vector<int32_t> tokens(static_cast<size_t>(step), record.prompt[0]);
    ASSERT_TRUE(forward.Run(tokens, {&row, 1}, nullptr).ok());
  }
  const std::vector<int32_t> tokens(static_cast<size_t>(step) - 1, record.prompt[0]);
  ASSERT_TRUE(forward.Run(tokens, {&row, 1}, nullptr).ok());
  ASSERT_TRUE(forward.Run({&record.prompt[0], 1}, {&row, 1}, nullptr).ok());
  ASSERT_EQ(forward.position(), context);
  size_t worker = 0;
  for (int i = 0; i < threads; ++i) worker = std::max(worker, pool.AskedOfScratch(i));
  EXPECT_EQ(worker, said.worker);
  EXPECT_EQ(pool.AskedOfScratch(threads), said.shared);
}

std::string NameOf(const testing::TestParamInfo<CpuScratchTest::ParamType>& info) {
  const auto& [name, fused, threads] = info.param;
  return TinyRecord::TestName(name) + (fused ? "" : "Unfused") + std::to_string(threads);
}

INSTANTIATE_TEST_SUITE_P(All, CpuScratchTest,
                         testing::Combine(testing::ValuesIn(TinyRecord::Names()), testing::Bool(),
                                          testing::Values(1, 3)),
                         NameOf);

}  // namespace
}  // namespace renga
