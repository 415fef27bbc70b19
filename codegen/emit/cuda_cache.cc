#include "codegen/emit/cuda_cache.h"

#include <algorithm>
#include <array>

#include "ir/base/status.h"
#include "runtime/plan/cache_layout.h"

namespace renga::codegen {
namespace {

struct CacheType {
  DType type;
  std::string_view element;
  KvShape shape;
  bool copied;
};
constexpr CacheType kTypes[] = {
    {DType::kF16, "Half", {1}, true},          {DType::kBF16, "Bfloat16", {1}, true},
    {DType::kF32, "float", {2}, false},        {DType::kQ8_0, "Q8", {2, 8, true}, false},
    {DType::kQ4_0, "Q4", {2, 4, true}, false}, {DType::kF8_E4M3, "E4m3", {1, 8}, false}};

constexpr auto kDTypes = [] {
  std::array<DType, std::size(kTypes)> types;
  for (size_t i = 0; i < types.size(); ++i) types[i] = kTypes[i].type;
  return types;
}();

}  // namespace

absl::Span<const DType> GpuCacheTypes() { return kDTypes; }

plan::Arg CudaCache::Scales(std::string_view name) const {
  if (scales_at == 0) return Pointer(name, -1);
  plan::Arg arg = Pointer(name, buffer);
  arg.offset = scales_at;
  return arg;
}

absl::StatusOr<CudaCache> CacheOf(const CudaStep& step, std::string_view name) {
  const DType type = step.type(name).dtype;
  const auto found =
      std::find_if(std::begin(kTypes), std::end(kTypes),
                   [type](const CacheType& candidate) { return candidate.type == type; });
  if (found == std::end(kTypes)) {
    std::vector<std::string_view> names;
    for (const DType known : kDTypes) names.push_back(Name(known));
    return absl::UnimplementedError(
        StrCat(RefText(step.value(name)), ": type ", Name(type),
               " has no kernel on GPUs; supported: ", StrJoin(names, " "), " (--kv-type)"));
  }
  CudaCache cache = {.element = std::string(found->element),
                     .shape = found->shape,
                     .copied = found->copied,
                     .buffer = step.operand(name)};
  if (Info(type).quantized) {
    const plan::Buffer& buffer = step.plan().buffers[cache.buffer];
    if (buffer.space != plan::Space::kCache) {
      return absl::UnimplementedError(StrCat(RefText(step.value(name)), ": expected a cache, as ",
                                             "what is of type ", Name(type),
                                             " must be, got another value"));
    }
    cache.scales_at = plan::ScalesOffset(step.plan(), step.plan().caches[buffer.index]);
  }
  return cache;
}

absl::Status RequireCausal(const CudaStep& step) {
  if (step.Bool("causal")) return absl::OkStatus();
  return absl::UnimplementedError(
      StrCat(RefText(step.graph().value(step.node().results[0])),
             ": attention with causal=false has no kernel on GPUs, where a run may be told more "
             "keys than there are; use --target cpu"));
}

}  // namespace renga::codegen
