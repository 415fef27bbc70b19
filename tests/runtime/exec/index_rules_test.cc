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

// One step of attention whose caches and inputs are as a compiler makes them.
plan::Plan AttentionPlan() {
  plan::Plan plan;
  plan.model.vocab = 9;
  plan.geometry = {4, 16, 1, 4};
  plan.symbols = {{"T", 4}, {"S", 1}, {"P", 4}, {"C", 16}};
  plan.kernels = {{"attention"}};
  const plan::Dim t{.symbol = 0}, s{.symbol = 1}, p{.symbol = 2}, c{.symbol = 3}, two{.value = 2};
  const auto buffer = [&](std::string name, DType dtype, std::vector<plan::Dim> shape,
                          plan::Space space) {
    plan::Buffer added;
    added.name = std::move(name);
    added.type = {dtype, std::move(shape)};
    added.space = space;
    plan.buffers.push_back(added);
  };
  buffer("q", DType::kF32, {t, two, two}, plan::Space::kArena);
  buffer("k", DType::kF16, {c, two, two}, plan::Space::kCache);
  buffer("v", DType::kF16, {c, two, two}, plan::Space::kCache);
  buffer("positions", DType::kI32, {t}, plan::Space::kInput);
  buffer("sequences", DType::kI32, {t}, plan::Space::kInput);
  buffer("pages", DType::kI32, {s, p}, plan::Space::kInput);
  buffer("y", DType::kF32, {t, two, two}, plan::Space::kArena);
  plan::Step step;
  step.name = "0.mix";
  step.kernel = 0;
  step.inputs = {0, 1, 2, 3, 4, 5};
  step.outputs = {6};
  step.attrs = {{"page_tokens", int64_t{4}}};
  plan.steps = {step};
  return plan;
}

std::string AttentionError(void (*damage)(plan::Plan& plan)) {
  plan::Plan plan = AttentionPlan();
  damage(plan);
  return std::string(CheckIndexOperands(plan).status().message());
}

TEST(IndexRules, AttentionWalksThePagesOfBothCaches) {
  const std::string at = "step 0 (0.mix, kernel attention): ", end = "; compile it again";
  EXPECT_EQ(AttentionError([](plan::Plan&) {}), "");
  EXPECT_EQ(AttentionError([](plan::Plan& p) { p.buffers[1].type.shape[0] = {.value = 16}; }),
            at + "operand 1: expected axis 0 of size C, got 16" + end);
  EXPECT_EQ(AttentionError([](plan::Plan& p) { p.buffers[2].type.shape[0] = {.value = 9}; }),
            at + "operand 2: expected axis 0 of size C, got 9" + end);
  EXPECT_EQ(AttentionError([](plan::Plan& p) { p.buffers[5].type.shape[0] = {.symbol = 0}; }),
            at + "operand 5: expected axis 0 of size S, got T" + end);
  EXPECT_EQ(AttentionError([](plan::Plan& p) { p.steps[0].inputs[3] = 4; }),
            at + "operand 3: expected the input positions, got sequences" + end);
  EXPECT_EQ(AttentionError([](plan::Plan& p) { p.buffers[5].name = "table"; }),
            at + "operand 5: expected the input pages, got table" + end);
  EXPECT_EQ(AttentionError([](plan::Plan& p) { p.steps[0].attrs[0].value = int64_t{3}; }),
            at + "attribute page_tokens: expected 4 (the plan's), got another" + end);
  EXPECT_EQ(AttentionError([](plan::Plan& p) { p.steps[0].attrs.clear(); }),
            at + "attribute page_tokens: expected 4 (the plan's), got another" + end);
}

TEST(IndexRules, AttentionDirectIsBoundLikeAttention) {
  plan::Plan good = AttentionPlan();
  good.kernels[0].name = "attention_direct";
  EXPECT_TRUE(CheckIndexOperands(good).ok()) << CheckIndexOperands(good).status();
  void (*const damages[])(plan::Plan & plan) = {
      [](plan::Plan& p) { p.steps[0].inputs[3] = 4; },
      [](plan::Plan& p) { p.steps[0].inputs[4] = 3; },
      [](plan::Plan& p) { p.buffers[1].type.shape[0] = {.value = 16}; },
      [](plan::Plan& p) { p.buffers[2].type.shape[0] = {.value = 9}; },
      [](plan::Plan& p) { p.buffers[5].type.shape[0] = {.symbol = 0}; },
      [](plan::Plan& p) { p.steps[0].attrs[0].value = int64_t{3}; },
  };
  for (const auto damage : damages) {
    plan::Plan plan = AttentionPlan();
    damage(plan);
    const std::string expected(CheckIndexOperands(plan).status().message());
    EXPECT_NE(expected, "");
    plan.kernels[0].name = "attention_direct";
    std::string got(CheckIndexOperands(plan).status().message());
    const size_t at = got.find("attention_direct");
    ASSERT_NE(at, std::string::npos) << got;
    EXPECT_EQ(got.replace(at, 16, "attention"), expected);
  }
}

