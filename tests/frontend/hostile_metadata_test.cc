// Metadata comes from outside. Whatever it says, BuildModel returns a model or an error that names
// the key (or, where a size belongs to a tensor, the tensor), and never crashes.
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "frontend/models/model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "tests/support/tiny_model.h"

namespace renga {
namespace {

using ::testing::HasSubstr;

struct Hostile {
  std::string name;
  std::function<void(TinyModel&)> change;  // of a llama model that builds
  std::string error;                       // a part of it
};

std::string Array(const std::vector<uint32_t>& values) { return RawArray(MetaType::kU32, values); }

Hostile Number(std::string name, std::string key, int64_t value, std::string error) {
  return {std::move(name), [=](TinyModel& tiny) { tiny.SetU32(key, value); }, std::move(error)};
}
Hostile Real(std::string name, std::string key, float value, std::string error) {
  return {std::move(name), [=](TinyModel& tiny) { tiny.SetF32(key, value); }, std::move(error)};
}
Hostile List(std::string name, std::string key, std::vector<uint32_t> values, std::string error) {
  return {std::move(name), [=](TinyModel& tiny) { tiny.Set(key, MetaType::kArray, Array(values)); },
          std::move(error)};
}
Hostile Missing(std::string name, std::string key) {
  return {std::move(name), [=](TinyModel& tiny) { tiny.Unset(key); }, "llama." + key};
}

// The same with rope.scaling.type yarn.
Hostile Yarn(Hostile hostile) {
  return {hostile.name,
          [change = hostile.change](TinyModel& tiny) {
            tiny.SetString("rope.scaling.type", "yarn");
            change(tiny);
          },
          hostile.error};
}

std::vector<Hostile> SizeCases() {
  constexpr int64_t kHuge = int64_t{1} << 31;
  return {
      Number("NoHeads", "attention.head_count", 0,
             "llama.attention.head_count, head_count_kv, embedding_length: expected positive"),
      Number("HugeHeads", "attention.head_count", kHuge,
             "llama.attention.head_count: expected 0..2147483647, got 2147483648"),
      Number("ManyHeads", "attention.head_count", kHuge - 1,
             "llama.attention.key_length (or embedding_length / head_count): expected an even "
             "number, since pairs rotate, got 0"),
      Number("NoKvHeads", "attention.head_count_kv", 0, "head_count_kv"),
      Number("UnevenKvHeads", "attention.head_count_kv", 2,
             "llama.attention.head_count: expected a multiple of head_count_kv 2, got 3"),
      Number("MoreKvHeads", "attention.head_count_kv", 6, "head_count_kv 6, got 3"),
      List("ShortHeads", "attention.head_count", {3},
           "llama.attention.head_count: expected one number a layer, got 1"),
      List("ShortKvHeads", "attention.head_count_kv", {1},
           "llama.attention.head_count_kv: expected one number a layer, got 1"),
      List("EmptyHeads", "attention.head_count", {},
           "llama.attention.head_count: expected one number a layer, got 0"),
      List("NoHeadsInLayerOne", "attention.head_count", {3, 0}, "llama.attention.head_count"),
      List("ShortFeedForward", "feed_forward_length", {10}, "llama.feed_forward_length"),
      {"NegativeHeads",
       [](TinyModel& tiny) { tiny.Set("attention.head_count", MetaType::kI32, Raw(int32_t{-3})); },
       "llama.attention.head_count"},
      {"HeadsAsText", [](TinyModel& tiny) { tiny.SetString("attention.head_count", "three"); },
       "llama.attention.head_count"},
      Number("NoLayers", "block_count", 0, "llama.block_count: expected 1.."),
      Number("ManyLayers", "block_count", 1000000000, "llama.block_count: expected 1.."),
      Number("OneLayerMore", "block_count", 3, "blk.2.attn_norm.weight"),
      Number("OneLayerFewer", "block_count", 1, "left over: blk.1.attn_norm.weight"),
      {"LayersBeyond63Bits",
       [](TinyModel& tiny) {
         tiny.Set("block_count", MetaType::kU64, Raw(std::numeric_limits<uint64_t>::max()));
       },
       "llama.block_count"},
      Number("NoWidth", "embedding_length", 0, "embedding_length: expected positive"),
      Number("OddRotation", "rope.dimension_count", 3,
             "llama.rope.dimension_count: expected the head size 4, got 3"),
      Number("NoRotation", "rope.dimension_count", 0, "llama.rope.dimension_count"),
      Number("MoreRotation", "rope.dimension_count", 8, "llama.rope.dimension_count"),
      Number("OddHeads", "attention.key_length", 3,
             "llama.attention.key_length (or embedding_length / head_count): expected an even"),
      Number("NoKeys", "attention.key_length", 0, "llama.attention.key_length"),
      Number("NoValues", "attention.value_length", 0, "llama.attention.value_length"),
      {"ProductsBeyond63Bits",
       [](TinyModel& tiny) {
         tiny.SetU32("attention.head_count", kHuge - 1);
         tiny.SetU32("attention.head_count_kv", kHuge - 1);
         tiny.SetU32("attention.key_length", kHuge - 2);
         tiny.SetU32("attention.value_length", kHuge - 2);
         tiny.AddWeight("blk.0.attn_qkv.weight", {20, 12});
       },
       "llama.attention.head_count times key_length or value_length: expected at most 2147483648"},
      Number("NoFeedForward", "feed_forward_length", 0,
             "blk.0.ffn_gate.weight: expected shape [0,12]"),
      {"ExpertsThatAreNotThere",
       [](TinyModel& tiny) {
         tiny.SetU32("expert_count", kHuge - 1);
         tiny.SetU32("expert_used_count", 2);
       },
       "blk.0.ffn_gate_inp.weight: expected a tensor of shape [2147483647,12]"},
      {"MoreExpertsUsedThanThereAre",
       [](TinyModel& tiny) {
         tiny.SetU32("expert_count", 4);
         tiny.SetU32("expert_used_count", 5);
       },
       "llama.expert_used_count: expected 1..4, got 5"},
      {"NoExpertsUsed",
       [](TinyModel& tiny) {
         tiny.SetU32("expert_count", 4);
         tiny.SetU32("expert_used_count", 0);
       },
       "llama.expert_used_count: expected 1..4, got 0"},
      Missing("MissingHeads", "attention.head_count"),
      Missing("MissingLayers", "block_count"),
      Missing("MissingWidth", "embedding_length"),
      Missing("MissingContext", "context_length"),
      Missing("MissingFeedForward", "feed_forward_length"),
      Missing("MissingEps", "attention.layer_norm_rms_epsilon"),
  };
}

std::vector<Hostile> RealCases() {
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  const std::string eps = "attention.layer_norm_rms_epsilon", base = "rope.freq_base";
  const std::string factor = "rope.scaling.factor", gain = "rope.scaling.attn_factor";
  return {
      Real("NoEps", eps, 0, "llama." + eps + ": expected a positive number, got 0"),
      Real("NegativeEps", eps, -1, "llama." + eps + ": expected a positive number, got -1"),
      Real("NanEps", eps, nan, "llama." + eps + ": expected a finite number, got nan"),
      Real("NoBase", base, 0, "llama." + base + ": expected a positive number, got 0"),
      Real("NegativeBase", base, -10000, "llama." + base + ": expected a positive number"),
      Real("NanBase", base, nan, "llama." + base + ": expected a finite number, got nan"),
      Real("InfiniteBase", base, inf, "llama." + base + ": expected a finite number, got inf"),
      Yarn(Real("BaseOneUnderYarn", base, 1, "llama." + base + ": expected more than 1 for yarn")),
      Real("NanFactor", factor, nan, "llama." + factor + ": expected a finite number, got nan"),
      Real("NegativeFactor", factor, -2,
           "llama." + factor + " (or rope.scale_linear): expected a positive number"),
      Real("NegativeScaleLinear", "rope.scale_linear", -2, "rope.scale_linear"),
      Real("NanScaleLinear", "rope.scale_linear", nan, "llama.rope.scale_linear"),
      Yarn(Real("NegativeFactorUnderYarn", factor, -2, "llama." + factor)),
      Yarn(
          Real("TinyFactorUnderYarn", factor, 1e-30f,
               "llama." + factor + " and yarn_log_multiplier: expected a positive yarn magnitude")),
      Yarn(Real("InfiniteMultiplier", "rope.scaling.yarn_log_multiplier", inf,
                "llama.rope.scaling.yarn_log_multiplier: expected a finite number, got inf")),
      Yarn(Number("NoOriginalContext", "rope.scaling.original_context_length", 0,
                  "llama.rope.scaling.original_context_length")),
      Real("NoAttentionFactor", gain, 0, "llama." + gain + ": expected a positive number, got 0"),
      Real("NanAttentionFactor", gain, nan, "llama." + gain + ": expected a finite number"),
      {"UnknownScaling", [](TinyModel& tiny) { tiny.SetString("rope.scaling.type", "su"); },
       "llama.rope.scaling.type: expected linear, yarn, longrope or none, got su"},
      {"ScalingOfNoText", [](TinyModel& tiny) { tiny.SetU32("rope.scaling.type", 2); },
       "llama.rope.scaling.type"},
      {"BaseOfNoNumber", [](TinyModel& tiny) { tiny.SetString("rope.freq_base", "1e4"); },
       "llama.rope.freq_base"},
  };
}

class HostileMetadataTest : public testing::TestWithParam<Hostile> {};

TEST_P(HostileMetadataTest, IsAnErrorThatNamesTheKey) {
  TinyModel tiny;
  tiny.Fill();
  GetParam().change(tiny);
  const std::string path = tiny.Write();
  const auto file = GgufFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto model = BuildModel(*file, GraphOptions());
  ASSERT_FALSE(model.ok());
  EXPECT_NE(model.status().code(), absl::StatusCode::kInternal) << "an internal error is our bug";
  EXPECT_THAT(std::string(model.status().message()), HasSubstr(GetParam().error));
  EXPECT_EQ(model.status().message().find(path), 0u) << "the file comes first: " << model.status();
}

std::string CaseName(const testing::TestParamInfo<Hostile>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Sizes, HostileMetadataTest, testing::ValuesIn(SizeCases()), CaseName);
INSTANTIATE_TEST_SUITE_P(Reals, HostileMetadataTest, testing::ValuesIn(RealCases()), CaseName);

TEST(HeadSizeTest, QwenAllowsNoOtherHeadSize) {
  TinyModel tiny;
  tiny.architecture = "qwen2";
  tiny.Fill();
  tiny.SetU32("attention.key_length", 6);
  const auto file = GgufFile::Open(tiny.Write());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(std::string(BuildModel(*file, GraphOptions()).status().message()),
              HasSubstr("qwen2.attention.key_length: expected embedding_length / head_count 4, got "
                        "6"));
}

}  // namespace
}  // namespace renga
