// Launch shapes of the CUDA kernels: shared memory as functions of the number of tokens. The other
// half of what the SharedArena of each kernel takes, tested by running them with exactly this much.
#pragma once

#include <algorithm>
#include <cstdint>

#include "ir/base/dtype.h"

namespace renga::codegen {

// Bytes: fixed + per_token * tokens.
struct TokenBytes {
  int64_t fixed = 0, per_token = 0;
  int64_t At(int64_t tokens) const { return fixed + per_token * tokens; }
};

// Halves from row to row of staged activations (StagedRows::kPitch).
constexpr int64_t StagedPitch(int64_t padded_k) { return (padded_k + 63) / 64 * 64 + 32; }

// Floats in which StagedRows holds a row for which its threads have no registers.
constexpr int64_t StagedRowFloats(int warps, int64_t padded_k) {
  return padded_k <= int64_t{32} * 32 * warps || padded_k > 16384 ? 0 : padded_k;
}

// StagedRows and `sums` TileSums: what every product for a few tokens takes. `warps` of a block, at
// most `max_tokens` tokens (the Config's kTokens), the largest padded k of its weights, kXParts.
constexpr TokenBytes ProductShared(int warps, int64_t max_tokens, int64_t padded_k, int sums,
                                   int64_t x_parts) {
  const int64_t columns = (max_tokens + 1) / 2 * 2;
  // Two arrays of floats are rounded up to 16 bytes.
  return {
      2 * 12 + 4 * StagedRowFloats(warps, padded_k) + sums * int64_t{2} * warps * 16 * columns * 4,
      2 * x_parts * StagedPitch(padded_k) + 4 + 8 * warps};
}

constexpr TokenBytes LinearShared(int warps, int64_t max_tokens, int64_t padded_k,
                                  int64_t x_parts = 1) {
  return ProductShared(warps, max_tokens, padded_k, 1, x_parts);
}

constexpr TokenBytes GateUpShared(int warps, int64_t max_tokens, int64_t padded_k,
                                  int64_t x_parts = 1) {
  return ProductShared(warps, max_tokens, padded_k, 2, x_parts);
}

constexpr TokenBytes HeadShared(int warps, int64_t max_tokens, int64_t padded_k) {
  TokenBytes bytes = ProductShared(warps, max_tokens, padded_k, 1, 1);
  bytes.fixed += 4;
  return bytes;
}

constexpr TokenBytes QkvRopeShared(int warps, int64_t max_tokens, int64_t padded_k,
                                   int64_t head_dim, int64_t x_parts = 1) {
  TokenBytes bytes = ProductShared(warps, max_tokens, padded_k, 1, x_parts);
  bytes.fixed += (warps * head_dim * 4 + 15) / 16 * 16 + 4;
  return bytes;
}

// A constant: 512 keys and 256 sorted ones, 256 bins with gaps, of 128 candidates two numbers and
// an entry, 128 ids, 2,048 chunks, and words that several warps share.
constexpr int64_t SampleShared() {
  return 512 * 8 + 256 * 8 + 256 / 8 * 12 * 4 + 16 + 128 * (8 + 8 + 16) + 128 * 4 + 16 + 2048 * 4 +
         64 + 4;
}

// What the Config of matmul says about sizes.
struct MatmulShape {
  int64_t step_blocks;  // of the weight's MmaLayout
  int64_t tile_tokens, row_tiles, row_warps, depth_warps, stages;

