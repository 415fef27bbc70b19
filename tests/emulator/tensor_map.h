// What cuTensorMapEncodeTiled is on the emulator: a plain description, in the 128 bytes of a
// kernel's TensorMap.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

namespace renga::emulator {

enum class Swizzle : uint32_t { kNone, k128Bytes };

// Sizes of a tensor in global memory and of the tiles loaded from it, fastest first.
struct TensorMapSpec {
  const void* base = nullptr;  // 16-byte aligned
  uint32_t element_bytes = 2;
  uint32_t rank = 2;                  // 2 or 3
  uint64_t sizes[3] = {1, 1, 1};      // elements
  uint64_t stride_bytes[2] = {0, 0};  // from one y (z) to the next; multiples of 16
  uint32_t box[3] = {1, 1, 1};        // elements of a tile, at most 256 each
  Swizzle swizzle = Swizzle::kNone;   // k128Bytes: a row of the tile has exactly 128 bytes
  uint32_t magic = 0;
};

// Where TensorMap of codegen/kernels/primitives.cuh says `opaque`.
struct alignas(64) EncodedTensorMap {
  uint64_t opaque[16] = {};
};

// Refuses what the driver's function refuses.
absl::StatusOr<EncodedTensorMap> MakeTensorMap(const TensorMapSpec& spec);
// False where the bytes are not those of MakeTensorMap.
bool DecodeTensorMap(const void* map, TensorMapSpec* spec);

}  // namespace renga::emulator
