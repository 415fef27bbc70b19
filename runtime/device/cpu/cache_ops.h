// How caches of keys and values store numbers: what kv_append, qkv_rope and attention know of a
// cache's type. What each type keeps of a row is ir/core/cache_rounding.h's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "ir/base/dtype.h"
#include "runtime/device/cpu/step_check.h"

namespace renga::cpu {

struct CacheOps {
  using Store = void (*)(const float* x, int64_t n, uint8_t* out);
  using Unpack = void (*)(const uint8_t* row, int64_t n, float* out);

  DType type = DType::kF32;
  // n numbers, whole blocks where the type has blocks, rounded to `out`, which need not be aligned.
  // A block with a number that is not finite becomes NaN; what f8_e4m3 makes of infinity is 448.
  Store store = nullptr;
  // The n stored numbers, then zeros up to FloatStride(n).
  Unpack unpack = nullptr;
};

// None for types that a cache cannot have. Chosen for the machine's instruction set.
std::optional<CacheOps> FindCacheOps(DType type);

// Operand `operand` of the step is a cache: [C,K,D] of a type that FindCacheOps finds, heads of
// whole blocks.
absl::Status CheckCache(const StepCheck& check, size_t operand);

}  // namespace renga::cpu
