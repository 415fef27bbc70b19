#include "runtime/device/cpu/kernels.h"

namespace renga::cpu {
namespace {

// Sorted by name (tested). An explicit list: linkers drop objects of a static library that nobody
// refers to, and with them kernels that registered themselves.
constexpr const KernelDef* kKernels[] = {
    &kAdd,        &kArgMax,        &kAttention,    &kAttentionDirect, &kAttnScores,
    &kAttnValues, &kEmbed,         &kExpertLinear, &kExpertSum,       &kGateUp,
    &kGatherRows, &kGlu,           &kHead,         &kKvAppend,        &kLinear,
    &kLinearAdd,  &kMaskedSoftmax, &kMoeRoute,     &kNormLinear,      &kQkvRope,
    &kRmsNorm,    &kRope,          &kSlice,
};

}  // namespace

absl::Span<const KernelDef* const> AllKernels() { return kKernels; }

const KernelDef* FindKernel(std::string_view name) {
  for (const KernelDef* kernel : kKernels) {
    if (kernel->name == name) return kernel;
  }
  return nullptr;
}

}  // namespace renga::cpu
