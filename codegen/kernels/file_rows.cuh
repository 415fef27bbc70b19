// Single weights of rows as the model file has them, exact in f32: for the embedding, which reads a
// row here and there. A block may lie at any address, so bytes are what is read.
//
//   struct FileQ4_0 { kElements, kBytes of a block; At(block, j) }
#pragma once

#include "codegen/kernels/numbers.cuh"

namespace renga::kernels {

__device__ __forceinline__ uint32_t BytesAt(const uint8_t* p, int count) {
  uint32_t bits = 0;
  for (int i = 0; i < count; ++i) bits |= static_cast<uint32_t>(p[i]) << 8 * i;
  return bits;
}
__device__ __forceinline__ float HalfAt(const uint8_t* p) {
  return ToFloat(Half{static_cast<uint16_t>(BytesAt(p, 2))});
}
// Nibble j of 32: byte j has values j and j + 16.
__device__ __forceinline__ int NibbleAt(const uint8_t* quants, int j) {
  return quants[j % 16] >> j / 16 * 4 & 15;
}
__device__ __forceinline__ int BitAt(const uint8_t* bits, int j) {
  return bits[j / 8] >> j % 8 & 1;
}

struct FileF32 {
  static constexpr int kElements = 1, kBytes = 4;
  static __device__ float At(const uint8_t* p, int) { return FloatOfBits(BytesAt(p, 4)); }
};
struct FileF16 {
  static constexpr int kElements = 1, kBytes = 2;
  static __device__ float At(const uint8_t* p, int) { return HalfAt(p); }
};
struct FileBF16 {
  static constexpr int kElements = 1, kBytes = 2;
  static __device__ float At(const uint8_t* p, int) { return FloatOfBits(BytesAt(p, 2) << 16); }
};
struct FileQ8_0 {
  static constexpr int kElements = 32, kBytes = 34;
  static __device__ float At(const uint8_t* p, int j) {
    return HalfAt(p) * static_cast<int8_t>(p[2 + j]);
  }
};
struct FileQ4_0 {
  static constexpr int kElements = 32, kBytes = 18;
  static __device__ float At(const uint8_t* p, int j) {
    return HalfAt(p) * (NibbleAt(p + 2, j) - 8);
  }
};
struct FileQ4_1 {
  static constexpr int kElements = 32, kBytes = 20;
  static __device__ float At(const uint8_t* p, int j) {
    return HalfAt(p) * NibbleAt(p + 4, j) + HalfAt(p + 2);
  }
};
struct FileQ5_0 {
  static constexpr int kElements = 32, kBytes = 22;
  static __device__ float At(const uint8_t* p, int j) {
    return HalfAt(p) * ((NibbleAt(p + 6, j) | BitAt(p + 2, j) << 4) - 16);
  }
};
struct FileQ5_1 {
  static constexpr int kElements = 32, kBytes = 24;
  static __device__ float At(const uint8_t* p, int j) {
    return HalfAt(p) * (NibbleAt(p + 8, j) | BitAt(p + 4, j) << 4) + HalfAt(p + 2);
  }
};
struct FileIQ4_NL {
  static constexpr int kElements = 32, kBytes = 18;
  static __device__ float At(const uint8_t* p, int j) {
    const uint32_t levels[4] = {0x3f2d1801u, 0x766a5d4fu, 0xa6998d81u, 0xf1d9c5b5u};
    const int code = NibbleAt(p + 2, j);
    uint32_t word = levels[3];  // no index into an array: it would live in local memory
    if (code < 12) word = levels[2];
    if (code < 8) word = levels[1];
    if (code < 4) word = levels[0];
    return HalfAt(p) * (static_cast<int>(word >> code % 4 * 8 & 255u) - 128);
  }
};
struct FileMXFP4 {
  static constexpr int kElements = 32, kBytes = 17;
  static __device__ float At(const uint8_t* p, int j) {
    const int code = NibbleAt(p + 1, j), size = code & 7;
    // Twice the value of E2M1, times half of 2^(e - 127), which may be subnormal.
    const int twice = size < 4 ? size : size == 4 ? 4 : size == 5 ? 6 : size == 6 ? 8 : 12;
    const int exponent = p[0] - 128;
    const float scale =
        exponent >= -126 ? PowerOfTwo(exponent) : FloatOfBits(0x400000u >> (-127 - exponent));
    return scale * static_cast<float>((code & 8) != 0 ? -twice : twice);
  }
};

// Scale and minimum of group 0..7 in 12 bytes of 6-bit numbers.
__device__ __forceinline__ int SixBitScale(const uint8_t* p, int group) {
  return group < 4 ? p[group] & 63 : (p[group + 4] & 15) | p[group - 4] >> 6 << 4;
}
__device__ __forceinline__ int SixBitMinimum(const uint8_t* p, int group) {
  return group < 4 ? p[group + 4] & 63 : p[group + 4] >> 4 | p[group] >> 6 << 4;
}

struct FileQ4_K {
  static constexpr int kElements = 256, kBytes = 144;
  static __device__ float At(const uint8_t* p, int j) {
    const int group = j / 32, quant = p[16 + j / 64 * 32 + j % 32] >> group % 2 * 4 & 15;
    return HalfAt(p) * SixBitScale(p + 4, group) * quant -
           HalfAt(p + 2) * SixBitMinimum(p + 4, group);
  }
};
struct FileQ5_K {
  static constexpr int kElements = 256, kBytes = 176;
  static __device__ float At(const uint8_t* p, int j) {
    const int group = j / 32, fifth = p[16 + j % 32] >> group & 1;
    const int quant = (p[48 + j / 64 * 32 + j % 32] >> group % 2 * 4 & 15) | fifth << 4;
    return HalfAt(p) * SixBitScale(p + 4, group) * quant -
           HalfAt(p + 2) * SixBitMinimum(p + 4, group);
  }
};
struct FileQ6_K {
  static constexpr int kElements = 256, kBytes = 210;
  static __device__ float At(const uint8_t* p, int j) {
    const int half = j / 128, in_half = j % 128;
    const int low = p[half * 64 + in_half % 64] >> in_half / 64 * 4 & 15;
    const int upper = p[128 + half * 32 + in_half % 32] >> in_half / 32 * 2 & 3;
    return HalfAt(p + 208) * static_cast<int8_t>(p[192 + j / 16]) * ((low | upper << 4) - 32);
  }
};

}  // namespace renga::kernels
