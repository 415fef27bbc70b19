// All kernels of a plan at once: in parallel, each distinct one once, through the cache.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "codegen/nvrtc/cache.h"
#include "codegen/nvrtc/compile.h"

namespace renga::codegen {

struct KernelRequest {
  KernelSource source;
  const GpuTarget* target = nullptr;
};

struct BuiltKernel {
  std::shared_ptr<const KernelBinary> binary;  // one for all requests that are the same
  bool relaxed = false;                        // of KernelSource::relaxed
  KernelReport report;
};

struct BuildProgress {
  int64_t done = 0;  // distinct kernels
  int64_t total = 0;
  std::string_view kernel;  // just finished
  bool cached = false;
};

struct BuildOptions {
  int jobs = 0;                 // threads; 0: as many as the machine has cores, at most 8
  CubinCache* cache = nullptr;  // may be null
  KernelSettings settings;
  // Called for one kernel at a time, from the building threads.
  std::function<void(const BuildProgress&)> on_progress;
  // Asked before each kernel; true ends the build with Cancelled.
  std::function<bool()> should_stop;
};

struct KernelBuild {
  std::vector<BuiltKernel> kernels;  // in the order of the requests
  int64_t compiled = 0;              // distinct kernels that NVRTC ran for
  int64_t cached = 0;                // distinct kernels from the cache
  int64_t shared = 0;                // requests that were the same as an earlier one
  int64_t relaxed = 0;               // distinct kernels that are of KernelSource::relaxed
  double seconds = 0;
};

// The result does not depend on the number of threads or on what is cached. After a kernel that
// fails, the others are still tried: the error is that of the first failing request, and names all
// other kernels that failed. Errors that are not of one kernel (Unavailable, ResourceExhausted) end
// the build at once. Errors are those of CompileKernel and CheckKernel.
absl::StatusOr<KernelBuild> BuildKernels(const NvrtcLibrary& library,
                                         absl::Span<const KernelRequest> requests,
                                         const BuildOptions& options);

}  // namespace renga::codegen
