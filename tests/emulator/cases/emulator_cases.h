// Cases on the emulator.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "tests/emulator/cases/case_library.h"

namespace renga::emulator {

absl::StatusOr<std::unique_ptr<CaseLibrary>> CompileForEmulator(const CompileOptions& options,
                                                                const CaseTexts& texts);

}  // namespace renga::emulator
