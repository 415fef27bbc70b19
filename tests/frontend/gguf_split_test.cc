// Models in several files: found beside the first part, checked against each other.

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "frontend/gguf/gguf.h"
#include "frontend/gguf/split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/temp_folder.h"

namespace renga {
namespace {

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;

class GgufSplitTest : public ::testing::Test {
 protected:
  // Part `number` (from 0) of `count` with tensors "t<number>.a" and "t<number>.b".
  static GgufWriter Part(uint16_t number, uint16_t count, int32_t tensors) {
    GgufWriter writer;
    if (number == 0) writer.AddString("general.architecture", "llama");
    writer.Add("split.no", MetaType::kU16, Raw(number))
        .Add("split.count", MetaType::kU16, Raw(count))
        .Add("split.tensors.count", MetaType::kI32, Raw(tensors));
    const std::string prefix = "t" + std::to_string(number);
    writer.AddTensor(prefix + ".a", DType::kI8, {4}, prefix + "-a")
        .AddTensor(prefix + ".b", DType::kI8, {4}, prefix + "-b");
    return writer;
  }

  // The path of the file named as part `number` (from 1) of `count`.
  std::string Path(uint64_t number, uint64_t count) const {
    return SplitPath(folder_.File("model"), number, count);
  }
  std::string Name(uint64_t number, uint64_t count) const {
    return std::filesystem::path(Path(number, count)).filename().string();
  }

  // Writes all parts of a good model.
  void WriteModel(uint16_t count) {
    for (uint16_t i = 0; i < count; ++i) {
      folder_.Write(Name(i + 1, count), Part(i, count, count * 2).Bytes());
    }
  }

  void ExpectError(const std::string& path, absl::StatusCode code, const std::string& message) {
    const absl::Status status = GgufFile::Open(path).status();
    EXPECT_EQ(status.code(), code);
    EXPECT_EQ(std::string(status.message()), message);
  }

  TempFolder folder_;
};

TEST_F(GgufSplitTest, PathPattern) {
  EXPECT_EQ(SplitPath("d/m", 2, 3), "d/m-00002-of-00003.gguf");
  EXPECT_EQ(SplitPath("m", 12345, 123456), "m-12345-of-123456.gguf");
}

TEST_F(GgufSplitTest, OpensAllParts) {
  WriteModel(3);
  const absl::StatusOr<GgufFile> file = GgufFile::Open(Path(1, 3));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->path(), Path(1, 3));
  ASSERT_EQ(file->parts().size(), 3u);
  ASSERT_EQ(file->tensors().size(), 6u);
  EXPECT_EQ(file->GetString("general.architecture").value(), "llama");
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(file->parts()[i].file.path(), Path(i + 1, 3));
    bytes += std::filesystem::file_size(Path(i + 1, 3));
    for (const char* end : {"a", "b"}) {
      const GgufTensor* tensor = file->FindTensor("t" + std::to_string(i) + "." + end);
      ASSERT_NE(tensor, nullptr);
      EXPECT_EQ(tensor->part, i);
      const absl::Span<const uint8_t> data = file->data(*tensor);
      EXPECT_EQ(std::string(data.begin(), data.end()), "t" + std::to_string(i) + "-" + end);
    }
  }
  EXPECT_EQ(file->total_bytes(), bytes);
}

TEST_F(GgufSplitTest, PartsMayDifferInVersionAndAlignment) {
  folder_.Write(Name(1, 2), Part(0, 2, 4).Bytes());
  GgufWriter second = Part(1, 2, 4);
  second.version = 2;
  second.alignment = 64;
  second.AddU32("general.alignment", 64);
  folder_.Write(Name(2, 2), second.Bytes());
  const absl::StatusOr<GgufFile> file = GgufFile::Open(Path(1, 2));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->parts()[1].alignment, 64u);
  EXPECT_EQ(file->FindTensor("t1.b")->offset % 64, 0u);
}

TEST_F(GgufSplitTest, OnePartAloneNeedsNoPattern) {
  for (uint16_t count : {0, 1}) {
    const std::string path = folder_.Write("merged.gguf", Part(0, count, 99).Bytes());
    EXPECT_TRUE(GgufFile::Open(path).ok());
  }
}

TEST_F(GgufSplitTest, LaterPartNamesTheFirst) {
  WriteModel(3);
  ExpectError(Path(2, 3), kInvalid,
              Path(2, 3) + ": expected the first part of a split model, got part 2 of 3; open " +
                  Path(1, 3));
}

TEST_F(GgufSplitTest, LaterPartUnderAnotherName) {
  const std::string path = folder_.Write("x.gguf", Part(1, 3, 6).Bytes());
  ExpectError(path, kInvalid,
              path + ": expected the first part of a split model, got part 2 of 3; open part 1");
}

TEST_F(GgufSplitTest, FirstPartUnderAnotherName) {
  WriteModel(3);
  const std::string path = folder_.File("x.gguf");
  std::filesystem::rename(Path(1, 3), path);
  ExpectError(path, kInvalid,
              path +
                  ": is part 1 of 3 of a split model: expected a file name that ends in "
                  "-00001-of-00003.gguf, so that the other parts can be found; rename it, or merge "
                  "the parts into one file");
}

