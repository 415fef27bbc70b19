// The kernels of plans, compiled for the emulator.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/plan/plan.h"
#include "tests/emulator/kernel_library.h"

namespace renga::emulator {

// All kernels of all plans in one library, those of the same name once: kernels of one name are the
// same. An error has the compiler's output.
absl::StatusOr<std::shared_ptr<const KernelLibrary>> CompilePlans(
    absl::Span<const plan::Plan* const> plans, const CompileOptions& options);

}  // namespace renga::emulator
