// Plain numbers: one value after another, no blocks.
#include <cstring>
#include <limits>

#include "ir/base/dtype.h"
#include "ir/reference/dequant_types.h"

namespace renga {
namespace {

// IEEE makes the conversion of a double beyond float's range infinity.
static_assert(std::numeric_limits<float>::is_iec559 && std::numeric_limits<double>::is_iec559);

template <typename Number>
float ToFloat(Number value) {
  return static_cast<float>(value);
}

template <typename Number, float (*kConvert)(Number)>
void Convert(const uint8_t* numbers, int64_t elements, float* out) {
  for (int64_t i = 0; i < elements; ++i) {
    Number value;
    std::memcpy(&value, numbers + i * sizeof(Number), sizeof(Number));
    out[i] = kConvert(value);
  }
}

}  // namespace

void DequantF32(const uint8_t* blocks, int64_t elements, float* out) {
  if (elements > 0) std::memcpy(out, blocks, elements * sizeof(float));
}
void DequantF64(const uint8_t* blocks, int64_t elements, float* out) {
  Convert<double, ToFloat<double>>(blocks, elements, out);
}
void DequantF16(const uint8_t* blocks, int64_t elements, float* out) {
  Convert<uint16_t, HalfToFloat>(blocks, elements, out);
}
void DequantBF16(const uint8_t* blocks, int64_t elements, float* out) {
  Convert<uint16_t, BFloat16ToFloat>(blocks, elements, out);
}
void DequantI8(const uint8_t* blocks, int64_t elements, float* out) {
  Convert<int8_t, ToFloat<int8_t>>(blocks, elements, out);
}
void DequantI16(const uint8_t* blocks, int64_t elements, float* out) {
  Convert<int16_t, ToFloat<int16_t>>(blocks, elements, out);
}
void DequantI32(const uint8_t* blocks, int64_t elements, float* out) {
  Convert<int32_t, ToFloat<int32_t>>(blocks, elements, out);
}

}  // namespace renga
