// Faults that are found before anything runs: by the accounting of weights, the types of the graph,
// required attributes, the check of the memory plan, digests, the golden values of dequantisers.
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "ir/reference/dequant.h"
#include "ir/text/parse.h"
#include "runtime/memory/weights.h"
#include "runtime/plan/validate.h"
#include "tests/faults/zoo/zoo.h"
#include "tests/support/test_data.h"
#include "tests/support/tiny_model.h"
#include "tests/tools/process.h"

namespace renga::faults {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TinyModel Small(const std::string& architecture = "llama") {
  TinyModel model;
  model.architecture = architecture;
  model.embedding = 24;
  model.heads = 3;
  model.head_dim = 8;
  model.hidden = 40;
  model.vocab = 30;
  return model;
}

std::string ErrorOf(TinyModel& model) {
  const auto compiled = Compile(model.Write(), CompileOptionsOf({}));
  EXPECT_FALSE(compiled.ok());
  return std::string(compiled.status().message());
}

// The graph of a model that is right, as text.
std::string GraphText() {
  TinyModel model = Small("qwen2");
  model.Fill();
  const auto compiled = Compile(model.Write(), CompileOptionsOf({}));
  EXPECT_TRUE(compiled.ok()) << compiled.status();
  return compiled->plan.source_ir;
}

// What the parser and verifier say of the text with `from` replaced, all of it.
std::string GraphError(const std::string& from, const std::string& to) {
  std::string text = GraphText();
  EXPECT_TRUE(Parse(text, "graph").ok());
  EXPECT_THAT(text, HasSubstr(from));
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  const auto parsed = Parse(text, "graph");
  EXPECT_FALSE(parsed.ok());
  return std::string(parsed.status().message());
}

TEST(CompileFaults, F02PairingIsRequired) {
  EXPECT_THAT(GraphError("pairing=neox, ", ""), AllOf(HasSubstr("rope"), HasSubstr("pairing")));
}

TEST(CompileFaults, F03DigestsOfWeights) {
  TinyModel model = Small("qwen2");
  model.Fill();
  const std::string path = model.Write();
  const auto compiled = Compile(path, CompileOptionsOf({}));
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  TempFolder folder;
  const auto zeros = WithZeros(path, {"blk.1.attn_k.bias"}, folder);
  ASSERT_TRUE(zeros.ok()) << zeros.status();
  WeightOptions options;
  options.model_path = *zeros;
  const auto store = WeightStore::Open(compiled->plan, options);
  EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("blk.1.attn_k.bias"));
}

TEST(CompileFaults, F03ZerosAreReported) {
  TinyModel model = Small("qwen2");
  model.Fill();
  TempFolder folder;
  const auto zeros = WithZeros(model.Write(), {"blk.1.attn_k.bias"}, folder);
  ASSERT_TRUE(zeros.ok()) << zeros.status();
  const ProcessResult lint = Renga({"lint", *zeros});
  EXPECT_EQ(lint.exit_code, 1) << lint.Describe();
  EXPECT_THAT(lint.out, HasSubstr("zero-weights  blk.1.attn_k.bias  all 8 values are zero"));
}

TEST(CompileFaults, F04ABiasThatTheGraphDoesNotUse) {
  TinyModel model = Small();
  model.Fill();
  model.AddWeight("blk.1.ffn_norm.bias", {24});
  EXPECT_THAT(ErrorOf(model), HasSubstr("blk.1.ffn_norm.bias"));
}

TEST(CompileFaults, F05AWeightThatIsNotThere) {
  TinyModel model = Small();
  model.Fill();
  model.Tensor("blk.1.ffn_down.weight").name = "blk.1.ffn_dwn.weight";
  EXPECT_THAT(ErrorOf(model), HasSubstr("blk.1.ffn_down.weight"));
}

TEST(CompileFaults, F07AWidthFromTheWrongSize) {
  EXPECT_THAT(
      GraphError("@blk.1.ffn_down.weight: f32[24,40]", "@blk.1.ffn_down.weight: f32[24,24]"),
      AllOf(HasSubstr("1.ffn_out"), HasSubstr("24"), HasSubstr("40")));
  TinyModel model = Small();
  model.Fill();
  model.SetU32("feed_forward_length", 24);
  EXPECT_THAT(ErrorOf(model), AllOf(HasSubstr("blk.0.ffn_"), HasSubstr("24"), HasSubstr("40")));
}

TEST(CompileFaults, F08AVocabularyFromTheWidth) {
  EXPECT_THAT(GraphError("%logits_all: f32[T,30]", "%logits_all: f32[T,24]"),
              AllOf(HasSubstr("logits_all"), HasSubstr("f32[T,30]"), HasSubstr("f32[T,24]")));
  TinyModel model = Small();
  model.Fill();
  model.Remove("output.weight");
  model.AddWeight("output.weight", {24, 24});
  EXPECT_THAT(ErrorOf(model), AllOf(HasSubstr("output.weight"), HasSubstr("30"), HasSubstr("24")));
}

