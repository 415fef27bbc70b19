// kv_append: cache[cells[t]] = x[t], rounded to the cache's type.
#include "runtime/device/cpu/kv_append.h"

#include <cstring>

#include "ir/base/status.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/shapes.h"
#include "runtime/device/cpu/step_check.h"

namespace renga::cpu {

void StoreFloats(const float* x, int64_t n, DType type, uint8_t* out) {
  if (type == DType::kF32) {
    std::memcpy(out, x, n * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    const uint16_t bits = type == DType::kF16 ? FloatToHalf(x[i]) : FloatToBFloat16(x[i]);
    std::memcpy(out + i * sizeof(bits), &bits, sizeof(bits));
  }
}

namespace {

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"cache", "x", "cells"}, {"cache"});
  RENGA_RETURN_IF_ERROR(check.Counts(3));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({}));
  RENGA_RETURN_IF_ERROR(check.InType(0, {DType::kF32, DType::kF16, DType::kBF16}, 3));
  RENGA_RETURN_IF_ERROR(check.InType(1, {DType::kF32}, 3));
  RENGA_RETURN_IF_ERROR(check.InType(2, {DType::kI32}, 1));
  const plan::TensorType& cache = check.In(0);
  RENGA_RETURN_IF_ERROR(check.OutType(0, {cache.dtype}, 3));
  RENGA_RETURN_IF_ERROR(check.SameShape("output cache", check.Out(0), "input cache", cache));
  RENGA_RETURN_IF_ERROR(check.SameDim("x", check.In(1), 1, "cache", cache.shape[1]));
  RENGA_RETURN_IF_ERROR(check.SameDim("x", check.In(1), 2, "cache", cache.shape[2]));
  RENGA_RETURN_IF_ERROR(check.SameDim("cells", check.In(2), 0, "x", check.In(1).shape[0]));
  return [type = cache.dtype](const KernelCall& call) {
    const TensorRef& x = call.inputs[1];
    const int32_t* cells = call.inputs[2].as<const int32_t>();
    const int64_t n = x.dims[1] * x.dims[2];
    const int64_t bytes = RowBytes(type, n);
    call.pool.ParallelFor(x.dims[0], RowGrain(n), [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; ++t) {
        StoreFloats(x.as<const float>() + t * n, n, type, call.outputs[0].data + cells[t] * bytes);
      }
    });
  };
}

}  // namespace

const KernelDef kKvAppend = {"kv_append", Prepare};

}  // namespace renga::cpu
