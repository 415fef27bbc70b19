#include "ir/reference/dequant.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/digest.h"
#include "ir/base/iq_grids.h"

namespace renga {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The float written before each decode: a value that is not overwritten does not go unnoticed.
constexpr float kUnwritten = 12345.678f;

std::vector<uint8_t> ReadData(const std::string& name) {
  std::ifstream in(std::string(RENGA_SOURCE_DIR "/tests/data/quants/") + name, std::ios::binary);
  EXPECT_TRUE(in.good()) << name;
  return std::vector<uint8_t>(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

template <typename T>
void Append(std::vector<uint8_t>& bytes, T value) {
  const size_t at = bytes.size();
  bytes.resize(at + sizeof(T));
  std::memcpy(bytes.data() + at, &value, sizeof(T));
}

uint32_t Bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// Bytes as a row of `elements`, decoded.
std::vector<float> Decode(DType type, const std::vector<uint8_t>& bytes, int64_t elements) {
  std::vector<float> values(elements, kUnwritten);
  const absl::Status status = DequantRow(type, bytes, absl::MakeSpan(values));
  EXPECT_TRUE(status.ok()) << status;
  return values;
}

struct VectorCase {
  const char* name;  // of the files
  DType type;
};

class DequantVectors : public testing::TestWithParam<VectorCase> {};

// Values of every type as two independent decoders give them; see tests/data/README.md.
TEST_P(DequantVectors, MatchesBitForBit) {
  const auto [name, type] = GetParam();
  const std::vector<uint8_t> blocks = ReadData(std::string(name) + ".blocks.bin");
  const std::vector<uint8_t> expected = ReadData(std::string(name) + ".values.f32");
  ASSERT_FALSE(blocks.empty());
  ASSERT_FALSE(expected.empty());
  const std::vector<float> values = Decode(type, blocks, expected.size() / sizeof(float));
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t bits;
    std::memcpy(&bits, expected.data() + i * sizeof(bits), sizeof(bits));
    ASSERT_EQ(Bits(values[i]), bits) << "value " << i << ": " << values[i];
  }
}

// A row may start at any byte of a file.
TEST_P(DequantVectors, TakesAnyAlignment) {
  const auto [name, type] = GetParam();
  const std::vector<uint8_t> blocks = ReadData(std::string(name) + ".blocks.bin");
  const int64_t elements =
      static_cast<int64_t>(blocks.size()) / Info(type).block_bytes * Info(type).block_elements;
  const std::vector<float> aligned = Decode(type, blocks, elements);
  for (int shift = 1; shift < 8; ++shift) {
    std::vector<uint8_t> moved(shift, 0xee);
    moved.insert(moved.end(), blocks.begin(), blocks.end());
    std::vector<float> values(elements, kUnwritten);
    FindDequant(type)(moved.data() + shift, elements, values.data());
    EXPECT_EQ(std::memcmp(values.data(), aligned.data(), elements * sizeof(float)), 0) << shift;
  }
}

// One block decodes alone as it does within a row, and writes exactly its own values.
TEST_P(DequantVectors, BlocksAreIndependent) {
  const auto [name, type] = GetParam();
  const std::vector<uint8_t> blocks = ReadData(std::string(name) + ".blocks.bin");
  const int block_bytes = Info(type).block_bytes;
  const int block_elements = Info(type).block_elements;
  const int64_t count = static_cast<int64_t>(blocks.size()) / block_bytes;
  const std::vector<float> row = Decode(type, blocks, count * block_elements);
  for (int64_t b = 0; b < count; ++b) {
    std::vector<float> values(block_elements + 1, kUnwritten);
    FindDequant(type)(blocks.data() + b * block_bytes, block_elements, values.data());
    EXPECT_EQ(
        std::memcmp(values.data(), row.data() + b * block_elements, block_elements * sizeof(float)),
        0)
        << "block " << b;
    EXPECT_EQ(values.back(), kUnwritten) << "block " << b;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Types, DequantVectors,
    testing::Values(VectorCase{"BF16", DType::kBF16}, VectorCase{"F16", DType::kF16},
                    VectorCase{"IQ1_M", DType::kIQ1_M}, VectorCase{"IQ1_S", DType::kIQ1_S},
                    VectorCase{"IQ2_S", DType::kIQ2_S}, VectorCase{"IQ2_XS", DType::kIQ2_XS},
                    VectorCase{"IQ2_XXS", DType::kIQ2_XXS}, VectorCase{"IQ3_S", DType::kIQ3_S},
                    VectorCase{"IQ3_XXS", DType::kIQ3_XXS}, VectorCase{"IQ4_NL", DType::kIQ4_NL},
                    VectorCase{"IQ4_XS", DType::kIQ4_XS}, VectorCase{"MXFP4", DType::kMXFP4},
                    VectorCase{"NVFP4", DType::kNVFP4}, VectorCase{"Q1_0", DType::kQ1_0},
                    VectorCase{"Q2_0", DType::kQ2_0}, VectorCase{"Q2_K", DType::kQ2_K},
                    VectorCase{"Q3_K", DType::kQ3_K}, VectorCase{"Q4_0", DType::kQ4_0},
                    VectorCase{"Q4_1", DType::kQ4_1}, VectorCase{"Q4_K", DType::kQ4_K},
                    VectorCase{"Q5_0", DType::kQ5_0}, VectorCase{"Q5_1", DType::kQ5_1},
                    VectorCase{"Q5_K", DType::kQ5_K}, VectorCase{"Q6_K", DType::kQ6_K},
                    VectorCase{"Q8_0", DType::kQ8_0}, VectorCase{"TQ1_0", DType::kTQ1_0},
                    VectorCase{"TQ2_0", DType::kTQ2_0}),
    [](const testing::TestParamInfo<VectorCase>& info) { return std::string(info.param.name); });

TEST(Dequant, EveryTypeButI64HasADecoder) {
  for (const DTypeInfo& info : AllDTypes()) {
    EXPECT_EQ(FindDequant(info.type) != nullptr, info.type != DType::kI64) << info.name;
  }
}

// Any bytes at all decode without reading or writing out of bounds (the sanitizer build checks),
// and every value of the row is written.
TEST(Dequant, AnyBytesDecode) {
  for (const DTypeInfo& info : AllDTypes()) {
    if (info.type == DType::kI64) continue;
    for (const int fill : {0x00, 0x55, 0x7f, 0x80, 0xaa, 0xff}) {
      const std::vector<uint8_t> bytes(3 * info.block_bytes, static_cast<uint8_t>(fill));
      for (const float value : Decode(info.type, bytes, 3 * info.block_elements)) {
        ASSERT_NE(Bits(value), Bits(kUnwritten)) << info.name << " filled with " << fill;
      }
    }
  }
}

TEST(Dequant, EmptyRows) {
  for (const DTypeInfo& info : AllDTypes()) {
    if (info.type == DType::kI64) continue;
    EXPECT_TRUE(DequantRow(info.type, {}, {}).ok()) << info.name;
  }
}

// The types below occur in memory or as metadata only, so no vectors exist; their layout is simple
// enough to write down.
TEST(Dequant, PlainNumbers) {
  std::vector<uint8_t> f32, f64, i8, i16, i32;
  for (const float value : {1.5f, -0.0f, 0x1p-149f}) Append(f32, value);
  for (const double value : {0.1, -1e300, -0.0, 1e-46}) Append(f64, value);
  for (const int8_t value : {-128, 0, 127}) Append(i8, value);
  for (const int16_t value : {-32768, 0, 32767}) Append(i16, value);
  for (const int32_t value : {-2147483647 - 1, 0, 16777217, 16777219}) Append(i32, value);
  const std::vector<float> singles = Decode(DType::kF32, f32, 3);
  EXPECT_THAT(singles, ElementsAre(1.5f, 0.0f, 0x1p-149f));
  EXPECT_TRUE(std::signbit(singles[1]));
  const std::vector<float> doubles = Decode(DType::kF64, f64, 4);
  EXPECT_THAT(doubles, ElementsAre(0.1f, -std::numeric_limits<float>::infinity(), 0.0f, 0.0f));
  EXPECT_TRUE(std::signbit(doubles[2]));
  EXPECT_THAT(Decode(DType::kI8, i8, 3), ElementsAre(-128.0f, 0.0f, 127.0f));
  EXPECT_THAT(Decode(DType::kI16, i16, 3), ElementsAre(-32768.0f, 0.0f, 32767.0f));
  // Beyond 2^24 the nearest float32, ties to even.
  EXPECT_THAT(Decode(DType::kI32, i32, 4),
              ElementsAre(-2147483648.0f, 0.0f, 16777216.0f, 16777220.0f));
}

TEST(Dequant, Q8_1) {
  std::vector<uint8_t> bytes;
  Append(bytes, FloatToHalf(0.25f));
  Append(bytes, FloatToHalf(1000.0f));  // the sum takes no part
  for (int j = 0; j < 32; ++j) Append(bytes, static_cast<int8_t>(j * 8 - 128));
  const std::vector<float> values = Decode(DType::kQ8_1, bytes, 32);
  for (int j = 0; j < 32; ++j) EXPECT_EQ(values[j], 0.25f * (j * 8 - 128)) << j;
}

TEST(Dequant, Q8_K) {
  std::vector<uint8_t> bytes;
  Append(bytes, -0.1f);  // a float32 scale, so each value is rounded once
  for (int j = 0; j < 256; ++j) Append(bytes, static_cast<int8_t>(j - 128));
  for (int j = 0; j < 16; ++j) Append(bytes, int16_t{9999});  // the sums take no part
  const std::vector<float> values = Decode(DType::kQ8_K, bytes, 256);
  for (int j = 0; j < 256; ++j) EXPECT_EQ(values[j], -0.1f * static_cast<float>(j - 128)) << j;
}

// Exponent byte 255 is NaN in the OCP specification but an ordinary power of two in ggml.
TEST(Dequant, MXFP4LargestExponent) {
  std::vector<uint8_t> bytes(17, 0);
  bytes[0] = 255;
  bytes[1] = 0x2f;  // value 0: code 15 is -6; value 16: code 2 is 1
  bytes[2] = 0x81;  // value 1: code 1 is 0.5; value 17: code 8 is zero
  const std::vector<float> values = Decode(DType::kMXFP4, bytes, 32);
  EXPECT_EQ(values[0], -std::numeric_limits<float>::infinity());
  EXPECT_EQ(values[16], std::numeric_limits<float>::infinity());  // 2^128
  EXPECT_EQ(values[1], 0x1p127f);
  EXPECT_EQ(Bits(values[17]), 0u);
}

std::string RowError(DType type, size_t bytes, size_t elements) {
  const std::vector<uint8_t> blocks(bytes);
  std::vector<float> out(elements, kUnwritten);
  const absl::Status status = DequantRow(type, blocks, absl::MakeSpan(out));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  for (const float value : out) EXPECT_EQ(value, kUnwritten);
  return std::string(status.message());
}

TEST(DequantRow, Errors) {
  EXPECT_EQ(RowError(DType::kQ4_K, 144, 255),
            "dequantise q4_k: expected a multiple of 256 elements, got 255");
  EXPECT_EQ(RowError(DType::kQ4_K, 143, 256),
            "dequantise q4_k: expected 144 bytes for 256 elements, got 143");
  EXPECT_EQ(RowError(DType::kQ8_0, 35, 32),
            "dequantise q8_0: expected 34 bytes for 32 elements, got 35");
  EXPECT_EQ(RowError(DType::kF32, 4, 0), "dequantise f32: expected 0 bytes for 0 elements, got 4");
  EXPECT_THAT(RowError(DType::kI64, 8, 1), HasSubstr("dequantise i64: expected a type"));
}

// The codebooks are thousands of constants of which the vectors visit only some: distinct points,
// only levels that exist, and the digest of the numbers that were checked against their source.
template <size_t kPoints>
void CheckGrid(const uint16_t (&grid)[kPoints], int coordinates, int width, int levels,
               const char* digest) {
  std::set<uint16_t> seen;
  for (const uint16_t point : grid) {
    EXPECT_TRUE(seen.insert(point).second) << "twice: " << point;
    EXPECT_LT(point, 1 << (coordinates * width));
    for (int i = 0; i < coordinates; ++i) {
      EXPECT_LT(point >> (i * width) & ((1 << width) - 1), levels) << point;
    }
  }
  const absl::Span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(grid), sizeof(grid));
  EXPECT_EQ(DigestOf(bytes).ToHex(), digest);
}

TEST(Grids, AreIntact) {
  CheckGrid(kGridIq1, 8, 2, 3, "1220a7fba786c03de30b148a9865714b");
  CheckGrid(kGridIq2Xxs, 8, 2, 3, "e5201951fe814dc3f51b46e2261aa6f7");
  CheckGrid(kGridIq2Xs, 8, 2, 3, "936bcc5c617a234904776de222b6391f");
  CheckGrid(kGridIq2S, 8, 2, 3, "b7cb335585ac4c1e8a600cbbc4756e56");
  CheckGrid(kGridIq3Xxs, 4, 3, 8, "208ee52d07e25e72b2ce1c29355d92ee");
  CheckGrid(kGridIq3S, 4, 3, 8, "8ef64d820e4b1843589391cca4a7c8fd");
}

}  // namespace
}  // namespace renga
