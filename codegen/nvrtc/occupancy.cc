#include "codegen/nvrtc/occupancy.h"

namespace renga::codegen {
namespace {

constexpr int64_t kQuarters = 4;
constexpr int64_t kRegisterUnit = 256;
constexpr int64_t kSharedUnit = 128;

int64_t RoundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

int64_t BlocksByRegisters(const KernelResources& kernel, int64_t warps) {
  const int64_t warp_registers = RoundUp(kernel.registers * kWarpThreads, kRegisterUnit);
  // A block is spread evenly over the quarters, so its warps count as a multiple of four.
  if (warp_registers * RoundUp(warps, kQuarters) > kSmRegisters) return 0;
  return kSmRegisters / kQuarters / warp_registers * kQuarters / warps;
}

int64_t BlocksByShared(const GpuTarget& target, const KernelResources& kernel,
                       int64_t dynamic_shared) {
  const int64_t asked = kernel.static_shared + dynamic_shared;
  if (asked > target.shared_per_block) return 0;
  return target.shared_per_sm / RoundUp(asked + kReservedShared, kSharedUnit);
}

}  // namespace

Occupancy ComputeOccupancy(const GpuTarget& target, const KernelResources& kernel, int64_t threads,
                           int64_t dynamic_shared) {
  const int64_t warps = (threads + kWarpThreads - 1) / kWarpThreads;
  // Of equal limits the first is named: those of the hardware, which no change of the kernel moves.
  const struct {
    std::string_view name;
    int64_t blocks;
  } limits[] = {
      {"threads", threads > kMaxBlockThreads ? 0 : target.threads_per_sm / kWarpThreads / warps},
      {"blocks", target.blocks_per_sm},
      {"registers", BlocksByRegisters(kernel, warps)},
      {"shared memory", BlocksByShared(target, kernel, dynamic_shared)},
  };
  Occupancy occupancy{limits[0].blocks, 0, limits[0].name};
  for (const auto& limit : limits) {
    if (limit.blocks >= occupancy.blocks_per_sm) continue;
    occupancy.blocks_per_sm = limit.blocks;
    occupancy.limiter = limit.name;
  }
  occupancy.warps_per_sm = occupancy.blocks_per_sm * warps;
  return occupancy;
}

}  // namespace renga::codegen
