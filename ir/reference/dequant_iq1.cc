// IQ1: super-blocks of 256 values as 32 runs of 8. A run is a point of a codebook with coordinates
// -1, 0, 1 (iq_grids.h); all of a run is shifted by 1/8 up or down so that nothing is exactly zero.
// value = d * (2 * scale + 1) * (coordinate + shift).
#include "ir/base/dtype.h"
#include "ir/base/iq_grids.h"
#include "ir/reference/dequant_types.h"

namespace renga {
namespace {

constexpr float kShift = 0.125f;

void WriteRun(float scale, int point_number, bool shift_down, float* out) {
  const uint16_t point = kGridIq1[point_number];
  const float shift = shift_down ? -kShift : kShift;
  for (int i = 0; i < 8; ++i) out[i] = scale * (kLevelsIq1[point >> (2 * i) & 3] + shift);
}

struct BlockIQ1_S {
  uint16_t d;          // half
  uint8_t points[32];  // low 8 bits of the number of each run's point
  uint16_t groups[8];  // for each 4 runs: 4 x 3 upper bits of the numbers, 3 bits of scale, and the
                       // top bit, set where the shift is down
};
static_assert(sizeof(BlockIQ1_S) == 50);

void Decode(const BlockIQ1_S& block, float* out) {
  const float d = HalfToFloat(block.d);
  for (int run = 0; run < 32; ++run) {
    const int group = block.groups[run / 4];
    const float scale = d * (2 * (group >> 12 & 7) + 1);
    const int high = group >> (run % 4 * 3) & 7;
    WriteRun(scale, block.points[run] | high << 8, group >> 15 & 1, out + run * 8);
  }
}

struct BlockIQ1_M {
  uint8_t points[32];     // low 8 bits of the number of each run's point
  uint8_t high_bits[16];  // a nibble a run: 3 upper bits of the number, then set: shift is down
  uint16_t scales[4];  // 4 x 3 bits of scale, each for 2 runs; the top nibbles of the four words,
                       // lowest first, are the half d
};
static_assert(sizeof(BlockIQ1_M) == 56);

void Decode(const BlockIQ1_M& block, float* out) {
  uint16_t half = 0;
  for (int word = 0; word < 4; ++word) half |= (block.scales[word] >> 12) << (4 * word);
  const float d = HalfToFloat(half);
  for (int run = 0; run < 32; ++run) {
    const float scale = d * (2 * (block.scales[run / 8] >> (run / 2 % 4 * 3) & 7) + 1);
    const int nibble = block.high_bits[run / 2] >> (run % 2 * 4) & 15;
    WriteRun(scale, block.points[run] | (nibble & 7) << 8, nibble & 8, out + run * 8);
  }
}

}  // namespace

void DequantIQ1_S(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockIQ1_S, 256, Decode>(blocks, elements, out);
}
void DequantIQ1_M(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockIQ1_M, 256, Decode>(blocks, elements, out);
}

}  // namespace renga
