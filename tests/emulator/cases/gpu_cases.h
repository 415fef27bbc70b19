// Cases on a GPU. A run's buffers lie between guards, full of NaN: what a kernel writes there is
// found when the run ends, what it reads there shows in its results. With RENGA_KERNEL_MEMORY=bare
// there are no guards, nothing is filled and each case runs once: for tools that watch memory
// themselves (compute-sanitizer), which see every byte beyond a buffer or never written then.
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "tests/emulator/cases/case_library.h"

namespace renga::emulator {

// Without a driver, a GPU or NVRTC a library with a reason to skip; errors of anything else.
absl::StatusOr<std::unique_ptr<CaseLibrary>> CompileForGpu(const CaseTexts& texts);

// Compiles for the target of that name; spilled registers are an error. The library runs nothing.
absl::StatusOr<std::unique_ptr<CaseLibrary>> CompileForTarget(std::string_view target,
                                                              const CaseTexts& texts);

}  // namespace renga::emulator
