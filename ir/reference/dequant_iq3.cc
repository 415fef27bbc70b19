// IQ3: super-blocks of 256 values as 64 runs of 4. A run is a point of a codebook (iq_grids.h),
// whose coordinates are magnitudes, with four signs; the signs of two runs make a byte.
#include <cstring>

#include "ir/base/dtype.h"
#include "ir/base/iq_grids.h"
#include "ir/reference/dequant_iq_common.h"
#include "ir/reference/dequant_types.h"

namespace renga {
namespace {

// Bit i of `signs` belongs to value i.
void WriteRun(float scale, const float (&levels)[8], uint16_t point, int signs, float* out) {
  for (int i = 0; i < 4; ++i) out[i] = scale * levels[point >> (3 * i) & 7] * SignOf(signs, i);
}

struct BlockIQ3_XXS {
  uint16_t d;           // half
  uint8_t points[64];   // number of each run's point
  uint8_t words[8][4];  // for each 8 runs a 32-bit word: 4 x 7 bits of signs (with parity), scale
};
static_assert(sizeof(BlockIQ3_XXS) == 98);

void Decode(const BlockIQ3_XXS& block, float* out) {
  const float d = HalfToFloat(block.d);
  for (int group = 0; group < 8; ++group) {
    uint32_t word;
    std::memcpy(&word, block.words[group], sizeof(word));
    const float scale = d * (0.5f + static_cast<float>(word >> 28)) * 0.5f;
    for (int pair = 0; pair < 4; ++pair) {
      const uint8_t* points = block.points + group * 8 + pair * 2;
      const uint8_t signs = SignsWithParity(word >> (pair * 7));
      float* values = out + group * 32 + pair * 8;
      WriteRun(scale, kLevelsIq3Xxs, kGridIq3Xxs[points[0]], signs & 15, values);
      WriteRun(scale, kLevelsIq3Xxs, kGridIq3Xxs[points[1]], signs >> 4, values + 4);
    }
  }
}

struct BlockIQ3_S {
  uint16_t d;            // half
  uint8_t points[64];    // low 8 bits of the number of each run's point
  uint8_t high_bits[8];  // its ninth bit, 8 runs a byte
  uint8_t signs[32];     // bit j % 8 of byte j / 8 for value j
  uint8_t scales[4];     // a nibble for each 32 values: times 2 plus 1
};
static_assert(sizeof(BlockIQ3_S) == 110);

void Decode(const BlockIQ3_S& block, float* out) {
  const float d = HalfToFloat(block.d);
  for (int group = 0; group < 8; ++group) {
    const float scale = d * (1 + 2 * (block.scales[group / 2] >> (group % 2 * 4) & 15));
    for (int run = 0; run < 8; ++run) {
      const int high = block.high_bits[group] >> run & 1;
      const uint16_t point = kGridIq3S[block.points[group * 8 + run] | high << 8];
      const int signs = block.signs[group * 4 + run / 2] >> (run % 2 * 4) & 15;
      WriteRun(scale, kLevelsIq3S, point, signs, out + group * 32 + run * 4);
    }
  }
}

}  // namespace

void DequantIQ3_XXS(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockIQ3_XXS, 256, Decode>(blocks, elements, out);
}
void DequantIQ3_S(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockIQ3_S, 256, Decode>(blocks, elements, out);
}

}  // namespace renga
