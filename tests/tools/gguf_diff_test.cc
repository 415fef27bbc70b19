// What differs between two GGUF files, and by how much.
#include "tools/compare/gguf_diff.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/temp_folder.h"

namespace renga {
namespace {

using testing::ElementsAre;

std::string Floats(const std::vector<float>& numbers) {
  std::string bytes;
  for (const float number : numbers) bytes += Raw(number);
  return bytes;
}

GgufDiff Diff(GgufWriter a, GgufWriter b, int threads = 1) {
  const TempFolder folder;
  const auto file_a = GgufFile::Open(folder.Write("a.gguf", a.Bytes()));
  const auto file_b = GgufFile::Open(folder.Write("b.gguf", b.Bytes()));
  EXPECT_TRUE(file_a.ok()) << file_a.status();
  EXPECT_TRUE(file_b.ok()) << file_b.status();
  if (!file_a.ok() || !file_b.ok()) return {};
  const auto diff = DiffGgufs(*file_a, *file_b, {.threads = threads, .progress = {}});
  EXPECT_TRUE(diff.ok()) << diff.status();
  return diff.ok() ? *diff : GgufDiff();
}

TEST(GgufDiffTest, WhereTensorsLieIsNoDifference) {
  const std::string data = Floats({1, 2, 3, 4});
  GgufWriter a, b;
  a.AddString("k", "v").AddTensor("x", DType::kF32, {4}, data).AddTensor("y", DType::kF32, {2, 2});
  b.AddString("k", "v").AddTensor("y", DType::kF32, {2, 2}, a.tensors[1].data);
  b.AddTensor("x", DType::kF32, {4}, data);
  const GgufDiff diff = Diff(a, b);
  EXPECT_TRUE(diff.equal());
  EXPECT_EQ(diff.keys, 1);
  EXPECT_EQ(diff.common_tensors, 2);
}

TEST(GgufDiffTest, MetadataByKey) {
  GgufWriter a, b;
  a.AddString("same", "1").AddString("gone", "1").AddU32("value", 1).AddU32("kind", 1);
  a.Add("list", MetaType::kArray, RawArray({"x", "y", "z"}));
  b.AddString("same", "1").AddU32("value", 2).AddString("kind", "1").AddU32("new", 7);
  b.Add("list", MetaType::kArray, RawArray({"x", "Y", "Z"}));
  const GgufDiff diff = Diff(a, b);
  ASSERT_EQ(diff.metadata.size(), 5u);
  EXPECT_EQ(diff.metadata[0].key, "gone");
  EXPECT_EQ(diff.metadata[0].kind, ChangeKind::kRemoved);
  EXPECT_EQ(diff.metadata[1].key, "value");
  EXPECT_EQ(diff.metadata[1].kind, ChangeKind::kAttribute);
  EXPECT_EQ(diff.metadata[1].before, "1");
  EXPECT_EQ(diff.metadata[1].after, "2");
  EXPECT_EQ(diff.metadata[2].key, "kind");
  EXPECT_EQ(diff.metadata[3].key, "list");
  EXPECT_EQ(diff.metadata[3].note, "2 of 3 elements, the first at 1");
  EXPECT_EQ(diff.metadata[4].key, "new");
  EXPECT_EQ(diff.metadata[4].kind, ChangeKind::kAdded);
}

TEST(GgufDiffTest, TensorsByKindAndRole) {
  GgufWriter a, b;
  for (const std::string layer : {"0", "1", "2"}) {
    const std::string name = "blk." + layer + ".attn_q.weight";
    a.AddTensor(name, DType::kF32, {2}, Floats({3, 4}));
    b.AddTensor(name, DType::kF32, {2}, Floats({3, layer == "1" ? 4.0f : 4.5f}));
  }
  a.AddTensor("gone", DType::kF32, {2}).AddTensor("shape", DType::kF32, {2, 3});
  b.AddTensor("shape", DType::kF32, {3, 2}).AddTensor("new", DType::kF32, {2});
  const GgufDiff diff = Diff(a, b);
  ASSERT_EQ(diff.groups.size(), 4u);
  EXPECT_EQ(diff.groups[0].kind, ChangeKind::kWeightValues);
  EXPECT_EQ(diff.groups[0].role, "attn_q.weight");
  EXPECT_THAT(diff.groups[0].layers, ElementsAre(0, 2));
  ASSERT_TRUE(diff.groups[0].error.has_value());
  EXPECT_DOUBLE_EQ(diff.groups[0].error->RelativeRms(), 0.1);
  EXPECT_EQ(diff.groups[0].error->elements, 4);
  EXPECT_EQ(diff.groups[1].kind, ChangeKind::kRemoved);
  EXPECT_EQ(diff.groups[2].kind, ChangeKind::kShape);
  EXPECT_EQ(diff.groups[2].before, "f32[2,3]");
  EXPECT_EQ(diff.groups[2].after, "f32[3,2]");
  EXPECT_EQ(diff.groups[3].kind, ChangeKind::kAdded);
}

TEST(GgufDiffTest, ErrorsOfOtherTypesAndOfWhatIsNoNumber) {
  const float inf = std::numeric_limits<float>::infinity();
  GgufWriter a, b;
  a.AddTensor("half", DType::kF32, {2}, Floats({1, 2}));
  b.AddTensor("half", DType::kF16, {2}, Raw(FloatToHalf(1)) + Raw(FloatToHalf(2.5f)));
  a.AddTensor("zero", DType::kF32, {2}, Floats({0, 0}));
  b.AddTensor("zero", DType::kF32, {2}, Floats({0, 1}));
  a.AddTensor("nan", DType::kF32, {3}, Floats({inf, 1, std::nanf("")}));
  b.AddTensor("nan", DType::kF32, {3}, Floats({inf, std::nanf(""), std::nanf("")}));
  const GgufDiff diff = Diff(a, b);
  ASSERT_EQ(diff.tensors.size(), 3u);
  EXPECT_EQ(diff.tensors[0].kind, ChangeKind::kWeightType);
  EXPECT_DOUBLE_EQ(diff.tensors[0].error->RelativeRms(), 0.5 / std::sqrt(5));
  EXPECT_EQ(diff.tensors[1].error->RelativeRms(), inf);
  EXPECT_EQ(diff.tensors[2].error->not_finite, 1);
}

TEST(GgufDiffTest, ThreadsDoNotChangeTheSumAndCanBeStopped) {
  GgufWriter a, b;
  std::vector<float> numbers(700 * 3);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = std::sin(static_cast<float>(i));
  a.AddTensor("x", DType::kF32, {700, 3}, Floats(numbers));
  for (float& number : numbers) number *= 1.01f;
  b.AddTensor("x", DType::kF32, {700, 3}, Floats(numbers));
  const GgufDiff one = Diff(a, b, 1), four = Diff(a, b, 4);
  ASSERT_EQ(one.tensors.size(), 1u);
  ASSERT_EQ(four.tensors.size(), 1u);
  EXPECT_EQ(one.tensors[0].error->squared_error, four.tensors[0].error->squared_error);
  EXPECT_NEAR(one.tensors[0].error->RelativeRms(), 0.01, 1e-6);

  const TempFolder folder;
  const auto file_a = GgufFile::Open(folder.Write("a.gguf", a.Bytes()));
  const auto file_b = GgufFile::Open(folder.Write("b.gguf", b.Bytes()));
  ASSERT_TRUE(file_a.ok() && file_b.ok());
  const auto stop = [](int64_t, int64_t) { return false; };
  EXPECT_EQ(DiffGgufs(*file_a, *file_b, {.threads = 2, .progress = stop}).status().code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace renga