  // Grid: tiles / tiles_of_block(), tokens / tile_tokens, both rounded up. Block: threads().
  constexpr int64_t tiles_of_block() const { return row_tiles * row_warps; }
  constexpr int64_t threads() const { return 32 * row_warps * depth_warps; }
  constexpr int64_t shared_bytes() const { return shared_bytes_of(stages); }
  constexpr int64_t shared_bytes_of(int64_t with_stages) const {
    const int64_t pitch = step_blocks == 1 ? 32 : 96;
    return 2 * with_stages * depth_warps * tile_tokens * pitch +
           (depth_warps > 1 ? 4 * 16 * tiles_of_block() * tile_tokens : 0);
  }
};

// Shared bytes of matmul_wgmma. Grid: tokens / tile_tokens, rows / kWgmmaRows, both rounded up;
// splits.
inline constexpr int64_t kWgmmaRows = 128, kWgmmaThreads = 384;
constexpr int64_t MatmulWgmmaShared(int64_t tile_tokens, int64_t stages, int64_t splits) {
  const int64_t barriers = (8 * stages + 15) / 16 * 16;
  return stages * tile_tokens * 128 + barriers + (splits > 1 ? barriers + 4 : 8 * stages);
}

// A cache of keys or values as attention has a tile of it in shared memory: numbers of 16 bits,
// `parts` a value (1 of f16, bf16 and f8_e4m3, 2 of f32, q8_0 and q4_0, and of keys whose bias is
// added), or where a block has few rows (KvTileOf of kv_codes.cuh) what the cache holds, of
// `code_bits` (0: never), where `scaled` with a scale for each 32.
struct KvShape {
  int parts = 1, code_bits = 0;
  bool scaled = false;
};

// What the Config of attention says about sizes.
struct AttentionShape {
  int64_t q_heads, kv_heads, head_dim;
  int64_t row_warps, key_warps, tile_tokens, tile_keys, stages, max_splits;
  KvShape keys = {}, values = {};
  int64_t bias_dims = 0;  // of a head's bias of keys, that are turned; 0: there is none

  constexpr int64_t rows() const { return 16 * row_warps; }
  constexpr int64_t group() const { return q_heads / kv_heads; }
  // Of a tile's rows those that can be there.
  constexpr int64_t tile_rows() const { return tile_tokens * tile_heads(); }
  // Query heads of a token in a tile.
  constexpr int64_t tile_heads() const {
    return tile_tokens * group() <= rows() ? group() : rows() / tile_tokens;
  }
  // Grid: splits, grid_y(), tokens / tile_tokens rounded up. Block: threads().
  constexpr int64_t grid_y() const {
    return kv_heads * ((group() + tile_heads() - 1) / tile_heads());
  }
  constexpr int64_t threads() const { return 32 * row_warps * key_warps; }
  constexpr int64_t shared_bytes() const {
    const int64_t pitch = (head_dim + 15) / 16 * 16 + 8;
    int64_t of_keys = stages * TileBytes(keys, true), join = 0;
    if (key_warps > 1 || max_splits > 1) {
      of_keys = std::max(of_keys, 4 * pitch * key_warps * tile_rows());
      join = Whole(8 * key_warps * tile_rows()) + Whole(8 * max_splits * tile_rows()) + 4;
    }
    return of_keys + stages * TileBytes(values, false) + 4 * pitch * rows() + 4 * rows() +
           (bias_dims > 0 ? Whole(join) + bias_bytes() : join);
  }
  // Whether a tile holds the cache's codes, which are copied there by themselves.
  constexpr bool codes(const KvShape& cache, bool of_keys) const {
    return cache.code_bits > 0 && row_warps == 1 && head_dim % 32 == 0 &&
           !(of_keys && bias_dims > 0);
  }

 private:
  constexpr int64_t TileBytes(const KvShape& cache, bool of_keys) const {
    if (!codes(cache, of_keys)) {
      return 2 * ((head_dim + 15) / 16 * 16 + 8) * cache.parts * tile_keys;
    }
    const int64_t words = head_dim * cache.code_bits / 32;
    const int64_t unit = of_keys && cache.code_bits == 8 ? 8 : 4;
    const int64_t pitch = words + (words % (2 * unit) == 0 ? unit : 0);
    return tile_keys * (4 * pitch + (cache.scaled ? 2 * head_dim / 32 : 0));
  }
  // KeyBias, kSteps 8.
  constexpr int64_t bias_bytes() const {
    return Whole(8 * bias_dims / 2) + 4 * 8 * bias_dims + 4 * tile_keys / 8 * head_dim;
  }
  static constexpr int64_t Whole(int64_t bytes) { return (bytes + 15) / 16 * 16; }
};

// Pack: 16 rows of PackShape<Type>::kPitch words. A row has 1024 bytes of a plain type, 2048
// weights of another.
inline int64_t PackShared(DType type) {
  const int64_t bytes = Info(type).quantized ? RowBytes(type, 2048) : 1024;
  const int64_t words = (bytes + 3) / 4;
  return 16 * 4 * (words % 2 == 0 ? words + 1 : words + 2);
}

}  // namespace renga::codegen
