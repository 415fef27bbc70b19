// The kernels of docs/kernels-cpu.md, one file each. registry.cc lists them.
#pragma once

#include "runtime/device/cpu/kernel.h"

namespace renga::cpu {

extern const KernelDef kAdd;
extern const KernelDef kArgMax;
extern const KernelDef kAttention;
extern const KernelDef kAttentionDirect;
extern const KernelDef kAttnScores;
extern const KernelDef kAttnValues;
extern const KernelDef kEmbed;
extern const KernelDef kExpertLinear;
extern const KernelDef kExpertSum;
extern const KernelDef kGateUp;
extern const KernelDef kGatherRows;
extern const KernelDef kGlu;
extern const KernelDef kHead;
extern const KernelDef kKvAppend;
extern const KernelDef kLinear;
extern const KernelDef kLinearAdd;
extern const KernelDef kMaskedSoftmax;
extern const KernelDef kMoeRoute;
extern const KernelDef kNormLinear;
extern const KernelDef kQkvRope;
extern const KernelDef kRmsNorm;
extern const KernelDef kRope;
extern const KernelDef kSlice;

}  // namespace renga::cpu
