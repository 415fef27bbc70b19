// What each primitive computes on the host, against values worked out from its definition.

#include <cmath>

#include "tests/emulator/selftest/support.h"

namespace renga::emulator {
namespace {

using testing::ElementsAre;

absl::Status RunKernel(Emulator* emulator, const char* kernel, const LaunchShape& shape,
                       auto... values) {
  const absl::Status status = emulator->Launch(TestKernel(kernel), shape, {}, values...);
  EXPECT_TRUE(status.ok()) << status;
  return status;
}

// The nearest f16 of a finite number, ties to even, found by search among all.
uint16_t NearestHalf(float x) {
  const auto value = [](uint32_t bits) {  // of a positive finite f16, from its definition
    const int exponent = static_cast<int>(bits >> 10);
    const double fraction = bits & 1023;
    return exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  };
  const double size = std::abs(static_cast<double>(x));
  uint32_t low = 0, high = 0x7c00;  // 0x7c00 stands for 2^16: infinity begins halfway to it
  while (high - low > 1) {
    const uint32_t middle = (low + high) / 2;
    (value(middle) <= size ? low : high) = middle;
  }
  const double down = size - value(low), up = value(high) - size;
  const bool rounds_up = up < down || (up == down && low % 2 == 1);
  return static_cast<uint16_t>((rounds_up ? high : low) | (std::signbit(x) ? 0x8000 : 0));
}

TEST(Primitives, EveryHalfSurvivesTheWayThroughFloat) {
  Emulator emulator;
  uint16_t* y = Fresh<uint16_t>(&emulator, "y", 65536);
  ASSERT_TRUE(RunKernel(&emulator, "half_round_trip", {{128}, {512}}, y).ok());
  const auto got = Download(&emulator, y, 65536);
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const bool nan = (bits & 0x7c00) == 0x7c00 && (bits & 0x3ff) != 0;
    EXPECT_TRUE(nan ? (got[bits] & 0x7fff) > 0x7c00 : got[bits] == bits) << bits;
  }
}

TEST(Primitives, Conversions) {
  std::vector<float> x = {0.0f,  -0.0f, 1.0f,    65504.0f,    65519.9f,       65520.0f,
                          -1e9f, 6e-8f, 2.9e-8f, 2.98023e-8f, 1.00048828125f, 1.00146484375f,
                          0.5f,  1.5f,  2.5f,    -2.5f,       3e9f,           -3e9f};
  while (x.size() < 512)
    x.push_back(std::ldexp(Noise(x.size()), static_cast<int>(x.size() % 40) - 24));
  Emulator emulator;
  float* x_at = Upload(&emulator, "x", x);
  uint16_t* halves = Fresh<uint16_t>(&emulator, "halves", x.size());
  uint16_t* bfloats = Fresh<uint16_t>(&emulator, "bfloats", x.size());
  int32_t* integers = Fresh<int32_t>(&emulator, "integers", x.size());
  ASSERT_TRUE(RunKernel(&emulator, "convert", {{1}, {512}}, x_at, halves, bfloats, integers).ok());
  const auto got_halves = Download(&emulator, halves, x.size());
  const auto got_bfloats = Download(&emulator, bfloats, x.size());
  const auto got_integers = Download(&emulator, integers, x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(got_halves[i], NearestHalf(x[i])) << x[i];
    // bf16 has 8 bits: half a unit in the last place.
    const uint32_t wide = static_cast<uint32_t>(got_bfloats[i]) << 16;
    float back;
    memcpy(&back, &wide, 4);
    EXPECT_LE(std::abs(back - x[i]), std::abs(x[i]) / 256) << x[i];
    const double rounded = std::nearbyint(static_cast<double>(x[i]));
    EXPECT_EQ(got_integers[i], std::clamp(rounded, -2147483648.0, 2147483647.0)) << x[i];
  }
}

TEST(Primitives, HalfArithmetic) {
  const auto pair = [](float low, float high) {
    return HalfBits(low) | static_cast<uint32_t>(HalfBits(high)) << 16;
  };
  Emulator emulator;
  // A nibble as f16 is subnormal: 3 * 2^-24. It counts.
  const std::vector<uint32_t> x = {3u | static_cast<uint32_t>(HalfBits(1.5f)) << 16,
                                   pair(16384.0f, -4.0f), pair(0.25f, 8.0f)};
  uint32_t* y = Fresh<uint32_t>(&emulator, "y", 10);
  ASSERT_TRUE(
      RunKernel(&emulator, "half_arithmetic", {{1}, {1}}, Upload(&emulator, "x", x), y).ok());
  const uint32_t a_low = 3u | 3u << 16, a_high = pair(1.5f, 1.5f);
  EXPECT_THAT(Download(&emulator, y, 10),
              ElementsAre(pair(16384.0f, -2.5f), pair(-16384.0f, 5.5f), pair(3.0f / 1024, -6.0f),
                          pair(3.0f / 1024 + 0.25f, 2.0f), pair(16384.0f, 1.5f),
                          3u | static_cast<uint32_t>(HalfBits(-4.0f)) << 16, a_low, a_high,
                          pair(1.5f, 1.5f), pair(0.5f, -2.0f)));
}

TEST(Primitives, Bits) {
  Emulator emulator;
  const std::vector<uint32_t> x = {0x7f80ff01u, 0x11223344u, 0xc0ffee00u, 0x00040000u};
  uint32_t* y = Fresh<uint32_t>(&emulator, "y", 12);
  ASSERT_TRUE(RunKernel(&emulator, "bit_functions", {{1}, {1}}, Upload(&emulator, "x", x), y).ok());
  const auto got = Download(&emulator, y, 12);
  EXPECT_EQ(got[0], 0x33ff4401u);  // bytes 0, 4, 1, 5
  EXPECT_EQ(got[1], 0x007f80ffu);  // bytes 1, 2, 3, and the sign of byte 7
  EXPECT_EQ(got[2], (0x7f80ff01u & 0x11223344u) | 0xc0ffee00u);
  EXPECT_EQ(got[3], 0x3447f80fu);
  EXPECT_EQ(static_cast<int32_t>(got[4]), 1000 + 1 * 0x44 - 1 * 0x33 - 128 * 0x22 + 127 * 0x11);
  EXPECT_EQ(got[5], 17u);
  EXPECT_EQ(got[6], 13u);
  EXPECT_EQ(got[7], 18u);
  EXPECT_EQ(got[8], 32u);
  EXPECT_EQ(static_cast<int32_t>(got[9]), -1);
  EXPECT_EQ(got[10], x[2]);
  EXPECT_EQ(got[11], 0xc0003f80u);
}

TEST(Primitives, FastFunctions) {
  std::vector<float> x;
  for (int i = 0; i < 64; ++i) x.push_back(std::ldexp(1.0f + Noise(i) / 4, i % 18 - 12));
  x[0] = 1e-40f;  // flushed to zero
  Emulator emulator;
  float* y = Fresh<float>(&emulator, "y", x.size() * 5);
  ASSERT_TRUE(
      RunKernel(&emulator, "fast_functions", {{1}, {64}}, Upload(&emulator, "x", x), y).ok());
  const auto got = Download(&emulator, y, x.size() * 5);
  EXPECT_THAT(std::vector<float>(got.begin(), got.begin() + 5),
              ElementsAre(1.0f, -INFINITY, INFINITY, INFINITY, testing::FloatEq(1e-40f)));
  for (size_t i = 1; i < x.size(); ++i) {
    const double v = x[i];
    const double want[] = {std::exp2(v), std::log2(v), 1 / std::sqrt(v), 1 / v, std::tanh(v)};
    for (int f = 0; f < 5; ++f) {
      // The C library's functions of f32, composed at most once: 2^-22.
      EXPECT_NEAR(got[i * 5 + f], want[f], std::abs(want[f]) * 2.4e-7 + 1e-9) << v << " " << f;
    }
  }
}

TEST(Primitives, LanesExchange) {
  Emulator emulator;
  uint32_t* y = Fresh<uint32_t>(&emulator, "y", 32 * 9);
  ASSERT_TRUE(RunKernel(&emulator, "lanes", {{1}, {32}}, y).ok());
  const auto got = Download(&emulator, y, 32 * 9);
  for (uint32_t lane = 0; lane < 32; ++lane) {
    EXPECT_THAT(std::vector<uint32_t>(got.begin() + lane * 9, got.begin() + lane * 9 + 9),
                ElementsAre(50u, (lane ^ 7) * 10, lane < 3 ? lane * 10 : (lane - 3) * 10,
                            lane > 28 ? lane * 10 : (lane + 3) * 10, 0x49249249u, 1u, 0u,
                            lane % 2 == 0 ? 4u : 0u, 0x3f800000u + 7u));
  }
}

TEST(Primitives, Atomics) {
  Emulator emulator;
  uint32_t* counters =
      Upload(&emulator, "counters", std::vector<uint32_t>{0, 0, 0, 0x80000000u, 0, 0, 0});
  float* sum = Upload(&emulator, "sum", std::vector<float>{1.0f});
  uint64_t* key = Upload(&emulator, "key", std::vector<uint64_t>{0});
  ASSERT_TRUE(RunKernel(&emulator, "atomics", {{1}, {64}}, counters, sum, key).ok());
  EXPECT_THAT(
      Download(&emulator, counters, 7),
      ElementsAre(64u, static_cast<uint32_t>(-64), 63u, static_cast<uint32_t>(-37), 99u, 1u, 1u));
  EXPECT_EQ(Download(&emulator, sum, 1)[0], 33.0f);
  // 37 t % 64 is 63 for t = 19, as 37 * 19 = 703 = 10 * 64 + 63.
  EXPECT_EQ(Download(&emulator, key, 1)[0], uint64_t{63} << 32 | 19);
}

TEST(Primitives, ProductsOfAWarp) {
  for (const int bfloat : {0, 1}) {
    Emulator emulator;
    std::vector<uint16_t> a(256), b(128);
    // Small integers, exact in both types.
    const auto encode = [&](int value) {
      const auto f = static_cast<float>(value);
      uint32_t bits;
      memcpy(&bits, &f, 4);
      return bfloat != 0 ? static_cast<uint16_t>(bits >> 16) : HalfBits(f);
    };
    for (int i = 0; i < 256; ++i) a[i] = encode(i * 7 % 13 - 6);
    for (int i = 0; i < 128; ++i) b[i] = encode(i * 5 % 11 - 5);
    float* c = Fresh<float>(&emulator, "c", 128);
    ASSERT_TRUE(RunKernel(&emulator, "mma_layout", {{1}, {32}}, Upload(&emulator, "a", a),
                          Upload(&emulator, "b", b), c, bfloat)
                    .ok());
    const auto got = Download(&emulator, c, 128);
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < 8; ++j) {
        int sum = 0;
        for (int k = 0; k < 16; ++k) {
          sum += ((i * 16 + k) * 7 % 13 - 6) * ((k * 8 + j) * 5 % 11 - 5);
        }
        EXPECT_EQ(got[i * 8 + j], sum) << i << "," << j;
      }
    }
  }
}

}  // namespace
}  // namespace renga::emulator
