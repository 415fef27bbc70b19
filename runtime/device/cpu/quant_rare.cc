// The rest of the types: seldom used, so unpacked by plain loops. Their rows are multiplied from a
// tile even for one token. All are small integers with a scale for 16 elements.
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "ir/base/iq_grids.h"
#include "runtime/device/cpu/quant_ops.h"
#include "runtime/device/cpu/quant_values.h"

namespace renga::cpu {
namespace {

// One block in element order: quants, and a scale for each 16.
struct Decoded {
  int8_t q[256];
  float scale[16];
};

uint16_t Word16(const uint8_t* p) {
  uint16_t v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
uint32_t Word32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
float Half(const uint8_t* p) { return HalfToFloat(Word16(p)); }
int Bits(uint32_t word, int at, int count) {
  return static_cast<int>(word >> at & ((1u << count) - 1));
}

void SameScale(float d, int count, Decoded& out) {
  for (int i = 0; i < count; ++i) out.scale[i] = d;
}

void Q1_0(const uint8_t* p, Decoded& out) {
  SameScale(Half(p), 8, out);
  for (int i = 0; i < 128; ++i) out.q[i] = Bits(p[2 + i / 8], i % 8, 1) != 0 ? 1 : -1;
}

void Q2_0(const uint8_t* p, Decoded& out) {
  SameScale(Half(p), 4, out);
  for (int i = 0; i < 64; ++i) out.q[i] = static_cast<int8_t>(Bits(p[2 + i / 4], i % 4 * 2, 2) - 1);
}

void TQ2_0(const uint8_t* p, Decoded& out) {
  SameScale(Half(p + 64), 16, out);
  for (int i = 0; i < 256; ++i) {
    out.q[i] = static_cast<int8_t>(Bits(p[i / 128 * 32 + i % 32], i / 32 % 4 * 2, 2) - 1);
  }
}

// Trit `digit` of a byte, which holds a base-3 fraction in 1/256: shift the digits before it out,
// then take the integer part of three times the rest.
int8_t Trit(uint8_t byte, int digit) {
  for (; digit > 0; --digit) byte = static_cast<uint8_t>(byte * 3);
  return static_cast<int8_t>((byte * 3 >> 8) - 1);
}

void TQ1_0(const uint8_t* p, Decoded& out) {
  SameScale(Half(p + 52), 16, out);
  int i = 0;
  for (int digit = 0; digit < 5; ++digit) {
    for (int b = 0; b < 32; ++b) out.q[i++] = Trit(p[b], digit);
  }
  for (int digit = 0; digit < 5; ++digit) {
    for (int b = 32; b < 48; ++b) out.q[i++] = Trit(p[b], digit);
  }
  for (int digit = 0; digit < 4; ++digit) {
    for (int b = 48; b < 52; ++b) out.q[i++] = Trit(p[b], digit);
  }
}

// Half of an E4M3 number without sign (the values are doubled). 0x7F means 0; otherwise the top bit
// is ignored.
float HalfOfE4M3(uint8_t code) {
  if (code == 0x7F) return 0;
  const int exponent = Bits(code, 3, 4), mantissa = Bits(code, 0, 3);
  return exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -10)
                       : std::ldexp(static_cast<float>(8 + mantissa), exponent - 11);
}

void NVFP4(const uint8_t* p, Decoded& out) {
  for (int g = 0; g < 4; ++g) {
    out.scale[g] = HalfOfE4M3(p[g]);
    for (int i = 0; i < 16; ++i) {
      out.q[g * 16 + i] = kE2M1Doubled[Bits(p[4 + g * 8 + i % 8], i / 8 * 4, 4)];
    }
  }
}

// Eight elements from a grid point of eight 2-bit codes or two of four 3-bit codes, with sign bits.
void SignedRun(const std::array<int8_t, 8>& magnitudes, int signs, int8_t* q) {
  for (int i = 0; i < 8; ++i) {
    q[i] = static_cast<int8_t>(Bits(signs, i, 1) != 0 ? -magnitudes[i] : magnitudes[i]);
  }
}

std::array<int8_t, 8> Iq2Point(uint16_t code) {
  std::array<int8_t, 8> point;
  for (int i = 0; i < 8; ++i) point[i] = static_cast<int8_t>(kLevelsIq2[Bits(code, 2 * i, 2)]);
  return point;
}

std::array<int8_t, 8> Iq3Points(const float (&levels)[8], uint16_t a, uint16_t b) {
  std::array<int8_t, 8> points;
  for (int i = 0; i < 8; ++i) {
    points[i] = static_cast<int8_t>(levels[Bits(i < 4 ? a : b, i % 4 * 3, 3)]);
  }
  return points;
}

// Seven stored signs; the eighth makes their number even.
int EvenSigns(uint32_t code) {
  const uint32_t seven = code & 127;
  return static_cast<int>(seven | (std::popcount(seven) & 1u) << 7);
}

void IQ2_XXS(const uint8_t* p, Decoded& out) {
  const float d = Half(p);
  for (int g = 0; g < 8; ++g) {
    const uint8_t* points = p + 2 + 8 * g;
    const uint32_t word = Word32(points + 4);
    out.scale[2 * g] = out.scale[2 * g + 1] = d * (0.5f + static_cast<float>(word >> 28)) * 0.25f;
    for (int r = 0; r < 4; ++r) {
      SignedRun(Iq2Point(kGridIq2Xxs[points[r]]), EvenSigns(word >> (7 * r)),
                out.q + 32 * g + 8 * r);
    }
  }
}

void IQ2_XS(const uint8_t* p, Decoded& out) {
  const float d = Half(p);
  for (int s = 0; s < 16; ++s) {
    out.scale[s] = d * (0.5f + static_cast<float>(Bits(p[66 + s / 2], s % 2 * 4, 4))) * 0.25f;
  }
  for (int r = 0; r < 32; ++r) {
    const uint16_t word = Word16(p + 2 + 2 * r);
    SignedRun(Iq2Point(kGridIq2Xs[Bits(word, 0, 9)]), EvenSigns(word >> 9), out.q + 8 * r);
  }
}

void IQ2_S(const uint8_t* p, Decoded& out) {
  const float d = Half(p);
  for (int s = 0; s < 16; ++s) {
    out.scale[s] = d * (0.5f + static_cast<float>(Bits(p[74 + s / 2], s % 2 * 4, 4))) * 0.25f;
  }
  for (int r = 0; r < 32; ++r) {
    const int point = p[2 + r] | Bits(p[66 + r / 4], r % 4 * 2, 2) << 8;
    SignedRun(Iq2Point(kGridIq2S[point]), p[34 + r], out.q + 8 * r);
  }
}

void IQ3_XXS(const uint8_t* p, Decoded& out) {
  const float d = Half(p);
  for (int g = 0; g < 8; ++g) {
    const uint32_t word = Word32(p + 66 + 4 * g);
    out.scale[2 * g] = out.scale[2 * g + 1] = d * (0.5f + static_cast<float>(word >> 28)) * 0.5f;
    for (int r = 0; r < 4; ++r) {
      const uint8_t* points = p + 2 + 8 * g + 2 * r;
      SignedRun(Iq3Points(kLevelsIq3Xxs, kGridIq3Xxs[points[0]], kGridIq3Xxs[points[1]]),
                EvenSigns(word >> (7 * r)), out.q + 32 * g + 8 * r);
    }
  }
}

void IQ3_S(const uint8_t* p, Decoded& out) {
  const float d = Half(p);
  for (int g = 0; g < 8; ++g) {
    const int scale = 2 * Bits(p[106 + g / 2], g % 2 * 4, 4) + 1;
    out.scale[2 * g] = out.scale[2 * g + 1] = d * static_cast<float>(scale);
    for (int r = 0; r < 4; ++r) {
      const uint8_t* low = p + 2 + 8 * g + 2 * r;
      const int a = low[0] | Bits(p[66 + g], 2 * r, 1) << 8;
      const int b = low[1] | Bits(p[66 + g], 2 * r + 1, 1) << 8;
      SignedRun(Iq3Points(kLevelsIq3S, kGridIq3S[a], kGridIq3S[b]), p[74 + 4 * g + r],
                out.q + 32 * g + 8 * r);
    }
  }
}

// IQ1: coordinates -1, 0, 1, moved by an eighth up or down: as integers, eighths.
void Iq1Run(int point, bool down, int8_t* q) {
  for (int i = 0; i < 8; ++i) {
    const int level = static_cast<int>(kLevelsIq1[Bits(kGridIq1[point], 2 * i, 2)]);
    q[i] = static_cast<int8_t>(8 * level + (down ? -1 : 1));
  }
}

void IQ1_S(const uint8_t* p, Decoded& out) {
  const float d = Half(p) * 0.125f;
  for (int g = 0; g < 8; ++g) {
    const uint16_t word = Word16(p + 34 + 2 * g);
    out.scale[2 * g] = out.scale[2 * g + 1] = d * static_cast<float>(2 * Bits(word, 12, 3) + 1);
    for (int r = 0; r < 4; ++r) {
      const int point = p[2 + 4 * g + r] | Bits(word, 3 * r, 3) << 8;
      Iq1Run(point, Bits(word, 15, 1) != 0, out.q + 32 * g + 8 * r);
    }
  }
}

void IQ1_M(const uint8_t* p, Decoded& out) {
  uint16_t half = 0;
  for (int i = 0; i < 4; ++i) half |= (Word16(p + 48 + 2 * i) >> 12) << (4 * i);
  const float d = HalfToFloat(half) * 0.125f;
  for (int s = 0; s < 16; ++s) {
    const int scale = Bits(Word16(p + 48 + s / 4 * 2), s % 4 * 3, 3);
    out.scale[s] = d * static_cast<float>(2 * scale + 1);
  }
  for (int r = 0; r < 32; ++r) {
    const int nibble = Bits(p[32 + r / 2], r % 2 * 4, 4);
    Iq1Run(p[r] | (nibble & 7) << 8, (nibble & 8) != 0, out.q + 8 * r);
  }
}

template <DType kType, int kBlock, int kBytes, void (*kDecode)(const uint8_t*, Decoded&)>
void Unpack(const uint8_t* row, int64_t k, QuantTile out) {
  const int words = UnitWords();
  Decoded block;
  for (int64_t b = 0; b < k / kBlock; ++b) {
    kDecode(row + b * kBytes, block);
    int16_t* q = out.q + b * kBlock;
    for (int i = 0; i < kBlock; ++i) {
      const int in_unit = i % (2 * words);
      q[i - in_unit + in_unit % 2 * words + in_unit / 2] = block.q[i];
    }
    std::memcpy(out.scale + b * (kBlock / 16), block.scale, kBlock / 16 * sizeof(float));
  }
}

template <DType kType, int kBlock, int kBytes, void (*kDecode)(const uint8_t*, Decoded&)>
constexpr QuantOps Ops() {
  return {kType, /*per16=*/true, /*mins=*/false, Unpack<kType, kBlock, kBytes, kDecode>, nullptr};
}

constexpr QuantOps kOps[] = {
    Ops<DType::kQ1_0, 128, 18, Q1_0>(),       Ops<DType::kQ2_0, 64, 18, Q2_0>(),
    Ops<DType::kTQ1_0, 256, 54, TQ1_0>(),     Ops<DType::kTQ2_0, 256, 66, TQ2_0>(),
    Ops<DType::kNVFP4, 64, 36, NVFP4>(),      Ops<DType::kIQ1_S, 256, 50, IQ1_S>(),
    Ops<DType::kIQ1_M, 256, 56, IQ1_M>(),     Ops<DType::kIQ2_XXS, 256, 66, IQ2_XXS>(),
    Ops<DType::kIQ2_XS, 256, 74, IQ2_XS>(),   Ops<DType::kIQ2_S, 256, 82, IQ2_S>(),
    Ops<DType::kIQ3_XXS, 256, 98, IQ3_XXS>(), Ops<DType::kIQ3_S, 256, 110, IQ3_S>(),
};

}  // namespace

absl::Span<const QuantOps> RareOps() { return kOps; }

}  // namespace renga::cpu
