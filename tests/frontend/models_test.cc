// What the frontend accepts and what it builds: architectures, the account of the tensors, tied and
// padded vocabularies, fused projections, and the graph of the bundled model as text.
#include "frontend/models/model.h"

#include <cstdlib>
#include <string>
#include <vector>

#include "frontend/models/architecture.h"
#include "frontend/models/decoder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/text/print.h"
#include "tests/ir/golden_file.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace renga {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

GraphOptions SmallOptions() {
  GraphOptions options;
  options.context = 16;
  options.page_tokens = 3;
  options.k_type = options.v_type = DType::kF32;
  return options;
}

TinyModel Filled(std::string architecture) {
  TinyModel tiny;
  tiny.architecture = std::move(architecture);
  tiny.Fill();
  return tiny;
}

absl::StatusOr<Model> Build(TinyModel& tiny) {
  RENGA_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(tiny.Write()));
  return BuildModel(file, SmallOptions());
}

std::string BuildError(TinyModel& tiny) { return std::string(Build(tiny).status().message()); }

// The lines of the nodes whose first result is called `name`.
std::string NodeText(const Model& model, std::string_view name) {
  for (const Node& node : model.graph.nodes) {
    if (NodeName(model.graph, node) == name) return PrintNode(model.graph, node);
  }
  return "";
}

// Logits of a few tokens, fed in two steps.
std::vector<float> Logits(TinyModel& tiny) {
  const auto file = GgufFile::Open(tiny.Write());
  EXPECT_TRUE(file.ok()) << file.status();
  const auto model = BuildModel(*file, SmallOptions());
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return {};
  const auto runner = ModelRunner::Create(*file, *model, SmallOptions(), /*threads=*/1);
  EXPECT_TRUE(runner.ok()) << runner.status();
  auto logits = (*runner)->Step({1, 4, 3, 6, 0});
  const auto more = (*runner)->Step({5});
  EXPECT_TRUE(logits.ok() && more.ok()) << logits.status() << more.status();
  if (!logits.ok() || !more.ok()) return {};
  logits->insert(logits->end(), more->begin(), more->end());
  EXPECT_EQ(logits->size(), 6 * 7u);
  return *logits;
}

TEST(ArchitecturesTest, AreSortedAndNamedInTheError) {
  std::vector<std::string> names;
  for (const Architecture* architecture : AllArchitectures())
    names.emplace_back(architecture->name);
  EXPECT_THAT(names, ElementsAre("llama", "qwen2"));
  TinyModel tiny = Filled("mamba");
  const absl::Status status = Build(tiny).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()),
              EndsWith(".gguf: general.architecture: expected one of llama, qwen2, got mamba"));
}

TEST(ArchitecturesTest, TheFileMustNameOne) {
  TinyModel tiny;
  EXPECT_THAT(BuildError(tiny), HasSubstr("general.architecture"));
}

TEST(ModelTest, DescribesTheTinyModels) {
  for (const char* architecture : {"llama", "qwen2"}) {
    TinyModel tiny = Filled(architecture);
    const auto model = Build(tiny);
    ASSERT_TRUE(model.ok()) << model.status();
    const ModelInfo& info = model->info;
    EXPECT_EQ(info.architecture, architecture);
    EXPECT_THAT(
        (std::vector<int64_t>{info.layers, info.embedding, info.heads, info.kv_heads, info.head_dim,
                              info.feed_forward, info.vocab, info.context_length}),
        ElementsAre(2, 12, 3, 1, 4, 10, 7, 64));
    EXPECT_EQ(model->tokenizer.size(), 7);
    EXPECT_EQ(model->weights.size(), tiny.writer.tensors.size()) << "every tensor is used";
    ASSERT_EQ(model->weights.size(), model->graph.weights.size());
    for (size_t i = 0; i < model->weights.size(); ++i) {
      EXPECT_EQ(model->weights[i].name, model->graph.value(model->graph.weights[i]).name);
    }
    EXPECT_TRUE(model->ignored.empty());
  }
}

TEST(AccountTest, AMissingTensorIsNamedWithItsShape) {
  TinyModel tiny = Filled("llama");
  tiny.Remove("blk.1.ffn_up.weight");
  EXPECT_THAT(
      BuildError(tiny),
      EndsWith("blk.1.ffn_up.weight: expected a tensor of shape [10,12], as llama needs it, "
               "got none"));
}

TEST(AccountTest, TheEmbeddingIsMissedByName) {
  TinyModel tiny = Filled("llama");
  tiny.Remove("token_embd.weight");
  EXPECT_THAT(
      BuildError(tiny),
      EndsWith("token_embd.weight: expected a tensor of this name, as llama needs it, got none"));
}

