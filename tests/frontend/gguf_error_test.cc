// One broken file per message: what the reader says, and at which byte.

#include <string>
#include <vector>

#include "frontend/gguf/gguf.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/temp_folder.h"

namespace renga {
namespace {

constexpr absl::StatusCode kCorrupt = absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kTruncated = absl::StatusCode::kDataLoss;
constexpr absl::StatusCode kUnsupported = absl::StatusCode::kUnimplemented;
const char kTruncatedEnd[] = "; the file is truncated or corrupt";

class GgufErrorTest : public ::testing::Test {
 protected:
  // That opening a file of `bytes` fails with `code` and the path plus ": " plus `message`.
  void ExpectError(const std::string& bytes, absl::StatusCode code, const std::string& message) {
    const std::string path = folder_.Write("e.gguf", bytes);
    const absl::Status status = GgufFile::Open(path).status();
    EXPECT_EQ(status.code(), code);
    EXPECT_EQ(std::string(status.message()), path + ": " + message);
  }

  // A file of one metadata entry 'k' whose value is broken `at` bytes into it.
  void ExpectValueError(MetaType type, const std::string& value, absl::StatusCode code, uint64_t at,
                        const std::string& message) {
    GgufWriter writer;
    writer.AddU32("first", 1).Add("k", type, value);
    const std::string bytes = writer.Bytes();
    ExpectError(bytes, code,
                "metadata 2 of 2: 'k': byte " + std::to_string(writer.ValueOffset(1) + at) + ": " +
                    message);
  }

  // A file whose only tensor is `tensor`, 't', broken `at` bytes behind its name.
  void ExpectTensorError(const GgufWriter::Tensor& tensor, absl::StatusCode code, uint64_t at,
                         const std::string& message) {
    GgufWriter writer;
    writer.tensors.push_back(tensor);
    const std::string bytes = writer.Bytes();
    ExpectError(bytes, code,
                "tensor 1 of 1: 't': byte " + std::to_string(writer.TensorOffset(0) + 9 + at) +
                    ": " + message);
  }

