// Right kernels of every kind the emulator knows: right results under every schedule and no
// complaint; and the same kernels with one thing taken away, which must not pass.

#include <sstream>

#include "tests/emulator/selftest/runs.h"

namespace renga::emulator {
namespace {

class RightKernelTest : public testing::TestWithParam<RightKernel> {};

INSTANTIATE_TEST_SUITE_P(All, RightKernelTest, testing::ValuesIn(RightKernels()),
                         [](const auto& info) {
                           return info.param.file.substr(0, info.param.file.find('.'));
                         });

TEST_P(RightKernelTest, RunUnderEverySchedule) {
  const auto& library = TestKernels();
  ASSERT_TRUE(library.ok()) << library.status();
  for (const NamedSchedule& schedule : TestSchedules()) {
    const absl::Status status = GetParam().run(*StartEmulatorRun(**library, schedule.schedule));
    EXPECT_TRUE(status.ok()) << schedule.name << ": " << status;
  }
}

// A text of a right kernel, what it becomes, and what must be said of it under every schedule: one
// of the causes between "|".
struct Mutation {
  std::string name, file, from, to, causes;
};

void PrintTo(const Mutation& mutation, std::ostream* os) { *os << mutation.name; }

class Mutations : public testing::TestWithParam<Mutation> {};

INSTANTIATE_TEST_SUITE_P(
    All, Mutations,
    testing::Values(
        Mutation{"DecodeWithoutBarrier", "flash_decode.cu", "  SyncThreads();\n", "\n",
                 "race: |nothing has written"},
        Mutation{"DecodeOneArrayTooSmall", "flash_decode.cu", "Take<float>(kWarps * kHeads * kDim)",
                 "Take<float>(kWarps * kHeads * kDim - 1)", "outside of the arrays"},
        Mutation{"DecodeOnePositionTooFar", "flash_decode.cu", "min(context, first + share)",
                 "first + share", "out of bounds|wrong result"},
        Mutation{"CombineWithoutWait", "flash_decode.cu", "splits) {\n  WaitForPreviousKernel();\n",
                 "splits) {\n\n", "WaitForPreviousKernel comes later or never"},
        Mutation{"GemmLastCopyNotWaited", "gemm_mma.cu", "WaitForCopies<0>();",
                 "WaitForCopies<1>();", "a CopyAsync still fills"},
        Mutation{"GemmStageNotGuarded", "gemm_mma.cu", "    SyncThreads();\n  }\n", "\n  }\n",
                 "race: "},
        Mutation{"GemmTransposedWrongly", "gemm_mma.cu", "LoadMatrix2Transposed", "LoadMatrix2",
                 "wrong result"},
        Mutation{"PipelineOneConsumerEnough", "gemm_wgmma.cu", "InitMbarrier(empty + s, 2);",
                 "InitMbarrier(empty + s, 1);", "race: |still fills|more than the 1 arrivals"},
        Mutation{"PipelineWaitsForNothing", "gemm_wgmma.cu",
                 "    WaitForMbarrier(full + stage, parity);\n", "\n",
                 "still fills|nothing has written"},
        Mutation{"PipelineReleasesTooSoon", "gemm_wgmma.cu", "    WaitForWgmma<1>();", "    ;",
                 "race: |still fills|before WaitForWgmma"},
        Mutation{"PipelineWrongParity", "gemm_wgmma.cu", "WaitForMbarrier(full + stage, parity)",
                 "WaitForMbarrier(full + stage, parity ^ 1)",
                 "still fills|deadlock|nothing has written"},
        Mutation{"PipelineNeverReleases", "gemm_wgmma.cu",
                 "if (depth > 0 && thread == 0) ArriveAtMbarrier(empty + previous);", ";",
                 "deadlock: "},
        Mutation{"PipelineOneSetOfRegisters", "gemm_wgmma.cu", "a[depth / kDepth % 2]", "a[0]",
                 "before WaitForWgmma"},
        Mutation{"PipelineLastNotWaited", "gemm_wgmma.cu", "  WaitForWgmma<0>();\n", "\n",
                 "in flight"},
        Mutation{"PipelineReadsOutsideTokens", "gemm_wgmma.cu", "if (t < n) y", "y",
                 "out of bounds"},
        Mutation{"SplitWithoutRelease", "split_k.cu", "AtomicAddAcquireRelease(counter, 1u)",
                 "AtomicAdd(counter, 1u)", "race: "},
        Mutation{"SplitWithoutSecondFence", "split_k.cu", "gridDim.x - 1;\n    ThreadFence();\n",
                 "gridDim.x - 1;\n\n", "race: "},
        Mutation{"GridWithoutRelease", "split_k.cu", "ReduceAddRelease(counter, 1u)",
                 "AtomicAdd(counter, 1u)", "race: "},
        Mutation{"SumWithoutBarrier", "split_k.cu", "  SyncThreads();\n  float sum",
                 "\n  float sum", "race: |nothing has written"},
        Mutation{"ChainReadsTooSoon", "chain.cu",
                 "  WaitForPreviousKernel();\n  LetNextKernelStart();\n",
                 "  LetNextKernelStart();\n\n", "WaitForPreviousKernel comes later or never"}),
    [](const auto& info) { return info.param.name; });

TEST_P(Mutations, AreFound) {
  const Mutation& mutation = GetParam();
  auto source = ReadKernelSource(KernelFile(mutation.file));
  ASSERT_TRUE(source.ok()) << source.status();
  const size_t at = source->text.find(mutation.from);
  ASSERT_NE(at, std::string::npos) << "nothing to take away in " << mutation.file;
  source->text.replace(at, mutation.from.size(), mutation.to);
  source->name = mutation.file;
  const auto library = KernelLibrary::Compile(TestCompileOptions(), {*source});
  ASSERT_TRUE(library.ok()) << library.status();
  const auto run = std::find_if(RightKernels().begin(), RightKernels().end(),
                                [&](const RightKernel& one) { return one.file == mutation.file; });
  ASSERT_NE(run, RightKernels().end());
  for (const NamedSchedule& schedule : TestSchedules()) {
    const absl::Status status = run->run(*StartEmulatorRun(**library, schedule.schedule));
    const std::string message(status.message());
    bool found = false;
    std::istringstream causes(mutation.causes);
    for (std::string cause; std::getline(causes, cause, '|');) {
      found = found || message.find(cause) != message.npos;
    }
    EXPECT_TRUE(found) << schedule.name << ": " << status << "\nexpected " << mutation.causes;
  }
}

}  // namespace
}  // namespace renga::emulator
