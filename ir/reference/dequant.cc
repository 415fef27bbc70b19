#include "ir/reference/dequant.h"

#include <optional>

#include "ir/base/strings.h"
#include "ir/reference/dequant_types.h"

namespace renga {
namespace {

struct Decoder {
  DType type;
  DequantFn decode;
};

constexpr Decoder kDecoders[] = {
    {DType::kF32, DequantF32},         {DType::kF16, DequantF16},
    {DType::kQ4_0, DequantQ4_0},       {DType::kQ4_1, DequantQ4_1},
    {DType::kQ5_0, DequantQ5_0},       {DType::kQ5_1, DequantQ5_1},
    {DType::kQ8_0, DequantQ8_0},       {DType::kQ8_1, DequantQ8_1},
    {DType::kQ2_K, DequantQ2_K},       {DType::kQ3_K, DequantQ3_K},
    {DType::kQ4_K, DequantQ4_K},       {DType::kQ5_K, DequantQ5_K},
    {DType::kQ6_K, DequantQ6_K},       {DType::kQ8_K, DequantQ8_K},
    {DType::kIQ2_XXS, DequantIQ2_XXS}, {DType::kIQ2_XS, DequantIQ2_XS},
    {DType::kIQ3_XXS, DequantIQ3_XXS}, {DType::kIQ1_S, DequantIQ1_S},
    {DType::kIQ4_NL, DequantIQ4_NL},   {DType::kIQ3_S, DequantIQ3_S},
    {DType::kIQ2_S, DequantIQ2_S},     {DType::kIQ4_XS, DequantIQ4_XS},
    {DType::kI8, DequantI8},           {DType::kI16, DequantI16},
    {DType::kI32, DequantI32},         {DType::kF64, DequantF64},
    {DType::kIQ1_M, DequantIQ1_M},     {DType::kBF16, DequantBF16},
    {DType::kTQ1_0, DequantTQ1_0},     {DType::kTQ2_0, DequantTQ2_0},
    {DType::kMXFP4, DequantMXFP4},     {DType::kNVFP4, DequantNVFP4},
    {DType::kQ1_0, DequantQ1_0},       {DType::kQ2_0, DequantQ2_0},
};

}  // namespace

DequantFn FindDequant(DType type) {
  for (const Decoder& decoder : kDecoders) {
    if (decoder.type == type) return decoder.decode;
  }
  return nullptr;
}

absl::Status DequantRow(DType type, absl::Span<const uint8_t> bytes, absl::Span<float> out) {
  const DequantFn decode = FindDequant(type);
  if (decode == nullptr) {
    return absl::InvalidArgumentError(
        StrCat("dequantise ", Name(type), ": expected a type that float32 can hold"));
  }
  const int64_t elements = static_cast<int64_t>(out.size());
  const std::optional<int64_t> expected = RowBytesChecked(type, elements);
  if (!expected.has_value()) {
    return absl::InvalidArgumentError(StrCat("dequantise ", Name(type), ": expected a multiple of ",
                                             Info(type).block_elements, " elements, got ",
                                             elements));
  }
  if (static_cast<int64_t>(bytes.size()) != *expected) {
    return absl::InvalidArgumentError(StrCat("dequantise ", Name(type), ": expected ", *expected,
                                             " bytes for ", elements, " elements, got ",
                                             bytes.size()));
  }
  decode(bytes.data(), elements, out.data());
  return absl::OkStatus();
}

}  // namespace renga
