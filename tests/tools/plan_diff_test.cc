// What differs between two plans beyond their graphs.
#include "tools/compare/plan_diff.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/digest.h"
#include "tools/compare/tensor_role.h"

namespace renga {
namespace {

using testing::ElementsAre;

plan::Weight WeightOf(const std::string& name, const std::string& contents,
                      DType dtype = DType::kF32) {
  plan::Weight weight;
  weight.source.name = name;
  weight.source.dtype = dtype;
  weight.source.shape = {4};
  weight.digest = DigestOf(contents);
  return weight;
}

TEST(PlanDiffTest, FactsInTheirOrder) {
  plan::Plan a;
  a.target = "cpu";
  a.geometry.context = 2048;
  a.kernels.resize(2);
  a.kernels[0].name = "linear";
  a.kernels[1].name = "rope";
  a.steps.resize(3);
  a.steps[0].kernel = a.steps[1].kernel = 0;
  a.steps[2].kernel = 1;
  EXPECT_TRUE(DiffPlanFacts(a, a).empty());
  plan::Plan b = a;
  b.producer = "another";
  b.files.resize(1);
  b.passes.resize(0);
  EXPECT_TRUE(DiffPlanFacts(a, b).empty());  // who wrote it, and where the model lies
  b.geometry.context = 64;
  b.steps[2].kernel = 0;
  const std::vector<FactChange> facts = DiffPlanFacts(a, b);
  ASSERT_EQ(facts.size(), 3u);
  EXPECT_EQ(facts[0].name, "context");
  EXPECT_EQ(facts[0].before, "2048");
  EXPECT_EQ(facts[0].after, "64");
  EXPECT_EQ(facts[1].name, "kernel linear");
  EXPECT_EQ(facts[1].before, "2 steps");
  EXPECT_EQ(facts[1].after, "3 steps");
  EXPECT_EQ(facts[2].name, "kernel rope");
  EXPECT_EQ(facts[2].before, "1 step");
  EXPECT_EQ(facts[2].after, "");
}

TEST(PlanDiffTest, WeightsOfOtherBytes) {
  plan::Plan a, b;
  for (const std::string layer : {"0", "1", "2"}) {
    const std::string name = "blk." + layer + ".attn_q.weight";
    a.weights.push_back(WeightOf(name, "x"));
    b.weights.push_back(WeightOf(name, layer == "1" ? "x" : "y"));
  }
  a.weights.push_back(WeightOf("output.weight", "x"));
  b.weights.push_back(WeightOf("output.weight", "y"));
  // Of another type or on one side only: a matter of the graphs.
  a.weights.push_back(WeightOf("token_embd.weight", "x"));
  b.weights.push_back(WeightOf("token_embd.weight", "y", DType::kF16));
  b.weights.push_back(WeightOf("new", "y"));
  const std::vector<ChangeGroup> groups = DiffPlanWeights(a, b);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].role, "attn_q.weight");
  EXPECT_EQ(groups[0].kind, ChangeKind::kWeightValues);
  EXPECT_THAT(groups[0].layers, ElementsAre(0, 2));
  EXPECT_EQ(groups[1].role, "output.weight");
  EXPECT_TRUE(groups[1].layers.empty());
  EXPECT_TRUE(DiffPlanWeights(a, a).empty());
}

TEST(TensorRoleTest, LayersComeFromTheName) {
  EXPECT_EQ(RoleOfTensor("blk.13.attn_q.weight").layer, 13);
  EXPECT_EQ(RoleOfTensor("blk.13.attn_q.weight").role, "attn_q.weight");
  for (const std::string name : {"output.weight", "blk.", "blk.x.q", "blk.3", "", "blk.-1.q",
                                 "blk.99999999999999999999.q"}) {
    EXPECT_EQ(RoleOfTensor(name).layer, -1) << name;
    EXPECT_EQ(RoleOfTensor(name).role, name);
  }
}

}  // namespace
}  // namespace renga
