#include "ir/base/dtype.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <string>

#include "gtest/gtest.h"

namespace renga {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

uint32_t Bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

float FromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Ids that ggml once used or has not given out; everything else up to 42 is a type.
const std::set<uint32_t> kMissingIds = {4, 5, 31, 32, 33, 36, 37, 38};

TEST(DType, TableIsSortedAndComplete) {
  std::set<uint32_t> ids;
  int previous = -1;
  for (const DTypeInfo& info : AllDTypes()) {
    const int id = static_cast<int>(info.type);
    EXPECT_LT(previous, id) << info.name;
    previous = id;
    ids.insert(id);
    EXPECT_GT(info.block_elements, 0) << info.name;
    EXPECT_GT(info.block_bytes, 0) << info.name;
    EXPECT_EQ(info.quantized, info.block_elements > 1) << info.name;
    EXPECT_EQ(&Info(info.type), &info) << info.name;
  }
  for (uint32_t id = 0; id <= 42; ++id) {
    EXPECT_EQ(ids.count(id), kMissingIds.count(id) == 0 ? 1u : 0u) << id;
  }
  EXPECT_EQ(*ids.rbegin(), 42u);
}

TEST(DType, NamesAndIdsRoundTrip) {
  std::set<std::string_view> names;
  for (const DTypeInfo& info : AllDTypes()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_EQ(Name(info.type), info.name);
    EXPECT_EQ(DTypeFromName(info.name), info.type) << info.name;
    EXPECT_EQ(DTypeFromGgml(static_cast<uint32_t>(info.type)), info.type) << info.name;
    for (const char c : info.name) {
      EXPECT_TRUE((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_') << info.name;
    }
  }
}

TEST(DType, UnknownIdsAndNames) {
  for (const uint32_t id : kMissingIds) EXPECT_EQ(DTypeFromGgml(id), std::nullopt) << id;
  for (uint32_t id = 43; id < 1000; ++id) EXPECT_EQ(DTypeFromGgml(id), std::nullopt) << id;
  EXPECT_EQ(DTypeFromGgml(256), std::nullopt);  // not f32: no truncation to a byte
  EXPECT_EQ(DTypeFromGgml(0xffffffffu), std::nullopt);
  for (const std::string_view name : {"", "f", "F32", "f32 ", "q4_k_m", "f320"}) {
    EXPECT_EQ(DTypeFromName(name), std::nullopt) << name;
  }
}

// The type that caches have and GGUF has not: an id of a plan's cache, none of a file.
TEST(DType, OneIsOfCachesAlone) {
  const uint32_t id = static_cast<uint32_t>(DType::kF8_E4M3);
  ASSERT_LT(id, 256u);  // a byte in a plan
  EXPECT_EQ(DTypeFromGgml(id), std::nullopt);
  EXPECT_EQ(CacheDTypeFromId(id), DType::kF8_E4M3);
  EXPECT_EQ(DTypeFromName("f8_e4m3"), DType::kF8_E4M3);
  EXPECT_EQ(Name(DType::kF8_E4M3), "f8_e4m3");
  EXPECT_EQ(RowBytes(DType::kF8_E4M3, 7), 7);
  EXPECT_TRUE(IsCoarse(DType::kF8_E4M3) && IsCoarse(DType::kQ4_0));
  EXPECT_FALSE(IsCoarse(DType::kBF16) || IsCoarse(DType::kI32));
  for (const uint32_t missing : kMissingIds) EXPECT_EQ(CacheDTypeFromId(missing), std::nullopt);
  EXPECT_EQ(CacheDTypeFromId(256), std::nullopt);
}

TEST(DType, RowBytes) {
  EXPECT_EQ(RowBytes(DType::kF32, 3), 12);
  EXPECT_EQ(RowBytes(DType::kQ4_K, 512), 288);
  EXPECT_EQ(RowBytes(DType::kNVFP4, 128), 72);
  EXPECT_EQ(RowBytes(DType::kQ8_0, 0), 0);
}

TEST(DType, RowBytesChecked) {
  for (const DTypeInfo& info : AllDTypes()) {
    const int64_t block = info.block_elements;
    EXPECT_EQ(RowBytesChecked(info.type, 0), 0) << info.name;
    EXPECT_EQ(RowBytesChecked(info.type, 7 * block), 7 * info.block_bytes) << info.name;
    EXPECT_EQ(RowBytesChecked(info.type, -block), std::nullopt) << info.name;
    EXPECT_EQ(RowBytesChecked(info.type, std::numeric_limits<int64_t>::min()), std::nullopt)
        << info.name;
    if (block > 1) {
      EXPECT_EQ(RowBytesChecked(info.type, 1), std::nullopt) << info.name;
      EXPECT_EQ(RowBytesChecked(info.type, 3 * block - 1), std::nullopt) << info.name;
      EXPECT_EQ(RowBytesChecked(info.type, 3 * block + 1), std::nullopt) << info.name;
    }
    // The longest row whose bytes still fit, and one block more.
    if (info.block_bytes <= info.block_elements) continue;  // never overflows
    const int64_t blocks = kMax / info.block_bytes;
    EXPECT_EQ(RowBytesChecked(info.type, blocks * block), blocks * info.block_bytes) << info.name;
    EXPECT_EQ(RowBytesChecked(info.type, (blocks + 1) * block), std::nullopt) << info.name;
  }
  EXPECT_EQ(RowBytesChecked(DType::kI8, kMax), kMax);
  EXPECT_EQ(RowBytesChecked(DType::kF32, kMax), std::nullopt);
  EXPECT_EQ(RowBytesChecked(DType::kF64, int64_t{1} << 60), std::nullopt);
}

// By the definition: sign * mantissa * 2^exponent, worked out in double.
double HalfByDefinition(int half) {
  const int exponent = half >> 10 & 31;
  const int mantissa = half & 1023;
  double value;
  if (exponent == 31) {
    value = mantissa == 0 ? kInfinity : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    value = std::ldexp(mantissa, -24);
  } else {
    value = std::ldexp(1024 + mantissa, exponent - 25);
  }
  return half & 0x8000 ? -value : value;
}

TEST(Half, EveryValueConvertsAndReturns) {
  for (int half = 0; half < 65536; ++half) {
    const float value = HalfToFloat(static_cast<uint16_t>(half));
    const double expected = HalfByDefinition(half);
    ASSERT_EQ(std::signbit(value), half >= 0x8000) << half;
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << half;
      const uint16_t back = FloatToHalf(value);
      ASSERT_GT(back & 0x7fff, 0x7c00) << half;  // still NaN
      ASSERT_EQ(back & 0x8000, half & 0x8000) << half;
    } else {
      ASSERT_EQ(value, expected) << half;
      ASSERT_EQ(FloatToHalf(value), half);
    }
  }
}

// Between two neighbouring halves: below the middle goes down, above it up, the middle to the even
// one. The step past the largest half is where infinity begins, as if the exponent had no bound.
TEST(Half, RoundsToNearestEven) {
  for (int half = 0; half < 0x7c00; ++half) {
    const double low = HalfByDefinition(half);
    const double high = half == 0x7bff ? 65536.0 : HalfByDefinition(half + 1);
    const float middle = static_cast<float>((low + high) / 2);  // exact: one bit more than a half
    const int even = half % 2 == 0 ? half : half + 1;
    for (const int sign : {0, 0x8000}) {
      const float s = sign ? -1.0f : 1.0f;
      ASSERT_EQ(FloatToHalf(s * middle), sign | even) << half;
      ASSERT_EQ(FloatToHalf(s * std::nextafter(middle, 0.0f)), sign | half) << half;
      ASSERT_EQ(FloatToHalf(s * std::nextafter(middle, kInfinity)), sign | (half + 1)) << half;
    }
  }
}

TEST(Half, ExtremeFloats) {
  EXPECT_EQ(FloatToHalf(std::numeric_limits<float>::max()), 0x7c00);
  EXPECT_EQ(FloatToHalf(-std::numeric_limits<float>::max()), 0xfc00);
  EXPECT_EQ(FloatToHalf(kInfinity), 0x7c00);
  EXPECT_EQ(FloatToHalf(-kInfinity), 0xfc00);
  EXPECT_EQ(FloatToHalf(std::numeric_limits<float>::denorm_min()), 0x0000);
  EXPECT_EQ(FloatToHalf(-std::numeric_limits<float>::denorm_min()), 0x8000);
  EXPECT_GT(FloatToHalf(FromBits(0x7f800001u)) & 0x7fff, 0x7c00);  // NaN with a low payload
  EXPECT_GT(FloatToHalf(FromBits(0xffffffffu)) & 0x7fff, 0x7c00);
}

// By the definition (Open Compute Project, "OCP 8-bit Floating Point Specification"): 4 bits of
// exponent with bias 7, 3 of mantissa, and NaN in place of the largest number of each sign.
double E4M3ByDefinition(int code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  double value = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  if ((code & 0x7f) == 0x7f) value = std::numeric_limits<double>::quiet_NaN();
  return code & 0x80 ? -value : value;
}

TEST(E4M3, EveryValueConvertsAndReturns) {
  for (int code = 0; code < 256; ++code) {
    const float value = E4M3ToFloat(static_cast<uint8_t>(code));
    const double expected = E4M3ByDefinition(code);
    ASSERT_EQ(std::signbit(value), code >= 0x80) << code;
    ASSERT_EQ(FloatToE4M3(value), code);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << code;
    } else {
      ASSERT_EQ(value, expected) << code;
    }
  }
  EXPECT_EQ(E4M3ToFloat(0x7e), kMaxE4M3);
}

TEST(E4M3, RoundsToNearestEven) {
  for (int code = 0; code < 0x7e; ++code) {
    const float middle =
        static_cast<float>((E4M3ByDefinition(code) + E4M3ByDefinition(code + 1)) / 2);  // exact
    const int even = code % 2 == 0 ? code : code + 1;
    for (const int sign : {0, 0x80}) {
      const float s = sign ? -1.0f : 1.0f;
      ASSERT_EQ(FloatToE4M3(s * middle), sign | even) << code;
      ASSERT_EQ(FloatToE4M3(s * std::nextafter(middle, 0.0f)), sign | code) << code;
      ASSERT_EQ(FloatToE4M3(s * std::nextafter(middle, kInfinity)), sign | (code + 1)) << code;
    }
  }
}

// Of numbers beyond the largest none becomes NaN, which their rounding would be from 464 on.
TEST(E4M3, ExtremeFloats) {
  for (const float large : {448.0f, std::nextafter(448.0f, kInfinity), 464.0f, 465.0f, 480.0f,
                            65504.0f, std::numeric_limits<float>::max(), kInfinity}) {
    EXPECT_EQ(FloatToE4M3(large), 0x7e) << large;
    EXPECT_EQ(FloatToE4M3(-large), 0xfe) << large;
  }
  EXPECT_EQ(FloatToE4M3(std::numeric_limits<float>::denorm_min()), 0x00);
  EXPECT_EQ(FloatToE4M3(-std::numeric_limits<float>::denorm_min()), 0x80);
  EXPECT_EQ(FloatToE4M3(FromBits(0x7f800001u)), 0x7f);  // NaN, not the largest
  EXPECT_EQ(FloatToE4M3(FromBits(0xffffffffu)), 0xff);
}

TEST(BFloat16, EveryValueConvertsAndReturns) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = BFloat16ToFloat(static_cast<uint16_t>(bits));
    ASSERT_EQ(Bits(value), bits << 16);
    const uint16_t back = FloatToBFloat16(value);
    if (std::isnan(value)) {
      ASSERT_GT(back & 0x7fff, 0x7f80) << bits;
      ASSERT_EQ(back & 0x8000, static_cast<int>(bits & 0x8000)) << bits;
    } else {
      ASSERT_EQ(back, bits);
    }
  }
}

TEST(BFloat16, RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7f80; ++bits) {
    const uint32_t even = bits % 2 == 0 ? bits : bits + 1;
    for (const uint32_t sign : {0u, 0x8000u}) {
      const uint32_t base = (sign | bits) << 16;
      ASSERT_EQ(FloatToBFloat16(FromBits(base + 0x7fff)), sign | bits) << bits;
      ASSERT_EQ(FloatToBFloat16(FromBits(base + 0x8000)), sign | even) << bits;
      ASSERT_EQ(FloatToBFloat16(FromBits(base + 0x8001)), sign | (bits + 1)) << bits;
    }
  }
  EXPECT_EQ(FloatToBFloat16(std::numeric_limits<float>::max()), 0x7f80);  // infinity
  EXPECT_GT(FloatToBFloat16(FromBits(0x7f800001u)) & 0x7fff, 0x7f80);     // NaN, not infinity
}

}  // namespace
}  // namespace renga
