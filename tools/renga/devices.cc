// renga devices: what this machine offers.
#include "runtime/device/cpu/simd.h"
// simd.h decides what Highway offers and comes first.
#include <hwy/targets.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "codegen/nvrtc/cache.h"
#include "ir/base/status.h"
#include "tools/cuda_device.h"
#include "tools/nvrtc.h"
#include "tools/open_model.h"
#include "tools/renga/command.h"
#include "tools/renga/output.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

// The best instruction set that the machine has and the kernels were compiled for.
std::string SimdTarget() {
  const int64_t usable = hwy::SupportedTargets() & HWY_TARGETS;
  return usable == 0 ? "none" : hwy::TargetName(usable & -usable);
}

uint64_t PhysicalMemory() {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(page) : 0;
}

struct CachedPlans {
  std::string folder;
  int64_t count = 0;
  uint64_t bytes = 0;
};

// A folder that cannot be read holds nothing we could use.
CachedPlans FindCachedPlans() {
  CachedPlans plans{PlanCacheFolder()};
  std::error_code error;
  for (std::filesystem::directory_iterator entry(plans.folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() != ".plan") continue;
    std::error_code size_error;
    const uintmax_t bytes = entry->file_size(size_error);
    if (size_error) continue;
    ++plans.count;
    plans.bytes += bytes;
  }
  return plans;
}

// "13.0, for sm_80 sm_90a, /usr/lib/libnvrtc.so.13", or why there is none.
std::string NvrtcText(const absl::StatusOr<std::shared_ptr<const codegen::NvrtcLibrary>>& nvrtc) {
  if (!nvrtc.ok()) {
    std::string_view reason = ToStd(nvrtc.status().message());
    if (reason.starts_with("nvrtc: ")) reason.remove_prefix(7);
    return StrCat("not available: ", EscapeOnOneLine(reason));
  }
  const codegen::NvrtcLibrary& library = **nvrtc;
  return StrCat(codegen::ToString(library.version()), ", compiles for ",
                StrJoin(library.SupportedTargets(), " "), ", ", EscapeOnOneLine(library.path()));
}

Json NvrtcJson(const absl::StatusOr<std::shared_ptr<const codegen::NvrtcLibrary>>& nvrtc) {
  if (!nvrtc.ok()) {
    return {{"available", false}, {"reason", std::string(ToStd(nvrtc.status().message()))}};
  }
  const codegen::NvrtcLibrary& library = **nvrtc;
  return {{"available", true},
          {"version", codegen::ToString(library.version())},
          {"path", library.path()},
          {"targets", library.SupportedTargets()}};
}

// "3 cached, 1.2 MiB, in FOLDER"
std::string CacheText(std::string_view folder, int64_t count, uint64_t bytes) {
  if (folder.empty()) return "none are kept: neither XDG_CACHE_HOME nor HOME is set";
  return StrCat(count, " cached, ", BytesText(bytes), ", in ", EscapeForTerminal(folder));
}

struct Gpus {
  std::vector<CudaDevice> devices;
  std::string driver;  // "13.0"
  // "cuda" where there are none at all, "cuda:1" for one that cannot be used, and why.
  std::vector<std::pair<std::string, std::string>> unavailable;
};

std::string FullReason(const absl::Status& status) {
  std::string_view reason = ToStd(status.message());
  if (reason.starts_with("cuda: ")) reason.remove_prefix(6);
  return std::string(reason);
}

Gpus FindGpus() {
  Gpus gpus;
  const auto driver = cuda::Driver::Load(cuda::kDriverSoname);
  if (!driver.ok()) {
    gpus.unavailable.emplace_back("cuda", FullReason(driver.status()));
    return gpus;
  }
  gpus.driver = cuda::DriverVersionText((*driver)->version());
  for (int i = 0; i < (*driver)->device_count(); ++i) {
    absl::StatusOr<CudaDevice> device = OpenCuda(i);
    if (device.ok()) {
      gpus.devices.push_back(*std::move(device));
    } else {
      gpus.unavailable.emplace_back(StrCat("cuda:", i), FullReason(device.status()));
    }
  }
  return gpus;
}

