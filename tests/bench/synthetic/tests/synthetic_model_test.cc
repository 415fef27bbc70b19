// Synthetic models: their shapes against the public files', and that they compile and compute.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/digest.h"
#include "ir/base/strings.h"
#include "ir/reference/dequant.h"
#include "runtime/exec/sequence_forward.h"
#include "tests/bench/synthetic/random_blocks.h"
#include "tests/bench/synthetic/shapes.h"
#include "tests/bench/synthetic/write_model.h"
#include "tests/support/temp_folder.h"
#include "tools/measure_speed.h"
#include "tools/open_model.h"

namespace renga::synthetic {
namespace {

using testing::HasSubstr;

Model Find(std::string_view name, const Cut& cut = {}) {
  auto model = FindModel(name, cut);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : Model();
}

uint64_t BytesOf(const Tensor& tensor) {
  uint64_t bytes = RowBytes(tensor.type, tensor.shape.back());
  for (size_t i = 0; i + 1 < tensor.shape.size(); ++i) bytes *= tensor.shape[i];
  return bytes;
}

uint64_t MatrixElements(const Model& model) {
  uint64_t elements = 0;
  for (const Tensor& tensor : model.tensors) {
    if (tensor.shape.size() == 2) elements += tensor.shape[0] * tensor.shape[1];
  }
  return elements;
}

std::string TypeOf(const Model& model, std::string_view name) {
  for (const Tensor& tensor : model.tensors) {
    if (tensor.name == name) return std::string(Name(tensor.type));
  }
  return "none";
}

TEST(SyntheticShapes, HaveThePublishedNumberOfWeights) {
  // The model cards: 0.49 billion, 1.23 and 8.03, all but the norms and biases.
  EXPECT_NEAR(static_cast<double>(MatrixElements(Find("qwen2.5-0.5b-f16"))), 0.494e9, 0.001e9);
  EXPECT_NEAR(static_cast<double>(MatrixElements(Find("llama-3.2-1b-bf16"))), 1.2358e9, 0.0005e9);
  EXPECT_NEAR(static_cast<double>(MatrixElements(Find("llama-3.1-8b-f16"))), 8.0303e9, 0.0005e9);
}

// As `dump --stage gguf` shows of the file of Qwen2.5-Coder-0.5B that tools/fetch-models gets. That
// one's embedding is not tied, and it gives more bits to as many layers, but to others: its layers
// were counted in the order of their names.
TEST(SyntheticShapes, RowsThatAreNoWholeBlocksFallBack) {
  const Model model = Find("qwen2.5-0.5b-q4_k_m");
  EXPECT_EQ(TypeOf(model, "token_embd.weight"), "q8_0");
  EXPECT_EQ(TypeOf(model, "output.weight"), "none");
  EXPECT_EQ(TypeOf(model, "blk.0.attn_q.weight"), "q5_0");
  EXPECT_EQ(TypeOf(model, "blk.0.attn_k.bias"), "f32");
  EXPECT_EQ(TypeOf(model, "blk.0.attn_v.weight"), "q8_0");
  EXPECT_EQ(TypeOf(model, "blk.0.ffn_gate.weight"), "q5_0");
  EXPECT_EQ(TypeOf(model, "blk.0.ffn_down.weight"), "q6_k");
  EXPECT_EQ(TypeOf(model, "blk.3.attn_v.weight"), "q5_0");
  EXPECT_EQ(TypeOf(model, "blk.3.ffn_down.weight"), "q4_k");
  // As many layers of each as in that file.
  int more = 0;
  for (const Tensor& tensor : model.tensors) {
    more += tensor.name.ends_with("ffn_down.weight") && tensor.type == DType::kQ6_K;
  }
  EXPECT_EQ(more, 12);
}

TEST(SyntheticShapes, LargeModelsMixTypes) {
  const Model model = Find("llama-3.1-8b-q4_k_m");
  EXPECT_EQ(TypeOf(model, "token_embd.weight"), "q4_k");
  EXPECT_EQ(TypeOf(model, "output.weight"), "q6_k");
  EXPECT_EQ(TypeOf(model, "rope_freqs.weight"), "f32");
  EXPECT_EQ(TypeOf(model, "blk.31.attn_v.weight"), "q6_k");
  EXPECT_EQ(TypeOf(model, "blk.31.attn_q.weight"), "q4_k");
  uint64_t bytes = 0;
  for (const Tensor& tensor : model.tensors) bytes += BytesOf(tensor);
  // The public file has 4.92 GB.
  EXPECT_NEAR(static_cast<double>(bytes), 4.92e9, 0.01e9);
  EXPECT_EQ(TypeOf(Find("llama-3.2-1b-q4_k_m"), "token_embd.weight"), "q6_k");
}

TEST(SyntheticShapes, RopeFactorsGoFromOneToTheFactor) {
  const std::vector<float> factors = RopeFactors(Find("llama-3.1-8b-f16").shape);
  ASSERT_EQ(factors.size(), 64u);
  EXPECT_EQ(factors.front(), 1);
  EXPECT_EQ(factors.back(), 8);
  EXPECT_TRUE(std::is_sorted(factors.begin(), factors.end()));
  // A wave of 8192 / 2.5 tokens is halfway: 1 / (0.5 / 8 + 0.5).
  Shape shape = Find("llama-3.1-8b-f16").shape;
  shape.head_dim = 4;
  shape.rope_base = static_cast<float>(std::pow(8192 / 2.5 / 6.283185307179586, 2));
  EXPECT_NEAR(RopeFactors(shape)[1], 1 / (0.5 / 8 + 0.5), 1e-5);
}

TEST(SyntheticShapes, UnknownNamesAndCutsAreRefused) {
  const auto message = [](std::string_view name, const Cut& cut) {
    return std::string(ToStd(FindModel(name, cut).status().message()));
  };
  EXPECT_THAT(message("llama-4", {}), HasSubstr("llama-3.1-8b-q4_k_m"));
  EXPECT_THAT(message("qwen2.5-0.5b-f16", {.layers = 25}), HasSubstr("expected 1..24"));
  EXPECT_THAT(message("qwen2.5-0.5b-f16", {.layers = -1}), HasSubstr("got -1"));
  EXPECT_THAT(message("qwen2.5-0.5b-f16", {.vocab = 7}), HasSubstr("1024..151936"));
}

TEST(SyntheticBlocks, AreFiniteOfTheDeviationAskedFor) {
  std::string types;
  for (const DTypeInfo& info : AllDTypes()) {
    if (!HasRecipe(info.type)) continue;
    SCOPED_TRACE(info.name);
    StrAppend(&types, info.name, " ");
    const int64_t elements = int64_t{1} << 18;
    const std::string blocks = RandomBlocks(info.type, 0.02, elements / info.block_elements, 5);
    std::vector<float> values(elements);
    ASSERT_TRUE(DequantRow(info.type,
                           {reinterpret_cast<const uint8_t*>(blocks.data()), blocks.size()},
                           absl::MakeSpan(values))
                    .ok());
    double sum = 0, squares = 0;
    for (float value : values) {
      ASSERT_TRUE(std::isfinite(value));
      sum += value;
      squares += double{value} * value;
    }
    // What counts as independent is a sub-block of 32, of which there are 8,192. In Q4_K their
    // means differ by 0.76 deviations, 5 sigma of which are 0.042; Q5_0's integers have a mean of
    // -0.054.
    EXPECT_NEAR(sum / elements, 0, 0.07 * 0.02);
    // Scales that vary by a quarter add 1 %; 5 sigma of sub-blocks whose squares vary by 1.2 times
    // themselves are 3.3 %.
    EXPECT_NEAR(std::sqrt(squares / elements), 0.02, 0.045 * 0.02);
  }
  EXPECT_EQ(types, "f16 q5_0 q8_0 q4_k q6_k bf16 ");
  EXPECT_EQ(RandomBlocks(DType::kQ4_K, 1, 3, 5), RandomBlocks(DType::kQ4_K, 1, 3, 5));
  EXPECT_NE(RandomBlocks(DType::kQ4_K, 1, 3, 5), RandomBlocks(DType::kQ4_K, 1, 3, 6));
}

std::string WriteTo(const TempFolder& folder, const Model& model, int threads = 2) {
  const std::string path = folder.File("m.gguf");
  const auto bytes = WriteModel(model, path, threads);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(std::filesystem::file_size(path), bytes.ok() ? *bytes : 0);
  EXPECT_FALSE(std::filesystem::exists(path + ".partial"));
  return path;
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

TEST(SyntheticModel, IsTheSameWhateverTheThreads) {
  const TempFolder a, b;
  const Model model = Find("qwen2.5-0.5b-q4_k_m", {.layers = 1, .vocab = 1024});
  EXPECT_EQ(DigestOf(ReadFile(WriteTo(a, model, 1))), DigestOf(ReadFile(WriteTo(b, model, 3))));
}

TEST(SyntheticModel, AFolderThatIsNotThereIsAnError) {
  const auto bytes =
      WriteModel(Find("qwen2.5-0.5b-f16", {.layers = 1, .vocab = 1024}), "/nowhere/m.gguf", 1);
  EXPECT_THAT(ToStd(bytes.status().message()), HasSubstr("/nowhere/m.gguf.partial: cannot create"));
}

// One layer and a small vocabulary of each model that performance is measured on.
class SyntheticModelTest : public testing::TestWithParam<std::string> {};

TEST_P(SyntheticModelTest, CompilesAndDecodes) {
  const TempFolder folder;
  const std::string path = WriteTo(folder, Find(GetParam(), {.layers = 1, .vocab = 2048}));

  CompileOptions gpu;
  gpu.target = "sm_90a";
  gpu.only_lower = true;
  const auto lowered = Compile(path, gpu);
  EXPECT_TRUE(lowered.ok()) << lowered.status();

  OpenOptions options;
  options.device = "cpu";
  options.use_cache = false;
  options.compile.context = 64;
  auto opened = OpenToRun(path, options);
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_TRUE(MeasureDecode(*opened->runner, 1, 3, 3, {.repetitions = 1}).ok());
  SequenceForward forward(std::move(opened->runner));
  EXPECT_EQ(forward.vocab(), 2048);
  // Text goes to ids and back.
  const auto ids = opened->tokenizer->Encode("then \xC3\xBC", {});
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_THAT(opened->tokenizer->Decode(*ids).value_or(""), HasSubstr("then \xC3\xBC"));
  // Logits of the sizes of a trained model's: finite, not all alike, no infinite certainty.
  std::vector<float> logits;
  const std::vector<int32_t> prompt = {5, 1000, 77}, last = {2};
  ASSERT_TRUE(forward.Run(prompt, last, &logits).ok());
  double squares = 0;
  for (float logit : logits) squares += double{logit} * logit / 2048;
  EXPECT_GT(squares, 0.1);
  EXPECT_LT(squares, 10);
}

INSTANTIATE_TEST_SUITE_P(Models, SyntheticModelTest,
                         testing::Values("qwen2.5-0.5b-q4_k_m", "qwen2.5-0.5b-f16",
                                         "llama-3.2-1b-bf16", "llama-3.2-1b-q8_0",
                                         "llama-3.2-1b-q4_k_m", "llama-3.1-8b-q4_k_m",
                                         "llama-3.1-8b-q8_0", "llama-3.1-8b-f16"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = std::isalnum(c) ? c : '_';
                           return name;
                         });

}  // namespace
}  // namespace renga::synthetic
