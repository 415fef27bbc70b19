// IQ4: nibbles that index a fixed table of 16 levels, denser around zero. In each run of 16 bytes
// (32 values) byte j holds value j in its low half and value j + 16 in its high half.
#include "ir/base/dtype.h"
#include "ir/reference/dequant_types.h"

namespace renga {
namespace {

constexpr float kLevels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                               1,    13,   25,  38,  53,  69,  89,  113};

struct BlockIQ4_NL {
  uint16_t d;  // half
  uint8_t quants[16];
};
static_assert(sizeof(BlockIQ4_NL) == 18);

void Decode(const BlockIQ4_NL& block, float* out) {
  const float d = HalfToFloat(block.d);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * kLevels[block.quants[j] & 15];
    out[j + 16] = d * kLevels[block.quants[j] >> 4];
  }
}

struct BlockIQ4_XS {
  uint16_t d;             // half
  uint16_t scales_high;   // upper pair of the scale of group g at bit 2 * g
  uint8_t scales_low[4];  // low nibbles of the 8 scales, group 0 in the low half of byte 0
  uint8_t quants[128];    // 16 bytes for each group of 32 values
};
static_assert(sizeof(BlockIQ4_XS) == 136);

void Decode(const BlockIQ4_XS& block, float* out) {
  const float d = HalfToFloat(block.d);
  for (int group = 0; group < 8; ++group) {
    const int low = block.scales_low[group / 2] >> (group % 2 * 4) & 15;
    const int high = block.scales_high >> (group * 2) & 3;
    const float scale = d * ((low | high << 4) - 32);
    const uint8_t* quants = block.quants + group * 16;
    for (int j = 0; j < 16; ++j) {
      out[group * 32 + j] = scale * kLevels[quants[j] & 15];
      out[group * 32 + j + 16] = scale * kLevels[quants[j] >> 4];
    }
  }
}

}  // namespace

void DequantIQ4_NL(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockIQ4_NL, 32, Decode>(blocks, elements, out);
}
void DequantIQ4_XS(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockIQ4_XS, 256, Decode>(blocks, elements, out);
}

}  // namespace renga
