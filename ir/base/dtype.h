// Element types: every tensor type a GGUF file can hold, and one that caches alone can have.
// A quantised type stores blocks: `block_elements` consecutive elements of a row in `block_bytes`.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/types/span.h"

namespace renga {

// The numeric values are GGUF's type ids (gguf.h, enum ggml_type), but for the last one, and are
// stable on disk.
enum class DType : uint8_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ8_1 = 9,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kQ8_K = 15,
  kIQ2_XXS = 16,
  kIQ2_XS = 17,
  kIQ3_XXS = 18,
  kIQ1_S = 19,
  kIQ4_NL = 20,
  kIQ3_S = 21,
  kIQ2_S = 22,
  kIQ4_XS = 23,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kIQ1_M = 29,
  kBF16 = 30,
  kTQ1_0 = 34,
  kTQ2_0 = 35,
  kMXFP4 = 39,
  kNVFP4 = 40,
  kQ1_0 = 41,
  kQ2_0 = 42,
  // OCP 8-bit floating point: 4 bits of exponent, bias 7, and 3 of mantissa; no infinities, 0x7f
  // and 0xff NaN. GGUF has no such type: the id is ours, far from those it gives out in order.
  kF8_E4M3 = 0xe4,
};

struct DTypeInfo {
  DType type;
  std::string_view name;  // lower case, as printed in the IR: "q4_k"
  int block_elements;     // elements of one block; 1 for plain types
  int block_bytes;        // bytes of one block
  bool quantized;         // blocks with scales, as opposed to plain numbers
};

// All types that a GGUF file can hold, sorted by id.
absl::Span<const DTypeInfo> AllDTypes();

// Facts of `type`. Every enumerator has a row.
const DTypeInfo& Info(DType type);

inline std::string_view Name(DType type) { return Info(type).name; }

// Whether its numbers are read as f32 before anything is done with them: types with blocks and
// f8_e4m3, of which no trace holds elements, and caches of which keep keys without their bias.
bool IsCoarse(DType type);

// Type with GGUF id `id`; nullopt for ids that are unknown or were removed from the format.
std::optional<DType> DTypeFromGgml(uint32_t id);

// The same for caches, which may be of types that GGUF has not.
std::optional<DType> CacheDTypeFromId(uint32_t id);

// Type with IR name `name`.
std::optional<DType> DTypeFromName(std::string_view name);

// Bytes of a row of `elements` (must be a multiple of block_elements and small enough that the
// product does not overflow: callers check with RowBytesChecked when the number is untrusted).
int64_t RowBytes(DType type, int64_t elements);

// As RowBytes; nullopt when elements is negative, no multiple of the block, or the product
// overflows.
std::optional<int64_t> RowBytesChecked(DType type, int64_t elements);

// IEEE half and bfloat16 conversions, round to nearest even, subnormals and infinities kept.
float HalfToFloat(uint16_t bits);
uint16_t FloatToHalf(float value);
float BFloat16ToFloat(uint16_t bits);
uint16_t FloatToBFloat16(float value);

// f8_e4m3: round to nearest even, subnormals kept; what is larger than 448, the largest number,
// becomes that, infinity too. NaN stays NaN, signs stay.
inline constexpr float kMaxE4M3 = 448;
float E4M3ToFloat(uint8_t bits);
uint8_t FloatToE4M3(float value);

}  // namespace renga
