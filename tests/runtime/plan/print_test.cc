#include "runtime/plan/print.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/plan/lifetime.h"
#include "tests/runtime/plan/sample_plan.h"

namespace renga::plan {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(PrintStep, ShowsOperandsAttributesAndResult) {
  const Plan plan = SamplePlan();
  EXPECT_EQ(PrintStep(plan, 0), "step 0 embed x (%tokens, @table) -> %x: f32[T,8]");
  EXPECT_EQ(PrintStep(plan, 2),
            "step 2 add y (%x, %x) {a_float=1e-06, b_int=-3, c_bool=true, d_name=neox}"
            " -> %y: f32[T,8]");
  EXPECT_EQ(PrintStep(plan, 4), "step 4 linear logits (%last, @out, -) -> %logits: f32[R,10]");
}

TEST(PrintPlan, ShowsHeaderBuffersAndSteps) {
  const std::string text = PrintPlan(SamplePlan());
  EXPECT_THAT(text, HasSubstr("plan 5 for cpu, by renga test\n"));
  EXPECT_THAT(text, HasSubstr("dim T = 1..4\n"));
  EXPECT_THAT(
      text,
      HasSubstr("buffer 7    %x_heads    f32[T,2,4]                  128 bytes  view of %x\n"));
  EXPECT_THAT(
      text, HasSubstr("buffer 5    %0.k_cache  f16[C,2,4]                  512 bytes  cache 0\n"));
  EXPECT_THAT(text, HasSubstr("544 bytes  weight 2, layout rows8\n"));
  EXPECT_THAT(text, HasSubstr("step 4 linear logits"));
}

TEST(PrintPlan, FiltersByLayerAndNode) {
  const std::string layer = PrintPlan(SamplePlan(), {.layer = 0, .node = ""});
  EXPECT_THAT(layer, HasSubstr("step 1 kv_append 0.k_new"));
  EXPECT_THAT(layer, HasSubstr("step 2 add y"));
  EXPECT_THAT(layer, Not(HasSubstr("step 0")));
  EXPECT_THAT(layer, Not(HasSubstr("buffer")));
  EXPECT_EQ(PrintPlan(SamplePlan(), {.layer = std::nullopt, .node = "0.k"}),
            "step 1 kv_append 0.k_new (%0.k_cache, %x_heads, %cells) -> %0.k_cache: f16[C,2,4]\n");
}

TEST(PrintMemory, AddsUp) {
  EXPECT_EQ(PrintMemory(SamplePlan()),
            "arena                    320 bytes  4 buffers, 576 bytes without sharing\n"
            "inputs                   192 bytes  3 buffers\n"
            "activations              512 bytes  arena and inputs\n"
            "kv                       512 bytes  1 caches of 32 cells\n"
            "  layer 0                512 bytes  f16\n"
            "weights                 1024 bytes  3 tensors\n"
            "total                   2048 bytes  \n");
}

TEST(PrintMemory, LayersThatHaveTheSameAreOneLine) {
  Plan plan = SamplePlan();
  const Cache cache = plan.caches[0];
  plan.caches.clear();
  for (int32_t layer = 0; layer < 4; ++layer) {
    for (const DType type : {DType::kF16, layer == 2 ? DType::kF32 : DType::kF16}) {
      plan.caches.push_back(cache);
      plan.caches.back().layer = layer;
      plan.caches.back().dtype = type;
      plan.caches.back().cell_bytes = type == DType::kF16 ? 16 : 32;
    }
  }
  EXPECT_THAT(PrintMemory(plan),
              HasSubstr("  layers 0-1, 3            1024 bytes  each, f16 + f16\n"
                        "  layer 2               1536 bytes  f16 + f32\n"));
}

TEST(Lifetimes, ViewsAndOutputsProlongLife) {
  Plan plan = SamplePlan();
  std::swap(plan.steps[1], plan.steps[2]);  // the view is now read after x itself
  const std::vector<Lifetime> lives = Lifetimes(plan);
  EXPECT_EQ(lives[6], (Lifetime{0, 2}));
  EXPECT_EQ(lives[7], (Lifetime{0, 2}));
  plan.outputs.push_back("x_heads");
  EXPECT_EQ(Lifetimes(plan)[6], (Lifetime{0, 4}));
}

TEST(ToString, FloatsKeepAPoint) {
  EXPECT_EQ(ToString(AttrValue(1.0)), "1.0");
  EXPECT_EQ(ToString(AttrValue(10000.0)), "10000.0");
  EXPECT_EQ(ToString(AttrValue(1e-05)), "1e-05");
  EXPECT_EQ(ToString(AttrValue(int64_t{1})), "1");
}

}  // namespace
}  // namespace renga::plan
