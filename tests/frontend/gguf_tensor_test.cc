// Where a file's tensors lie and how large they are, for every type, version and alignment.

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "frontend/gguf/gguf.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/temp_folder.h"

namespace renga {
namespace {

using ::testing::ElementsAre;

struct TypeRow {
  uint32_t id;
  const char* name;
  int elements;  // of a block
  int bytes;     // of a block
};

// As docs/gguf-types.md has them; written down a second time so that a slip in the code shows.
constexpr TypeRow kTypes[] = {
    {0, "f32", 1, 4},         {1, "f16", 1, 2},         {2, "q4_0", 32, 18},
    {3, "q4_1", 32, 20},      {6, "q5_0", 32, 22},      {7, "q5_1", 32, 24},
    {8, "q8_0", 32, 34},      {9, "q8_1", 32, 36},      {10, "q2_k", 256, 84},
    {11, "q3_k", 256, 110},   {12, "q4_k", 256, 144},   {13, "q5_k", 256, 176},
    {14, "q6_k", 256, 210},   {15, "q8_k", 256, 292},   {16, "iq2_xxs", 256, 66},
    {17, "iq2_xs", 256, 74},  {18, "iq3_xxs", 256, 98}, {19, "iq1_s", 256, 50},
    {20, "iq4_nl", 32, 18},   {21, "iq3_s", 256, 110},  {22, "iq2_s", 256, 82},
    {23, "iq4_xs", 256, 136}, {24, "i8", 1, 1},         {25, "i16", 1, 2},
    {26, "i32", 1, 4},        {27, "i64", 1, 8},        {28, "f64", 1, 8},
    {29, "iq1_m", 256, 56},   {30, "bf16", 1, 2},       {34, "tq1_0", 256, 54},
    {35, "tq2_0", 256, 66},   {39, "mxfp4", 32, 17},    {40, "nvfp4", 64, 36},
    {41, "q1_0", 128, 18},    {42, "q2_0", 64, 18},
};

class GgufTensorTest : public ::testing::Test {
 protected:
  GgufFile Open(GgufWriter& writer) {
    absl::StatusOr<GgufFile> file = GgufFile::Open(folder_.Write("t.gguf", writer.Bytes()));
    EXPECT_TRUE(file.ok()) << file.status();
    return std::move(file).value();
  }

