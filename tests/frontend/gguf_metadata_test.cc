// Every metadata type through the typed getters, and every way a getter says no.

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "frontend/gguf/file_type.h"
#include "frontend/gguf/gguf.h"
#include "frontend/gguf/metadata_text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/temp_folder.h"

namespace renga {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::IsEmpty;

class GgufMetadataTest : public ::testing::Test {
 protected:
  // The writer's file, opened; its path is path_.
  GgufFile Open(GgufWriter& writer) {
    path_ = folder_.Write("m.gguf", writer.Bytes());
    absl::StatusOr<GgufFile> file = GgufFile::Open(path_);
    EXPECT_TRUE(file.ok()) << file.status();
    return std::move(file).value();
  }

  // That `result` failed with `code` and a message that is the path plus `message`.
  template <typename T>
  void ExpectError(const absl::StatusOr<T>& result, absl::StatusCode code,
                   const std::string& message) {
    EXPECT_EQ(result.status().code(), code);
    EXPECT_EQ(std::string(result.status().message()), path_ + ": " + message);
  }

  TempFolder folder_;
  std::string path_;
};

TEST_F(GgufMetadataTest, EveryIntegerTypeReadsAsUintAndInt) {
  GgufWriter writer;
  writer.Add("u8", MetaType::kU8, Raw<uint8_t>(200))
      .Add("i8", MetaType::kI8, Raw<int8_t>(100))
      .Add("u16", MetaType::kU16, Raw<uint16_t>(60000))
      .Add("i16", MetaType::kI16, Raw<int16_t>(30000))
      .Add("u32", MetaType::kU32, Raw<uint32_t>(4000000000u))
      .Add("i32", MetaType::kI32, Raw<int32_t>(2000000000))
      .Add("u64", MetaType::kU64, Raw<uint64_t>(uint64_t{1} << 62))
      .Add("i64", MetaType::kI64, Raw<int64_t>(int64_t{1} << 61));
  const GgufFile file = Open(writer);
  const std::vector<std::pair<std::string, uint64_t>> expected = {{"u8", 200},
                                                                  {"i8", 100},
                                                                  {"u16", 60000},
                                                                  {"i16", 30000},
                                                                  {"u32", 4000000000u},
                                                                  {"i32", 2000000000},
                                                                  {"u64", uint64_t{1} << 62},
                                                                  {"i64", uint64_t{1} << 61}};
  for (const auto& [key, value] : expected) {
    EXPECT_EQ(file.GetUint(key).value(), value) << key;
    EXPECT_EQ(file.GetInt64(key).value(), static_cast<int64_t>(value)) << key;
    EXPECT_EQ(Name(file.Find(key)->type()), key);
  }
}

TEST_F(GgufMetadataTest, NegativeIntegersKeepTheirSign) {
  GgufWriter writer;
  writer.Add("i8", MetaType::kI8, Raw<int8_t>(-1))
      .Add("i16", MetaType::kI16, Raw<int16_t>(-2))
      .Add("i32", MetaType::kI32, Raw<int32_t>(-3))
      .Add("i64", MetaType::kI64, Raw<int64_t>(std::numeric_limits<int64_t>::min()));
  const GgufFile file = Open(writer);
  EXPECT_EQ(file.GetInt64("i8").value(), -1);
  EXPECT_EQ(file.GetInt64("i16").value(), -2);
  EXPECT_EQ(file.GetInt64("i32").value(), -3);
  EXPECT_EQ(file.GetInt64("i64").value(), std::numeric_limits<int64_t>::min());
  ExpectError(file.GetUint("i16"), absl::StatusCode::kInvalidArgument,
              "metadata 'i16' at byte " + std::to_string(writer.ValueOffset(1)) +
                  ": expected an integer of at least 0, got i16 -2");
}

TEST_F(GgufMetadataTest, LargestUintDoesNotFitInt) {
  GgufWriter writer;
  writer.Add("big", MetaType::kU64, Raw<uint64_t>(UINT64_MAX))
      .Add("list", MetaType::kArray, RawArray<uint64_t>(MetaType::kU64, {7, UINT64_MAX}));
  const GgufFile file = Open(writer);
  EXPECT_EQ(file.GetUint("big").value(), UINT64_MAX);
  ExpectError(file.GetInt64("big"), absl::StatusCode::kInvalidArgument,
              "metadata 'big' at byte " + std::to_string(writer.ValueOffset(0)) +
                  ": expected an integer below 2^63, got u64 18446744073709551615");
  ExpectError(file.GetIntArray("list"), absl::StatusCode::kInvalidArgument,
              "metadata 'list' at byte " + std::to_string(writer.ValueOffset(1)) +
                  ": element 1: expected an integer below 2^63, got 18446744073709551615");
}

TEST_F(GgufMetadataTest, FloatBoolString) {
  GgufWriter writer;
  writer.AddF32("f32", 1e-5f)
      .Add("f64", MetaType::kF64, Raw<double>(0.1))
      .Add("inf", MetaType::kF64, Raw<double>(HUGE_VAL))
      .Add("nan", MetaType::kF32, Raw<float>(NAN))
      .Add("huge", MetaType::kF64, Raw<double>(1e300))
      .Add("yes", MetaType::kBool, Raw<uint8_t>(1))
      .Add("no", MetaType::kBool, Raw<uint8_t>(0))
      .AddString("name", "tinyß")
      .AddString("empty", "")
      .AddString("zeros", std::string_view("a\0b", 3));
  const GgufFile file = Open(writer);
  EXPECT_EQ(file.GetFloat("f32").value(), 1e-5f);
  EXPECT_EQ(file.GetFloat("f64").value(), 0.1f);
  EXPECT_TRUE(std::isinf(file.GetFloat("inf").value()));
  EXPECT_TRUE(std::isnan(file.GetFloat("nan").value()));
  EXPECT_TRUE(file.GetBool("yes").value());
  EXPECT_FALSE(file.GetBool("no").value());
  EXPECT_EQ(file.GetString("name").value(), "tinyß");
  EXPECT_EQ(file.GetString("empty").value(), "");
  EXPECT_EQ(file.GetString("zeros").value(), std::string_view("a\0b", 3));
  ExpectError(file.GetFloat("huge"), absl::StatusCode::kInvalidArgument,
              "metadata 'huge' at byte " + std::to_string(writer.ValueOffset(4)) +
                  ": expected a number in the range of f32, got f64 1e+300");
}

TEST_F(GgufMetadataTest, ArraysOfEveryType) {
  GgufWriter writer;
  writer.Add("u8", MetaType::kArray, RawArray<uint8_t>(MetaType::kU8, {0, 255}))
      .Add("i8", MetaType::kArray, RawArray<int8_t>(MetaType::kI8, {-128, 127}))
      .Add("u16", MetaType::kArray, RawArray<uint16_t>(MetaType::kU16, {1, 65535}))
      .Add("i16", MetaType::kArray, RawArray<int16_t>(MetaType::kI16, {-1, 2}))
      .Add("u32", MetaType::kArray, RawArray<uint32_t>(MetaType::kU32, {4294967295u}))
      .Add("i32", MetaType::kArray, RawArray<int32_t>(MetaType::kI32, {-5, 6, 7}))
      .Add("u64", MetaType::kArray, RawArray<uint64_t>(MetaType::kU64, {8}))
      .Add("i64", MetaType::kArray, RawArray<int64_t>(MetaType::kI64, {INT64_MIN}))
      .Add("f32", MetaType::kArray, RawArray<float>(MetaType::kF32, {1.5f, -2.5f}))
      .Add("f64", MetaType::kArray, RawArray<double>(MetaType::kF64, {0.25}))
      .Add("bool", MetaType::kArray, RawArray<uint8_t>(MetaType::kBool, {1, 0, 1}))
      .Add("string", MetaType::kArray, RawArray({"<s>", "", "▁a"}))
      .Add("none", MetaType::kArray, RawArray<float>(MetaType::kF32, {}));
  const GgufFile file = Open(writer);
  EXPECT_THAT(file.GetIntArray("u8").value(), ElementsAre(0, 255));
  EXPECT_THAT(file.GetIntArray("i8").value(), ElementsAre(-128, 127));
  EXPECT_THAT(file.GetIntArray("u16").value(), ElementsAre(1, 65535));
  EXPECT_THAT(file.GetIntArray("i16").value(), ElementsAre(-1, 2));
  EXPECT_THAT(file.GetIntArray("u32").value(), ElementsAre(4294967295));
  EXPECT_THAT(file.GetIntArray("i32").value(), ElementsAre(-5, 6, 7));
  EXPECT_THAT(file.GetIntArray("u64").value(), ElementsAre(8));
  EXPECT_THAT(file.GetIntArray("i64").value(), ElementsAre(INT64_MIN));
  EXPECT_THAT(file.GetFloatArray("f32").value(), ElementsAre(1.5f, -2.5f));
  EXPECT_THAT(file.GetFloatArray("f64").value(), ElementsAre(0.25f));
  EXPECT_THAT(file.GetBoolArray("bool").value(), ElementsAre(true, false, true));
  EXPECT_THAT(file.GetStringArray("string").value(), ElementsAre("<s>", "", "▁a"));
  EXPECT_THAT(file.GetFloatArray("none").value(), IsEmpty());
  for (const MetaEntry& entry : file.metadata().entries()) {
    EXPECT_TRUE(entry.value.is_array());
    if (entry.key == "none") continue;
    EXPECT_EQ(Name(entry.value.element_type()), entry.key);
  }
}

TEST_F(GgufMetadataTest, NestedArrays) {
  GgufWriter writer;
  const std::string inner1 = RawArray<uint16_t>(MetaType::kU16, {1, 2});
  const std::string inner2 = RawArray({"x", "yz"});
  writer.Add("nested", MetaType::kArray, RawArray(MetaType::kArray, 2, inner1 + inner2));
  const GgufFile file = Open(writer);
  const MetaValue& value = *file.Find("nested");
  EXPECT_EQ(value.TypeText(), "array of 2 array");
  const std::vector<MetaValue> items = value.AsItems(10).value();
  ASSERT_EQ(items.size(), 2u);
  EXPECT_THAT(items[0].AsIntArray().value(), ElementsAre(1, 2));
  EXPECT_THAT(items[1].AsStringArray().value(), ElementsAre("x", "yz"));
  EXPECT_EQ(items[1].offset(), writer.ValueOffset(0) + 12 + inner1.size());
  EXPECT_EQ(items[1].AsItems(2).value()[1].offset(), items[1].offset() + 12 + 9);
  EXPECT_EQ(value.AsItems(1).value().size(), 1u);
  EXPECT_EQ(MetaText(value, 10, 10), "[[1, 2], ['x', 'yz']]");
}

TEST_F(GgufMetadataTest, ArraysNestEightDeep) {
  std::string value = RawArray<uint8_t>(MetaType::kU8, {9});
  for (int i = 1; i < 8; ++i) value = RawArray(MetaType::kArray, 1, value);
  GgufWriter writer;
  writer.Add("deep", MetaType::kArray, value);
  EXPECT_EQ(MetaText(*Open(writer).Find("deep"), 10, 10), "[[[[[[[[9]]]]]]]]");
}

TEST_F(GgufMetadataTest, OrderIsKept) {
  GgufWriter writer;
  writer.AddU32("b", 1).AddU32("a", 2).AddU32("c", 3);
  const GgufFile file = Open(writer);
  std::vector<std::string_view> keys;
  for (const MetaEntry& entry : file.metadata().entries()) keys.push_back(entry.key);
  EXPECT_THAT(keys, ElementsAre("b", "a", "c"));
}

TEST_F(GgufMetadataTest, DefaultsStandInForMissingKeysOnly) {
  GgufWriter writer;
  writer.AddU32("n", 3).AddString("s", "t").AddF32("f", 2).Add("b", MetaType::kBool,
                                                               Raw<uint8_t>(1));
  const GgufFile file = Open(writer);
  EXPECT_EQ(file.GetUintOr("n", 9).value(), 3u);
  EXPECT_EQ(file.GetUintOr("-", 9).value(), 9u);
  EXPECT_EQ(file.GetInt64Or("n", -9).value(), 3);
  EXPECT_EQ(file.GetInt64Or("-", -9).value(), -9);
  EXPECT_EQ(file.GetFloatOr("f", 5).value(), 2.0f);
  EXPECT_EQ(file.GetFloatOr("-", 5).value(), 5.0f);
  EXPECT_EQ(file.GetBoolOr("b", false).value(), true);
  EXPECT_EQ(file.GetBoolOr("-", true).value(), true);
  EXPECT_EQ(file.GetStringOr("s", "u").value(), "t");
  EXPECT_EQ(file.GetStringOr("-", "u").value(), "u");

  const std::string at = "metadata 's' at byte " + std::to_string(writer.ValueOffset(1));
  const absl::StatusCode code = absl::StatusCode::kInvalidArgument;
  ExpectError(file.GetUintOr("s", 9), code, at + ": expected an integer, got string");
  ExpectError(file.GetInt64Or("s", 9), code, at + ": expected an integer, got string");
  ExpectError(file.GetFloatOr("s", 9), code, at + ": expected a float, got string");
  ExpectError(file.GetBoolOr("s", true), code, at + ": expected a bool, got string");
  ExpectError(file.GetStringOr("n", ""), code,
              "metadata 'n' at byte " + std::to_string(writer.ValueOffset(0)) +
                  ": expected a string, got u32");
}

TEST_F(GgufMetadataTest, MissingKey) {
  GgufWriter writer;
  writer.AddU32("n", 3);
  const GgufFile file = Open(writer);
  EXPECT_EQ(file.Find("k"), nullptr);
  const absl::StatusCode code = absl::StatusCode::kNotFound;
  const std::string start = "metadata 'k': expected ";
  ExpectError(file.GetUint("k"), code, start + "an integer, got no such key");
  ExpectError(file.GetInt64("k"), code, start + "an integer, got no such key");
  ExpectError(file.GetFloat("k"), code, start + "a float, got no such key");
  ExpectError(file.GetBool("k"), code, start + "a bool, got no such key");
  ExpectError(file.GetString("k"), code, start + "a string, got no such key");
  ExpectError(file.GetIntArray("k"), code, start + "an array of integers, got no such key");
  ExpectError(file.GetFloatArray("k"), code, start + "an array of floats, got no such key");
  ExpectError(file.GetBoolArray("k"), code, start + "an array of bools, got no such key");
  ExpectError(file.GetStringArray("k"), code, start + "an array of strings, got no such key");
}

TEST_F(GgufMetadataTest, WrongArrayType) {
  GgufWriter writer;
  writer.Add("a", MetaType::kArray, RawArray<float>(MetaType::kF32, {1, 2, 3}))
      .Add("s", MetaType::kArray, RawArray({"x"}))
      .AddU32("n", 1);
  const GgufFile file = Open(writer);
  const absl::StatusCode code = absl::StatusCode::kInvalidArgument;
  const std::string a = "metadata 'a' at byte " + std::to_string(writer.ValueOffset(0));
  const std::string s = "metadata 's' at byte " + std::to_string(writer.ValueOffset(1));
  ExpectError(file.GetIntArray("a"), code,
              a + ": expected an array of integers, got array of 3 f32");
  ExpectError(file.GetFloatArray("s"), code,
              s + ": expected an array of floats, got array of 1 string");
  ExpectError(file.GetBoolArray("a"), code, a + ": expected an array of bools, got array of 3 f32");
  ExpectError(file.GetStringArray("a"), code,
              a + ": expected an array of strings, got array of 3 f32");
  ExpectError(file.GetUint("a"), code, a + ": expected an integer, got array of 3 f32");
  ExpectError(file.GetIntArray("n"), code,
              "metadata 'n' at byte " + std::to_string(writer.ValueOffset(2)) +
                  ": expected an array of integers, got u32");
  EXPECT_EQ(std::string(file.Find("n")->AsItems(1).status().message()),
            "expected an array, got u32");
}

TEST_F(GgufMetadataTest, ArraysAreViewsIntoTheFile) {
  GgufWriter writer;
  writer.Add("s", MetaType::kArray, RawArray({"alpha", "beta"})).AddString("t", "gamma");
  const GgufFile file = Open(writer);
  const auto* begin = reinterpret_cast<const char*>(file.parts()[0].file.bytes().data());
  const char* end = begin + file.parts()[0].file.size();
  std::vector<std::string_view> texts = file.GetStringArray("s").value();
  texts.push_back(file.GetString("t").value());
  for (std::string_view text : texts) {
    EXPECT_GE(text.data(), begin);
    EXPECT_LE(text.data() + text.size(), end);
  }
  EXPECT_LE(sizeof(MetaValue), 48u);
}

// A mapped file shows what others write into it: lengths that were checked may change later.
TEST_F(GgufMetadataTest, LengthChangedAfterOpening) {
  GgufWriter writer;
  writer.AddString("t", "text")
      .Add("s", MetaType::kArray, RawArray({"alpha", "beta"}))
      .Add("n", MetaType::kArray,
           RawArray(MetaType::kArray, 1, RawArray<uint8_t>(MetaType::kU8, {1})));
  const GgufFile file = Open(writer);
  std::fstream out(path_, std::ios::binary | std::ios::in | std::ios::out);
  const std::string huge = Raw<uint64_t>(uint64_t{1} << 60);
  for (uint64_t offset :
       {writer.ValueOffset(0), writer.ValueOffset(1) + 12, writer.ValueOffset(2) + 16}) {
    out.seekp(static_cast<std::streamoff>(offset));
    out.write(huge.data(), 8);
  }
  out.close();
  const std::string message = "the file was changed while it was open";
  EXPECT_THAT(std::string(file.GetString("t").status().message()), EndsWith(message));
  EXPECT_THAT(std::string(file.GetStringArray("s").status().message()), EndsWith(message));
  EXPECT_EQ(std::string(file.Find("n")->AsItems(9).status().message()), message);
  EXPECT_EQ(MetaText(*file.Find("t"), 9, 9), message);
  EXPECT_EQ(MetaText(*file.Find("n"), 9, 9), message);
}

TEST_F(GgufMetadataTest, Text) {
  GgufWriter writer;
  writer.AddU32("u", 42)
      .Add("i", MetaType::kI8, Raw<int8_t>(-7))
      .Add("U", MetaType::kU64, Raw<uint64_t>(UINT64_MAX))
      .AddF32("f", 1e-5f)
      .Add("b", MetaType::kBool, Raw<uint8_t>(1))
      .AddString("s", "line\nß\x1b[31m")
      .AddString("long", "ßßßß")
      .Add("a", MetaType::kArray, RawArray<int32_t>(MetaType::kI32, {1, -2, 3, 4}));
  const GgufFile file = Open(writer);
  EXPECT_EQ(MetaText(*file.Find("u"), 3, 99), "42");
  EXPECT_EQ(MetaText(*file.Find("i"), 3, 99), "-7");
  EXPECT_EQ(MetaText(*file.Find("U"), 3, 99), "18446744073709551615");
  EXPECT_EQ(MetaText(*file.Find("f"), 3, 99), "1e-05");
  EXPECT_EQ(MetaText(*file.Find("b"), 3, 99), "true");
  EXPECT_EQ(MetaText(*file.Find("s"), 3, 99), "'line\\nß\\033[31m'");
  EXPECT_EQ(MetaText(*file.Find("long"), 3, 3), "'ß' ... 6 more bytes");
  EXPECT_EQ(MetaText(*file.Find("a"), 2, 99), "[1, -2, ... 2 more]");
  EXPECT_EQ(MetaText(*file.Find("a"), 0, 99), "[... 4 more]");
  EXPECT_EQ(MetaText(*file.Find("a"), 4, 99), "[1, -2, 3, 4]");
}

TEST(GgufFileType, Labels) {
  EXPECT_EQ(FileTypeLabel(0), "F32");
  EXPECT_EQ(FileTypeLabel(3), "Q4_1");
  EXPECT_EQ(FileTypeLabel(15), "Q4_K - Medium");
  EXPECT_EQ(FileTypeLabel(15 + 1024), "Q4_K - Medium (guessed)");
  EXPECT_EQ(FileTypeLabel(32), "BF16");
  EXPECT_EQ(FileTypeLabel(5), "file type 5");
  EXPECT_EQ(FileTypeLabel(UINT64_MAX), "file type 18446744073709551615");
}

}  // namespace
}  // namespace renga
