#include "codegen/emit/cuda_sample.h"

#include <cstddef>

#include "codegen/emit/cuda_source.h"
#include "codegen/emit/kernel_shapes.h"
#include "codegen/kernels/args.cuh"
#include "runtime/plan/sample_args.h"

namespace renga::codegen {
namespace {

// The kernel's structs and those that the runtime fills in are the same.
static_assert(sizeof(kernels::SampleRow) == sizeof(plan::SampleRow));
static_assert(offsetof(kernels::SampleRow, row) == offsetof(plan::SampleRow, row));
static_assert(offsetof(kernels::SampleRow, sums) == offsetof(plan::SampleRow, sums));
static_assert(offsetof(kernels::SampleRow, kept) == offsetof(plan::SampleRow, kept));
static_assert(offsetof(kernels::SampleRow, top_k) == offsetof(plan::SampleRow, top_k));
static_assert(offsetof(kernels::SampleRow, first_change) ==
              offsetof(plan::SampleRow, first_change));
static_assert(offsetof(kernels::SampleRow, changes) == offsetof(plan::SampleRow, changes));
static_assert(offsetof(kernels::SampleRow, temperature) == offsetof(plan::SampleRow, temperature));
static_assert(offsetof(kernels::SampleRow, top_p) == offsetof(plan::SampleRow, top_p));
static_assert(offsetof(kernels::SampleRow, typical_p) == offsetof(plan::SampleRow, typical_p));
static_assert(offsetof(kernels::SampleRow, repeat) == offsetof(plan::SampleRow, repeat));
static_assert(offsetof(kernels::SampleRow, log_min_p) == offsetof(plan::SampleRow, log_min_p));
static_assert(offsetof(kernels::SampleRow, uniform) == offsetof(plan::SampleRow, uniform));
static_assert(sizeof(kernels::SampleChange) == sizeof(plan::SampleChange));
static_assert(offsetof(kernels::SampleChange, id) == offsetof(plan::SampleChange, id));
static_assert(offsetof(kernels::SampleChange, penalised) ==
              offsetof(plan::SampleChange, penalised));
static_assert(offsetof(kernels::SampleChange, bias) == offsetof(plan::SampleChange, bias));
static_assert(offsetof(kernels::SampleChange, penalty) == offsetof(plan::SampleChange, penalty));
static_assert(sizeof(kernels::SampleResult) == sizeof(plan::SampleResult));
static_assert(offsetof(kernels::SampleResult, id) == offsetof(plan::SampleResult, id));
static_assert(offsetof(kernels::SampleResult, top) == offsetof(plan::SampleResult, top));
static_assert(offsetof(kernels::SampleResult, max) == offsetof(plan::SampleResult, max));
static_assert(offsetof(kernels::SampleResult, logit) == offsetof(plan::SampleResult, logit));
static_assert(offsetof(kernels::SampleResult, sum) == offsetof(plan::SampleResult, sum));
static_assert(sizeof(kernels::SampleArgs) == sizeof(plan::SampleArgs));
static_assert(offsetof(kernels::SampleArgs, logits) == offsetof(plan::SampleArgs, logits));
static_assert(offsetof(kernels::SampleArgs, next) == offsetof(plan::SampleArgs, next));
static_assert(offsetof(kernels::SampleArgs, rows) == offsetof(plan::SampleArgs, rows));
static_assert(offsetof(kernels::SampleArgs, changes) == offsetof(plan::SampleArgs, changes));
static_assert(offsetof(kernels::SampleArgs, results) == offsetof(plan::SampleArgs, results));
static_assert(offsetof(kernels::SampleArgs, top) == offsetof(plan::SampleArgs, top));
static_assert(offsetof(kernels::SampleArgs, maxima) == offsetof(plan::SampleArgs, maxima));
static_assert(offsetof(kernels::SampleArgs, part_sums) == offsetof(plan::SampleArgs, part_sums));
static_assert(offsetof(kernels::SampleArgs, tickets) == offsetof(plan::SampleArgs, tickets));
static_assert(offsetof(kernels::SampleArgs, columns) == offsetof(plan::SampleArgs, columns));
static_assert(offsetof(kernels::SampleArgs, vocab) == offsetof(plan::SampleArgs, vocab));
static_assert(offsetof(kernels::SampleArgs, segment) == offsetof(plan::SampleArgs, segment));
static_assert(offsetof(kernels::SampleArgs, rehearses) == offsetof(plan::SampleArgs, rehearses));
static_assert(kernels::kSampleKept == plan::kSampleKept);
static_assert(kernels::kSampleChanges == plan::kSampleChanges);
static_assert(kernels::kSampleThreads == plan::kSampleThreads);
static_assert(kernels::kSampleChunks == plan::kSampleChunks);
static_assert(kernels::kSampleMostBlocks == plan::kSampleMostBlocks);

}  // namespace

plan::GpuKernel SampleGpuKernel() {
  const CudaKernel kernel = {.header = "sample",
                             .call = "Sample",
                             .args = "SampleArgs",
                             .detail = "sample",
                             .config = {},
                             .threads = plan::kSampleThreads,
                             .blocks_per_sm = 2,
                             .ir = "next = sample(logits), after the steps"};
  return MakeGpuKernel(kernel, "", "");
}

void AddSampler(PlanBuilder& builder, plan::Plan& plan) {
  if (builder.gpu().targets.empty() || !plan::CanSample(plan).ok()) return;
  const int32_t kernel = builder.AddGpuKernel(SampleGpuKernel());
  plan.gpu.sampler = {kernel, SampleShared()};
}

}  // namespace renga::codegen
