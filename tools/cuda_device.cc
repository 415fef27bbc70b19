#include "tools/cuda_device.h"

#include <charconv>
#include <memory>
#include <utility>

#include "codegen/nvrtc/target.h"
#include "ir/base/status.h"
#include "runtime/device/cuda/driver.h"

namespace renga {
namespace {

constexpr std::string_view kMaker = "NVIDIA ";

// The newest target that the GPU can run: its own, or one whose PTX the driver compiles.
const codegen::GpuTarget* TargetOf(int sm) {
  const codegen::GpuTarget* best = nullptr;
  for (const codegen::GpuTarget& target : codegen::GpuTargets()) {
    if (target.sm == sm || (target.sm < sm && target.ptx_runs_on_newer)) best = &target;
  }
  return best;
}

}  // namespace

absl::StatusOr<CudaDevice> OpenCuda(int ordinal) {
  RENGA_ASSIGN_OR_RETURN(std::shared_ptr<const cuda::Driver> driver,
                         cuda::Driver::Load(cuda::kDriverSoname));
  if (const int count = driver->device_count(); ordinal < 0 || ordinal >= count) {
    return absl::UnavailableError(
        StrCat("cuda: no device cuda:", ordinal, ", this machine has ",
               count == 1 ? "cuda:0 alone" : StrCat("cuda:0 to cuda:", count - 1),
               "; renga devices lists what there is"));
  }
  CudaDevice device;
  auto context = cuda::Context::Open(std::move(driver), ordinal);
  if (absl::IsResourceExhausted(context.status())) {
    return Annotate(context.status(), StrCat("cuda:", ordinal,
                                             ", whose memory other programs may have (nvidia-smi "
                                             "names them)"));
  }
  RENGA_ASSIGN_OR_RETURN(device.context, std::move(context));
  const cuda::GpuFacts& gpu = device.context->gpu();
  std::string_view name = gpu.name;
  if (name.starts_with(kMaker)) name.remove_prefix(kMaker.size());
  device.name = StrCat("cuda:", ordinal, " ", name);
  const codegen::GpuTarget* target = TargetOf(gpu.sm);
  if (target == nullptr) {
    return absl::UnavailableError(
        StrCat("cuda: ", gpu.name, " has compute capability ", gpu.sm / 10, ".", gpu.sm % 10,
               ", expected ", codegen::GpuTargets()[0].sm / 10, ".",
               codegen::GpuTargets()[0].sm % 10, " or newer; use --device cpu"));
  }
  device.target = std::string(target->name);
  return device;
}

absl::StatusOr<int> CudaOrdinal(std::string_view device) {
  constexpr std::string_view kCuda = "cuda";
  std::string_view number = device;
  if (number.starts_with(kCuda)) {
    number.remove_prefix(kCuda.size());
    if (number.empty()) return 0;
    int ordinal = -1;
    if (number.starts_with(":")) {
      number.remove_prefix(1);
      const auto [end, error] =
          std::from_chars(number.data(), number.data() + number.size(), ordinal);
      if (error == std::errc() && end == number.data() + number.size() && ordinal >= 0) {
        return ordinal;
      }
    }
  }
  return absl::InvalidArgumentError(
      StrCat("--device: expected auto, cpu, cuda, cuda:N or reference, got ", device));
}

std::string Reason(const absl::Status& status) {
  std::string_view reason = ToStd(status.message());
  for (const std::string_view prefix : {"cuda: ", "nvrtc: "}) {
    if (reason.starts_with(prefix)) reason.remove_prefix(prefix.size());
  }
  return std::string(reason.substr(0, reason.find_first_of(";\n")));
}

std::string BriefReason(const absl::Status& status) {
  const std::string reason = Reason(status);
  return reason.substr(0, reason.find(": "));
}

}  // namespace renga
