// What a process that runs a plan on the cpu takes, part by part.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "runtime/plan/plan.h"

namespace renga {

struct ProcessMemory {
  uint64_t weights = 0, kv = 0;  // as Plan::memory has them
  // Bytes of the activations that steps touch: logits are there for one row of each sequence,
  // though a step may ask for more.
  uint64_t activations = 0;
  uint64_t scratch = 0;  // of `threads` and what they share (cpu_kernels.h)
  int threads = 1;
  // Where tokens are chosen on the host: logits of a row of each sequence, and candidates.
  uint64_t sampling = 0;
  // The program, the plan as it is read, its kernels and its vocabulary. All of it is in this
  // process too, so it is measured; none where the system does not tell.
  std::optional<uint64_t> program;

  uint64_t total() const {
    return weights + kv + activations + scratch + sampling + program.value_or(0);
  }
};

// Of a plan for the cpu, once its context is full. Errors as PrepareCpuKernels.
absl::StatusOr<ProcessMemory> ProcessMemoryOf(const plan::Plan& plan, int threads);

// Of a plan for GPUs: bytes that are allocated on one to run it. Two runs may be under way, so what
// comes to a run and what its sampler works in is there twice. A GPU gives memory in pages of 2
// MiB, and the driver's context and the kernels' code come to it.
uint64_t GpuBytes(const plan::Plan& plan);

// Bytes that this process has in memory now; none where the system does not tell.
std::optional<uint64_t> ResidentBytes();

}  // namespace renga
