// The container of traces: what was written comes back, and nothing that a file says is believed.
#include "ir/trace/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "ir/base/strings.h"
#include "tests/support/temp_folder.h"

namespace renga {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

absl::Span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// A file with that header and `data` bytes of zeros.
std::string FileOf(const std::string& header, size_t data) {
  std::string file;
  for (int i = 0; i < 8; ++i) file.push_back(static_cast<char>(header.size() >> (8 * i)));
  return file + header + std::string(data, '\0');
}

std::string Tensor(const std::string& name, const std::string& shape, const std::string& offsets,
                   const std::string& dtype = "F32") {
  return StrCat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":[", shape,
                "],\"data_offsets\":[", offsets, "]}");
}

// Two f32 and one i32 tensor and a metadata entry.
std::string SmallFile() {
  const std::string values = "0123456789abcdefghijklmnopqr";
  SafeTensors file;
  file.metadata = {{"key", "a \"text\"\n"}, {"other", "\xe2\x82\xac"}};
  file.tensors.push_back({"m", DType::kF32, {2, 3}, Bytes(values).subspan(0, 24)});
  file.tensors.push_back({"empty", DType::kBF16, {0, 7}, {}});
  file.tensors.push_back({"one \\ \"", DType::kI32, {}, Bytes(values).subspan(24, 4)});
  absl::StatusOr<std::string> header = SafetensorsHeader(file);
  EXPECT_TRUE(header.ok()) << header.status();
  return *header + values;
}

std::string ErrorOf(const std::string& file) {
  const absl::StatusOr<SafeTensors> parsed = ParseSafetensors(Bytes(file), "F");
  EXPECT_FALSE(parsed.ok()) << file.substr(0, 200);
  if (parsed.ok()) return "none";
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << parsed.status();
  EXPECT_TRUE(ToStd(parsed.status().message()).starts_with("F: ")) << parsed.status();
  return std::string(ToStd(parsed.status().message()));
}

TEST(SafetensorsTest, WhatWasWrittenComesBack) {
  const std::string text = SmallFile();
  const absl::StatusOr<SafeTensors> file = ParseSafetensors(Bytes(text), "F");
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->tensors.size(), 3u);
  EXPECT_EQ(file->tensors[0].name, "m");
  EXPECT_THAT(file->tensors[0].shape, ElementsAre(2, 3));
  EXPECT_EQ(file->tensors[0].dtype, DType::kF32);
  EXPECT_EQ(file->tensors[0].data.size(), 24u);
  EXPECT_EQ(file->tensors[0].data[0], '0');
  EXPECT_EQ(file->tensors[1].name, "empty");
  EXPECT_THAT(file->tensors[1].shape, ElementsAre(0, 7));
  EXPECT_EQ(file->tensors[1].dtype, DType::kBF16);
  EXPECT_EQ(file->tensors[1].data.size(), 0u);
  EXPECT_EQ(file->tensors[2].name, "one \\ \"");
  EXPECT_TRUE(file->tensors[2].shape.empty());
  EXPECT_EQ(file->tensors[2].dtype, DType::kI32);
  EXPECT_EQ(file->tensors[2].data[0], 'o');
  ASSERT_NE(file->FindMetadata("key"), nullptr);
  EXPECT_EQ(*file->FindMetadata("key"), "a \"text\"\n");
  EXPECT_EQ(*file->FindMetadata("other"), "\xe2\x82\xac");
  EXPECT_EQ(file->FindMetadata("third"), nullptr);
}

TEST(SafetensorsTest, DataStartsAtAMultipleOf64) {
  std::string name;
  for (int i = 0; i < 70; ++i) {
    name.push_back('n');
    SafeTensors file;
    file.tensors.push_back({name, DType::kF32, {0}, {}});
    const absl::StatusOr<std::string> header = SafetensorsHeader(file);
    ASSERT_TRUE(header.ok()) << header.status();
    EXPECT_EQ(header->size() % 64, 0u) << i;
    EXPECT_EQ(SafetensorsHeaderBytes(Bytes(*header)), header->size() - 8) << i;
  }
}

TEST(SafetensorsTest, FilesOfOtherProgramsAreRead) {
  // No padding, no metadata, tensors in the order of their names instead of their bytes.
  const std::string text =
      FileOf(StrCat("{", Tensor("a", "2", "4,8", "F16"), ",", Tensor("b", "1", "0,4"), "}"), 8);
  const absl::StatusOr<SafeTensors> file = ParseSafetensors(Bytes(text), "F");
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->tensors.size(), 2u);
  EXPECT_EQ(file->tensors[0].name, "b");
  EXPECT_EQ(file->tensors[1].name, "a");
  EXPECT_EQ(file->tensors[1].data.data(), file->tensors[0].data.data() + 4);
  EXPECT_TRUE(ParseSafetensors(Bytes(FileOf("{}", 0)), "F").ok());
}

