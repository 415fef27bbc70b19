// The GPU of tests and benchmarks, and kernels compiled and loaded for it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "codegen/nvrtc/build.h"
#include "codegen/nvrtc/library.h"
#include "codegen/nvrtc/target.h"
#include "runtime/device/cuda/resources.h"

namespace renga::emulator {

// {kernel, text of its source}.
using KernelTexts = std::map<std::string, std::string>;

// NVRTC as the environment leads to it (codegen/nvrtc/search.h).
absl::StatusOr<std::shared_ptr<const codegen::NvrtcLibrary>> LoadNvrtc();

// All of them for one target, from their texts and the headers inside this program alone. Results
// are in the order of `texts`. A stack is allowed: how fast a kernel is is not asked here. Kept in
// and taken from the folder RENGA_KERNEL_CACHE where that is set.
absl::StatusOr<codegen::KernelBuild> BuildTexts(const codegen::NvrtcLibrary& nvrtc,
                                                const codegen::GpuTarget& target,
                                                const KernelTexts& texts);

struct Gpu {
  cuda::ContextRef context;
  std::shared_ptr<const codegen::NvrtcLibrary> nvrtc;
  const codegen::GpuTarget* target = nullptr;  // of this GPU
};

// The first GPU, its context current in this thread. Unavailable where there is no driver, GPU or
// NVRTC; Unimplemented for a GPU that is in no row of codegen/nvrtc/target.cc.
absl::StatusOr<Gpu> OpenGpu();

// Kernels on a GPU, by name.
class GpuKernels {
 public:
  static absl::StatusOr<GpuKernels> Build(const Gpu& gpu, const KernelTexts& texts);

  // Allows `shared_bytes` of dynamic shared memory where that needs to be asked for. NotFound where
  // there is no such kernel.
  absl::StatusOr<cuda::Function> Find(const std::string& name, int64_t shared_bytes) const;
  // How many blocks a multiprocessor holds at a time; 0: it cannot be launched like that.
  absl::StatusOr<int> BlocksPerMultiprocessor(const std::string& name, int threads,
                                              int64_t shared_bytes) const;
  // As the cubin says.
  const codegen::KernelResources& ResourcesOf(const std::string& name) const {
    return kernels_.at(name).resources;
  }

 private:
  struct Loaded {
    cuda::Module module;
    cuda::Function function;
    codegen::KernelResources resources;
  };
  std::map<std::string, Loaded> kernels_;
};

}  // namespace renga::emulator
