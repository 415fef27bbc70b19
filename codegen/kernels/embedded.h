// The device headers of this folder (*.cuh), inside the binary: NVRTC gets them from memory, so no
// source file is needed where Renga runs.
#pragma once

#include <string_view>

#include "absl/types/span.h"

namespace renga::codegen {

// A header as NVRTC takes it.
struct DeviceHeader {
  std::string_view name;  // as #include names it: "codegen/kernels/primitives.cuh"
  std::string_view text;
};

// All of them, by name; they live as long as the process.
absl::Span<const DeviceHeader> EmbeddedHeaders();

// nullptr when there is none of that name.
const DeviceHeader* FindEmbeddedHeader(std::string_view name);

}  // namespace renga::codegen