TEST(SafetensorsTest, EveryCutIsNoticedAndSaysHowMuchIsMissing) {
  const std::string whole = SmallFile();
  const size_t data = 8 + SafetensorsHeaderBytes(Bytes(whole));
  for (size_t length = 0; length < whole.size(); ++length) {
    const absl::Status status = ParseSafetensors(Bytes(whole).subspan(0, length), "F").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << length << ": " << status;
    const size_t missing = (length < 8 ? 8 : length < data ? data : whole.size()) - length;
    EXPECT_THAT(ToStd(status.message()),
                AllOf(HasSubstr("F: cut short"), HasSubstr(StrCat(" ", missing, " bytes "))))
        << length;
  }
  EXPECT_THAT(ErrorOf(whole + "x"), HasSubstr("1 more"));
}

TEST(SafetensorsTest, PlacesMustFillTheData) {
  const auto two = [](const std::string& a, const std::string& b, size_t data) {
    return ErrorOf(FileOf(StrCat("{", Tensor("a", "1", a), ",", Tensor("b", "1", b), "}"), data));
  };
  EXPECT_THAT(two("0,4", "2,6", 6), HasSubstr("overlaps"));
  EXPECT_THAT(two("0,4", "0,4", 4), HasSubstr("overlaps"));
  EXPECT_THAT(two("0,4", "8,12", 12), AllOf(HasSubstr("'b'"), HasSubstr("gap")));
  EXPECT_THAT(two("4,8", "8,12", 12), HasSubstr("gap"));
  EXPECT_THAT(two("4,0", "4,8", 8), HasSubstr("expected 4 bytes"));
  EXPECT_THAT(two("0,8", "8,12", 12), HasSubstr("expected 4 bytes"));
  EXPECT_THAT(two("18446744073709551612,0", "4,8", 8), HasSubstr("expected 4 bytes"));
}

TEST(SafetensorsTest, SizesMustBeAFiles) {
  const auto shape = [](const std::string& sizes, const std::string& offsets = "0,0") {
    return ErrorOf(FileOf(StrCat("{", Tensor("a", sizes, offsets), "}"), 0));
  };
  EXPECT_THAT(shape("4294967296,4294967296"), HasSubstr("no file's"));
  EXPECT_THAT(shape("4611686018427387904"), HasSubstr("no file's"));
  EXPECT_THAT(shape("18446744073709551615"), HasSubstr("no file's"));
  EXPECT_THAT(shape("0,18446744073709551615"), HasSubstr("no file's"));
  EXPECT_THAT(shape("18446744073709551616"), HasSubstr("a fraction"));
  EXPECT_THAT(shape("-1"), AllOf(HasSubstr("'a'"), HasSubstr("a negative number")));
  EXPECT_THAT(shape("1.0"), HasSubstr("a fraction"));
  EXPECT_THAT(shape("1e400"), HasSubstr("from byte"));
  EXPECT_THAT(shape("1,1,1,1,1,1,1,1,1"), HasSubstr("more than 8"));
  EXPECT_THAT(shape("1", "0,4,4"), HasSubstr("two data_offsets"));
  EXPECT_THAT(shape("1", "0"), HasSubstr("two data_offsets"));
  EXPECT_THAT(shape("1", "0,-4"), HasSubstr("a negative number"));
  // Claims much, has nothing: nothing is allocated for it.
  EXPECT_EQ(
      ParseSafetensors(
          Bytes(FileOf(StrCat("{", Tensor("a", "1099511627776", "0,4398046511104"), "}"), 0)), "F")
          .status()
          .code(),
      absl::StatusCode::kDataLoss);
}

