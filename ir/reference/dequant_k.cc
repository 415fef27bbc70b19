// The K types: super-blocks of 256 values cut into 16 groups of 16 (Q2_K, Q3_K, Q6_K) or 8 groups
// of 32 (Q4_K, Q5_K). A group has an integer scale, and in some types an integer minimum; the
// super-block's half-precision d and dmin multiply them.
//
// Quants are interleaved so that one 32-byte load serves several groups: within each run of 32
// bytes, the lowest bits of byte l belong to value l, the next ones to value l + 32, and so on.
#include "ir/base/dtype.h"
#include "ir/reference/dequant_types.h"

namespace renga {
namespace {

struct BlockQ2_K {
  uint8_t scales[16];  // group g: scale in the low nibble, minimum in the high one
  uint8_t quants[64];  // 2 runs of 32 bytes, 4 x 2 bits a byte
  uint16_t d;          // half, times scale
  uint16_t dmin;       // half, times minimum
};
static_assert(sizeof(BlockQ2_K) == 84);

void Decode(const BlockQ2_K& block, float* out) {
  const float d = HalfToFloat(block.d);
  const float dmin = HalfToFloat(block.dmin);
  for (int group = 0; group < 16; ++group) {
    const float scale = d * (block.scales[group] & 15);
    const float minimum = dmin * (block.scales[group] >> 4);
    const uint8_t* quants = block.quants + group / 8 * 32 + group % 2 * 16;
    const int shift = group / 2 % 4 * 2;
    for (int j = 0; j < 16; ++j) {
      out[group * 16 + j] = scale * (quants[j] >> shift & 3) - minimum;
    }
  }
}

struct BlockQ3_K {
  uint8_t high_bits[32];  // bit b of byte l: third bit of value b * 32 + l
  uint8_t quants[64];     // 2 runs of 32 bytes, 4 x 2 bits a byte
  uint8_t scales[12];     // 16 x 6 bits: bytes 0..7 hold the low nibbles of scale g (low half) and
                          // g + 8 (high half); byte 8 + g % 4 holds the upper pair of g at bit
                          // 2 * (g / 4)
  uint16_t d;             // half
};
static_assert(sizeof(BlockQ3_K) == 110);

void Decode(const BlockQ3_K& block, float* out) {
  const float d = HalfToFloat(block.d);
  for (int group = 0; group < 16; ++group) {
    const int low = block.scales[group % 8] >> (group / 8 * 4) & 15;
    const int high = block.scales[8 + group % 4] >> (group / 4 * 2) & 3;
    const float scale = d * ((low | high << 4) - 32);
    const uint8_t* quants = block.quants + group / 8 * 32 + group % 2 * 16;
    const uint8_t* high_bits = block.high_bits + group % 2 * 16;
    const int shift = group / 2 % 4 * 2;
    const int bit = group / 2;
    for (int j = 0; j < 16; ++j) {
      const int quant = (quants[j] >> shift & 3) | (high_bits[j] >> bit & 1) << 2;
      out[group * 16 + j] = scale * (quant - 4);
    }
  }
}

// Scales and minima of Q4_K and Q5_K, 8 x 6 bits each: scale g of groups 0..3 is the low 6 bits of
// byte g, their minimum those of byte 4 + g. Groups 4..7 keep the low nibbles of both in byte 4 + g
// and the upper pairs at the top of the bytes of group g - 4.
int ScaleOf(const uint8_t (&packed)[12], int group) {
  if (group < 4) return packed[group] & 63;
  return (packed[group + 4] & 15) | packed[group - 4] >> 6 << 4;
}
int MinimumOf(const uint8_t (&packed)[12], int group) {
  if (group < 4) return packed[group + 4] & 63;
  return packed[group + 4] >> 4 | packed[group] >> 6 << 4;
}

struct BlockQ4_K {
  uint16_t d;           // half, times scale
  uint16_t dmin;        // half, times minimum
  uint8_t scales[12];   // see ScaleOf
  uint8_t quants[128];  // 4 runs of 32 bytes, 2 x 4 bits a byte
};
static_assert(sizeof(BlockQ4_K) == 144);

void Decode(const BlockQ4_K& block, float* out) {
  const float d = HalfToFloat(block.d);
  const float dmin = HalfToFloat(block.dmin);
  for (int group = 0; group < 8; ++group) {
    const float scale = d * ScaleOf(block.scales, group);
    const float minimum = dmin * MinimumOf(block.scales, group);
    const uint8_t* quants = block.quants + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int j = 0; j < 32; ++j) {
      out[group * 32 + j] = scale * (quants[j] >> shift & 15) - minimum;
    }
  }
}

struct BlockQ5_K {
  uint16_t d;             // half, times scale
  uint16_t dmin;          // half, times minimum
  uint8_t scales[12];     // see ScaleOf
  uint8_t high_bits[32];  // bit b of byte l: fifth bit of value b * 32 + l
  uint8_t quants[128];    // 4 runs of 32 bytes, 2 x 4 bits a byte
};
static_assert(sizeof(BlockQ5_K) == 176);

void Decode(const BlockQ5_K& block, float* out) {
  const float d = HalfToFloat(block.d);
  const float dmin = HalfToFloat(block.dmin);
  for (int group = 0; group < 8; ++group) {
    const float scale = d * ScaleOf(block.scales, group);
    const float minimum = dmin * MinimumOf(block.scales, group);
    const uint8_t* quants = block.quants + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int j = 0; j < 32; ++j) {
      const int quant = (quants[j] >> shift & 15) | (block.high_bits[j] >> group & 1) << 4;
      out[group * 32 + j] = scale * quant - minimum;
    }
  }
}