  TempFolder folder_;
};

std::string Cut(const std::string& bytes, uint64_t size) { return bytes.substr(0, size); }

TEST_F(GgufErrorTest, MissingFile) {
  const absl::Status status = GgufFile::Open(folder_.File("none.gguf")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
}

TEST_F(GgufErrorTest, EmptyFile) {
  ExpectError("", kCorrupt, "expected a GGUF model, got an empty file");
}

TEST_F(GgufErrorTest, OtherMagic) {
  GgufWriter writer;
  writer.magic = "tj\x01g";
  ExpectError(writer.Bytes(), kCorrupt,
              "byte 0: not a GGUF file: expected the first bytes 'GGUF' (47 47 55 46), got "
              "'tj\\x01g' (74 6a 01 67)");
  ExpectError("PK", kCorrupt,
              "byte 0: not a GGUF file: expected the first bytes 'GGUF' (47 47 55 46), got "
              "'PK' (50 4b)");
}

TEST_F(GgufErrorTest, CutHeader) {
  const std::string bytes = GgufWriter().Bytes();
  ExpectError(Cut(bytes, 3), kTruncated,
              std::string("byte 0: first bytes 'GGUF': expected 4 bytes, got 3 up to the end of "
                          "the file") +
                  kTruncatedEnd);
  ExpectError(Cut(bytes, 6), kTruncated,
              std::string("byte 4: version: expected 4 bytes, got 2 up to the end of the file") +
                  kTruncatedEnd);
  ExpectError(Cut(bytes, 15), kTruncated,
              std::string("byte 8: number of tensors: expected 8 bytes, got 7 up to the end of the "
                          "file") +
                  kTruncatedEnd);
  ExpectError(Cut(bytes, 16), kTruncated,
              std::string("byte 16: number of metadata: expected 8 bytes, got 0 up to the end of "
                          "the file") +
                  kTruncatedEnd);
}

TEST_F(GgufErrorTest, Version1) {
  GgufWriter writer;
  writer.version = 1;
  ExpectError(writer.Bytes(), kUnsupported,
              "byte 4: version: expected 2 or 3, got 1, which was replaced in 2023; convert the "
              "model again");
}

TEST_F(GgufErrorTest, UnknownVersion) {
  GgufWriter writer;
  for (uint32_t version : {0u, 4u, 0x03000001u}) {
    writer.version = version;
    ExpectError(writer.Bytes(), kUnsupported,
                "byte 4: version: expected 2 or 3, got " + std::to_string(version));
  }
}

TEST_F(GgufErrorTest, BigEndian) {
  GgufWriter writer;
  writer.version = 0x03000000;
  ExpectError(writer.Bytes(), kUnsupported,
              "byte 4: version: expected 2 or 3, got a big-endian file of version 3; convert it to "
              "little-endian with gguf-convert-endian");
}

TEST_F(GgufErrorTest, ImpossibleTensorCount) {
  GgufWriter writer;
  writer.AddTensor("t", DType::kI8, {8});
  for (uint64_t count : {uint64_t{3}, uint64_t{1} << 63, UINT64_MAX}) {
    writer.tensor_count = count;
    const std::string bytes = writer.Bytes();  // 24 + 33 + padding to 64 + 8 = 72
    ExpectError(bytes, kTruncated,
                "byte 8: number of tensors: expected at most 1, which fit in a file of 72 bytes, "
                "got " +
                    std::to_string(count) + kTruncatedEnd);
  }
}

TEST_F(GgufErrorTest, ImpossibleMetadataCount) {
  GgufWriter writer;
  writer.AddU32("a", 1);
  for (uint64_t count : {uint64_t{2}, uint64_t{1} << 63, UINT64_MAX}) {
    writer.metadata_count = count;
    const std::string bytes = writer.Bytes();  // 24 + 17
    ExpectError(bytes, kTruncated,
                "byte 16: number of metadata: expected at most 1, which fit in a file of 41 bytes, "
                "got " +
                    std::to_string(count) + kTruncatedEnd);
  }
}

TEST_F(GgufErrorTest, MoreMetadataThanIsSane) {
  GgufWriter writer;
  writer.AddString("a", std::string(65537 * 13, 'x'));
  writer.metadata_count = 65537;
  ExpectError(writer.Bytes(), kUnsupported,
              "byte 16: number of metadata: expected at most 65536, got 65537");
}

TEST_F(GgufErrorTest, MoreTensorsThanIsSane) {
  GgufWriter writer;
  writer.AddString("a", std::string(131073 * 32, 'x'));
  writer.tensor_count = 131073;
  ExpectError(writer.Bytes(), kUnsupported,
              "byte 8: number of tensors: expected at most 131072, got 131073");
}

TEST_F(GgufErrorTest, MetadataCountPastTheEntries) {
  GgufWriter writer;
  writer.AddString("a", "a long enough value for two").metadata_count = 2;
  const std::string bytes = writer.Bytes();
  ExpectError(bytes, kTruncated,
              "metadata 2 of 2: byte " + std::to_string(bytes.size()) +
                  ": metadata key: expected 8 bytes, got 0 up to the end of the file" +
                  kTruncatedEnd);
}

TEST_F(GgufErrorTest, KeyLongerThanTheFile) {
  GgufWriter writer;
  writer.AddU32("a", 1);
  std::string bytes = writer.Bytes();
  bytes.replace(24, 8, Raw<uint64_t>(uint64_t{1} << 40));
  ExpectError(bytes, kTruncated,
              std::string("metadata 1 of 1: byte 24: length of metadata key: expected at most 9 "
                          "bytes, which are left in the file, got 1099511627776") +
                  kTruncatedEnd);
}

TEST_F(GgufErrorTest, CutBehindTheKey) {
  GgufWriter writer;
  writer.AddU32("general.architecture", 1);
  ExpectError(Cut(writer.Bytes(), 24 + 8 + 20 + 3), kTruncated,
              std::string("metadata 1 of 1: 'general.architecture': byte 52: type of the value: "
                          "expected 4 bytes, got 3 up to the end of the file") +
                  kTruncatedEnd);
}

TEST_F(GgufErrorTest, UnknownValueType) {
  GgufWriter writer;
  writer.entries.push_back({"k", 13, Raw<uint32_t>(0)});
  ExpectError(writer.Bytes(), kCorrupt,
              "metadata 1 of 1: 'k': byte 33: type of the value: expected a number from 0 to 12, "
              "got 13");
}

TEST_F(GgufErrorTest, CutValue) {
  ExpectValueError(MetaType::kU64, "12345", kTruncated, 0,
                   std::string("a value of type u64: expected 8 bytes, got 5 up to the end of the "
                               "file") +
                       kTruncatedEnd);
}

TEST_F(GgufErrorTest, StringLongerThanTheFile) {
  ExpectValueError(MetaType::kString, Raw<uint64_t>(uint64_t{1} << 40) + "abc", kTruncated, 0,
                   std::string("length of a string: expected at most 3 bytes, which are left in "
                               "the file, got 1099511627776") +
                       kTruncatedEnd);
}

TEST_F(GgufErrorTest, BoolOfAnotherValue) {
  ExpectValueError(MetaType::kBool, "\x02", kCorrupt, 0,
                   "a value of type bool: expected 0 or 1, got 2");
  ExpectValueError(MetaType::kArray, RawArray<uint8_t>(MetaType::kBool, {1, 0, 255}), kCorrupt, 14,
                   "a value of type bool: expected 0 or 1, got 255");
}

TEST_F(GgufErrorTest, UnknownElementType) {
  ExpectValueError(MetaType::kArray, Raw<uint32_t>(99) + Raw<uint64_t>(0), kCorrupt, 0,
                   "element type of an array: expected a number from 0 to 12, got 99");
}

TEST_F(GgufErrorTest, CutArrayHeader) {
  ExpectValueError(MetaType::kArray, "\4", kTruncated, 0,
                   std::string("element type of an array: expected 4 bytes, got 1 up to the end of "
                               "the file") +
                       kTruncatedEnd);
  ExpectValueError(MetaType::kArray, Raw<uint32_t>(4) + "1", kTruncated, 4,
                   std::string("length of an array: expected 8 bytes, got 1 up to the end of the "
                               "file") +
                       kTruncatedEnd);
}

TEST_F(GgufErrorTest, ArrayLongerThanTheFile) {
  for (uint64_t count : {uint64_t{3}, uint64_t{1} << 60, uint64_t{1} << 62, UINT64_MAX}) {
    ExpectValueError(MetaType::kArray, RawArray(MetaType::kU32, count, "12345678"), kTruncated, 4,
                     "length of an array of u32: expected at most 2, which fit in the rest of the "
                     "file, got " +
                         std::to_string(count) + kTruncatedEnd);
  }
  ExpectValueError(MetaType::kArray, RawArray(MetaType::kString, 3, std::string(16, '\0')),
                   kTruncated, 4,
                   std::string("length of an array of string: expected at most 2, which fit in the "
                               "rest of the file, got 3") +
                       kTruncatedEnd);
  ExpectValueError(MetaType::kArray, RawArray(MetaType::kArray, 2, std::string(23, '\0')),
                   kTruncated, 4,
                   std::string("length of an array of array: expected at most 1, which fit in the "
                               "rest of the file, got 2") +
                       kTruncatedEnd);
}

TEST_F(GgufErrorTest, StringInArrayLongerThanTheFile) {
  ExpectValueError(MetaType::kArray,
                   RawArray(MetaType::kString, 2, RawString("ok") + Raw<uint64_t>(7) + "abc"),
                   kTruncated, 12 + 10,
                   std::string("length of a string: expected at most 3 bytes, which are left in "
                               "the file, got 7") +
                       kTruncatedEnd);
}

TEST_F(GgufErrorTest, ArraysNestedTooDeep) {
  std::string value;
  for (int i = 0; i < 9; ++i) value += RawArray(MetaType::kArray, 1, "");
  value += RawArray<uint8_t>(MetaType::kU8, {9});
  ExpectValueError(MetaType::kArray, value, kCorrupt, 8 * 12,
                   "arrays within arrays: expected at most 8 levels, got more");
}

TEST_F(GgufErrorTest, DuplicateKey) {
  GgufWriter writer;
  writer.AddU32("a", 1).AddU32("b", 2).AddString("a", "x");
  const std::string bytes = writer.Bytes();
  ExpectError(bytes, kCorrupt,
              "byte " + std::to_string(writer.EntryOffset(2)) +
                  ": metadata 3 of 3: expected every key once, got 'a' again, which is metadata 1 "
                  "too");
}

TEST_F(GgufErrorTest, LongAndUnprintableNamesAreQuoted) {
  GgufWriter writer;
  writer.entries.push_back({"\x1b[2J" + std::string(500, 'x'), 13, ""});
  ExpectError(writer.Bytes(), kCorrupt,
              "metadata 1 of 1: '\\x1b[2J" + std::string(76, 'x') +
                  "...' (504 bytes): byte 536: type of the value: expected a number from 0 to 12, "
                  "got 13");
}

TEST_F(GgufErrorTest, AlignmentOfAnotherType) {
  GgufWriter writer;
  writer.AddString("general.alignment", "64");
  const std::string bytes = writer.Bytes();
  ExpectError(bytes, kCorrupt, "byte 53: general.alignment: expected an integer, got string");
}

TEST_F(GgufErrorTest, AlignmentNotAPowerOfTwo) {
  for (uint32_t alignment : {0u, 1u, 4u, 12u, 33u, 0xffffffffu}) {
    GgufWriter writer;
    writer.AddU32("general.alignment", alignment);
    ExpectError(writer.Bytes(), kCorrupt,
                "byte 53: general.alignment: expected a power of two from 8 to 2147483648, got " +
                    std::to_string(alignment));
  }
  GgufWriter writer;
  writer.Add("general.alignment", MetaType::kU64, Raw<uint64_t>(uint64_t{1} << 63));
  ExpectError(writer.Bytes(), kCorrupt,
              "byte 53: general.alignment: expected a power of two from 8 to 2147483648, got "
              "9223372036854775808");
}

TEST_F(GgufErrorTest, TensorNameLongerThanTheFile) {
  GgufWriter writer;
  writer.AddTensor("t", DType::kI8, {8});
  std::string bytes = writer.Bytes();
  bytes.replace(24, 8, Raw<uint64_t>(UINT64_MAX));
  ExpectError(bytes, kTruncated,
              std::string("tensor 1 of 1: byte 24: length of tensor name: expected at most 40 "
                          "bytes, which are left in the file, got 18446744073709551615") +
                  kTruncatedEnd);
}

TEST_F(GgufErrorTest, TensorTableCut) {
  GgufWriter writer;
  writer.AddU32("padding.to.allow.the.count", 1).AddTensor("t", DType::kI8, {8});
  const std::string bytes = writer.Bytes();
  const uint64_t at = writer.TensorOffset(0) + 9;
  const std::vector<std::pair<uint64_t, std::string>> fields = {
      {0, "number of dimensions: expected 4 bytes"},
      {4, "size of a dimension: expected 8 bytes"},
      {12, "tensor type: expected 4 bytes"},
      {16, "data offset: expected 8 bytes"}};
  for (const auto& [offset, text] : fields) {
    ExpectError(Cut(bytes, at + offset + 1), kTruncated,
                "tensor 1 of 1: 't': byte " + std::to_string(at + offset) + ": " + text +
                    ", got 1 up to the end of the file" + kTruncatedEnd);
  }
}

TEST_F(GgufErrorTest, Rank) {
  for (uint32_t rank : {0u, 5u, 0xffffffffu}) {
    ExpectTensorError({"t", {8}, 24, std::string(8, 'x'), rank, {}}, kCorrupt, 0,
                      "number of dimensions: expected 1 to 4, got " + std::to_string(rank));
  }
}

TEST_F(GgufErrorTest, DimensionSize) {
  ExpectTensorError({"t", {8, 0}, 24, "x", {}, {}}, kCorrupt, 12,
                    "size of dimension 1: expected 1 to 2^63-1, got 0");
  ExpectTensorError({"t", {uint64_t{1} << 63}, 24, "x", {}, {}}, kCorrupt, 4,
                    "size of dimension 0: expected 1 to 2^63-1, got 9223372036854775808");
}

TEST_F(GgufErrorTest, ElementsOverflow) {
  ExpectTensorError({"t", {uint64_t{1} << 32, uint64_t{1} << 31}, 24, "x", {}, {}}, kCorrupt, 12,
                    "size of dimension 1: expected fewer than 2^63 elements in all, got a product "
                    "with 2147483648 that is larger");
}

TEST_F(GgufErrorTest, BytesOverflow) {
  // 2^62 f64 are 2^65 bytes: one row that is too long, then many rows that are too many.
  ExpectTensorError({"t", {uint64_t{1} << 62}, 28, "x", {}, {}}, kCorrupt, 12,
                    "tensor type f64: expected fewer than 2^64 bytes, got 4611686018427387904 "
                    "elements, which take more");
  ExpectTensorError({"t", {2, uint64_t{1} << 61}, 28, "x", {}, {}}, kCorrupt, 20,
                    "tensor type f64: expected fewer than 2^64 bytes, got 4611686018427387904 "
                    "elements, which take more");
}

TEST_F(GgufErrorTest, RemovedType) {
  for (uint32_t type : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u}) {
    ExpectTensorError({"t", {32}, type, "x", {}, {}}, kUnsupported, 12,
                      "tensor type: expected a type of the format, got " + std::to_string(type) +
                          ", which was removed from the format; convert the model again from its "
                          "original weights");
  }
}

TEST_F(GgufErrorTest, UnknownType) {
  for (uint32_t type : {43u, 255u, 256u, 0xffffffffu}) {
    ExpectTensorError(
        {"t", {32}, type, "x", {}, {}}, kUnsupported, 12,
        "tensor type: expected one of 0=f32 1=f16 2=q4_0 3=q4_1 6=q5_0 7=q5_1 8=q8_0 9=q8_1 "
        "10=q2_k 11=q3_k 12=q4_k 13=q5_k 14=q6_k 15=q8_k 16=iq2_xxs 17=iq2_xs 18=iq3_xxs 19=iq1_s "
        "20=iq4_nl 21=iq3_s 22=iq2_s 23=iq4_xs 24=i8 25=i16 26=i32 27=i64 28=f64 29=iq1_m 30=bf16 "
        "34=tq1_0 35=tq2_0 39=mxfp4 40=nvfp4 41=q1_0 42=q2_0, got " +
            std::to_string(type));
  }
}

TEST_F(GgufErrorTest, RowNotWholeBlocks) {
  ExpectTensorError({"t", {300, 256}, 12, "x", {}, {}}, kCorrupt, 20,
                    "tensor type q4_k: expected rows of a multiple of 256 elements, got 300");
}

TEST_F(GgufErrorTest, DuplicateTensor) {
  GgufWriter writer;
  writer.AddTensor("a", DType::kI8, {8}).AddTensor("b", DType::kI8, {8});
  writer.AddTensor("a", DType::kI8, {8});
  const std::string bytes = writer.Bytes();
  ExpectError(bytes, kCorrupt,
              "byte " + std::to_string(writer.TensorOffset(2)) +
                  ": tensor 'a': expected every name once, got it again; it is first at byte " +
                  std::to_string(writer.TensorOffset(0)));
}

TEST_F(GgufErrorTest, MisalignedData) {
  GgufWriter writer;
  writer.AddTensor("a", DType::kI8, {8}).AddTensor("b", DType::kI8, {8});
  writer.tensors[1].offset = 40;
  const std::string bytes = writer.Bytes();
  ExpectError(bytes, kCorrupt,
              "byte " + std::to_string(writer.TensorOffset(1)) +
                  ": tensor 'b': expected a data offset that is a multiple of the alignment 32, "
                  "got 40");
}

TEST_F(GgufErrorTest, OverlappingData) {
  GgufWriter writer;
  writer.AddTensor("a", DType::kI8, {40}).AddTensor("b", DType::kI8, {8});
  writer.tensors[1].offset = 32;
  const std::string bytes = writer.Bytes();
  const uint64_t data = writer.data_offset();
  const auto range = [&](uint64_t from, uint64_t to) {
    return std::to_string(data + from) + ".." + std::to_string(data + to);
  };
  ExpectError(bytes, kCorrupt,
              "byte " + std::to_string(writer.TensorOffset(1)) +
                  ": tensor 'b': expected data of its own, got bytes " + range(32, 40) +
                  ", which overlap tensor 'a' at bytes " + range(0, 40));
}

TEST_F(GgufErrorTest, SharedData) {
  GgufWriter writer;
  writer.AddTensor("a", DType::kI8, {8}).AddTensor("b", DType::kI8, {8});
  writer.tensors[0].offset = 32;
  const std::string bytes = writer.Bytes();
  const std::string range =
      std::to_string(writer.data_offset() + 32) + ".." + std::to_string(writer.data_offset() + 40);
  ExpectError(bytes, kCorrupt,
              "byte " + std::to_string(writer.TensorOffset(1)) +
                  ": tensor 'b': expected data of its own, got bytes " + range +
                  ", which overlap tensor 'a' at bytes " + range);
}

TEST_F(GgufErrorTest, DataPastTheEnd) {
  GgufWriter writer;
  writer.AddTensor("a", DType::kI8, {8}).AddTensor("b", DType::kI8, {8});
  const auto expect = [&](const std::string& bytes, uint64_t offset, uint64_t size) {
    ExpectError(bytes, kTruncated,
                "byte " + std::to_string(writer.TensorOffset(1)) +
                    ": tensor 'b': expected 8 bytes at offset " + std::to_string(offset) +
                    " of the data section, which begins at byte " +
                    std::to_string(writer.data_offset()) + ", got a file that ends at byte " +
                    std::to_string(size) + kTruncatedEnd);
  };
  const std::string bytes = writer.Bytes();
  expect(Cut(bytes, bytes.size() - 1), 32, bytes.size() - 1);
  for (uint64_t offset : {uint64_t{64}, uint64_t{1} << 62, UINT64_MAX - 31}) {
    writer.tensors[1].offset = offset;
    const std::string changed = writer.Bytes();
    expect(changed, offset, changed.size());
  }
}

TEST_F(GgufErrorTest, FileEndsBeforeTheDataSection) {
  GgufWriter writer;
  writer.AddTensor("a", DType::kI8, {8});
  const std::string bytes = writer.Bytes();
  ExpectError(Cut(bytes, writer.header_bytes()), kTruncated,
              "byte 24: tensor 'a': expected 8 bytes at offset 0 of the data section, which begins "
              "at byte 64, got a file that ends at byte 57" +
                  std::string(kTruncatedEnd));
}

TEST_F(GgufErrorTest, FolderInsteadOfFile) {
  const absl::Status status = GgufFile::Open(folder_.path()).status();
  EXPECT_EQ(status.code(), kCorrupt);
  EXPECT_EQ(std::string(status.message()),
            folder_.path() + ": expected a regular file, got a directory");
}

}  // namespace
}  // namespace renga
