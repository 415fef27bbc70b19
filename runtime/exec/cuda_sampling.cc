// How CudaExecutor samples: after the steps of a run, on the same stream, so that `next` holds each
// row's choice before anything that is queued later reads it.
#include "ir/base/status.h"
#include "runtime/exec/cuda_executor.h"
#include "runtime/plan/layout.h"

namespace renga {

absl::Status CudaExecutor::PrepareSampling() {
  if (plan_->gpu.sampler.kernel < 0) return absl::OkStatus();
  for (size_t turn : {0, 1}) {
    samplers_[turn].emplace(*plan_);
    // As on the GPU, up to what its blocks keep for themselves.
    auto host = cuda::PinnedMemory::Allocate(context_, samplers_[turn]->memory().maxima);
    RENGA_RETURN_IF_ERROR(Explained(host.status(), "sampling, on the host"));
    sampling_host_[turn] = *std::move(host);
  }
  const uint64_t bytes = plan::AlignUp(samplers_[0]->memory().bytes);
  RENGA_RETURN_IF_ERROR(Allocate("sampling", 2 * bytes, &sampling_));
  return stream_.Fill(sampling_.data(), 0, sampling_.bytes());
}

// Of the run that is being started.
uint8_t* CudaExecutor::sampling_memory() const {
  return sampling_.data() + started_ % 2 * plan::AlignUp(samplers_[0]->memory().bytes);
}

// Bytes of the run's inputs.
size_t CudaExecutor::BeginSampling(absl::Span<const RowSampling> asked) {
  return samples() ? samplers_[started_ % 2]->Begin(asked, transfers_.sampling(started_)) : 0;
}

int64_t CudaExecutor::SampledRows() const {
  return samples() ? samplers_[started_ % 2]->rows() : 0;
}

// Right behind the last step, whose kernel may still run: until then the sampler looks at nothing
// but its parameters, which have come before the steps.
absl::Status CudaExecutor::StartSampling() {
  if (SampledRows() == 0) return absl::OkStatus();
  const DeviceSampling& sampling = *samplers_[started_ % 2];
  const std::vector<DeviceSampling::Launch> launches =
      sampling.Launches({.inputs = transfers_.inputs(started_) + layout_.sampling(),
                         .memory = reinterpret_cast<uint64_t>(sampling_memory()),
                         .logits = addresses()[plan::OutputBuffer(*plan_, "logits")],
                         .next = addresses()[next_]});
  const plan::SampleMemory& memory = sampling.memory();
  const plan::GpuSampler& sampler = plan_->gpu.sampler;
  for (const DeviceSampling::Launch& launch : launches) {
    plan::SampleArgs args = launch.args;
    if (!overlaps_launches()) args.rehearses = 0;  // the code comes when it is needed
    void* arguments[] = {&args};
    cuda::LaunchShape shape;
    shape.grid[0] = static_cast<unsigned>(memory.blocks);
    shape.grid[1] = static_cast<unsigned>(launch.rows);
    shape.threads = static_cast<unsigned>(plan_->gpu.kernels[sampler.kernel].threads);
    shape.shared_bytes = static_cast<unsigned>(sampler.dynamic_shared);
    shape.overlaps_previous = overlaps_launches();
    RENGA_RETURN_IF_ERROR(stream_.Launch(code_.function(sampler.kernel), shape, arguments));
  }
  return absl::OkStatus();
}

// Of the run that is being started: what is to come back with `next`.
std::vector<CudaTransfers::Piece> CudaExecutor::SamplingResults() const {
  std::vector<CudaTransfers::Piece> pieces;
  if (SampledRows() == 0) return pieces;
  const DeviceSampling& sampling = *samplers_[started_ % 2];
  const auto read = [&](uint64_t offset, size_t count) {
    if (count == 0) return;
    pieces.push_back(
        {sampling_memory() + offset, {sampling_host_[started_ % 2].data() + offset, count}});
  };
  read(sampling.memory().results, sampling.result_bytes());
  read(sampling.memory().top, sampling.top_bytes());
  return pieces;
}

// Of the run that is being finished, whose results are there.
void CudaExecutor::FinishSampling() {
  if (!samples()) return;
  const DeviceSampling& sampling = *samplers_[finished_ % 2];
  const cuda::PinnedMemory& host = sampling_host_[finished_ % 2];
  sampled_ =
      sampling.Finish(host.data() + sampling.memory().results, host.data() + sampling.memory().top);
  for (const SampledRow& row : sampled_) ++(row.id < 0 ? counters_.undecided : counters_.sampled);
}

}  // namespace renga