TEST(CompileFaults, F13ARotationWithoutPositions) {
  EXPECT_THAT(GraphError("rope(%1.q_heads, %positions)", "rope(%1.q_heads)"),
              AllOf(HasSubstr("rope"), HasSubstr("positions")));
}

// A buffer is placed where another lies that is still to be read.
TEST(CompileFaults, F14AnOutputOverAnOperandInUse) {
  TinyModel model = Small();
  model.Fill();
  auto compiled = Compile(model.Write(), CompileOptionsOf({}));
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  plan::Plan& plan = compiled->plan;
  EXPECT_TRUE(plan::Validate(plan).ok());
  uint64_t place = 0;
  for (const plan::Buffer& buffer : plan.buffers) {
    if (buffer.name == "0.out") place = buffer.offset;
  }
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    if (plan.buffers[i].name != "1.attn_out") continue;
    for (plan::Buffer& other : plan.buffers) {
      if (&other == &plan.buffers[i] || other.view_of == static_cast<int32_t>(i)) {
        other.offset = place;
      }
    }
  }
  const absl::Status status = plan::Validate(plan);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("1.attn_res"), HasSubstr("0.out")));
}

TEST(CompileFaults, F20ATypeThatNobodyKnows) {
  TinyModel model = Small();
  model.Fill();
  model.Tensor("blk.1.attn_k.weight").type = 77;
  EXPECT_THAT(ErrorOf(model), AllOf(HasSubstr("blk.1.attn_k.weight"), HasSubstr("77")));
  // A number, but none that a matrix can be of.
  TinyModel integers = Small();
  integers.Fill();
  GgufWriter::Tensor& weight = integers.Tensor("blk.1.attn_k.weight");
  weight.type = static_cast<uint32_t>(DType::kI64);
  weight.data.resize(weight.data.size() * 2);
  EXPECT_THAT(std::string(VerifyWith(integers.Write(), {}, {}).status().message()),
              AllOf(HasSubstr("1.k_proj"), HasSubstr("i64")));
}

// ---- 19: Q4_K ----

std::vector<uint8_t> Golden(const std::string& name) {
  std::ifstream in(TestData("quants/" + name), std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

using Decoder = void (*)(const uint8_t* block, float* out);  // of 256 values

// Whether a decoder of Q4_K gives the golden values.
bool AgreesWithGoldenValues(Decoder decode) {
  const std::vector<uint8_t> blocks = Golden("Q4_K.blocks.bin"), values = Golden("Q4_K.values.f32");
  EXPECT_GE(blocks.size(), 144u);
  for (size_t block = 0; block * 144 < blocks.size(); ++block) {
    std::vector<float> out(256), expected(256);
    decode(blocks.data() + block * 144, out.data());
    std::memcpy(expected.data(), values.data() + block * 1024, 1024);
    if (out != expected) return false;
  }
  return true;
}

// Written apart from the reference's, with the two mistakes as parameters.
template <bool kAddMinimum, bool kCutScales>
void DecodeQ4K(const uint8_t* block, float* out) {
  const auto half = [](const uint8_t* at) {
    return HalfToFloat(static_cast<uint16_t>(at[0] | at[1] << 8));
  };
  const float d = half(block), dmin = half(block + 2);
  const uint8_t* q = block + 4;
  for (int group = 0; group < 8; ++group) {
    const int j = group % 4, high = kCutScales ? 0 : 2;
    const int scale = group < 4 ? q[j] & 63 : (q[j + 8] & 15) | (q[j] >> 6) * 8 * high;
    const int minimum = group < 4 ? q[j + 4] & 63 : q[j + 8] >> 4 | (q[j + 4] >> 6) * 8 * high;
    for (int i = 0; i < 32; ++i) {
      const int byte = block[16 + group / 2 * 32 + i];
      const float value = d * scale * (group % 2 == 0 ? byte & 15 : byte >> 4);
      out[group * 32 + i] = kAddMinimum ? value + dmin * minimum : value - dmin * minimum;
    }
  }
}

TEST(CompileFaults, F19GoldenValuesOfQ4K) {
  EXPECT_TRUE(AgreesWithGoldenValues([](const uint8_t* block, float* out) {
    EXPECT_TRUE(DequantRow(DType::kQ4_K, {block, 144}, {out, 256}).ok());
  }));
  EXPECT_TRUE(AgreesWithGoldenValues(DecodeQ4K<false, false>));
  EXPECT_FALSE(AgreesWithGoldenValues(DecodeQ4K<true, false>));
  EXPECT_FALSE(AgreesWithGoldenValues(DecodeQ4K<false, true>));
}

}  // namespace
}  // namespace renga::faults