struct BlockQ6_K {
  uint8_t low_nibbles[128];  // 2 halves of 64 bytes: the low nibble of byte l belongs to value l of
                             // its half, the high nibble to value l + 64
  uint8_t upper_pairs[64];   // 2 halves of 32 bytes, 4 x 2 bits a byte: values l, l + 32, ...
  int8_t scales[16];
  uint16_t d;  // half
};
static_assert(sizeof(BlockQ6_K) == 210);

void Decode(const BlockQ6_K& block, float* out) {
  const float d = HalfToFloat(block.d);
  for (int group = 0; group < 16; ++group) {
    const float scale = d * block.scales[group];
    const int half = group / 8;
    const int in_half = group % 8 * 16;  // first value of the group within its half
    const uint8_t* low = block.low_nibbles + half * 64 + in_half % 64;
    const uint8_t* upper = block.upper_pairs + half * 32 + in_half % 32;
    const int low_shift = in_half / 64 * 4;
    const int upper_shift = in_half / 32 * 2;
    for (int j = 0; j < 16; ++j) {
      const int quant = (low[j] >> low_shift & 15) | (upper[j] >> upper_shift & 3) << 4;
      out[group * 16 + j] = scale * (quant - 32);
    }
  }
}

struct BlockQ8_K {
  float d;
  int8_t quants[256];
  int16_t sums[16];  // of each 16 quants: redundant, for dot products
};
static_assert(sizeof(BlockQ8_K) == 292);

void Decode(const BlockQ8_K& block, float* out) {
  for (int j = 0; j < 256; ++j) out[j] = block.d * block.quants[j];
}

}  // namespace

void DequantQ2_K(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockQ2_K, 256, Decode>(blocks, elements, out);
}
void DequantQ3_K(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockQ3_K, 256, Decode>(blocks, elements, out);
}
void DequantQ4_K(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockQ4_K, 256, Decode>(blocks, elements, out);
}
void DequantQ5_K(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockQ5_K, 256, Decode>(blocks, elements, out);
}
void DequantQ6_K(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockQ6_K, 256, Decode>(blocks, elements, out);
}
void DequantQ8_K(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockQ8_K, 256, Decode>(blocks, elements, out);
}

}  // namespace renga
