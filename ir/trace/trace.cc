#include "ir/trace/trace.h"

#include <cstring>

namespace renga {
namespace {

template <typename T>
T Load(const TracedValue& value, int64_t index) {
  T raw;
  std::memcpy(&raw, value.data.data() + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return raw;
}

}  // namespace

const TracedValue* Trace::Find(std::string_view name) const {
  for (const TracedValue& value : values) {
    if (value.name == name) return &value;
  }
  return nullptr;
}

double ElementAt(const TracedValue& value, int64_t index) {
  if (value.dtype == DType::kI32) return Load<int32_t>(value, index);
  if (value.dtype == DType::kF16) return HalfToFloat(Load<uint16_t>(value, index));
  if (value.dtype == DType::kBF16) return BFloat16ToFloat(Load<uint16_t>(value, index));
  return Load<float>(value, index);
}

std::vector<float> AsFloats(const TracedValue& value) {
  std::vector<float> numbers(value.elements());
  for (int64_t i = 0; i < value.elements(); ++i) {
    numbers[i] = static_cast<float>(ElementAt(value, i));
  }
  return numbers;
}

}  // namespace renga
