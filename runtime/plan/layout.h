// Sizes and addresses that codegen, the validator and the runtime must agree on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/plan/plan.h"

namespace renga::plan {

// Start of every arena buffer, cache and input, in bytes: a cache line, and enough for any SIMD
// load.
inline constexpr uint64_t kAlignment = 64;

// Start of every weight in the memory of a GPU, in bytes, from the start of all weights, which lie
// in the plan's order.
inline constexpr uint64_t kGpuWeightAlignment = 256;

// No tensor, arena or sum of them may be larger: sums of a plan's figures then cannot overflow.
inline constexpr uint64_t kMaxBytes = uint64_t{1} << 47;

// Multiple of kAlignment that holds `bytes` (at most kMaxBytes).
constexpr uint64_t AlignUp(uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// Bytes of a tensor with every symbol at its max, in its layout: there each matrix of the last two
// axes is packed by itself. InvalidArgument, without saying which tensor, when the layout is
// unknown or does not accept the type, or when the rank is not 1..4, a size is not positive, a
// symbol does not exist, the last axis is no constant multiple of the type's block, or the product
// exceeds kMaxBytes.
absl::StatusOr<uint64_t> MaxBytes(const TensorType& type, const std::vector<Symbol>& symbols);

// Type of the weight as kernels see it, in its layout.
TensorType TypeOf(const Weight& weight);

// Bytes of a weight, already checked, in its layout.
uint64_t StoredBytes(const Weight& weight);

// "f32[T,14,64]". A symbol that does not exist prints as "?".
std::string ToString(const TensorType& type, const std::vector<Symbol>& symbols);

// Index of the symbol of that name; -1 when there is none.
int32_t FindSymbol(const Plan& plan, std::string_view name);

// Max of the symbol of that name; `otherwise` when the plan has none.
int64_t SymbolMax(const Plan& plan, std::string_view name, int64_t otherwise);

// Index of the buffer of the output of that name; -1 when the plan has none.
int32_t OutputBuffer(const Plan& plan, std::string_view name);

// Groups of pages (Geometry::windows): 1 or more.
int GroupsOf(const Plan& plan);

// Keys that a token sees in layers of the group; 0: all.
int64_t WindowOf(const Plan& plan, int group);

// Cells of each cache of the group, all pages of all sequences together.
int64_t CacheCells(const Plan& plan, int group = 0);

// Bytes of a cache, a multiple of kAlignment.
uint64_t CacheBytes(const Plan& plan, const Cache& cache);

// Pages that a sequence of `tokens` tokens has at most in the group.
int64_t PagesOf(const Geometry& geometry, int64_t tokens, int64_t window);

// End of the last arena buffer, rounded up; 0 without one.
uint64_t ArenaBytes(const Plan& plan);

// End of the last persistent buffer, rounded up; 0 without one.
uint64_t PersistentBytes(const Plan& plan);

// What the plan's sampler works in (sample_args.h); 0 without one.
uint64_t SamplingBytes(const Plan& plan);

// Plan::memory recomputed from weights, caches and buffers. The figures of each must have been
// checked.
Memory ComputeMemory(const Plan& plan);

}  // namespace renga::plan