  TempFolder folder_;
};

std::string Text(absl::Span<const uint8_t> bytes) {
  return std::string(bytes.begin(), bytes.end());
}

TEST_F(GgufTensorTest, EveryTypeHasItsBlock) {
  GgufWriter writer;
  for (const TypeRow& row : kTypes) {
    writer.tensors.push_back({row.name,
                              {3ull * row.elements, 5},
                              row.id,
                              std::string(15 * row.bytes, static_cast<char>(row.id))});
  }
  const GgufFile file = Open(writer);
  ASSERT_EQ(file.tensors().size(), std::size(kTypes));
  ASSERT_EQ(AllDTypes().size(), std::size(kTypes));
  for (size_t i = 0; i < std::size(kTypes); ++i) {
    const TypeRow& row = kTypes[i];
    const GgufTensor& tensor = file.tensors()[i];
    EXPECT_EQ(Name(tensor.type), row.name);
    EXPECT_EQ(static_cast<uint32_t>(tensor.type), row.id);
    EXPECT_EQ(Info(tensor.type).block_elements, row.elements) << row.name;
    EXPECT_EQ(Info(tensor.type).block_bytes, row.bytes) << row.name;
    EXPECT_EQ(tensor.bytes, 15u * row.bytes) << row.name;
    EXPECT_THAT(tensor.shape(), ElementsAre(5, 3 * row.elements)) << row.name;
    EXPECT_EQ(Text(file.data(tensor)), writer.tensors[i].data) << row.name;
  }
}

TEST_F(GgufTensorTest, ShapesAreOutermostFirstAndKeepTheirRank) {
  GgufWriter writer;
  writer.AddTensor("1", DType::kF32, {7})
      .AddTensor("2", DType::kF16, {2, 3})
      .AddTensor("3", DType::kI8, {1, 1, 9})
      .AddTensor("4", DType::kQ8_0, {2, 3, 1, 64});
  const GgufFile file = Open(writer);
  EXPECT_THAT(file.FindTensor("1")->shape(), ElementsAre(7));
  EXPECT_THAT(file.FindTensor("2")->shape(), ElementsAre(2, 3));
  EXPECT_THAT(file.FindTensor("3")->shape(), ElementsAre(1, 1, 9));
  EXPECT_THAT(file.FindTensor("4")->shape(), ElementsAre(2, 3, 1, 64));
  EXPECT_EQ(file.FindTensor("4")->row(), 64);
  EXPECT_EQ(file.FindTensor("4")->elements(), 384);
  EXPECT_EQ(file.FindTensor("4")->bytes, 12u * 34);
  EXPECT_EQ(file.FindTensor("5"), nullptr);
  EXPECT_EQ(file.FindTensor("2"), &file.tensors()[1]);
}

TEST_F(GgufTensorTest, VersionsAndAlignments) {
  for (uint32_t version : {2u, 3u}) {
    for (uint64_t alignment : {8ull, 32ull, 64ull, 4096ull}) {
      GgufWriter writer;
      writer.version = version;
      writer.alignment = alignment;
      if (alignment != 32) writer.AddU32("general.alignment", static_cast<uint32_t>(alignment));
      writer.AddTensor("a", DType::kI8, {5}).AddTensor("b", DType::kF32, {3, 3});
      writer.AddTensor("c", DType::kI8, {1});
      const GgufFile file = Open(writer);
      EXPECT_EQ(file.version(), version);
      EXPECT_EQ(file.alignment(), alignment);
      EXPECT_EQ(file.parts()[0].header_bytes, writer.header_bytes());
      EXPECT_EQ(file.parts()[0].data_offset, writer.data_offset());
      EXPECT_EQ(file.total_bytes(), writer.Bytes().size());
      for (size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(file.tensors()[i].offset % alignment, 0u);
        EXPECT_EQ(Text(file.data(file.tensors()[i])), writer.tensors[i].data);
        EXPECT_EQ(file.tensors()[i].entry_offset, writer.TensorOffset(i));
      }
    }
  }
}

TEST_F(GgufTensorTest, DataMayBeInAnyOrderAndLeaveHoles) {
  GgufWriter writer;
  writer.AddTensor("a", DType::kI8, {4}, "aaaa").AddTensor("b", DType::kI8, {4}, "bbbb");
  writer.tensors[0].offset = 32;
  writer.tensors[1].offset = 0;
  const GgufFile file = Open(writer);
  EXPECT_EQ(Text(file.data(file.tensors()[0])), "bbbb");
  EXPECT_EQ(Text(file.data(file.tensors()[1])), "aaaa");
}

TEST_F(GgufTensorTest, NoTensorsAtAll) {
  GgufWriter writer;
  writer.AddString("general.name", "vocabulary only");
  const GgufFile file = Open(writer);
  EXPECT_TRUE(file.tensors().empty());
  EXPECT_EQ(file.parts()[0].header_bytes, file.total_bytes());

  GgufWriter empty;
  EXPECT_EQ(Open(empty).total_bytes(), 24u);
}

TEST_F(GgufTensorTest, MovingKeepsViewsValid) {
  GgufWriter writer;
  writer.AddString("k", "v").AddTensor("t", DType::kI8, {4}, "data");
  GgufFile file = Open(writer);
  const std::string_view value = file.GetString("k").value();
  const absl::Span<const uint8_t> data = file.data(file.tensors()[0]);
  const GgufFile moved = std::move(file);
  EXPECT_EQ(value, "v");
  EXPECT_EQ(Text(data), "data");
  EXPECT_EQ(moved.FindTensor("t")->name, "t");
  EXPECT_EQ(moved.data(*moved.FindTensor("t")).data(), data.data());
}

TEST_F(GgufTensorTest, RealModel) {
  const absl::StatusOr<GgufFile> file =
      GgufFile::Open(RENGA_SOURCE_DIR "/tests/data/stories260K.gguf");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->GetString("general.architecture").value(), "llama");
  EXPECT_EQ(file->GetUint("llama.block_count").value(), 5u);
  const std::vector<std::string_view> tokens =
      file->GetStringArray("tokenizer.ggml.tokens").value();
  ASSERT_EQ(tokens.size(), 512u);
  EXPECT_EQ(tokens[1], "<s>");
  EXPECT_EQ(file->GetFloatArray("tokenizer.ggml.scores").value().size(), 512u);
  EXPECT_EQ(file->GetIntArray("tokenizer.ggml.token_type").value().size(), 512u);
  EXPECT_EQ(file->tensors().size(), 48u);
  const GgufTensor* embedding = file->FindTensor("token_embd.weight");
  ASSERT_NE(embedding, nullptr);
  EXPECT_THAT(embedding->shape(), ElementsAre(512, 64));
  EXPECT_EQ(embedding->type, DType::kF32);
  EXPECT_EQ(embedding->bytes, 512u * 64 * 4);
}

}  // namespace
}  // namespace renga
