// IQ2: super-blocks of 256 values as 32 runs of 8. A run is a point of a codebook (iq_grids.h),
// whose coordinates are magnitudes, with eight signs. value = d * (0.5 + scale) / 4 * magnitude *
// sign.
#include <cstring>

#include "ir/base/dtype.h"
#include "ir/base/iq_grids.h"
#include "ir/reference/dequant_iq_common.h"
#include "ir/reference/dequant_types.h"

namespace renga {
namespace {

void WriteRun(float scale, uint16_t point, uint8_t signs, float* out) {
  for (int i = 0; i < 8; ++i) {
    out[i] = scale * kLevelsIq2[point >> (2 * i) & 3] * SignOf(signs, i);
  }
}

float GroupScale(float d, uint32_t scale) { return d * (0.5f + static_cast<float>(scale)) * 0.25f; }

struct BlockIQ2_XXS {
  uint16_t d;            // half
  uint8_t groups[8][8];  // for each 4 runs: 4 bytes with the numbers of their points, then a
                         // 32-bit word of 4 x 7 bits of signs (with parity) and a 4-bit scale
};
static_assert(sizeof(BlockIQ2_XXS) == 66);

void Decode(const BlockIQ2_XXS& block, float* out) {
  const float d = HalfToFloat(block.d);
  for (int group = 0; group < 8; ++group) {
    const uint8_t* points = block.groups[group];
    uint32_t word;
    std::memcpy(&word, block.groups[group] + 4, sizeof(word));
    const float scale = GroupScale(d, word >> 28);
    for (int run = 0; run < 4; ++run) {
      WriteRun(scale, kGridIq2Xxs[points[run]], SignsWithParity(word >> (7 * run)),
               out + group * 32 + run * 8);
    }
  }
}

struct BlockIQ2_XS {
  uint16_t d;         // half
  uint16_t runs[32];  // number of the point in 9 bits, then 7 bits of signs (with parity)
  uint8_t scales[8];  // a nibble for each 2 runs
};
static_assert(sizeof(BlockIQ2_XS) == 74);

void Decode(const BlockIQ2_XS& block, float* out) {
  const float d = HalfToFloat(block.d);
  for (int run = 0; run < 32; ++run) {
    const float scale = GroupScale(d, block.scales[run / 4] >> (run / 2 % 2 * 4) & 15);
    WriteRun(scale, kGridIq2Xs[block.runs[run] & 511], SignsWithParity(block.runs[run] >> 9),
             out + run * 8);
  }
}

struct BlockIQ2_S {
  uint16_t d;            // half
  uint8_t points[32];    // low 8 bits of the number of each run's point
  uint8_t signs[32];     // eight signs a run
  uint8_t high_bits[8];  // upper pair of the number, 4 runs a byte
  uint8_t scales[8];     // a nibble for each 2 runs
};
static_assert(sizeof(BlockIQ2_S) == 82);

void Decode(const BlockIQ2_S& block, float* out) {
  const float d = HalfToFloat(block.d);
  for (int run = 0; run < 32; ++run) {
    const float scale = GroupScale(d, block.scales[run / 4] >> (run / 2 % 2 * 4) & 15);
    const int high = block.high_bits[run / 4] >> (run % 4 * 2) & 3;
    WriteRun(scale, kGridIq2S[block.points[run] | high << 8], block.signs[run], out + run * 8);
  }
}

}  // namespace

void DequantIQ2_XXS(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockIQ2_XXS, 256, Decode>(blocks, elements, out);
}
void DequantIQ2_XS(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockIQ2_XS, 256, Decode>(blocks, elements, out);
}
void DequantIQ2_S(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockIQ2_S, 256, Decode>(blocks, elements, out);
}

}  // namespace renga