TEST_F(GgufSplitTest, MissingPart) {
  WriteModel(3);
  std::filesystem::remove(Path(2, 3));
  ExpectError(Path(1, 3), absl::StatusCode::kNotFound,
              Path(2, 3) +
                  ": expected part 2 of 3 of the split model, got no such file; put all parts into "
                  "one folder");
}

TEST_F(GgufSplitTest, PartsInWrongOrder) {
  WriteModel(3);
  std::filesystem::rename(Path(2, 3), folder_.File("swap"));
  std::filesystem::rename(Path(3, 3), Path(2, 3));
  std::filesystem::rename(folder_.File("swap"), Path(3, 3));
  ExpectError(
      Path(1, 3), kInvalid,
      Path(2, 3) + ": split.no: expected 1, got 2; the file is named as part 2 but is part 3");
}

TEST_F(GgufSplitTest, CyclicPart) {
  WriteModel(3);
  std::filesystem::remove(Path(3, 3));
  std::filesystem::create_symlink(Path(1, 3), Path(3, 3));
  ExpectError(Path(1, 3), kInvalid,
              Path(3, 3) +
                  ": split.no: expected 2, got 0, a part that was already read; the file is a copy "
                  "of part 1 under another name");
}

TEST_F(GgufSplitTest, PartsDisagreeOnTheirNumber) {
  WriteModel(2);
  folder_.Write(Name(2, 2), Part(1, 4, 4).Bytes());
  ExpectError(Path(1, 2), kInvalid,
              Path(2, 2) +
                  ": split.count: expected 2 as in the first part, got 4; the parts are of "
                  "different models");
}

TEST_F(GgufSplitTest, PartsDisagreeOnTheTensors) {
  WriteModel(2);
  folder_.Write(Name(2, 2), Part(1, 2, 5).Bytes());
  ExpectError(Path(1, 2), kInvalid,
              Path(2, 2) +
                  ": split.tensors.count: expected 4 as in the first part, got 5; the parts are of "
                  "different models");
}

TEST_F(GgufSplitTest, TensorsDoNotAddUp) {
  for (uint16_t i = 0; i < 2; ++i) folder_.Write(Name(i + 1, 2), Part(i, 2, 5).Bytes());
  ExpectError(Path(1, 2), kInvalid,
              Path(1, 2) + ": split.tensors.count: expected 5, got 4 tensors in the 2 parts");
}

TEST_F(GgufSplitTest, NumberNotBelowCount) {
  const std::string path = folder_.Write(Name(3, 2), Part(2, 2, 4).Bytes());
  ExpectError(path, kInvalid,
              path + ": split.no: expected less than split.count, which is 2, got 2");
}

TEST_F(GgufSplitTest, MissingOrMistypedFields) {
  GgufWriter writer = Part(0, 2, 4);
  writer.entries.erase(writer.entries.begin() + 1);
  std::string path = folder_.Write(Name(1, 2), writer.Bytes());
  ExpectError(path, absl::StatusCode::kNotFound,
              path + ": metadata 'split.no': expected an integer, got no such key");

  writer = Part(0, 2, 4);
  writer.entries.pop_back();
  path = folder_.Write(Name(1, 2), writer.Bytes());
  ExpectError(path, absl::StatusCode::kNotFound,
              path + ": metadata 'split.tensors.count': expected an integer, got no such key");

  writer = Part(0, 2, 4);
  writer.entries[2] = {"split.count", static_cast<uint32_t>(MetaType::kString), RawString("2")};
  path = folder_.Write(Name(1, 2), writer.Bytes());
  ExpectError(path, kInvalid,
              path + ": metadata 'split.count' at byte " + std::to_string(writer.ValueOffset(2)) +
                  ": expected an integer, got string");
}

TEST_F(GgufSplitTest, TensorInTwoParts) {
  GgufWriter first = Part(0, 2, 4);
  GgufWriter second = Part(1, 2, 4);
  second.tensors[1].name = "t0.a";
  folder_.Write(Name(1, 2), first.Bytes());
  folder_.Write(Name(2, 2), second.Bytes());
  ExpectError(Path(1, 2), kInvalid,
              Path(2, 2) + ": byte " + std::to_string(second.TensorOffset(1)) +
                  ": tensor 't0.a': expected every name once, got it again; it is first at byte " +
                  std::to_string(first.TensorOffset(0)) + " of " + Path(1, 2));
}

TEST_F(GgufSplitTest, BrokenLaterPart) {
  WriteModel(2);
  folder_.Write(Name(2, 2), "GGML");
  ExpectError(Path(1, 2), kInvalid,
              Path(2, 2) +
                  ": byte 0: not a GGUF file: expected the first bytes 'GGUF' (47 47 55 46), got "
                  "'GGML' (47 47 4d 4c)");
}

}  // namespace
}  // namespace renga