TEST(SafetensorsTest, HeadersAreNotBelieved) {
  const auto header = [](const std::string& text) { return ErrorOf(FileOf(text, 4)); };
  const std::string a = Tensor("a", "1", "0,4");
  EXPECT_THAT(header(StrCat("{", a, ",", a, "}")), HasSubstr("'a' twice"));
  EXPECT_THAT(header(StrCat("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"},", a, "}")),
              HasSubstr("metadata 'k' twice"));
  EXPECT_THAT(header(StrCat("{\"__metadata__\":{},\"__metadata__\":{},", a, "}")),
              HasSubstr("twice"));
  EXPECT_THAT(header(StrCat("{\"__metadata__\":{\"k\":1},", a, "}")), HasSubstr("a number"));
  EXPECT_THAT(header(StrCat("{\"__metadata__\":{\"k\":{}},", a, "}")), HasSubstr("an object"));
  EXPECT_THAT(header(StrCat("{\"__metadata__\":null,", a, "}")), HasSubstr("null"));
  EXPECT_THAT(header(StrCat("{", Tensor("a", "1", "0,4", "F8_E5M2"), "}")),
              AllOf(HasSubstr("dtype: expected F32"), HasSubstr("'F8_E5M2'")));
  EXPECT_THAT(header("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}"), HasSubstr("dtype twice"));
  EXPECT_THAT(header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}"), HasSubstr("data_offsets"));
  EXPECT_THAT(header("{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}"), HasSubstr("dtype"));
  EXPECT_THAT(header("{\"a\":{\"stride\":[1]}}"), HasSubstr("'stride'"));
  EXPECT_THAT(header("{\"a\":{\"shape\":[[1]]}}"), HasSubstr("a list"));
  EXPECT_THAT(header("{\"a\":{\"shape\":{\"x\":1}}}"), HasSubstr("an object"));
  EXPECT_THAT(header("{\"a\":{\"shape\":[true]}}"), HasSubstr("true or false"));
  EXPECT_THAT(header("{\"a\":[1]}"), HasSubstr("a list"));
  EXPECT_THAT(header("{\"a\":1}"), HasSubstr("a number"));
  EXPECT_THAT(header("{} {}"), HasSubstr("from byte"));
  EXPECT_THAT(header("{\"a\""), HasSubstr("from byte"));
  EXPECT_THAT(header("{\"\xff\":1}"), HasSubstr("from byte"));
  // Escapes of a name do not reach the message.
  EXPECT_THAT(header("{\"\\u001b[31m\":1}"), AllOf(HasSubstr("\\x1b[31m"), Not(HasSubstr("\x1b"))));
}

TEST(SafetensorsTest, DeepNestingIsRefusedAtItsFirstLevel) {
  for (const std::string open : {"[", "{\"a\":"}) {
    std::string header = "{\"a\":{\"shape\":";
    for (int i = 0; i < 10'000; ++i) header += open;
    EXPECT_THAT(ErrorOf(FileOf(header, 0)), Not(HasSubstr("from byte")));
  }
}

TEST(SafetensorsTest, OtherFilesAreNoSafetensors) {
  EXPECT_EQ(SafetensorsHeaderBytes(Bytes("GGUF\3\0\0\0\0\0\0\0")), 0u);
  EXPECT_EQ(SafetensorsHeaderBytes(Bytes("ir 1\ngraph")), 0u);
  EXPECT_THAT(ErrorOf("some text that is longer"), HasSubstr("something else"));
  EXPECT_THAT(ErrorOf(FileOf("[1,2]", 0)), HasSubstr("something else"));
  EXPECT_THAT(ErrorOf(std::string(64, '\0')), HasSubstr("something else"));
  EXPECT_THAT(ErrorOf(std::string(64, '\xff')), HasSubstr("something else"));
  // A length that no file of the format has.
  std::string huge = FileOf("{}", 0);
  huge[5] = 1;
  EXPECT_THAT(ErrorOf(huge), HasSubstr("something else"));
}

TEST(SafetensorsTest, FlippedBytesNeverCrash) {
  const std::string whole = SmallFile();
  std::mt19937 random(7);
  int refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text = whole;
    const int flips = 1 + round % 4;
    for (int i = 0; i < flips; ++i) text[random() % text.size()] = static_cast<char>(random());
    const absl::StatusOr<SafeTensors> file = ParseSafetensors(Bytes(text), "F");
    refused += !file.ok();
    if (!file.ok()) continue;
    for (const SafeTensor& tensor : file->tensors) {  // inside the file, whatever it says
      ASSERT_GE(tensor.data.data(), Bytes(text).data());
      ASSERT_LE(tensor.data.data() + tensor.data.size(), Bytes(text).data() + text.size());
    }
  }
  EXPECT_GT(refused, 10'000);
}

TEST(SafetensorsTest, WhatCannotBeWrittenIsRefused) {
  const TempFolder folder;
  const auto refused = [&](const SafeTensors& file) {
    const absl::Status status = WriteSafetensors(file, folder.File("x"));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_FALSE(std::filesystem::exists(folder.File("x")));
    return std::string(ToStd(status.message()));
  };
  SafeTensors file;
  file.tensors = {{"a", DType::kF32, {0}, {}}, {"a", DType::kF32, {0}, {}}};
  EXPECT_THAT(refused(file), HasSubstr("'a'"));
  file.tensors = {{"__metadata__", DType::kF32, {0}, {}}};
  EXPECT_THAT(refused(file), HasSubstr("__metadata__"));
  file.tensors = {{"\xff", DType::kF32, {0}, {}}};
  EXPECT_THAT(refused(file), HasSubstr("UTF-8"));
  file.tensors = {{"q", DType::kQ4_K, {0}, {}}};
  EXPECT_THAT(refused(file), HasSubstr("expected f32"));
  file = {.metadata = {{"k", "\xc3"}}, .tensors = {}};
  EXPECT_THAT(refused(file), HasSubstr("UTF-8"));
}

}  // namespace
}  // namespace renga
