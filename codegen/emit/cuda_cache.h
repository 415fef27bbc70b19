// A cache of keys or values as kernels for GPUs take it (codegen/kernels/kv_cache.cuh).
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "codegen/emit/cuda_step.h"
#include "codegen/emit/kernel_shapes.h"

namespace renga::codegen {

struct CudaCache {
  std::string element;  // as a Config names it: "Half", "Q8", "Q4", "E4m3"
  KvShape shape;        // of a tile of it
  bool copied = false;  // whether it becomes a tile's numbers without passing through registers
  int32_t buffer = -1;
  uint64_t scales_at = 0;  // bytes from the buffer's start (cache_layout.h); 0: there are none

  plan::Arg Values(std::string_view name) const { return Pointer(name, buffer); }
  plan::Arg Scales(std::string_view name) const;
};

// Types of caches that kernels for GPUs have.
absl::Span<const DType> GpuCacheTypes();

// Operand `name` of the step, a cache [C, heads, head_dim]. Unimplemented, with its name, for types
// that have no kernel.
absl::StatusOr<CudaCache> CacheOf(const CudaStep& step, std::string_view name);

// Unimplemented where the node's attribute `causal` is false. In a graph of launches the keys are
// told to be more than they are (Launch, runtime/plan/gpu.h), and positions alone say where they
// end.
absl::Status RequireCausal(const CudaStep& step);

}  // namespace renga::codegen
