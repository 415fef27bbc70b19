// The sources of the emulator's own tests, inside the program: where there is a GPU there may be no
// source tree.
#pragma once

#include "codegen/kernels/embedded.h"

namespace renga::codegen {

// "tests/emulator/selftest/kernels/chain.cu" and the like, by name.
absl::Span<const DeviceHeader> EmbeddedTestKernels();

}  // namespace renga::codegen