TEST(IndexRules, ScoresOnAGpuAreToldThePositions) {
  plan::Plan plan = AttentionPlan();
  plan.kernels[0].name = "attn_scores";
  plan.symbols.push_back({"L", 16});
  plan.buffers[6].type.shape = {{.symbol = 0}, {.value = 2}, {.symbol = 4}};
  plan.steps[0].inputs = {0, 1, 4, 5, -1, 3};
  EXPECT_TRUE(CheckIndexOperands(plan).ok()) << CheckIndexOperands(plan).status();
  plan.steps[0].inputs[5] = 4;
  EXPECT_EQ(CheckIndexOperands(plan).status().message(),
            "step 0 (0.mix, kernel attn_scores): operand 5: expected the input positions, got "
            "sequences; compile it again");
}

// One step of qkv_rope with inputs and caches as a compiler makes them.
plan::Plan QkvPlan() {
  plan::Plan plan;
  plan.model.vocab = 9;
  plan.symbols = {{"T", 4}, {"C", 16}};
  plan.kernels = {{"qkv_rope"}};
  const plan::Dim t{.symbol = 0}, c{.symbol = 1}, two{.value = 2}, four{.value = 4};
  const auto buffer = [&](std::string name, DType dtype, std::vector<plan::Dim> shape,
                          plan::Space space) {
    plan::Buffer added;
    added.name = std::move(name);
    added.type = {dtype, std::move(shape)};
    added.space = space;
    plan.buffers.push_back(added);
  };
  buffer("x", DType::kF32, {t, four}, plan::Space::kArena);
  buffer("w", DType::kF32, {four, four}, plan::Space::kWeight);
  buffer("k", DType::kF16, {c, two, two}, plan::Space::kCache);
  buffer("v", DType::kF16, {c, two, two}, plan::Space::kCache);
  buffer("positions", DType::kI32, {t}, plan::Space::kInput);
  buffer("cells", DType::kI32, {t}, plan::Space::kInput);
  buffer("q", DType::kF32, {t, two, two}, plan::Space::kArena);
  plan::Step step;
  step.name = "0.q";
  step.kernel = 0;
  step.inputs = {0, 1, 1, 1, 2, 3, 4, 5, -1};
  step.outputs = {6, 2, 3};
  plan.steps = {step};
  return plan;
}

std::string QkvError(void (*damage)(plan::Plan& plan)) {
  plan::Plan plan = QkvPlan();
  damage(plan);
  return std::string(CheckIndexOperands(plan).status().message());
}

TEST(IndexRules, QkvRopeWritesCellsOfBothCachesInPlace) {
  const std::string at = "step 0 (0.q, kernel qkv_rope): ", end = "; compile it again";
  EXPECT_EQ(QkvError([](plan::Plan&) {}), "");
  EXPECT_EQ(QkvError([](plan::Plan& p) { p.steps[0].inputs[6] = 5; }),
            at + "operand 6: expected the input positions, got cells" + end);
  EXPECT_EQ(QkvError([](plan::Plan& p) { p.steps[0].inputs[7] = 4; }),
            at + "operand 7: expected the input cells, got positions" + end);
  EXPECT_EQ(QkvError([](plan::Plan& p) { p.buffers[5].space = plan::Space::kArena; }),
            at + "operand 7: expected the input cells, got cells" + end);
  EXPECT_EQ(QkvError([](plan::Plan& p) { p.buffers[2].type.shape[0] = {.value = 16}; }),
            at + "operand 4: expected axis 0 of size C, got 16" + end);
  EXPECT_EQ(QkvError([](plan::Plan& p) { p.buffers[3].type.shape[0] = {.symbol = 0}; }),
            at + "operand 5: expected axis 0 of size C, got T" + end);
  EXPECT_EQ(
      QkvError([](plan::Plan& p) { std::swap(p.steps[0].outputs[1], p.steps[0].outputs[2]); }),
      at + "output 1: expected operand 4, which it overwrites, got another buffer" + end);
  EXPECT_EQ(QkvError([](plan::Plan& p) { p.steps[0].outputs.pop_back(); }),
            at + "output 2: expected operand 5, which it overwrites, got another buffer" + end);
  EXPECT_EQ(QkvError([](plan::Plan& p) { p.steps[0].inputs[5] = p.steps[0].outputs[2] = 2; }),
            at + "operand 5: expected a buffer of its own, got k" + end);
}

TEST(IndexRules, AnIndexThatNoRuleKnows) {
  plan::Plan plan = ExpertPlan(4, 4);
  plan.kernels[1].name = "slice";
  const absl::Status status = CheckIndexOperands(plan).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace renga
