// The elements of a traced value as numbers, whatever their type and alignment.
#pragma once

#include <cstdint>
#include <cstring>

#include "ir/base/dtype.h"

namespace renga {

// The element of type T (uint16_t for the halves) number `index`. In a file of another program it
// need not be aligned.
template <typename T>
T LoadElement(const uint8_t* data, int64_t index) {
  T value;
  std::memcpy(&value, data + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

// Calls fn(number) for each of `count` elements, in order; `type` is f32, f16, bf16 or i32.
template <typename Fn>
void ForEachElement(DType type, const uint8_t* data, int64_t count, Fn fn) {
  if (type == DType::kF32) {
    for (int64_t i = 0; i < count; ++i) fn(LoadElement<float>(data, i));
  } else if (type == DType::kF16) {
    for (int64_t i = 0; i < count; ++i) fn(HalfToFloat(LoadElement<uint16_t>(data, i)));
  } else if (type == DType::kBF16) {
    for (int64_t i = 0; i < count; ++i) fn(BFloat16ToFloat(LoadElement<uint16_t>(data, i)));
  } else {
    for (int64_t i = 0; i < count; ++i) fn(LoadElement<int32_t>(data, i));
  }
}

}  // namespace renga
