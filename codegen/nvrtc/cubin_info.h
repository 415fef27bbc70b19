// What a cubin says about its kernels: the resources a launch needs. Read from the image itself, so
// no disassembler is needed and a cached or stored cubin tells the same as a fresh one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace renga::codegen {

struct KernelResources {
  std::string name;           // of the extern "C" entry
  int64_t registers = 0;      // a thread
  int64_t stack_bytes = 0;    // a thread: spilled registers and arrays that are indexed at run time
  int64_t static_shared = 0;  // bytes a block, without what the driver reserves
  int64_t max_threads = 0;    // of a block, from __launch_bounds__; 0: not said
  int64_t parameter_bytes = 0;  // from the first parameter to the end of the last
  int64_t code_bytes = 0;
  friend bool operator==(const KernelResources&, const KernelResources&) = default;
};

struct CubinInfo {
  int sm = 0;                            // 90: compute capability it was compiled for
  std::vector<KernelResources> kernels;  // by name; may be none

  // nullptr when the cubin has no kernel of that name.
  const KernelResources* Find(std::string_view name) const;
};

// Reads an ELF64 image as NVRTC 12.0 to 13.x writes it. The bytes are untrusted: DataLoss, never a
// crash, where they are no such image; work and memory are bounded by their size.
absl::StatusOr<CubinInfo> ReadCubin(std::string_view bytes);

}  // namespace renga::codegen
