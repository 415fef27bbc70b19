#include "runtime/exec/index_rules.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace renga {
namespace {

// Router scores for `routed` experts, the two best of which index matrices of `stored` experts.
plan::Plan ExpertPlan(int64_t routed, int64_t stored) {
  plan::Plan plan;
  plan.model.vocab = 9;
  plan.symbols = {{"T", 4}};
  plan.kernels = {{"moe_route"}, {"expert_linear"}};
  const auto buffer = [&](std::string name, DType dtype, std::vector<plan::Dim> shape,
                          plan::Space space) {
    plan::Buffer added;
    added.name = std::move(name);
    added.type = {dtype, std::move(shape)};
    added.space = space;
    plan.buffers.push_back(added);
  };
  const plan::Dim t{.symbol = 0}, two{.value = 2}, width{.value = 8};
  buffer("scores", DType::kF32, {t, {.value = routed}}, plan::Space::kArena);
  buffer("experts", DType::kI32, {t, two}, plan::Space::kArena);
  buffer("shares", DType::kF32, {t, two}, plan::Space::kArena);
  buffer("x", DType::kF32, {t, width}, plan::Space::kArena);
  buffer("w", DType::kF32, {{.value = stored}, width, width}, plan::Space::kWeight);
  buffer("y", DType::kF32, {t, two, width}, plan::Space::kArena);
  buffer("tokens", DType::kI32, {t}, plan::Space::kInput);
  plan::Step route, linear;
  route.name = "experts";
  route.kernel = 0;
  route.inputs = {0};
  route.outputs = {1, 2};
  linear.name = "y";
  linear.kernel = 1;
  linear.inputs = {3, 4, 1};
  linear.outputs = {5};
  plan.steps = {route, linear};
  return plan;
}

TEST(IndexRules, ExpertsOfTheRouterAreAllowed) {
  const auto limits = CheckIndexOperands(ExpertPlan(4, 4));
  ASSERT_TRUE(limits.ok()) << limits.status();
  EXPECT_EQ(limits->tokens, 9);
  EXPECT_TRUE(CheckIndexOperands(ExpertPlan(3, 4)).ok());
}

TEST(IndexRules, MoreExpertsRoutedThanStored) {
  const absl::Status status = CheckIndexOperands(ExpertPlan(5, 4)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      status.message(),
      "step 1 (y, kernel expert_linear): operand 2: expected values below 4, got values below "
      "5; compile it again");
}

TEST(IndexRules, ExpertsFromAnInput) {
  plan::Plan plan = ExpertPlan(4, 4);
  plan.steps[1].inputs[2] = 6;
  const absl::Status status = CheckIndexOperands(plan).status();
  EXPECT_EQ(status.message(),
            "step 1 (y, kernel expert_linear): operand 2: expected a result of moe_route, got "
            "tokens; compile it again");
}

TEST(IndexRules, ExpertsFromAnotherKernel) {
  plan::Plan plan = ExpertPlan(4, 4);
  plan.kernels[0].name = "gather_rows";
  const absl::Status status = CheckIndexOperands(plan).status();
  EXPECT_EQ(status.message(),
            "step 1 (y, kernel expert_linear): operand 2: expected a result of moe_route, got "
            "experts; compile it again");
}

TEST(IndexRules, AnIndexThatNoRuleKnows) {
  plan::Plan plan = ExpertPlan(4, 4);
  plan.kernels[1].name = "slice";
  const absl::Status status = CheckIndexOperands(plan).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace renga
