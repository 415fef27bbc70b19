// The types with one scale for 32 consecutive values: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8_1.
//
// Nibbles: byte j holds value j in its low half and value j + 16 in its high half. The fifth bits
// of Q5 are one 32-bit word, bit i for value i. Types _0 are symmetric, value = d * (q - middle);
// types _1 have a minimum, value = d * q + m.
#include <cstring>

#include "ir/base/dtype.h"
#include "ir/reference/dequant_types.h"

namespace renga {
namespace {

struct BlockQ4_0 {
  uint16_t d;          // half
  uint8_t quants[16];  // nibbles
};
static_assert(sizeof(BlockQ4_0) == 18);

void Decode(const BlockQ4_0& block, float* out) {
  const float d = HalfToFloat(block.d);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * ((block.quants[j] & 15) - 8);
    out[j + 16] = d * ((block.quants[j] >> 4) - 8);
  }
}

struct BlockQ4_1 {
  uint16_t d;          // half
  uint16_t m;          // half, the value of quant 0
  uint8_t quants[16];  // nibbles
};
static_assert(sizeof(BlockQ4_1) == 20);

void Decode(const BlockQ4_1& block, float* out) {
  const float d = HalfToFloat(block.d);
  const float m = HalfToFloat(block.m);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * (block.quants[j] & 15) + m;
    out[j + 16] = d * (block.quants[j] >> 4) + m;
  }
}

struct BlockQ5_0 {
  uint16_t d;             // half
  uint8_t fifth_bits[4];  // 32-bit word
  uint8_t quants[16];     // nibbles
};
static_assert(sizeof(BlockQ5_0) == 22);

void Decode(const BlockQ5_0& block, float* out) {
  const float d = HalfToFloat(block.d);
  uint32_t fifth;
  std::memcpy(&fifth, block.fifth_bits, sizeof(fifth));
  for (int j = 0; j < 16; ++j) {
    const int low = (block.quants[j] & 15) | static_cast<int>((fifth >> j & 1) << 4);
    const int high = (block.quants[j] >> 4) | static_cast<int>((fifth >> (j + 16) & 1) << 4);
    out[j] = d * (low - 16);
    out[j + 16] = d * (high - 16);
  }
}

struct BlockQ5_1 {
  uint16_t d;             // half
  uint16_t m;             // half, the value of quant 0
  uint8_t fifth_bits[4];  // 32-bit word
  uint8_t quants[16];     // nibbles
};
static_assert(sizeof(BlockQ5_1) == 24);

void Decode(const BlockQ5_1& block, float* out) {
  const float d = HalfToFloat(block.d);
  const float m = HalfToFloat(block.m);
  uint32_t fifth;
  std::memcpy(&fifth, block.fifth_bits, sizeof(fifth));
  for (int j = 0; j < 16; ++j) {
    const int low = (block.quants[j] & 15) | static_cast<int>((fifth >> j & 1) << 4);
    const int high = (block.quants[j] >> 4) | static_cast<int>((fifth >> (j + 16) & 1) << 4);
    out[j] = d * low + m;
    out[j + 16] = d * high + m;
  }
}

struct BlockQ8_0 {
  uint16_t d;  // half
  int8_t quants[32];
};
static_assert(sizeof(BlockQ8_0) == 34);

void Decode(const BlockQ8_0& block, float* out) {
  const float d = HalfToFloat(block.d);
  for (int j = 0; j < 32; ++j) out[j] = d * block.quants[j];
}

struct BlockQ8_1 {
  uint16_t d;    // half
  uint16_t sum;  // half, d * sum of the quants: redundant, for dot products
  int8_t quants[32];
};
static_assert(sizeof(BlockQ8_1) == 36);

void Decode(const BlockQ8_1& block, float* out) {
  const float d = HalfToFloat(block.d);
  for (int j = 0; j < 32; ++j) out[j] = d * block.quants[j];
}

}  // namespace

void DequantQ4_0(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockQ4_0, 32, Decode>(blocks, elements, out);
}
void DequantQ4_1(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockQ4_1, 32, Decode>(blocks, elements, out);
}
void DequantQ5_0(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockQ5_0, 32, Decode>(blocks, elements, out);
}
void DequantQ5_1(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockQ5_1, 32, Decode>(blocks, elements, out);
}
void DequantQ8_0(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockQ8_0, 32, Decode>(blocks, elements, out);
}
void DequantQ8_1(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockQ8_1, 32, Decode>(blocks, elements, out);
}

}  // namespace renga
