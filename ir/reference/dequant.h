// What the bytes of a stored weight mean: every ggml type to float32, written from the formats'
// definitions in plain loops. This is the oracle that packed layouts and SIMD kernels are tested
// against, so it shares no layout code with them.
//
// Values are exact: scale, sub-scale and quant together never need more than float32's 24 bits, so
// no order of operations or fused multiply-add changes a bit. Subnormal scales count in full.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "ir/base/dtype.h"

namespace renga {

// Decodes `elements` (a multiple of the type's block) from `blocks` (any alignment) into
// out[0..elements).
using DequantFn = void (*)(const uint8_t* blocks, int64_t elements, float* out);

// Decoder of `type`; nullptr for i64 alone, whose values float32 cannot hold. i8, i16, i32 and f64
// convert as numbers, round to nearest even.
DequantFn FindDequant(DType type);

// Decodes all of `bytes` into all of `out`. InvalidArgument when out.size() is no multiple of the
// type's block, when `bytes` is not exactly that many blocks, or when the type has no decoder;
// `out` is then untouched.
absl::Status DequantRow(DType type, absl::Span<const uint8_t> bytes, absl::Span<float> out);

}  // namespace renga
