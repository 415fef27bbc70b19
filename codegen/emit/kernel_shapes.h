// Launch shapes of the CUDA kernels: shared memory as functions of the number of tokens. The other
// half of what the SharedArena of each kernel takes, tested by running them with exactly this much.
#pragma once

#include <algorithm>
#include <cstdint>

namespace renga::codegen {

// Bytes: fixed + per_token * tokens.
struct TokenBytes {
  int64_t fixed = 0, per_token = 0;
  int64_t At(int64_t tokens) const { return fixed + per_token * tokens; }
};

// Halves from row to row of staged activations (StagedRows::kPitch).
constexpr int64_t StagedPitch(int64_t padded_k) { return (padded_k + 63) / 64 * 64 + 32; }

// StagedRows and `sums` TileSums: what every product for a few tokens takes. `warps` of a block, at
// most `max_tokens` tokens (the Config's kTokens), the largest padded k of its weights.
constexpr TokenBytes ProductShared(int warps, int64_t max_tokens, int64_t padded_k, int sums) {
  const int64_t columns = (max_tokens + 1) / 2 * 2;
  // Two arrays of floats are rounded up to 16 bytes.
  return {2 * 12 + sums * int64_t{2} * warps * 16 * columns * 4,
          2 * StagedPitch(padded_k) + 4 + 8 * warps};
}

constexpr TokenBytes LinearShared(int warps, int64_t max_tokens, int64_t padded_k) {
  return ProductShared(warps, max_tokens, padded_k, 1);
}

constexpr TokenBytes GateUpShared(int warps, int64_t max_tokens, int64_t padded_k) {
  return ProductShared(warps, max_tokens, padded_k, 2);
}

constexpr TokenBytes HeadShared(int warps, int64_t max_tokens, int64_t padded_k) {
  TokenBytes bytes = ProductShared(warps, max_tokens, padded_k, 1);
  bytes.fixed += 4;
  return bytes;
}

constexpr TokenBytes QkvRopeShared(int warps, int64_t max_tokens, int64_t padded_k,
                                   int64_t head_dim) {
  TokenBytes bytes = ProductShared(warps, max_tokens, padded_k, 1);
  bytes.fixed += (warps * head_dim * 4 + 15) / 16 * 16 + 4;
  return bytes;
}

}  // namespace renga::codegen
