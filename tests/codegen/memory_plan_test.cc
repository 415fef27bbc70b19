#include "codegen/lower/memory_plan.h"

#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/validate.h"
#include "tests/support/test_seed.h"

namespace renga::codegen {
namespace {

TEST(PlaceBlocks, NothingNeedsNothing) { EXPECT_EQ(PlaceBlocks({}).bytes, 0u); }

TEST(PlaceBlocks, AChainNeedsTwoBlocks) {
  std::vector<Block> blocks;
  for (int i = 0; i < 10; ++i) blocks.push_back({100, {i, i + 1}});
  EXPECT_EQ(PlaceBlocks(blocks).bytes, 256u);
}

TEST(PlaceBlocks, TakesTheSmallestGapThatFits) {
  // a, b, c, d, e lie one behind another; at step 1 a (256) and d (128) are gone, and the last
  // block fits both gaps.
  const std::vector<Block> blocks = {{256, {0, 0}}, {224, {0, 1}}, {192, {0, 1}},
                                     {160, {0, 0}}, {150, {0, 1}}, {140, {1, 1}}};
  const Placement placement = PlaceBlocks(blocks);
  EXPECT_EQ(placement.offsets[3], placement.offsets[5]);
  EXPECT_EQ(placement.bytes, 1088u);
}

// The law: blocks that live together never share a byte; the total is what the last one ends at.
TEST(PlaceBlocks, RandomBlocksThatLiveTogetherNeverOverlap) {
  std::mt19937 random(TestSeed());
  for (int round = 0; round < 300; ++round) {
    const int steps = 1 + random() % 40;
    std::vector<Block> blocks(random() % 60);
    for (Block& block : blocks) {
      block.bytes = 1 + random() % 1000;
      block.life.first = static_cast<int32_t>(random() % steps);
      block.life.last =
          block.life.first + static_cast<int32_t>(random() % (steps - block.life.first));
    }
    const Placement placement = PlaceBlocks(blocks);
    uint64_t end = 0, all = 0;
    std::vector<uint64_t> alive(steps, 0);
    for (size_t i = 0; i < blocks.size(); ++i) {
      const uint64_t bytes = plan::AlignUp(blocks[i].bytes);
      EXPECT_EQ(placement.offsets[i] % plan::kAlignment, 0u);
      end = std::max(end, placement.offsets[i] + bytes);
      all += bytes;
      for (int step = blocks[i].life.first; step <= blocks[i].life.last; ++step)
        alive[step] += bytes;
      for (size_t j = 0; j < i; ++j) {
        const bool together = blocks[i].life.first <= blocks[j].life.last &&
                              blocks[j].life.first <= blocks[i].life.last;
        const bool overlap = placement.offsets[i] < placement.offsets[j] + blocks[j].bytes &&
                             placement.offsets[j] < placement.offsets[i] + blocks[i].bytes;
        ASSERT_FALSE(together && overlap) << i << " and " << j << " in round " << round;
      }
    }
    EXPECT_EQ(placement.bytes, end);
    EXPECT_LE(placement.bytes, all);
    EXPECT_GE(placement.bytes, *std::max_element(alive.begin(), alive.end()));
  }
}

// Random programs with views and several readers; the validator replays who overwrites whom.
TEST(PlaceBuffers, RandomProgramsPassTheValidator) {
  std::mt19937 random(TestSeed());
  for (int round = 0; round < 200; ++round) {
    plan::Plan plan;
    plan.target = "cpu";
    plan.model.vocab = 1;
    plan.geometry = {1, 1, 1, 1};
    plan.symbols = {{"T", 1 + int64_t(random() % 50)}};
    plan.kernels = {{"k"}};
    std::vector<int32_t> readable;
    const int steps = 1 + random() % 40;
    const auto add = [&](const std::string& name, plan::TensorType type, int32_t view_of) {
      const uint64_t bytes = plan::MaxBytes(type, plan.symbols).value();
      plan.buffers.push_back({name, type, plan::Space::kArena, -1, 0, bytes, view_of});
      readable.push_back(static_cast<int32_t>(plan.buffers.size() - 1));
      return readable.back();
    };
    for (int i = 0; i < steps; ++i) {
      plan::Step step = {"s" + std::to_string(i), -1, plan::StepKind::kKernel, 0, {}, {}, {}, {}};
      for (uint32_t operands = random() % 4; operands > 0 && !readable.empty(); --operands) {
        step.inputs.push_back(readable[random() % readable.size()]);
      }
      for (uint32_t results = 1 + random() % 2; results > 0; --results) {
        const int64_t width = 2 + 2 * (random() % 20);
        const std::string name = "b" + std::to_string(plan.buffers.size());
        const int32_t made = add(name, {DType::kF32, {{0, 1}, {-1, width}}}, -1);
        step.outputs.push_back(made);
        if (random() % 3 == 0) {
          add(name + "v", {DType::kF32, {{0, 1}, {-1, 2}, {-1, width / 2}}}, made);
        }
      }
      plan.steps.push_back(std::move(step));
    }
    plan.outputs = {plan.buffers[readable[random() % readable.size()]].name};
    PlaceBuffers(plan);
    plan.memory = plan::ComputeMemory(plan);
    ASSERT_TRUE(plan::Validate(plan).ok()) << plan::Validate(plan) << " in round " << round;
  }
}

}  // namespace
}  // namespace renga::codegen
