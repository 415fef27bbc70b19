// Blocks of 4-bit floats (E2M1: sign, two exponent bits, one mantissa bit): MXFP4 after the OCP
// microscaling specification, NVFP4 with finer blocks and finer scales.
//
// As in ggml the table holds twice the E2M1 value and the scale is halved. That matters at the top:
// the scale 2^128 of exponent byte 255 does not fit float32 but its half does, so such a block
// (NaN in the OCP specification) decodes to ordinary numbers and infinities.
#include <cmath>

#include "ir/base/dtype.h"
#include "ir/reference/dequant_types.h"

namespace renga {
namespace {

// 2 * E2M1 by code. Code 8 is plain zero: ggml knows no negative zero here.
constexpr float kTwiceE2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

struct BlockMXFP4 {
  uint8_t exponent;    // scale 2^(exponent - 127)
  uint8_t quants[16];  // byte j: value j in the low nibble, value j + 16 in the high one
};
static_assert(sizeof(BlockMXFP4) == 17);

void Decode(const BlockMXFP4& block, float* out) {
  const float half_scale = std::ldexp(1.0f, block.exponent - 128);
  for (int j = 0; j < 16; ++j) {
    out[j] = half_scale * kTwiceE2M1[block.quants[j] & 15];
    out[j + 16] = half_scale * kTwiceE2M1[block.quants[j] >> 4];
  }
}

// E4M3 scale without a sign: exponent bias 7, subnormals, 0x7f means 0. The top bit is ignored, but
// only after the test for 0x7f, so 0xff is an ordinary 480.
float DecodeUE4M3(uint8_t code) {
  if (code == 0x7f) return 0;
  const int exponent = code >> 3 & 15;
  const int mantissa = code & 7;
  if (exponent == 0) return std::ldexp(static_cast<float>(mantissa), -9);
  return std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
}

struct BlockNVFP4 {
  uint8_t scales[4];  // one for each group of 16 values
  uint8_t
      quants[32];  // 8 bytes a group: byte j holds values j (low nibble) and j + 8 (high nibble)
};
static_assert(sizeof(BlockNVFP4) == 36);

void Decode(const BlockNVFP4& block, float* out) {
  for (int group = 0; group < 4; ++group) {
    const float half_scale = DecodeUE4M3(block.scales[group]) * 0.5f;
    for (int j = 0; j < 8; ++j) {
      const uint8_t pair = block.quants[group * 8 + j];
      out[group * 16 + j] = half_scale * kTwiceE2M1[pair & 15];
      out[group * 16 + j + 8] = half_scale * kTwiceE2M1[pair >> 4];
    }
  }
}

}  // namespace

void DequantMXFP4(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockMXFP4, 32, Decode>(blocks, elements, out);
}
void DequantNVFP4(const uint8_t* blocks, int64_t elements, float* out) {
  DequantBlocks<BlockNVFP4, 64, Decode>(blocks, elements, out);
}

}  // namespace renga
