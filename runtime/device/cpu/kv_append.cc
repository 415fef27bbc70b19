// kv_append: cache[cells[t]] = x[t], rounded to the cache's type.
#include "ir/base/status.h"
#include "runtime/device/cpu/cache_ops.h"
#include "runtime/device/cpu/kernels.h"
#include "runtime/device/cpu/shapes.h"
#include "runtime/device/cpu/step_check.h"

namespace renga::cpu {

namespace {

absl::StatusOr<PreparedKernel> Prepare(const StepSignature& step) {
  const StepCheck check(step, {"cache", "x", "cells"}, {"cache"});
  RENGA_RETURN_IF_ERROR(check.Counts(3));
  RENGA_RETURN_IF_ERROR(check.OnlyAttrs({}));
  RENGA_RETURN_IF_ERROR(CheckCache(check, 0));
  RENGA_RETURN_IF_ERROR(check.InType(1, {DType::kF32}, 3));
  RENGA_RETURN_IF_ERROR(check.InType(2, {DType::kI32}, 1));
  const plan::TensorType& cache = check.In(0);
  RENGA_RETURN_IF_ERROR(check.OutType(0, {cache.dtype}, 3));
  RENGA_RETURN_IF_ERROR(check.SameShape("output cache", check.Out(0), "input cache", cache));
  RENGA_RETURN_IF_ERROR(check.SameDim("x", check.In(1), 1, "cache", cache.shape[1]));
  RENGA_RETURN_IF_ERROR(check.SameDim("x", check.In(1), 2, "cache", cache.shape[2]));
  RENGA_RETURN_IF_ERROR(check.SameDim("cells", check.In(2), 0, "x", check.In(1).shape[0]));
  return [ops = *FindCacheOps(cache.dtype)](const KernelCall& call) {
    const TensorRef& x = call.inputs[1];
    const int32_t* cells = call.inputs[2].as<const int32_t>();
    const int64_t n = x.dims[1] * x.dims[2];
    const int64_t bytes = RowBytes(ops.type, n);
    call.pool.ParallelFor(x.dims[0], RowGrain(n), [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; ++t) {
        ops.store(x.as<const float>() + t * n, n, call.outputs[0].data + cells[t] * bytes);
      }
    });
  };
}

}  // namespace

const KernelDef kKvAppend = {"kv_append", Prepare};

}  // namespace renga::cpu
