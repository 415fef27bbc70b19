// The layout for mma: every bit has its place, and the places are those that its header names.
#include "ir/base/mma_layout.h"

#include <cstring>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"

namespace renga {
namespace {

using testing::HasSubstr;

constexpr DType kTypes[] = {DType::kF32,  DType::kF16,    DType::kBF16, DType::kQ8_0, DType::kQ4_0,
                            DType::kQ4_1, DType::kQ5_0,   DType::kQ5_1, DType::kQ4_K, DType::kQ5_K,
                            DType::kQ6_K, DType::kIQ4_NL, DType::kMXFP4};

std::vector<uint8_t> RandomBytes(size_t bytes) {
  std::mt19937 random(7);
  std::vector<uint8_t> out(bytes);
  for (uint8_t& byte : out) byte = static_cast<uint8_t>(random());
  return out;
}

// Random bits, so every bit of every field is on trial, NaN scales among them.
TEST(MmaLayout, UnpackGivesBackEveryBit) {
  for (const DType type : kTypes) {
    const int block = Info(type).block_elements;
    for (const int64_t rows : {1, 8, 16, 37}) {
      for (const int64_t blocks : {1, 3, 7, 18}) {
        const int64_t k = block == 1 ? blocks * 29 : blocks * block;
        SCOPED_TRACE(StrCat(Name(type), "[", rows, ",", k, "]"));
        const auto layout = MmaLayoutOf(type, rows, k);
        ASSERT_TRUE(layout.ok()) << layout.status();
        EXPECT_GE(layout->padded_k(), k);
        const std::vector<uint8_t> file = RandomBytes(rows * RowBytes(type, k));
        std::vector<uint8_t> packed(layout->bytes), back(file.size());
        ASSERT_TRUE(PackForMma(*layout, file, absl::MakeSpan(packed)).ok());
        ASSERT_TRUE(UnpackFromMma(*layout, packed, absl::MakeSpan(back)).ok());
        EXPECT_EQ(back, file);
      }
    }
  }
}

TEST(MmaLayout, WholeTilesCarryLittleMoreThanTheFile) {
  for (const DType type : kTypes) {
    const auto layout = MmaLayoutOf(type, 4096, 4096);
    ASSERT_TRUE(layout.ok());
    // Six-bit scales become bytes: 2.8 % of Q4_K. The rest is rounding and the tail.
    EXPECT_LT(layout->bytes, 1.03 * 4096 * RowBytes(type, 4096) + 1100) << Name(type);
    EXPECT_EQ(layout->padded_k(), 4096);
  }
}

// Row 9, k = 32 + 8 * 2 + 3: block 1, lane 4 * 1 + 2, its second row, weight 3.
TEST(MmaLayout, PlacesAreThoseOfTheHeader) {
  const int64_t k = 64;
  const auto halves = MmaLayoutOf(DType::kF16, 16, k);
  ASSERT_TRUE(halves.ok());
  std::vector<uint16_t> file(16 * k);
  file[9 * k + 51] = 0x1234;
  std::vector<uint8_t> packed(halves->bytes);
  ASSERT_TRUE(PackForMma(*halves, {reinterpret_cast<const uint8_t*>(file.data()), file.size() * 2},
                         absl::MakeSpan(packed))
                  .ok());
  // Word 8 * 1 + 4 * 1 + 3 / 2 = 13 of the lane: chunk 3, word 1, upper half.
  uint16_t found;
  std::memcpy(&found, packed.data() + ((3 * 32 + 6) * 4 + 1) * 4 + 2, 2);
  EXPECT_EQ(found, 0x1234);

  const auto nibbles = MmaLayoutOf(DType::kQ4_0, 16, k);
  ASSERT_TRUE(nibbles.ok());
  EXPECT_EQ(nibbles->step_blocks, 2);
  std::vector<uint8_t> blocks(16 * 2 * 18);
  uint8_t* block = blocks.data() + (9 * 2 + 1) * 18;
  block[1] = 0x3c;      // d = 1
  block[2 + 3] = 0xb0;  // value 3 + 16 = 19
  packed.resize(nibbles->bytes);
  ASSERT_TRUE(PackForMma(*nibbles, blocks, absl::MakeSpan(packed)).ok());
  uint32_t word;  // word 2 * 1 + 1 of lane 6; weight 3 is nibble 5
  std::memcpy(&word, packed.data() + (6 * 4 + 3) * 4, 4);
  EXPECT_EQ(word, 0xb00000u);
  std::memcpy(&word, packed.data() + nibbles->plane[1].offset + (1 * 2 + 1) * 4, 4);
  EXPECT_EQ(word, 0x3c000000u);
  int32_t exponent;  // 1 < 2^1, so 2^14 keeps it below 2^15
  std::memcpy(&exponent, packed.data() + nibbles->tail_offset, 4);
  EXPECT_EQ(exponent, 14);
}

TEST(MmaLayout, TheExponentAloneIsThatOfPacking) {
  for (const DType type : kTypes) {
    const auto layout = MmaLayoutOf(type, 5, 256);
    ASSERT_TRUE(layout.ok());
    for (const int fill : {0, 1, 0x21}) {
      std::vector<uint8_t> file(5 * RowBytes(type, 256), static_cast<uint8_t>(fill));
      std::vector<uint8_t> packed(layout->bytes);
      ASSERT_TRUE(PackForMma(*layout, file, absl::MakeSpan(packed)).ok());
      int32_t exponent;
      std::memcpy(&exponent, packed.data() + layout->tail_offset, 4);
      const auto alone = MmaExponentOf(*layout, file);
      ASSERT_TRUE(alone.ok()) << alone.status();
      EXPECT_EQ(*alone, exponent) << Name(type) << " of bytes " << fill;
      file.pop_back();
      EXPECT_FALSE(MmaExponentOf(*layout, file).ok());
    }
  }
}

TEST(MmaLayout, StepsFitTheRow) {
  const auto step_blocks = [](DType type, int64_t k) {
    return MmaLayoutOf(type, 16, k).value().step_blocks;
  };
  EXPECT_EQ(step_blocks(DType::kQ4_0, 4096), 8);
  EXPECT_EQ(step_blocks(DType::kQ4_0, 896), 4);
  EXPECT_EQ(step_blocks(DType::kQ4_0, 576), 2);
  EXPECT_EQ(step_blocks(DType::kQ8_0, 32), 1);
  EXPECT_EQ(step_blocks(DType::kF16, 172), 2);
  EXPECT_EQ(MmaLayoutOf(DType::kF16, 16, 172)->padded_k(), 192);
  EXPECT_EQ(MmaLayoutOf(DType::kQ5_0, 16, 32)->padded_k(), 64);
}

TEST(MmaLayout, SaysWhatItCannotDo) {
  EXPECT_THAT(std::string(MmaLayoutOf(DType::kQ2_K, 16, 256).status().message()),
              HasSubstr("expected a type of f32 f16"));
  EXPECT_THAT(std::string(MmaLayoutOf(DType::kQ4_K, 16, 288).status().message()),
              HasSubstr("whole blocks of 256"));
  EXPECT_FALSE(MmaLayoutOf(DType::kF32, 0, 4).ok());
  EXPECT_FALSE(MmaLayoutOf(DType::kF32, int64_t{1} << 50, 4).ok());
  EXPECT_FALSE(MmaLayoutOf(DType::kF32, int64_t{1} << 30, int64_t{1} << 30).ok());
  const auto layout = MmaLayoutOf(DType::kF16, 16, 32);
  std::vector<uint8_t> file(16 * 64 - 1), packed(layout->bytes);
  EXPECT_THAT(std::string(PackForMma(*layout, file, absl::MakeSpan(packed)).message()),
              HasSubstr("expected 1024 bytes of rows"));
}

}  // namespace
}  // namespace renga
