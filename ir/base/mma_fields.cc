#include "ir/base/mma_fields.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

namespace renga {
namespace {

// Each type's bits are listed once, as moves between a number and the block, and run either way.
enum class Way { kRead, kWrite };

template <Way kWay, typename Byte>
void Move(std::conditional_t<kWay == Way::kRead, uint32_t, const uint32_t>& number, int shift,
          Byte& byte, int at, int bits) {
  const uint32_t mask = (1u << bits) - 1;
  if constexpr (kWay == Way::kRead) {
    number |= (byte >> at & mask) << shift;
  } else {
    byte = static_cast<uint8_t>(byte | (number >> shift & mask) << at);
  }
}

template <Way kWay, int kBytes, typename Number, typename Byte>
void MoveBytes(Number& number, Byte* bytes) {
  for (int i = 0; i < kBytes; ++i) Move<kWay>(number, 8 * i, bytes[i], 0, 8);
}

// 32 nibbles: byte j has values j and j + 16.
template <Way kWay, typename Numbers, typename Byte>
void MoveNibbles(Numbers& n, Byte* quants) {
  for (int j = 0; j < 16; ++j) {
    Move<kWay>(n.codes[j], 0, quants[j], 0, 4);
    Move<kWay>(n.codes[j + 16], 0, quants[j], 4, 4);
  }
}

template <Way kWay, typename Numbers, typename Byte>
void MoveFifthBits(Numbers& n, Byte* bits) {
  for (int j = 0; j < 32; ++j) Move<kWay>(n.codes[j], 4, bits[j / 8], j % 8, 1);
}

template <int kBytes>
struct Plain {
  template <Way kWay, typename Numbers, typename Byte>
  static void Run(Numbers& n, int elements, Byte* p) {
    for (int j = 0; j < elements; ++j) MoveBytes<kWay, kBytes>(n.codes[j], p + kBytes * j);
  }
};

struct Q4_0 {  // also IQ4_NL
  template <Way kWay, typename Numbers, typename Byte>
  static void Run(Numbers& n, int, Byte* p) {
    MoveBytes<kWay, 2>(n.d, p);
    MoveNibbles<kWay>(n, p + 2);
  }
};

struct Q4_1 {
  template <Way kWay, typename Numbers, typename Byte>
  static void Run(Numbers& n, int, Byte* p) {
    MoveBytes<kWay, 2>(n.d, p);
    MoveBytes<kWay, 2>(n.m, p + 2);
    MoveNibbles<kWay>(n, p + 4);
  }
};

struct Q5_0 {
  template <Way kWay, typename Numbers, typename Byte>
  static void Run(Numbers& n, int, Byte* p) {
    MoveBytes<kWay, 2>(n.d, p);
    MoveFifthBits<kWay>(n, p + 2);
    MoveNibbles<kWay>(n, p + 6);
  }
};

struct Q5_1 {
  template <Way kWay, typename Numbers, typename Byte>
  static void Run(Numbers& n, int, Byte* p) {
    MoveBytes<kWay, 2>(n.d, p);
    MoveBytes<kWay, 2>(n.m, p + 2);
    MoveFifthBits<kWay>(n, p + 4);
    MoveNibbles<kWay>(n, p + 8);
  }
};

struct Q8_0 {
  template <Way kWay, typename Numbers, typename Byte>
  static void Run(Numbers& n, int, Byte* p) {
    MoveBytes<kWay, 2>(n.d, p);
    for (int j = 0; j < 32; ++j) Move<kWay>(n.codes[j], 0, p[2 + j], 0, 8);
  }
};

struct MxFp4 {
  template <Way kWay, typename Numbers, typename Byte>
  static void Run(Numbers& n, int, Byte* p) {
    Move<kWay>(n.d, 0, p[0], 0, 8);
    MoveNibbles<kWay>(n, p + 1);
  }
};

// d, dmin, 8 scales and 8 minimums of 6 bits in 12 bytes, as ir/reference/dequant_k.cc explains.
template <Way kWay, typename Numbers, typename Byte>
void MoveKScales(Numbers& n, Byte* p) {
  MoveBytes<kWay, 2>(n.d, p);
  MoveBytes<kWay, 2>(n.m, p + 2);
  Byte* packed = p + 4;
  for (int g = 0; g < 4; ++g) {
    Move<kWay>(n.scales[g], 0, packed[g], 0, 6);
    Move<kWay>(n.minimums[g], 0, packed[g + 4], 0, 6);
    Move<kWay>(n.scales[g + 4], 0, packed[g + 8], 0, 4);
    Move<kWay>(n.scales[g + 4], 4, packed[g], 6, 2);
    Move<kWay>(n.minimums[g + 4], 0, packed[g + 8], 4, 4);
    Move<kWay>(n.minimums[g + 4], 4, packed[g + 4], 6, 2);
  }
}

template <Way kWay, typename Numbers, typename Byte>
void MoveKNibbles(Numbers& n, Byte* quants) {
  for (int j = 0; j < 256; ++j) {
    Move<kWay>(n.codes[j], 0, quants[j / 64 * 32 + j % 32], j / 32 % 2 * 4, 4);
  }
}

struct Q4_K {
  template <Way kWay, typename Numbers, typename Byte>
  static void Run(Numbers& n, int, Byte* p) {
    MoveKScales<kWay>(n, p);
    MoveKNibbles<kWay>(n, p + 16);
  }
};

struct Q5_K {
  template <Way kWay, typename Numbers, typename Byte>
  static void Run(Numbers& n, int, Byte* p) {
    MoveKScales<kWay>(n, p);
    for (int j = 0; j < 256; ++j) Move<kWay>(n.codes[j], 4, p[16 + j % 32], j / 32, 1);
    MoveKNibbles<kWay>(n, p + 48);
  }
};

struct Q6_K {
  template <Way kWay, typename Numbers, typename Byte>
  static void Run(Numbers& n, int, Byte* p) {
    for (int j = 0; j < 256; ++j) {
      const int half = j / 128, in_half = j % 128;
      Move<kWay>(n.codes[j], 0, p[half * 64 + in_half % 64], in_half / 64 * 4, 4);
      Move<kWay>(n.codes[j], 4, p[128 + half * 32 + in_half % 32], in_half / 32 * 2, 2);
    }
    for (int g = 0; g < 16; ++g) Move<kWay>(n.scales[g], 0, p[192 + g], 0, 8);
    MoveBytes<kWay, 2>(n.d, p + 208);
  }
};

template <typename Type>
void Read(const uint8_t* block, int elements, BlockNumbers* numbers) {
  Type::template Run<Way::kRead>(*numbers, elements, block);
}
template <typename Type>
void Write(const BlockNumbers& numbers, int elements, uint8_t* block) {
  Type::template Run<Way::kWrite>(numbers, elements, block);
}

// |x| of a half, 0 where it is not finite: a tensor with such scales is lost in any case.
double HalfSize(uint32_t bits) {
  const double value = std::abs(HalfToFloat(static_cast<uint16_t>(bits)));
  return std::isfinite(value) ? value : 0;
}

double BoundOfD(const BlockNumbers& n, int) { return HalfSize(n.d); }

// A minimum enters multiplied by 2^-24, so it bounds nothing that d does not.
double BoundOfDM(const BlockNumbers& n, int) {
  return std::max(HalfSize(n.d), std::ldexp(HalfSize(n.m), -24));
}

double BoundOfBytes(const BlockNumbers& n, int) { return 128 * HalfSize(n.d); }

double BoundOfK(const BlockNumbers& n, int) {
  const uint32_t scale = *std::max_element(n.scales, n.scales + 8);
  return std::max(HalfSize(n.d) * std::max(scale, 1u), HalfSize(n.m));
}

double BoundOfQ6K(const BlockNumbers& n, int) {
  int largest = 1;
  for (const uint32_t scale : n.scales) {
    largest = std::max(largest, std::abs(static_cast<int8_t>(scale)));
  }
  return HalfSize(n.d) * largest;
}

double BoundOfMxFp4(const BlockNumbers& n, int) {
  return std::ldexp(1.0, static_cast<int>(n.d) - 127);
}

template <int kShift>  // of the bits within a float
double BoundOfFloats(const BlockNumbers& n, int elements) {
  double bound = 0;
  for (int j = 0; j < elements; ++j) {
    const uint32_t bits = n.codes[j] << kShift;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    if (std::isfinite(value)) bound = std::max<double>(bound, std::abs(value));
  }
  return bound;
}

template <typename Type>
constexpr BlockCodec Codec(DType type, int elements,
                           double (*bound)(const BlockNumbers&, int) = nullptr,
                           int bound_exponent = 0) {
  return {type, elements, Read<Type>, Write<Type>, bound, bound_exponent};
}

// f16 ends at 2^16; scales stay below 2^15. The largest of MXFP4's codes is 6: 2^12 is its limit,
// and a bound that is a power of two is below the next.
constexpr BlockCodec kCodecs[] = {
    Codec<Plain<4>>(DType::kF32, 32, BoundOfFloats<0>, 15),
    Codec<Plain<2>>(DType::kF16, 32),
    Codec<Q4_0>(DType::kQ4_0, 32, BoundOfD, 15),
    Codec<Q4_1>(DType::kQ4_1, 32, BoundOfDM, 15),
    Codec<Q5_0>(DType::kQ5_0, 32, BoundOfD, 15),
    Codec<Q5_1>(DType::kQ5_1, 32, BoundOfDM, 15),
    Codec<Q8_0>(DType::kQ8_0, 32, BoundOfBytes, 15),
    Codec<Q4_K>(DType::kQ4_K, 256, BoundOfK, 15),
    Codec<Q5_K>(DType::kQ5_K, 256, BoundOfK, 15),
    Codec<Q6_K>(DType::kQ6_K, 256, BoundOfQ6K, 15),
    Codec<Q4_0>(DType::kIQ4_NL, 32, BoundOfBytes, 15),
    Codec<Plain<2>>(DType::kBF16, 32, BoundOfFloats<16>, 15),
    Codec<MxFp4>(DType::kMXFP4, 32, BoundOfMxFp4, 13),
};

}  // namespace

const BlockCodec* FindBlockCodec(DType type) {
  for (const BlockCodec& codec : kCodecs) {
    if (codec.type == type) return &codec;
  }
  return nullptr;
}

}  // namespace renga
