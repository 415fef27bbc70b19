#include "tests/emulator/cases/case_library.h"

#include <cstdlib>
#include <string_view>

#include "ir/base/status.h"
#include "tests/emulator/cases/emulator_cases.h"
#include "tests/emulator/cases/gpu_cases.h"

namespace renga::emulator {

absl::StatusOr<std::unique_ptr<CaseLibrary>> CompileCaseLibrary(const CompileOptions& emulator,
                                                                const CaseTexts& texts) {
  const char* value = std::getenv("RENGA_KERNEL_DEVICE");
  const std::string_view device = value == nullptr ? "" : value;
  constexpr std::string_view kCompile = "compile:";
  if (device.empty() || device == "emulator") return CompileForEmulator(emulator, texts);
  if (device == "cuda") return CompileForGpu(texts);
  if (device.starts_with(kCompile)) {
    return CompileForTarget(device.substr(kCompile.size()), texts);
  }
  return absl::InvalidArgumentError(
      StrCat("RENGA_KERNEL_DEVICE: unknown device '", device,
             "', expected emulator, cuda or compile:TARGET such as compile:sm_90a"));
}

}  // namespace renga::emulator