std::string SmText(int sm) { return StrCat(sm / 10, ".", sm % 10); }

void AddJson(const Gpus& gpus, Json* devices) {
  for (const CudaDevice& device : gpus.devices) {
    const cuda::GpuFacts& gpu = device.context->gpu();
    devices->push_back({{"name", device.name.substr(0, device.name.find(' '))},
                        {"kind", "cuda"},
                        {"available", true},
                        {"gpu", gpu.name},
                        {"compute_capability", SmText(gpu.sm)},
                        {"target", device.target},
                        {"multiprocessors", gpu.multiprocessors},
                        {"memory_bytes", gpu.memory_bytes},
                        {"driver", gpus.driver}});
  }
  for (const auto& [name, reason] : gpus.unavailable) {
    devices->push_back(
        {{"name", name}, {"kind", "cuda"}, {"available", false}, {"reason", reason}});
  }
}

std::string Padded(const std::string& name) {
  return StrCat(name, std::string(name.size() < 11 ? 11 - name.size() : 1, ' '));
}

std::string GpuText(const Gpus& gpus) {
  std::string text;
  for (const CudaDevice& device : gpus.devices) {
    const cuda::GpuFacts& gpu = device.context->gpu();
    const std::string name = device.name.substr(0, device.name.find(' '));
    StrAppend(&text, Padded(name), EscapeOnOneLine(gpu.name), ", ", gpu.multiprocessors,
              " multiprocessors, ", BytesText(static_cast<uint64_t>(gpu.memory_bytes)),
              ", runs plans for ", device.target, ", driver for CUDA ", gpus.driver, "\n");
  }
  for (const auto& [name, reason] : gpus.unavailable) {
    StrAppend(&text, Padded(name), "not available: ", EscapeOnOneLine(reason), "\n");
  }
  return text;
}

absl::Status Run(bool as_json) {
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  const std::string simd = SimdTarget();
  const Gpus gpus = FindGpus();
  const CachedPlans plans = FindCachedPlans();
  const auto nvrtc = LoadNvrtc();
  const std::string cubin_folder = CubinCacheFolder();
  const codegen::CubinCacheUsage cubins = codegen::UsageOfCubinCache(cubin_folder);
  if (as_json) {
    Json devices = Json::array();
    devices.push_back({{"name", "cpu"},
                       {"kind", "cpu"},
                       {"available", true},
                       {"cores", cores},
                       {"simd", simd},
                       {"memory_bytes", PhysicalMemory()}});
    devices.push_back({{"name", "reference"}, {"kind", "reference"}, {"available", true}});
    AddJson(gpus, &devices);
    return WriteStdout(JsonText(
        {{"devices", std::move(devices)},
         {"plans", {{"folder", plans.folder}, {"count", plans.count}, {"bytes", plans.bytes}}},
         {"nvrtc", NvrtcJson(nvrtc)},
         {"cubins",
          {{"folder", cubin_folder}, {"count", cubins.count}, {"bytes", cubins.bytes}}}}));
  }
  std::string text = StrCat("cpu        ", cores, cores == 1 ? " core" : " cores", ", SIMD ", simd,
                            ", ", BytesText(PhysicalMemory()), " of memory\n");
  StrAppend(&text, "reference  the interpreter that says what is right; slow\n", GpuText(gpus));
  StrAppend(&text, "nvrtc      ", NvrtcText(nvrtc), "\n");
  StrAppend(&text, "plans      ", CacheText(plans.folder, plans.count, plans.bytes), "\n");
  StrAppend(&text, "cubins     ", CacheText(cubin_folder, cubins.count, cubins.bytes), "\n");
  return WriteStdout(text);
}

RunFn Add(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  app.add_flag("--json", *json, "one JSON object: devices[], plans, nvrtc, cubins");
  return [json] { return Run(*json); };
}

}  // namespace

const Command kDevicesCommand = {
    .name = "devices",
    .summary = "what this machine offers, and what is cached on it",
    .examples =
        "  renga devices            # the devices and why others are not there\n"
        "  renga devices --json     # the same for scripts",
    .add = Add,
};

}  // namespace renga
