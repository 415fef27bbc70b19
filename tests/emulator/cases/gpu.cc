#include "tests/emulator/cases/gpu.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "codegen/nvrtc/search.h"
#include "ir/base/status.h"

namespace renga::emulator {

absl::StatusOr<std::shared_ptr<const codegen::NvrtcLibrary>> LoadNvrtc() {
  return codegen::NvrtcLibrary::Load(
      codegen::UsualNvrtcSearch([](const char* name) -> std::optional<std::string> {
        const char* value = std::getenv(name);
        if (value == nullptr) return std::nullopt;
        return value;
      }));
}

absl::StatusOr<codegen::KernelBuild> BuildTexts(const codegen::NvrtcLibrary& nvrtc,
                                                const codegen::GpuTarget& target,
                                                const KernelTexts& texts) {
  std::vector<codegen::KernelRequest> requests;
  for (const auto& [name, text] : texts) {
    // Launched in several shapes; the smallest is what all kernels allow.
    requests.push_back({{.name = name, .text = text, .threads = 32}, &target});
  }
  codegen::BuildOptions options;
  options.settings.allow_stack = true;
  options.settings.line_info = true;
  options.jobs = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const char* folder = std::getenv("RENGA_KERNEL_CACHE");
  codegen::CubinCache cache({.folder = folder == nullptr ? "" : folder});
  if (folder != nullptr) options.cache = &cache;
  return codegen::BuildKernels(nvrtc, requests, options);
}

absl::StatusOr<Gpu> OpenGpu() {
  Gpu gpu;
  RENGA_ASSIGN_OR_RETURN(std::shared_ptr<const cuda::Driver> driver,
                         cuda::Driver::Load(cuda::kDriverSoname));
  RENGA_ASSIGN_OR_RETURN(gpu.context, cuda::Context::Open(std::move(driver), 0));
  for (const codegen::GpuTarget& target : codegen::GpuTargets()) {
    if (target.sm == gpu.context->gpu().sm) gpu.target = &target;
  }
  if (gpu.target == nullptr) {
    return absl::UnimplementedError(
        StrCat("cuda: no target for ", gpu.context->gpu().name, ", sm_", gpu.context->gpu().sm));
  }
  RENGA_ASSIGN_OR_RETURN(gpu.nvrtc, LoadNvrtc());
  return gpu;
}

absl::StatusOr<GpuKernels> GpuKernels::Build(const Gpu& gpu, const KernelTexts& texts) {
  RENGA_ASSIGN_OR_RETURN(const codegen::KernelBuild build,
                         BuildTexts(*gpu.nvrtc, *gpu.target, texts));
  GpuKernels kernels;
  size_t at = 0;
  for (const auto& [name, text] : texts) {
    const codegen::BuiltKernel& built = build.kernels[at++];
    Loaded loaded;
    RENGA_ASSIGN_OR_RETURN(loaded.module, cuda::Module::Load(gpu.context, built.binary->cubin));
    RENGA_ASSIGN_OR_RETURN(loaded.function, loaded.module.Find(name));
    loaded.resources = built.report.resources;
    kernels.kernels_.emplace(name, std::move(loaded));
  }
  return kernels;
}

absl::StatusOr<cuda::Function> GpuKernels::Find(const std::string& name,
                                                int64_t shared_bytes) const {
  const auto found = kernels_.find(name);
  if (found == kernels_.end()) return absl::NotFoundError(StrCat("no kernel '", name, "'"));
  const Loaded& loaded = found->second;
  if (shared_bytes > codegen::kMaxStaticShared) {
    RENGA_RETURN_IF_ERROR(loaded.module.AllowShared(loaded.function, shared_bytes));
  }
  return loaded.function;
}

absl::StatusOr<int> GpuKernels::BlocksPerMultiprocessor(const std::string& name, int threads,
                                                        int64_t shared_bytes) const {
  RENGA_ASSIGN_OR_RETURN(const cuda::Function function, Find(name, shared_bytes));
  return kernels_.at(name).module.BlocksPerMultiprocessor(function, threads, shared_bytes);
}

}  // namespace renga::emulator
