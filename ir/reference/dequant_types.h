// The decoders behind FindDequant, one per stored type (see dequant.h for the contract of
// DequantFn), and the loop over blocks that they share. Internal to ir/reference.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace renga {

// GGUF is little-endian and the block structs below are copied from it byte for byte.
static_assert(std::endian::native == std::endian::little, "block structs assume little-endian");

// Copies each block out of the row, because a row may start at any address, and decodes the copy.
// The copy also tells the compiler that storing a value cannot change the block still being read.
template <typename Block, int kElements, void (*kDecode)(const Block&, float*)>
void DequantBlocks(const uint8_t* blocks, int64_t elements, float* out) {
  for (int64_t first = 0; first < elements; first += kElements) {
    Block block;
    std::memcpy(&block, blocks, sizeof(Block));
    blocks += sizeof(Block);
    kDecode(block, out + first);
  }
}

// dequant_plain.cc
void DequantF32(const uint8_t* blocks, int64_t elements, float* out);
void DequantF64(const uint8_t* blocks, int64_t elements, float* out);
void DequantF16(const uint8_t* blocks, int64_t elements, float* out);
void DequantBF16(const uint8_t* blocks, int64_t elements, float* out);
void DequantI8(const uint8_t* blocks, int64_t elements, float* out);
void DequantI16(const uint8_t* blocks, int64_t elements, float* out);
void DequantI32(const uint8_t* blocks, int64_t elements, float* out);

// dequant_legacy.cc
void DequantQ4_0(const uint8_t* blocks, int64_t elements, float* out);
void DequantQ4_1(const uint8_t* blocks, int64_t elements, float* out);
void DequantQ5_0(const uint8_t* blocks, int64_t elements, float* out);
void DequantQ5_1(const uint8_t* blocks, int64_t elements, float* out);
void DequantQ8_0(const uint8_t* blocks, int64_t elements, float* out);
void DequantQ8_1(const uint8_t* blocks, int64_t elements, float* out);

// dequant_k.cc
void DequantQ2_K(const uint8_t* blocks, int64_t elements, float* out);
void DequantQ3_K(const uint8_t* blocks, int64_t elements, float* out);
void DequantQ4_K(const uint8_t* blocks, int64_t elements, float* out);
void DequantQ5_K(const uint8_t* blocks, int64_t elements, float* out);
void DequantQ6_K(const uint8_t* blocks, int64_t elements, float* out);
void DequantQ8_K(const uint8_t* blocks, int64_t elements, float* out);

// dequant_iq1.cc, dequant_iq2.cc, dequant_iq3.cc, dequant_iq4.cc
void DequantIQ1_S(const uint8_t* blocks, int64_t elements, float* out);
void DequantIQ1_M(const uint8_t* blocks, int64_t elements, float* out);
void DequantIQ2_XXS(const uint8_t* blocks, int64_t elements, float* out);
void DequantIQ2_XS(const uint8_t* blocks, int64_t elements, float* out);
void DequantIQ2_S(const uint8_t* blocks, int64_t elements, float* out);
void DequantIQ3_XXS(const uint8_t* blocks, int64_t elements, float* out);
void DequantIQ3_S(const uint8_t* blocks, int64_t elements, float* out);
void DequantIQ4_NL(const uint8_t* blocks, int64_t elements, float* out);
void DequantIQ4_XS(const uint8_t* blocks, int64_t elements, float* out);

// dequant_low_bit.cc
void DequantTQ1_0(const uint8_t* blocks, int64_t elements, float* out);
void DequantTQ2_0(const uint8_t* blocks, int64_t elements, float* out);
void DequantQ1_0(const uint8_t* blocks, int64_t elements, float* out);
void DequantQ2_0(const uint8_t* blocks, int64_t elements, float* out);

// dequant_fp4.cc
void DequantMXFP4(const uint8_t* blocks, int64_t elements, float* out);
void DequantNVFP4(const uint8_t* blocks, int64_t elements, float* out);

}  // namespace renga
