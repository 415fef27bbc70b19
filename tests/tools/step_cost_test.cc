// What a step must read and compute, against figures counted by hand from the models' shapes.
#include "tools/step_cost.h"

#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "runtime/plan/layout.h"
#include "tests/tools/fake_step_runner.h"
#include "tools/compiler.h"
#include "tools/measure_speed.h"

namespace renga {
namespace {

using testing::HasSubstr;

plan::Plan CompileModel(const std::string& name, CompileOptions options = {}) {
  auto compilation = Compile(StrCat(RENGA_SOURCE_DIR "/tests/data/", name), options);
  EXPECT_TRUE(compilation.ok()) << compilation.status();
  return compilation.ok() ? std::move(compilation->plan) : plan::Plan();
}

StepCosts CostsOf(const plan::Plan& plan) {
  auto costs = StepCosts::Of(plan);
  EXPECT_TRUE(costs.ok()) << costs.status();
  return costs.ok() ? *std::move(costs) : StepCosts();
}

// stories260K: 5 layers of width 64, 8 heads and 4 key heads of 8, 172 hidden, 512 tokens, F32.
constexpr double kLayerProducts =
    64 * 64 + 2 * 32 * 64 + 64 * 64 /* q, k, v, o */ + 3 * 172 * 64 /* gate, up, down */;
constexpr double kHead = 512 * 64;
constexpr double kEmbeddingRow = 64 * 4;
// Of one key in sight of a token: scores and values of 8 heads of 8, and 4 heads of 8 halves each
// of K and V.
constexpr double kKeyFlops = 5 * 2 * (2 * 8 * 8);
constexpr double kKeyBytes = 5 * 2 * (4 * 8 * 2);

TEST(StepCost, OfADecodeStepOfStories) {
  const StepCosts costs = CostsOf(CompileModel("stories260K.gguf"));
  const double weights = 4 * (5 * kLayerProducts + kHead + 11 * 64 /* norms */);
  const StepCost first = costs.Cost({.position = 0});
  EXPECT_EQ(first.bytes, weights + kEmbeddingRow + kKeyBytes);
  EXPECT_EQ(first.flops, 2 * (5 * kLayerProducts + kHead) + kKeyFlops);
  const StepCost later = costs.Cost({.position = 1000});
  EXPECT_EQ(later.bytes - first.bytes, 1000 * kKeyBytes);
  EXPECT_EQ(later.flops - first.flops, 1000 * kKeyFlops);
}

TEST(StepCost, SequencesShareWeightsAndSeeTheirOwnKeys) {
  const StepCosts costs = CostsOf(CompileModel("stories260K.gguf"));
  const double weights = 4 * (5 * kLayerProducts + kHead + 11 * 64 /* norms */);
  const StepShape shapes[] = {{.position = 10}, {.position = 0}, {.position = 99}};
  const StepCost three = costs.Cost(shapes);
  EXPECT_EQ(three.bytes, weights + 3 * kEmbeddingRow + (11 + 1 + 100) * kKeyBytes);
  EXPECT_EQ(three.flops, 3 * 2 * (5 * kLayerProducts + kHead) + (11 + 1 + 100) * kKeyFlops);
  // Two prompts' pieces and a token of a third sequence, whose logits alone are asked for.
  const StepShape mixed[] = {{0, 4, 0}, {10, 1, 1}, {2, 3, 0}};
  const StepCost step = costs.Cost(mixed);
  EXPECT_EQ(step.bytes, weights + 8 * kEmbeddingRow + (4 + 11 + 5) * kKeyBytes);
  EXPECT_EQ(step.flops, 2 * (8 * 5 * kLayerProducts + kHead) +
                            ((1 + 2 + 3 + 4) + 11 + (3 + 4 + 5)) * kKeyFlops);
}

TEST(StepCost, ShapesAreWhatTheInputsSay) {
  StepInputs inputs;
  const std::vector<int32_t> ids = {5, 5, 5, 5, 5, 5}, positions = {3, 4, 0, 7, 8, 9},
                             sequences = {0, 0, 1, 2, 2, 2}, rows = {1, 2, 3, 5};
  inputs.tokens = ids;
  inputs.positions = positions;
  inputs.sequences = sequences;
  inputs.sequence_count = 3;
  inputs.rows = rows;
  EXPECT_THAT(ShapesOf(inputs),
              testing::ElementsAre(StepShape{3, 2, 1}, StepShape{0, 1, 1}, StepShape{7, 3, 2}));
  inputs.rows = {};
  EXPECT_THAT(ShapesOf(inputs),
              testing::ElementsAre(StepShape{3, 2, 0}, StepShape{0, 1, 0}, StepShape{7, 3, 0}));
}

// What is counted while a fake device runs is what follows from the plan by hand.
TEST(StepCost, MeasuredRunsCountAsTheyAreRun) {
  const StepCosts costs = CostsOf(CompileModel("stories260K.gguf"));
  FakeStepRunner runner(LettersPlan(3));
  const auto decode = MeasureDecode(runner, 3, 5, 2, {.repetitions = 1, .costs = &costs});
  ASSERT_TRUE(decode.ok()) << decode.status();
  const double weights = 4 * (5 * kLayerProducts + kHead + 11 * 64 /* norms */);
  EXPECT_EQ(decode->cost.bytes, 2 * (weights + 3 * kEmbeddingRow) + 3 * (6 + 7) * kKeyBytes);
  EXPECT_EQ(decode->cost.flops, 6 * 2 * (5 * kLayerProducts + kHead) + 3 * (6 + 7) * kKeyFlops);
  // Steps of 4 tokens; in each of the two a prompt ends, which asks for the head.
  const auto prompt = MeasurePrompt(runner, 2, 4, {.repetitions = 3, .costs = &costs});
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_EQ(prompt->cost.bytes, 2 * weights + 8 * kEmbeddingRow + 2 * 4 * kKeyBytes);
  EXPECT_EQ(prompt->cost.flops,
            2 * (8 * 5 * kLayerProducts + 2 * kHead) + 2 * (1 + 2 + 3 + 4) * kKeyFlops);
}

TEST(StepCost, OfAPromptOfStories) {
  const StepCosts costs = CostsOf(CompileModel("stories260K.gguf"));
  // 7 tokens in steps of 4: weights are read twice, the head and its norm once.
  StepCost prompt = costs.Cost({.position = 0, .tokens = 4, .rows = 0});
  prompt += costs.Cost({.position = 4, .tokens = 3, .rows = 1});
  EXPECT_EQ(prompt.bytes, 4 * (2 * (5 * kLayerProducts + 10 * 64) + kHead + 64) +
                              7 * kEmbeddingRow + (4 + 7) * kKeyBytes);
  EXPECT_EQ(prompt.flops,
            2 * (7 * 5 * kLayerProducts + kHead) + (1 + 2 + 3 + 4 + 5 + 6 + 7) * kKeyFlops);
}

TEST(StepCost, IsThatOfTheGraphWhateverIsFused) {
  const StepCosts fused = CostsOf(CompileModel("stories260K.gguf"));
  CompileOptions options;
  options.only_passes.emplace();
  const StepCosts unfused = CostsOf(CompileModel("stories260K.gguf", options));
  for (const StepShape& shape : {StepShape{0, 1, 1}, StepShape{77, 13, 13}}) {
    EXPECT_EQ(fused.Cost(shape).bytes, unfused.Cost(shape).bytes);
    EXPECT_EQ(fused.Cost(shape).flops, unfused.Cost(shape).flops);
  }
}

TEST(StepCost, AWindowHidesWhatLiesBeforeIt) {
  plan::Plan plan = CompileModel("stories260K.gguf");
  const StepCosts everything = CostsOf(plan);
  // In two of five layers.
  for (const char* layer : {"%1.mix: ", "%3.mix: "}) {
    const size_t node = plan.ir.find(layer);
    ASSERT_NE(node, std::string::npos);
    const size_t window = plan.ir.find("window=0", node);
    ASSERT_LT(window, plan.ir.find('\n', node));
    plan.ir.replace(window, 8, "window=16");
  }
  const StepCosts windows = CostsOf(plan);
  const auto saved = [&](const StepShape& shape, double keys, double pairs) {
    const StepCost a = everything.Cost(shape), b = windows.Cost(shape);
    EXPECT_EQ(a.bytes - b.bytes, keys * kKeyBytes * 2 / 5) << shape.position;
    EXPECT_EQ(a.flops - b.flops, pairs * kKeyFlops * 2 / 5) << shape.position;
  };
  saved({.position = 15}, 0, 0);    // 16 keys are all there are
  saved({.position = 99}, 84, 84);  // 16 of 100
  // Tokens 98 to 101 see 16 each, together those from 83 to 101.
  saved({.position = 98, .tokens = 4}, 102 - 19, 99 + 100 + 101 + 102 - 4 * 16);
}

// 2 layers of width 40, 4 heads and 2 key heads of 16, 2 of 4 experts of 36, tied output, F32.
TEST(StepCost, ExpertsCountAsFarAsTheyAreUsed) {
  const StepCosts costs = CostsOf(CompileModel("tiny/llama-moe.gguf"));
  const double shared = 64 * 40 + 2 * 32 * 40 + 40 * 64 + 4 * 40 /* routing */;
  const double expert = 3 * 36 * 40;
  const double head = 512 * 40;
  const double key_bytes = 2 * 2 * (2 * 16 * 2);
  const StepCost decode = costs.Cost({.position = 0});
  // The embedding's row is part of the table that the head reads anyway.
  EXPECT_EQ(decode.bytes, 4 * (2 * (shared + 2 * expert) + head + 5 * 40) + key_bytes);
  EXPECT_EQ(decode.flops, 2 * (2 * (shared + 2 * expert) + head) + 2 * 2 * (2 * 4 * 16));
  // Three tokens may ask for six experts, but there are four; without logits no head.
  const StepCost step = costs.Cost({.position = 0, .tokens = 3, .rows = 0});
  EXPECT_EQ(step.bytes, 4 * (2 * (shared + 4 * expert) + 4 * 40 + 3 * 40) + 3 * key_bytes);
}

// A tied model in blocks of 4.5 bits and their kin, in the layouts that kernels read.
TEST(StepCost, CountsWeightsAsTheyAreStored) {
  double key_bytes = 0;
  const plan::Plan cpu = CompileModel("tiny/llama-Q4_K_M.gguf");
  for (const plan::Cache& cache : cpu.caches) key_bytes += static_cast<double>(cache.cell_bytes);
  // All of the file's weights, 412,224 bytes as `dump --stage weights` sums them: rows8 needs no
  // more, and the head reads the table that the embedding's row is in.
  EXPECT_EQ(CostsOf(cpu).Cost({.position = 0}).bytes, 412224 + key_bytes);

  CompileOptions options;
  options.target = "sm_90a";
  options.only_lower = true;
  const plan::Plan gpu = CompileModel("tiny/llama-Q4_K_M.gguf", options);
  double stored = 0;
  int tables = 0;
  for (const plan::Weight& weight : gpu.weights) {
    stored += static_cast<double>(plan::StoredBytes(weight));
    tables += weight.source.name == "token_embd.weight";
  }
  // There the head has a copy of its own, and of the file's table one row is read.
  EXPECT_EQ(tables, 2);
  EXPECT_EQ(CostsOf(gpu).Cost({.position = 0}).bytes,
            stored - 512 * 210 /* q6_k */ + 210 + key_bytes);
}

TEST(StepCost, RefusesAGraphThatIsNotThePlans) {
  plan::Plan plan = CompileModel("stories260K.gguf");
  plan.ir = absl::StrReplaceAll(ToAbsl(plan.ir), {{"blk.2.ffn_down", "blk.2.ffn_dawn"}});
  const auto costs = StepCosts::Of(plan);
  EXPECT_EQ(costs.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(ToStd(costs.status().message()), HasSubstr("blk.2.ffn_dawn.weight"));
  plan.ir = "soup";
  EXPECT_FALSE(StepCosts::Of(plan).ok());
}

}  // namespace
}  // namespace renga
