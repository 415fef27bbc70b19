#include "runtime/plan/cache_layout.h"

#include "runtime/plan/layout.h"

namespace renga::plan {

uint64_t ScalesOffset(const Plan& plan, const Cache& cache) {
  if (plan.gpu.targets.empty() || cache.dtype != DType::kQ8_0) return 0;
  return static_cast<uint64_t>(CacheCells(plan) * cache.heads * cache.head_dim);
}

std::vector<ByteRange> CellRanges(const Plan& plan, const Cache& cache, int64_t cell) {
  const uint64_t index = static_cast<uint64_t>(cell), scales = ScalesOffset(plan, cache);
  if (scales == 0) return {{index * cache.cell_bytes, cache.cell_bytes}};
  const uint64_t quants = static_cast<uint64_t>(cache.heads * cache.head_dim);
  const uint64_t rest = cache.cell_bytes - quants;
  return {{index * quants, quants}, {scales + index * rest, rest}};
}

std::vector<ByteRange> PageRanges(const Plan& plan, const Cache& cache, int64_t page) {
  const int64_t tokens = plan.geometry.page_tokens;
  std::vector<ByteRange> ranges = CellRanges(plan, cache, page * tokens);
  for (ByteRange& range : ranges) range.bytes *= static_cast<uint64_t>(tokens);
  return ranges;
}

}  // namespace renga::plan
