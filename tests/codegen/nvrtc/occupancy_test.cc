#include "codegen/nvrtc/occupancy.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace renga::codegen {
namespace {

KernelResources With(int64_t registers, int64_t static_shared = 0) {
  KernelResources kernel;
  kernel.registers = registers;
  kernel.static_shared = static_shared;
  return kernel;
}

// Blocks a multiprocessor as cuda_occupancy.h of CUDA 13.0 counts them: every 47th of 2352
// combinations of 6 targets, 8 register counts, 7 block sizes and 7 sizes of shared memory, all of
// which agreed.
TEST(Occupancy, IsThatOfNvidiasCalculator) {
  const struct {
    const char* target;
    int64_t registers, threads, shared, blocks;
  } cases[] = {
      {"sm_80", 1, 1, 0, 32},
      {"sm_80", 1, 1024, 101376, 1},
      {"sm_80", 24, 1024, 40000, 2},
      {"sm_80", 33, 1024, 1, 1},
      {"sm_80", 64, 384, 166912, 1},
      {"sm_80", 122, 384, 90000, 1},
      {"sm_80", 128, 384, 3000, 1},
      {"sm_80", 168, 384, 0, 1},
      {"sm_80", 255, 256, 101376, 1},
      {"sm_86", 1, 256, 40000, 2},
      {"sm_86", 24, 256, 1, 6},
      {"sm_86", 33, 128, 166912, 0},
      {"sm_86", 64, 128, 90000, 1},
      {"sm_86", 122, 128, 3000, 4},
      {"sm_86", 128, 128, 0, 4},
      {"sm_86", 168, 96, 101376, 1},
      {"sm_86", 255, 96, 40000, 2},
      {"sm_89", 1, 96, 1, 16},
      {"sm_89", 24, 32, 166912, 0},
      {"sm_89", 33, 32, 90000, 1},
      {"sm_89", 64, 32, 3000, 24},
      {"sm_89", 122, 32, 0, 16},
      {"sm_89", 128, 1, 101376, 1},
      {"sm_89", 168, 1, 40000, 2},
      {"sm_89", 255, 1, 1, 8},
      {"sm_89", 255, 1024, 166912, 0},
      {"sm_90a", 1, 1024, 90000, 2},
      {"sm_90a", 24, 1024, 3000, 2},
      {"sm_90a", 33, 1024, 0, 1},
      {"sm_90a", 64, 384, 101376, 2},
      {"sm_90a", 122, 384, 40000, 1},
      {"sm_90a", 128, 384, 1, 1},
      {"sm_90a", 168, 256, 166912, 1},
      {"sm_90a", 255, 256, 90000, 1},
      {"sm_100a", 1, 256, 3000, 8},
      {"sm_100a", 24, 256, 0, 8},
      {"sm_100a", 33, 128, 101376, 2},
      {"sm_100a", 64, 128, 40000, 5},
      {"sm_100a", 122, 128, 1, 4},
      {"sm_100a", 128, 96, 166912, 1},
      {"sm_100a", 168, 96, 90000, 2},
      {"sm_100a", 255, 96, 3000, 2},
      {"sm_120a", 1, 96, 0, 16},
      {"sm_120a", 24, 32, 101376, 1},
      {"sm_120a", 33, 32, 40000, 2},
      {"sm_120a", 64, 32, 1, 24},
      {"sm_120a", 122, 1, 166912, 0},
      {"sm_120a", 128, 1, 90000, 1},
      {"sm_120a", 168, 1, 3000, 12},
      {"sm_120a", 255, 1, 0, 8},
      {"sm_120a", 255, 1024, 101376, 0},
  };
  std::set<int64_t> seen;
  for (const auto& c : cases) {
    const auto target = FindGpuTarget(c.target);
    ASSERT_TRUE(target.ok());
    const Occupancy got = ComputeOccupancy(**target, With(c.registers), c.threads, c.shared);
    EXPECT_EQ(got.blocks_per_sm, c.blocks)
        << c.target << ", " << c.registers << " registers, " << c.threads << " threads, "
        << c.shared << " bytes: limited by " << got.limiter;
    EXPECT_EQ(got.warps_per_sm, c.blocks * ((c.threads + 31) / 32));
    seen.insert(c.blocks);
  }
  EXPECT_GT(seen.size(), 8u);
}

TEST(Occupancy, NamesWhatKeepsTheNextBlockOut) {
  const GpuTarget& hopper = **FindGpuTarget("sm_90a");
  EXPECT_EQ(ComputeOccupancy(hopper, With(168), 256, 0).limiter, "registers");
  EXPECT_EQ(ComputeOccupancy(hopper, With(32), 256, 100000).limiter, "shared memory");
  EXPECT_EQ(ComputeOccupancy(hopper, With(24), 1024, 0).limiter, "threads");
  EXPECT_EQ(ComputeOccupancy(hopper, With(24), 32, 0).limiter, "blocks");
  // Declared and dynamic shared memory count alike.
  EXPECT_EQ(ComputeOccupancy(hopper, With(32, 40000), 256, 60000).blocks_per_sm, 2);
  // 255 registers of 32 lanes round up to 8192: eight warps fill the register file.
  EXPECT_EQ(ComputeOccupancy(hopper, With(255), 256, 0).blocks_per_sm, 1);
  EXPECT_EQ(ComputeOccupancy(hopper, With(255), 257, 0).blocks_per_sm, 0);
}

TEST(Targets, AreKnownByName) {
  EXPECT_EQ(GpuTargets().size(), 6u);
  EXPECT_EQ((*FindGpuTarget("sm_86"))->shared_per_block, 99 * 1024);
  EXPECT_TRUE((*FindGpuTarget("sm_89"))->ptx_runs_on_newer);
  EXPECT_FALSE((*FindGpuTarget("sm_90a"))->ptx_runs_on_newer);
  const auto unknown = FindGpuTarget("sm_90");
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(unknown.status().message(),
            "target: unknown GPU target 'sm_90', expected one of sm_80, sm_86, sm_89, sm_90a, "
            "sm_100a, sm_120a");
}

}  // namespace
}  // namespace renga::codegen
