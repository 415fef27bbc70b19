// Kernels of the cpu with a mistake in them, in place of the built-in ones: each is the built-in
// one but for what hand-written engines get wrong (docs/faults.md).
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "runtime/device/cpu/kernel.h"

namespace renga::faults {

using KernelFinder = std::function<const cpu::KernelDef*(std::string_view name)>;

// The faulty ones by their names, the built-in ones for every other.
KernelFinder With(std::vector<const cpu::KernelDef*> faulty);

// rope: rotates the other pairs; as if every position were 0.
extern const cpu::KernelDef kRopeOtherPairs, kRopeWithoutPosition;
// qkv_rope the same.
extern const cpu::KernelDef kQkvRopeOtherPairs, kQkvRopeWithoutPosition;
// linear: the matrix of attn_out read transposed; rows of ffn_out's matrix OtherWidth apart; of it
// ShorterWidth columns alone, the first and the last of these at once; minima added that are to be
// subtracted, or the reverse; upper bits of 6-bit scales lost; what nothing
// explains. Of experts: their `down`.
extern const cpu::KernelDef kLinearTransposed, kLinearOtherRows, kLinearCut, kLinearTransposedOrCut,
    kLinearMinimaAdded, kLinearScalesCut, kLinearUnexplained, kExpertLinearOtherRows,
    kExpertLinearCut;
// What a row's length is taken for, of a matrix of [rows, columns]: as many as there are rows, and
// where that is no mistake or no shorter one, one less or half of it.
int64_t OtherWidth(int64_t rows, int64_t columns);
int64_t ShorterWidth(int64_t rows, int64_t columns);
// rms_norm: a sum by halving that loses what is beyond a power of two.
extern const cpu::KernelDef kRmsNormHalving;
// masked_softmax: the same of its sum.
extern const cpu::KernelDef kSoftmaxHalving;
// attn_scores: keys with a stride of the current length; of the query's first value alone; of the
// key head h % K for query head h, where the model's is h / (H / K); without page tables.
extern const cpu::KernelDef kScoresStride, kScoresOneValue, kScoresHeads, kScoresPages;
// attention and attention_direct: keys and values with a stride of the current length.
extern const cpu::KernelDef kAttentionStride, kAttentionDirectStride;
// kv_append, qkv_rope: nothing of a step of one token is stored; nothing of the second head.
extern const cpu::KernelDef kAppendNotInDecode, kAppendFirstHead;
extern const cpu::KernelDef kQkvRopeNotInDecode, kQkvRopeFirstHead;

}  // namespace renga::faults