TEST(AccountTest, ABiasThatQwenNeedsIsMissed) {
  TinyModel tiny = Filled("qwen2");
  tiny.Remove("blk.0.attn_k.bias");
  EXPECT_THAT(BuildError(tiny),
              HasSubstr("blk.0.attn_k.bias: expected a tensor of shape [4], as qwen2 needs it"));
}

TEST(AccountTest, AWrongShapeIsNamedWithBothShapes) {
  TinyModel tiny = Filled("llama");
  tiny.Tensor("blk.0.ffn_down.weight").ne = {12, 10};
  EXPECT_THAT(BuildError(tiny),
              EndsWith("blk.0.ffn_down.weight: expected shape [12,10] from the metadata, got "
                       "[10,12]"));
}

TEST(AccountTest, ALeftOverTensorIsNamed) {
  TinyModel tiny = Filled("llama");
  tiny.AddWeight("blk.1.attn_sinks.weight", {3});
  EXPECT_THAT(BuildError(tiny), HasSubstr("expected the llama graph to use every tensor of the "
                                          "file, got 1 left over: blk.1.attn_sinks.weight; the "
                                          "graph would not compute what the file means"));
}

TEST(AccountTest, ManyLeftOversAreCounted) {
  TinyModel tiny = Filled("llama");
  for (int i = 0; i < 40; ++i) tiny.AddWeight("extra." + std::to_string(i), {1});
  EXPECT_THAT(BuildError(tiny), HasSubstr("got 40 left over: extra.0, extra.1, "));
  EXPECT_THAT(BuildError(tiny), HasSubstr("extra.11, ...; "));
  EXPECT_THAT(BuildError(tiny), Not(HasSubstr("extra.12")));
}

// What llama leaves out qwen2's files have: an architecture that forgets the biases computes
// something, but not what the file means.
TEST(AccountTest, AnArchitectureThatForgetsTheBiasesIsCaught) {
  const Architecture forgetful = {
      .name = "qwen2",
      .build =
          [](ModelBuilder& b) {
            BuildDecoder(b, {.pairing = RopePairing::kNeox,
                             .qkv_bias = Presence::kAbsent,
                             .attn_output_bias = Presence::kAbsent,
                             .mlp_bias = Presence::kAbsent,
                             .output_bias = Presence::kOptional,
                             .free_head_dim = false,
                             .experts = false});
          },
  };
  TinyModel tiny = Filled("qwen2");
  const auto file = GgufFile::Open(tiny.Write());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(std::string(BuildModelAs(forgetful, *file, SmallOptions()).status().message()),
              HasSubstr("got 6 left over: blk.0.attn_q.bias, blk.0.attn_k.bias, blk.0.attn_v.bias, "
                        "blk.1.attn_q.bias, blk.1.attn_k.bias, blk.1.attn_v.bias;"));
  EXPECT_TRUE(BuildModelAs(kQwen2, *file, SmallOptions()).ok());
}

TEST(HeadTest, OptionalBiasesAreUsedWhereTheyAre) {
  TinyModel tiny = Filled("llama");
  const std::vector<float> without = Logits(tiny);
  tiny.AddWeight("blk.0.attn_output.bias", {12});
  tiny.AddWeight("blk.1.ffn_down.bias", {12});
  tiny.AddWeight("blk.1.attn_q.bias", {12});
  const auto model = Build(tiny);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT(NodeText(*model, "0.attn_out"), HasSubstr("bias=@blk.0.attn_output.bias)"));
  EXPECT_THAT(NodeText(*model, "1.attn_out"), Not(HasSubstr("bias=")));
  EXPECT_THAT(NodeText(*model, "1.q_proj"), HasSubstr("bias=@blk.1.attn_q.bias)"));
  EXPECT_NE(Logits(tiny), without);
}

TEST(HeadTest, WithoutAnOutputTheEmbeddingServes) {
  TinyModel tiny = Filled("qwen2");
  tiny.Remove("output.weight");
  const auto model = Build(tiny);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(NodeText(*model, "logits_all"),
            "%logits_all: f32[T,7] = linear(%output_norm, @token_embd.weight)");
  EXPECT_EQ(model->weights.size(), tiny.writer.tensors.size()) << "one weight, used twice";
  const std::vector<float> tied = Logits(tiny);
  GgufWriter::Tensor output = tiny.Tensor("token_embd.weight");
  output.name = "output.weight";
  tiny.writer.tensors.push_back(output);
  EXPECT_EQ(Logits(tiny), tied);
}

