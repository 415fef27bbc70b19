// One kernel's source -> cubin and PTX, through NVRTC.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "codegen/kernels/embedded.h"
#include "codegen/nvrtc/cubin_info.h"
#include "codegen/nvrtc/library.h"
#include "codegen/nvrtc/occupancy.h"
#include "codegen/nvrtc/target.h"
#include "ir/base/digest.h"

namespace renga::codegen {

// A kernel to compile: one translation unit with one entry that is launched.
struct KernelSource {
  std::string name;     // the extern "C" entry; messages call the source "<name>.cu"
  std::string context;  // where it comes from, for errors: "0.qkv = qkv_rope(...)"; may be empty
  std::string text;     // CUDA C++20; includes only headers of KernelSettings
  // The same with more registers for a thread (its __launch_bounds__ ask for fewer blocks a
  // multiprocessor): what is compiled for a target where `text` keeps registers on the stack.
  // Empty: nothing is.
  std::string relaxed;
  int64_t threads = 0;  // a block, as it will be launched
  int64_t dynamic_shared = 0;  // bytes a block asked for at launch, beyond what the source declares
};

// What all kernels of a build have in common.
struct KernelSettings {
  absl::Span<const DeviceHeader> headers = EmbeddedHeaders();
  bool allow_stack = false;  // else spilled registers, and arrays in local memory, are errors
  bool line_info = false;    // source lines in the cubin, for profilers
};

// What NVRTC made of it; this is what the cache holds.
struct KernelBinary {
  std::string cubin;
  std::string ptx;  // text; see GpuTarget::ptx_runs_on_newer
  std::string log;  // warnings; usually empty
  friend bool operator==(const KernelBinary&, const KernelBinary&) = default;
};

// What a launch of it needs.
struct KernelReport {
  KernelResources resources;
  Occupancy occupancy;
};

// Identifies what CompileKernel would return: digest of the source's name and text, the headers,
// the options, the target and the compiler (NvrtcLibrary::identity).
Digest KernelKey(std::string_view compiler, const KernelSource& source, const GpuTarget& target,
                 const KernelSettings& settings);

// Every error names the kernel, its context and the target. May run in several threads at once.
//   InvalidArgument    the source does not compile (with the compiler's log)
//   Unavailable        this NVRTC does not know the target, or fails for reasons of its own
//   ResourceExhausted  no memory
absl::StatusOr<KernelBinary> CompileKernel(const NvrtcLibrary& library, const KernelSource& source,
                                           const GpuTarget& target, const KernelSettings& settings);

// Reads what the kernel needs and holds it against the target. NVRTC does not: it accepts more
// shared memory than a block can have, and says nothing of spills.
//   InvalidArgument  stack although not allowed, or more threads, registers or shared memory than
//                    the target has, or the source defines no such kernel
//   DataLoss         the cubin is damaged or for another target
absl::StatusOr<KernelReport> CheckKernel(const KernelSource& source, const GpuTarget& target,
                                         const KernelSettings& settings,
                                         const KernelBinary& binary);

}  // namespace renga::codegen
