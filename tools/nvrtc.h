// NVRTC and its cache, as this machine and the environment have them.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "codegen/nvrtc/library.h"

namespace renga {

// The library that the environment and the usual places lead to (codegen/nvrtc/search.h). Errors as
// NvrtcLibrary::Load.
absl::StatusOr<std::shared_ptr<const codegen::NvrtcLibrary>> LoadNvrtc();

// For CubinCacheOptions::folder.
std::string CubinCacheFolder();

}  // namespace renga
