// How many blocks of a kernel one multiprocessor (SM) holds at a time, and what keeps out the next.
#pragma once

#include <cstdint>
#include <string_view>

#include "codegen/nvrtc/cubin_info.h"
#include "codegen/nvrtc/target.h"

namespace renga::codegen {

struct Occupancy {
  int64_t blocks_per_sm = 0;  // 0: cannot be launched
  int64_t warps_per_sm = 0;
  std::string_view limiter;  // "registers", "shared memory", "threads" or "blocks"
};

// `threads` (1 to 1024) a block, with `dynamic_shared` bytes asked for at launch. The rules are
// those of NVIDIA's occupancy calculator: a warp's registers come in units of 256 from one of the
// SM's four quarters, a block's shared memory in units of 128 bytes including the reserved KiB.
Occupancy ComputeOccupancy(const GpuTarget& target, const KernelResources& kernel, int64_t threads,
                           int64_t dynamic_shared);

}  // namespace renga::codegen