TEST(HeadTest, RowsBeyondTheVocabularyAreCutOff) {
  TinyModel tiny = Filled("llama");
  tiny.Remove("output.weight");
  const std::vector<float> plain = Logits(tiny);
  // The same rows, and two more that would win every argmax.
  GgufWriter::Tensor& table = tiny.Tensor("token_embd.weight");
  table.ne[1] = 9;
  for (int i = 0; i < 24; ++i) table.data += Raw(1000.0f);
  const auto model = Build(tiny);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(NodeText(*model, "logits_padded"),
            "%logits_padded: f32[T,9] = linear(%output_norm, @token_embd.weight)");
  EXPECT_EQ(NodeText(*model, "logits_all"),
            "%logits_all: f32[T,7] = slice(%logits_padded) {size=7, start=0}");
  EXPECT_EQ(model->info.vocab, 7);
  EXPECT_EQ(Logits(tiny), plain);
}

TEST(HeadTest, FewerRowsThanTheVocabularyAreAnError) {
  for (const char* name : {"token_embd.weight", "output.weight"}) {
    TinyModel tiny = Filled("llama");
    GgufWriter::Tensor& table = tiny.Tensor(name);
    table.ne[1] = 6;
    table.data.resize(6 * 12 * sizeof(float));
    EXPECT_THAT(BuildError(tiny),
                EndsWith(std::string(name) +
                         ": expected at least 7 rows, one a token of the vocabulary, got 6"));
  }
}

// One attn_qkv in place of the three, rows of q, then k, then v.
void Fuse(TinyModel& tiny, const std::string& kind) {
  for (int64_t layer = 0; layer < tiny.layers; ++layer) {
    const std::string block = "blk." + std::to_string(layer) + ".attn_";
    GgufWriter::Tensor fused = tiny.Remove(block + "q" + kind);
    for (const char* part : {"k", "v"}) {
      const GgufWriter::Tensor tensor = tiny.Remove(block + part + kind);
      fused.ne.back() += tensor.ne.back();
      fused.data += tensor.data;
    }
    fused.name = block + "qkv" + kind;
    tiny.writer.tensors.push_back(fused);
  }
}

TEST(FusedTest, OneProjectionComputesWhatThreeDo) {
  for (const char* architecture : {"llama", "qwen2"}) {
    TinyModel tiny = Filled(architecture);
    const std::vector<float> separate = Logits(tiny);
    Fuse(tiny, ".weight");
    if (tiny.architecture == "qwen2") Fuse(tiny, ".bias");
    const auto model = Build(tiny);
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_THAT(NodeText(*model, "1.qkv_proj"),
                HasSubstr("linear(%1.attn_norm, @blk.1.attn_qkv.weight"));
    EXPECT_THAT(NodeText(*model, "1.v_proj"), HasSubstr("slice(%1.qkv_proj) {size=4, start=16}"));
    EXPECT_EQ(Logits(tiny), separate);
  }
}

TEST(FusedTest, AWrongNumberOfRowsIsAnError) {
  TinyModel tiny = Filled("llama");
  Fuse(tiny, ".weight");
  tiny.SetU32("attention.head_count_kv", 3);
  EXPECT_THAT(BuildError(tiny), HasSubstr("blk.0.attn_qkv.weight: expected shape [36,12] from the "
                                          "metadata, got [20,12]"));
}

// Rewrite with UPDATE_GOLDEN=1.
TEST(GoldenTest, TheGraphOfTheBundledModel) {
  const auto file = GgufFile::Open(RENGA_SOURCE_DIR "/tests/data/stories260K.gguf");
  ASSERT_TRUE(file.ok()) << file.status();
  const auto model = BuildModel(*file, GraphOptions());
  ASSERT_TRUE(model.ok()) << model.status();
  const std::string path = RENGA_SOURCE_DIR "/tests/frontend/data/stories260K.ir";
  if (UpdateGolden()) WriteCases(path, {Print(model->graph)});
  EXPECT_EQ(Print(model->graph), ReadTestFile(path));
}

TEST(DefaultContextTest, IsTheModelsOwnWithinBounds) {
  TinyModel tiny = Filled("llama");
  const auto context = [&]() -> int64_t {
    const auto file = GgufFile::Open(tiny.Write());
    return file.ok() ? DefaultContext(*file).value_or(-1) : -2;
  };
  EXPECT_EQ(context(), 64);
  tiny.SetU32("context_length", 1 << 20);
  EXPECT_EQ(context(), 4096);
  tiny.SetU32("context_length", 0);
  EXPECT_EQ(context(), 1);
  tiny.Unset("context_length");
  EXPECT_EQ(context(), 4096);
  tiny.SetString("context_length", "long");
  EXPECT_EQ(context(), -1);
}

}  // namespace
}  // namespace renga
