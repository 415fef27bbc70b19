#include "runtime/plan/cache_layout.h"

#include "runtime/plan/layout.h"

namespace renga::plan {

namespace {

constexpr uint64_t kScaleBytes = 2;

uint64_t ScalesOfCell(const Cache& cache) {
  return static_cast<uint64_t>(cache.heads * cache.head_dim / Info(cache.dtype).block_elements) *
         kScaleBytes;
}

}  // namespace

uint64_t ScalesOffset(const Plan& plan, const Cache& cache) {
  if (plan.gpu.targets.empty() || !Info(cache.dtype).quantized) return 0;
  return static_cast<uint64_t>(CacheCells(plan, cache.group)) *
         (cache.cell_bytes - ScalesOfCell(cache));
}

std::vector<ByteRange> CellRanges(const Plan& plan, const Cache& cache, int64_t cell) {
  const uint64_t index = static_cast<uint64_t>(cell), scales = ScalesOffset(plan, cache);
  if (scales == 0) return {{index * cache.cell_bytes, cache.cell_bytes}};
  const uint64_t rest = ScalesOfCell(cache), quants = cache.cell_bytes - rest;
  return {{index * quants, quants}, {scales + index * rest, rest}};
}

std::vector<ByteRange> PageRanges(const Plan& plan, const Cache& cache, int64_t page) {
  const int64_t tokens = plan.geometry.page_tokens;
  std::vector<ByteRange> ranges = CellRanges(plan, cache, page * tokens);
  for (ByteRange& range : ranges) range.bytes *= static_cast<uint64_t>(tokens);
  return ranges;
}

}  // namespace renga::plan
