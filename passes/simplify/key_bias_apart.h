// Keys are W x + b, turned by their position. Turning is linear, so they are rope(W x) + rope(b),
// and the second part depends on nothing but the position. Some models (Qwen2) have b a hundred
// times as large as W x, and then a cache whose blocks share a scale keeps of W x next to nothing,
// and one in f8_e4m3 little (docs/kv-types.md). This pass takes b out of what such a cache keeps;
// attn_scores adds it again:
//
//   linear(x, w, bias=b), split_heads, rope, kv_append, attn_scores(q, cells)
//   linear(x, w),         split_heads, rope, kv_append, attn_scores(q, cells, k_bias=b)
//
// The values in between keep their names and are without the bias then. Caches in f32, f16 and bf16
// are left alone on the cpu; on GPUs those of 16 bits too are without it. There caches of numbers
// (f16, bf16, f8_e4m3) keep it where the kernels cannot add it, and the ledger says so
// (docs/kv-types.md says what all that gains and costs).
#pragma once

#include <string_view>

#include "passes/core/pass.h"

namespace renga {

inline constexpr std::string_view kKeyBiasApart = "key-bias-apart";

absl::StatusOr<bool> KeyBiasApart(Graph& graph, Ledger& ledger);

// For GPUs: of caches in f16 and bf16 too.
absl::StatusOr<bool> KeyBiasApartForGpu(Graph& graph, Ledger& ledger);

// KeyBiasApart for caches of every type, so that tests can tell the rewrite from the rounding.
absl::StatusOr<bool> KeyBiasApartOfAll(Graph& graph, Ledger& ledger);

}  // namespace renga
