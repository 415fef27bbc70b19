#include "ir/base/dtype.h"

#include <array>
#include <cstring>
#include <limits>

namespace renga {
namespace {

// Sorted by id, the type that is not GGUF's behind all others. Block sizes: ggml's block structs,
// as listed in docs/gguf-types.md.
constexpr std::array kTypes = {
    DTypeInfo{DType::kF32, "f32", 1, 4, false},
    DTypeInfo{DType::kF16, "f16", 1, 2, false},
    DTypeInfo{DType::kQ4_0, "q4_0", 32, 18, true},
    DTypeInfo{DType::kQ4_1, "q4_1", 32, 20, true},
    DTypeInfo{DType::kQ5_0, "q5_0", 32, 22, true},
    DTypeInfo{DType::kQ5_1, "q5_1", 32, 24, true},
    DTypeInfo{DType::kQ8_0, "q8_0", 32, 34, true},
    DTypeInfo{DType::kQ8_1, "q8_1", 32, 36, true},
    DTypeInfo{DType::kQ2_K, "q2_k", 256, 84, true},
    DTypeInfo{DType::kQ3_K, "q3_k", 256, 110, true},
    DTypeInfo{DType::kQ4_K, "q4_k", 256, 144, true},
    DTypeInfo{DType::kQ5_K, "q5_k", 256, 176, true},
    DTypeInfo{DType::kQ6_K, "q6_k", 256, 210, true},
    DTypeInfo{DType::kQ8_K, "q8_k", 256, 292, true},
    DTypeInfo{DType::kIQ2_XXS, "iq2_xxs", 256, 66, true},
    DTypeInfo{DType::kIQ2_XS, "iq2_xs", 256, 74, true},
    DTypeInfo{DType::kIQ3_XXS, "iq3_xxs", 256, 98, true},
    DTypeInfo{DType::kIQ1_S, "iq1_s", 256, 50, true},
    DTypeInfo{DType::kIQ4_NL, "iq4_nl", 32, 18, true},
    DTypeInfo{DType::kIQ3_S, "iq3_s", 256, 110, true},
    DTypeInfo{DType::kIQ2_S, "iq2_s", 256, 82, true},
    DTypeInfo{DType::kIQ4_XS, "iq4_xs", 256, 136, true},
    DTypeInfo{DType::kI8, "i8", 1, 1, false},
    DTypeInfo{DType::kI16, "i16", 1, 2, false},
    DTypeInfo{DType::kI32, "i32", 1, 4, false},
    DTypeInfo{DType::kI64, "i64", 1, 8, false},
    DTypeInfo{DType::kF64, "f64", 1, 8, false},
    DTypeInfo{DType::kIQ1_M, "iq1_m", 256, 56, true},
    DTypeInfo{DType::kBF16, "bf16", 1, 2, false},
    DTypeInfo{DType::kTQ1_0, "tq1_0", 256, 54, true},
    DTypeInfo{DType::kTQ2_0, "tq2_0", 256, 66, true},
    DTypeInfo{DType::kMXFP4, "mxfp4", 32, 17, true},
    DTypeInfo{DType::kNVFP4, "nvfp4", 64, 36, true},
    DTypeInfo{DType::kQ1_0, "q1_0", 128, 18, true},
    DTypeInfo{DType::kQ2_0, "q2_0", 64, 18, true},
    DTypeInfo{DType::kF8_E4M3, "f8_e4m3", 1, 1, false},
};
constexpr size_t kGgufTypes = kTypes.size() - 1;

uint32_t Bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

float FromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

}  // namespace

absl::Span<const DTypeInfo> AllDTypes() { return absl::MakeConstSpan(kTypes).first(kGgufTypes); }

const DTypeInfo& Info(DType type) {
  for (const DTypeInfo& info : kTypes) {
    if (info.type == type) return info;
  }
  return kTypes[0];  // unreachable: every enumerator has a row (tested)
}

bool IsCoarse(DType type) { return Info(type).quantized || type == DType::kF8_E4M3; }

std::optional<DType> DTypeFromGgml(uint32_t id) {
  const std::optional<DType> type = CacheDTypeFromId(id);
  return type == DType::kF8_E4M3 ? std::nullopt : type;
}

std::optional<DType> CacheDTypeFromId(uint32_t id) {
  for (const DTypeInfo& info : kTypes) {
    if (static_cast<uint32_t>(info.type) == id) return info.type;
  }
  return std::nullopt;
}

std::optional<DType> DTypeFromName(std::string_view name) {
  for (const DTypeInfo& info : kTypes) {
    if (info.name == name) return info.type;
  }
  return std::nullopt;
}

int64_t RowBytes(DType type, int64_t elements) {
  const DTypeInfo& info = Info(type);
  return elements / info.block_elements * info.block_bytes;
}

std::optional<int64_t> RowBytesChecked(DType type, int64_t elements) {
  const DTypeInfo& info = Info(type);
  if (elements < 0 || elements % info.block_elements != 0) return std::nullopt;
  const int64_t blocks = elements / info.block_elements;
  if (blocks > std::numeric_limits<int64_t>::max() / info.block_bytes) return std::nullopt;
  return blocks * info.block_bytes;
}

float HalfToFloat(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  uint32_t exponent = (half >> 10) & 0x1f;
  uint32_t mantissa = half & 0x3ff;
  if (exponent == 0x1f) return FromBits(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    // Subnormal: mantissa * 2^-24, exact in float.
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return FromBits(sign | Bits(magnitude));
  }
  return FromBits(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

uint16_t FloatToHalf(float value) {
  const uint32_t bits = Bits(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7e00u;   // NaN
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;  // rounds to infinity
  if (magnitude < 0x33000001u) return sign;             // at most half of 2^-24: zero
  uint32_t exponent = magnitude >> 23;
  uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  int shift = 13;
  uint32_t result = 0;
  if (exponent < 113) {
    shift += static_cast<int>(113 - exponent);  // subnormal half
  } else {
    result = (exponent - 112) << 10;
    mantissa &= 0x7fffffu;
  }
  const uint32_t half = 1u << (shift - 1);
  const uint32_t rest = mantissa & ((1u << shift) - 1);
  result += mantissa >> shift;
  if (rest > half || (rest == half && (result & 1)))
    ++result;  // a carry into the exponent is right
  return sign | static_cast<uint16_t>(result);
}

float BFloat16ToFloat(uint16_t bits) { return FromBits(uint32_t{bits} << 16); }

uint16_t FloatToBFloat16(float value) {
  const uint32_t bits = Bits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float E4M3ToFloat(uint8_t bits) {
  const uint32_t sign = uint32_t{bits & 0x80u} << 24;
  const uint32_t exponent = (bits >> 3) & 0xf, mantissa = bits & 0x7;
  if (exponent == 0xf && mantissa == 0x7) return FromBits(sign | 0x7fc00000u);
  if (exponent == 0) {
    // Subnormal: mantissa * 2^-9, exact in float.
    return FromBits(sign | Bits(static_cast<float>(mantissa) * 0x1p-9f));
  }
  return FromBits(sign | ((exponent + 120) << 23) | (mantissa << 20));
}

uint8_t FloatToE4M3(float value) {
  constexpr uint8_t kNan = 0x7f, kMost = 0x7e;
  const uint32_t bits = Bits(value);
  const uint8_t sign = static_cast<uint8_t>((bits >> 24) & 0x80u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | kNan;
  if (magnitude >= Bits(kMaxE4M3)) return sign | kMost;
  if (magnitude <= 0x3a800000u) return sign;  // at most half of 2^-9: zero
  const uint32_t exponent = magnitude >> 23;
  uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  int shift = 20;
  uint32_t result = 0;
  if (exponent < 121) {
    shift += static_cast<int>(121 - exponent);  // subnormal
  } else {
    result = (exponent - 120) << 3;
    mantissa &= 0x7fffffu;
  }
  const uint32_t half = 1u << (shift - 1);
  const uint32_t rest = mantissa & ((1u << shift) - 1);
  result += mantissa >> shift;
  if (rest > half || (rest == half && (result & 1))) ++result;  // as in FloatToHalf
  return sign | static_cast<uint8_t>(result);
}

}  // namespace renga
