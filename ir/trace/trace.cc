#include "ir/trace/trace.h"

#include "ir/trace/elements.h"

namespace renga {
const TracedValue* Trace::Find(std::string_view name) const {
  for (const TracedValue& value : values) {
    if (value.name == name) return &value;
  }
  return nullptr;
}

double ElementAt(const TracedValue& value, int64_t index) {
  if (value.dtype == DType::kI32) return LoadElement<int32_t>(value.data.data(), index);
  if (value.dtype == DType::kF16)
    return HalfToFloat(LoadElement<uint16_t>(value.data.data(), index));
  if (value.dtype == DType::kBF16)
    return BFloat16ToFloat(LoadElement<uint16_t>(value.data.data(), index));
  return LoadElement<float>(value.data.data(), index);
}

std::vector<float> AsFloats(const TracedValue& value) {
  std::vector<float> numbers;
  numbers.reserve(value.elements());
  ForEachElement(value.dtype, value.data.data(), value.elements(),
                 [&](auto x) { numbers.push_back(static_cast<float>(x)); });
  return numbers;
}

}  // namespace renga
