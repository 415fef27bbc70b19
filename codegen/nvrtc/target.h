// The GPUs we compile for and what a kernel may use of them: one row a target.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace renga::codegen {

struct NvrtcVersion {
  int major = 0;
  int minor = 0;
  friend auto operator<=>(const NvrtcVersion&, const NvrtcVersion&) = default;
};
std::string ToString(NvrtcVersion version);  // "13.0"

// Limits are those of NVIDIA's "CUDA C++ Programming Guide", table "Technical Specifications per
// Compute Capability". Common to all of them: warps of 32 threads, 1024 threads a block, 65536
// registers a multiprocessor (SM) and a block, 255 registers a thread, 48 KiB of static shared
// memory a block, 1 KiB of shared memory a block that the driver keeps for itself.
struct GpuTarget {
  std::string_view name;      // "sm_90a", as NVRTC takes it
  int sm = 0;                 // 90: compute capability 9.0
  std::string_view hardware;  // examples, for people
  NvrtcVersion since;         // oldest NVRTC that knows it
  // Code of an architecture-specific target ("a") runs on that compute capability alone, as PTX
  // too; else the driver can compile the PTX for any newer GPU.
  bool ptx_runs_on_newer = false;
  int64_t threads_per_sm = 0;
  int64_t blocks_per_sm = 0;
  int64_t shared_per_sm = 0;     // bytes
  int64_t shared_per_block = 0;  // bytes, static and dynamic together, after opting in
  int64_t multiprocessors = 0;   // of the largest card of that kind
  bool wgmma = false;  // multiplies by warpgroups, which compute capability 9.0 alone does
};

inline constexpr int64_t kWarpThreads = 32;
inline constexpr int64_t kMaxBlockThreads = 1024;
inline constexpr int64_t kSmRegisters = 65536;
inline constexpr int64_t kMaxStaticShared = 48 << 10;
inline constexpr int64_t kReservedShared = 1 << 10;

absl::Span<const GpuTarget> GpuTargets();  // by compute capability

// The target of that name. InvalidArgument, listing the known ones, where there is none.
absl::StatusOr<const GpuTarget*> FindGpuTarget(std::string_view name);

}  // namespace renga::codegen
