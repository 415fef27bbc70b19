#include "codegen/nvrtc/target.h"

#include <vector>

#include "ir/base/status.h"

namespace renga::codegen {
namespace {

constexpr int64_t kKiB = 1024;

constexpr GpuTarget kTargets[] = {
    {"sm_80", 80, "A100", {12, 0}, true, 2048, 32, 164 * kKiB, 163 * kKiB, 108},
    {"sm_86", 86, "RTX 3090, A10", {12, 0}, true, 1536, 16, 100 * kKiB, 99 * kKiB, 84},
    {"sm_89", 89, "RTX 4090, L40", {12, 0}, true, 1536, 24, 100 * kKiB, 99 * kKiB, 142},
    {"sm_90a", 90, "H100, H200", {12, 0}, false, 2048, 32, 228 * kKiB, 227 * kKiB, 132, true},
    {"sm_100a", 100, "B200", {12, 8}, false, 2048, 32, 228 * kKiB, 227 * kKiB, 148},
    {"sm_120a", 120, "RTX 5090", {12, 8}, false, 1536, 24, 100 * kKiB, 99 * kKiB, 170},
};

}  // namespace

std::string ToString(NvrtcVersion version) { return StrCat(version.major, ".", version.minor); }

absl::Span<const GpuTarget> GpuTargets() { return kTargets; }

absl::StatusOr<const GpuTarget*> FindGpuTarget(std::string_view name) {
  std::vector<std::string_view> names;
  for (const GpuTarget& target : kTargets) {
    if (target.name == name) return &target;
    names.push_back(target.name);
  }
  return absl::InvalidArgumentError(StrCat("target: unknown GPU target '", name.substr(0, 40),
                                           "', expected one of ", StrJoin(names, ", ")));
}

}  // namespace renga::codegen
