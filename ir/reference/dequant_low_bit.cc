// One scale and quants of one to two bits: the ternary TQ1_0 and TQ2_0 (value = d * -1, 0 or 1) and
// Q1_0 and Q2_0.
#include "ir/base/dtype.h"
#include "ir/reference/dequant_types.h"

namespace renga {
namespace {

// A byte with n trits t0..t(n-1) stores the fraction 0.t0t1... in base 3, rounded up, in 1/256ths.
// Multiplying by 3^i modulo 256 drops the first i trits; the integer part of three times what is
// left is trit i.
int Trit(uint8_t packed, int i) {
  constexpr uint8_t kPowersOf3[5] = {1, 3, 9, 27, 81};
  const uint8_t rest = static_cast<uint8_t>(packed * kPowersOf3[i]);
  return rest * 3 >> 8;
}

struct BlockTQ1_0 {
  uint8_t quants[48];  // 5 trits a byte: trit i of byte l is value i * 32 + l for the first 32
                       // bytes, value 160 + i * 16 + l for the next 16
  uint8_t last[4];     // 4 trits a byte: trit i of byte l is value 240 + i * 4 + l
  uint16_t d;          // half
};
static_assert(sizeof(BlockTQ1_0) == 54);

void Decode(const BlockTQ1_0& block, float* out) {
  const float d = HalfToFloat(block.d);
  for (int i = 0; i < 5; ++i) {
    for (int l = 0; l < 32; ++l) out[i * 32 + l] = d * (Trit(block.quants[l], i) - 1);
    for (int l = 0; l < 16; ++l) out[160 + i * 16 + l] = d * (Trit(block.quants[32 + l], i) - 1);
  }
  for (int i = 0; i < 4; ++i) {
    for (int l = 0; l < 4; ++l) out[240 + i * 4 + l] = d * (Trit(block.last[l], i) - 1);
  }
}

struct BlockTQ2_0 {
  uint8_t quants[64];  // 2 runs of 32 bytes: pair i of byte l is value i * 32 + l of its run
  uint16_t d;          // half
};
static_assert(sizeof(BlockTQ2_0) == 66);

void Decode(const BlockTQ2_0& block, float* out) {
  const float d = HalfToFloat(block.d);
  for (int j = 0; j < 256; ++j) {
    const int quant = block.quants[j / 128 * 32 + j % 32] >> (j / 32 % 4 * 2) & 3;
    out[j] = d * (quant - 1);
  }
}

struct BlockQ1_0 {
  uint16_t d;          // half
  uint8_t quants[16];  // bit j % 8 of byte j / 8: value j is d where set, else -d
};
static_assert(sizeof(BlockQ1_0) == 18);

void Decode(const BlockQ1_0& block, float* out) {
  const float d = HalfToFloat(block.d);
  for (int j = 0; j < 128; ++j) {
    out[j] = (block.quants[j / 8] >> (j % 8) & 1) ? d : -d;
  }
}

struct BlockQ2_0 {
  uint16_t d;          // half
  uint8_t quants[16];  // pair j % 4 of byte j / 4: value j is d * (pair - 1), so -1, 0, 1, 2
};
static_assert(sizeof(BlockQ2_0) == 18);

void Decode(const BlockQ2_0& block, float* out) {
  const float d = HalfToFloat(block.d);
  for (int j = 0; j < 64; ++j) {
    out[j] = d * ((block.quants[j / 4] >> (j % 4 * 2) & 3) - 1);
  }
}

}  // namespace

void DequantTQ1_0(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockTQ1_0, 256, Decode>(blocks, elements, out);
}
void DequantTQ2_0(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockTQ2_0, 256, Decode>(blocks, elements, out);
}
void DequantQ1_0(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockQ1_0, 128, Decode>(blocks, elements, out);
}
void DequantQ2_0(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockQ2_0, 64, Decode>(blocks, elements, out);
}

}  // namespace renga
