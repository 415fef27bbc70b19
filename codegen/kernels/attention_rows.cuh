// The rows of a block of attention: a row is one query head of one token, and all rows of a block
// share a key and value head.
#pragma once

#include "codegen/kernels/args.cuh"
#include "codegen/kernels/numbers.cuh"

namespace renga::kernels {

// Config: as of attention.cuh.
template <class Config>
struct AttentionRows {
  static constexpr int kGroup = Config::kQueryHeads / Config::kKvHeads;
  static constexpr int kRows = 16 * Config::kRowWarps;
  // Query heads of a token in a tile, and tiles that the heads of a group make.
  static constexpr int kTileHeads =
      Config::kTileTokens * kGroup <= kRows ? kGroup : kRows / Config::kTileTokens;
  static constexpr int kHeadTiles = (kGroup + kTileHeads - 1) / kTileHeads;
  // Those of kRows that a block can have. The others are zeros that the products want.
  static constexpr int kTileRows = Config::kTileTokens * kTileHeads;
  static_assert(Config::kQueryHeads % Config::kKvHeads == 0, "whole groups of heads");
  static_assert(kTileHeads > 0, "a tile holds a head of each token");

  int kv_head, first_head;  // the latter within the group
  int first_token, tokens;  // of the tile

  __device__ __forceinline__ explicit AttentionRows(int all_tokens) {
    kv_head = blockIdx.y / kHeadTiles;
    first_head = blockIdx.y % kHeadTiles * kTileHeads;
    first_token = blockIdx.z * Config::kTileTokens;
    tokens = min(Config::kTileTokens, all_tokens - first_token);
  }

  __device__ __forceinline__ int TokenOf(int row) const { return row / kTileHeads; }  // of the tile
  __device__ __forceinline__ bool Has(int row) const {
    return TokenOf(row) < tokens && first_head + row % kTileHeads < kGroup;
  }
  __device__ __forceinline__ int HeadOf(int row) const {
    return kv_head * kGroup + first_head + row % kTileHeads;
  }
  // Of a row's values among those of all tokens and heads.
  __device__ __forceinline__ int64_t PlaceOf(int row) const {
    return (static_cast<int64_t>(first_token + TokenOf(row)) * Config::kQueryHeads + HeadOf(row)) *
           Config::kHeadDim;
  }
};

}  // namespace renga::kernels
