// Traces made in a test.
#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ir/trace/trace.h"

namespace renga {

// A value of type `dtype` (f32, f16 or bf16) holding `numbers`; its bytes live with `trace`.
inline TracedValue& AddTraced(Trace& trace, std::string name, std::string op,
                              std::vector<int64_t> shape, std::vector<std::string> axes,
                              const std::vector<float>& numbers, DType dtype = DType::kF32) {
  auto bytes = std::make_shared<std::vector<uint8_t>>();
  TracedValue value;
  for (const float number : numbers) {
    const auto append = [&](const auto& raw) {
      bytes->resize(bytes->size() + sizeof(raw));
      std::memcpy(bytes->data() + bytes->size() - sizeof(raw), &raw, sizeof(raw));
    };
    if (dtype == DType::kF32) append(number);
    if (dtype == DType::kF16) append(FloatToHalf(number));
    if (dtype == DType::kBF16) append(FloatToBFloat16(number));
    value.stats.nans += std::isnan(number) ? 1 : 0;
    value.stats.infs += std::isinf(number) ? 1 : 0;
  }
  value.name = std::move(name);
  value.op = std::move(op);
  value.dtype = dtype;
  value.shape = std::move(shape);
  value.axes = std::move(axes);
  value.data = *bytes;
  trace.storage.push_back(std::move(bytes));
  trace.values.push_back(std::move(value));
  return trace.values.back();
}

}  // namespace renga
