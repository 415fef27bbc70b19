// How RoPE metadata becomes attributes of the rope nodes, shown as the text of the node. The rules
// are those of llama.cpp; what the attributes compute is tested with the operator.
#include <string>
#include <vector>

#include "frontend/models/model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "ir/text/print.h"
#include "tests/support/tiny_model.h"

namespace renga {
namespace {

using ::testing::HasSubstr;

class RopeParamsTest : public testing::Test {
 protected:
  void SetUp() override { tiny_.Fill(); }

  absl::StatusOr<Model> Build() {
    RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(tiny_.Write()));
    return BuildModel(file, options_);
  }

  // What stands behind "%0.q: f32[T,3,4] = rope(%0.q_heads, %positions", which must be the same
  // for every layer's q and k.
  std::string Rope() {
    const auto model = Build();
    if (!model.ok()) return model.status().ToString();
    std::string rest;
    for (const Node& node : model->graph.nodes) {
      if (node.op->name != "rope") continue;
      const std::string text = PrintNode(model->graph, node);
      const size_t at = text.find("%positions");
      EXPECT_NE(at, std::string::npos) << text;
      if (rest.empty()) rest = text.substr(at + 10);
      EXPECT_EQ(rest, text.substr(at + 10));
    }
    return rest;
  }

  TinyModel tiny_;
  GraphOptions options_;
};

TEST_F(RopeParamsTest, PlainByDefault) {
  EXPECT_EQ(Rope(),
            ") {base=10000.0, dims=4, factor=1.0, magnitude=1.0, pairing=norm, scaling=none}");
}

TEST_F(RopeParamsTest, QwenPairsHalvesAndFloatsReadAsWritten) {
  tiny_ = TinyModel();
  tiny_.architecture = "qwen2";
  tiny_.Fill();
  tiny_.SetF32("rope.freq_base", 1000000.1f);
  tiny_.SetU32("rope.dimension_count", 4);
  EXPECT_EQ(Rope(),
            ") {base=1000000.1, dims=4, factor=1.0, magnitude=1.0, pairing=neox, scaling=none}");
}

TEST_F(RopeParamsTest, AFactorAloneIsLinear) {
  tiny_.SetF32("rope.scaling.factor", 4);
  EXPECT_EQ(Rope(),
            ") {base=10000.0, dims=4, factor=4.0, magnitude=1.0, pairing=norm, scaling=linear}");
}

TEST_F(RopeParamsTest, TheOldKeyIsReadWhereTheNewOneIsMissing) {
  tiny_.SetF32("rope.scale_linear", 2);
  EXPECT_THAT(Rope(), HasSubstr("factor=2.0, magnitude=1.0, pairing=norm, scaling=linear"));
  tiny_.SetF32("rope.scaling.factor", 8);
  EXPECT_THAT(Rope(), HasSubstr("factor=8.0"));
}

TEST_F(RopeParamsTest, AFactorOfZeroIsNone) {
  tiny_.SetString("rope.scaling.type", "linear");
  tiny_.SetF32("rope.scaling.factor", 0);
  EXPECT_THAT(Rope(), HasSubstr("factor=1.0, magnitude=1.0, pairing=norm, scaling=none"));
}

TEST_F(RopeParamsTest, NoneIgnoresTheFactorAndKeepsTheMagnitude) {
  tiny_.SetString("rope.scaling.type", "none");
  tiny_.SetF32("rope.scaling.factor", 8);
  tiny_.SetF32("rope.scaling.attn_factor", 1.25f);
  EXPECT_THAT(Rope(), HasSubstr("factor=1.0, magnitude=1.25, pairing=norm, scaling=none"));
}

// 1 + 0.1 ln 4
TEST_F(RopeParamsTest, YarnGrowsTheMagnitude) {
  tiny_.SetString("rope.scaling.type", "yarn");
  tiny_.SetF32("rope.scaling.factor", 4);
  tiny_.SetU32("rope.scaling.original_context_length", 32);
  EXPECT_EQ(Rope(),
            ") {base=10000.0, beta_fast=32.0, beta_slow=1.0, dims=4, factor=4.0, "
            "magnitude=1.138629436111989, original_context=32, pairing=norm, scaling=yarn}");
}

TEST_F(RopeParamsTest, YarnWithoutAnOriginalContextTakesTheModels) {
  tiny_.SetString("rope.scaling.type", "yarn");
  EXPECT_THAT(Rope(), HasSubstr("magnitude=1.0, original_context=64"));
}

// (1 + 0.1 ln 4) / (1 + 0.1 m ln 4): 1 for m = 1, and attn_factor times that.
TEST_F(RopeParamsTest, TheLogMultiplierModeratesYarn) {
  tiny_.SetString("rope.scaling.type", "yarn");
  tiny_.SetF32("rope.scaling.factor", 4);
  tiny_.SetF32("rope.scaling.yarn_log_multiplier", 1);
  EXPECT_THAT(Rope(), HasSubstr("magnitude=1.0,"));
  tiny_.SetF32("rope.scaling.attn_factor", 0.5f);
  EXPECT_THAT(Rope(), HasSubstr("magnitude=0.5,"));
}

TEST_F(RopeParamsTest, YarnBetasOfTheFileAreNotRead) {
  tiny_.SetString("rope.scaling.type", "yarn");
  tiny_.SetF32("rope.scaling.yarn_beta_fast", 2);
  EXPECT_THAT(Rope(), HasSubstr("beta_fast=32.0, beta_slow=1.0"));
}

TEST_F(RopeParamsTest, FactorsAreAnOperand) {
  tiny_.AddWeight("rope_freqs.weight", {2});
  EXPECT_EQ(Rope(),
            ", factors=@rope_freqs.weight) {base=10000.0, dims=4, factor=1.0, magnitude=1.0, "
            "pairing=norm, scaling=none}");
}

TEST_F(RopeParamsTest, FactorsOfAnotherSizeAreAnError) {
  tiny_.AddWeight("rope_freqs.weight", {4});
  EXPECT_THAT(std::string(Build().status().message()),
              HasSubstr("rope_freqs.weight: expected shape [2] from the metadata, got [4]"));
}

class LongRopeTest : public RopeParamsTest {
 protected:
  void SetUp() override {
    RopeParamsTest::SetUp();
    tiny_.SetString("rope.scaling.type", "longrope");
    tiny_.SetU32("rope.scaling.original_context_length", 512);
    tiny_.SetF32("rope.scaling.attn_factor", 1.5f);
    tiny_.AddWeight("rope_factors_long.weight", {2});
    tiny_.AddWeight("rope_factors_short.weight", {2});
  }
};

TEST_F(LongRopeTest, ShortFactorsUpToTheOriginalContext) {
  options_.context = 512;
  EXPECT_EQ(Rope(),
            ", factors=@rope_factors_short.weight) {base=10000.0, dims=4, factor=1.0, "
            "magnitude=1.5, pairing=norm, scaling=none}");
  const auto model = Build();
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(model->ignored.size(), 1u);
  EXPECT_EQ(model->ignored[0].name, "rope_factors_long.weight");
  EXPECT_EQ(model->ignored[0].reason,
            "the context of 512 tokens is within the original 512, which the other set is for");
}

// 513 tokens round up to 768.
TEST_F(LongRopeTest, LongFactorsBeyondIt) {
  options_.context = 513;
  EXPECT_THAT(Rope(), HasSubstr(", factors=@rope_factors_long.weight)"));
  const auto model = Build();
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(model->ignored.size(), 1u);
  EXPECT_EQ(model->ignored[0].name, "rope_factors_short.weight");
  EXPECT_THAT(model->ignored[0].reason, HasSubstr("513 tokens is beyond the original 512"));
}

TEST_F(LongRopeTest, WithoutItsTypeTheFactorsAreLeftOver) {
  tiny_.Unset("rope.scaling.type");
  EXPECT_THAT(std::string(Build().status().message()),
              HasSubstr("got 2 left over: rope_factors_long.weight, rope_factors_short.weight"));
}

TEST_F(LongRopeTest, BothSetsMustBeThere) {
  tiny_.Remove("rope_factors_short.weight");
  options_.context = 256;
  EXPECT_THAT(std::string(Build().status().message()),
              HasSubstr("rope_factors_short.weight: expected a tensor of shape [2]"));
}

}  // namespace
}  // namespace renga
