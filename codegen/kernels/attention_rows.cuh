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
  int first_token;          // of the tile
  int begin, end;           // tokens of the tile that are this block's; none where begin >= end

  __device__ __forceinline__ explicit AttentionRows(const AttentionArgs& args) {
    kv_head = blockIdx.y / kHeadTiles;
    first_head = blockIdx.y % kHeadTiles * kTileHeads;
    first_token = blockIdx.z * Config::kTileTokens;
    begin = 0;
    end = min(Config::kTileTokens, args.tokens - first_token);
    if constexpr (Config::kMaxSplits == 1) TakeRuns(args.sequences + first_token);
  }

  __device__ __forceinline__ int TokenOf(int row) const { return row / kTileHeads; }  // of the tile
  __device__ __forceinline__ bool Has(int row) const {
    const int token = TokenOf(row);
    return token >= begin && token < end && first_head + row % kTileHeads < kGroup;
  }
  // Whether one of `rows` rows from `row` on is of a token from `first` to before `last`.
  __device__ __forceinline__ bool AnyOf(int row, int rows, int first, int last) const {
    return TokenOf(row) < last && TokenOf(row + rows - 1) >= first;
  }
  __device__ __forceinline__ int HeadOf(int row) const {
    return kv_head * kGroup + first_head + row % kTileHeads;
  }
  // Of a row's values among those of all tokens and heads.
  __device__ __forceinline__ int64_t PlaceOf(int row) const {
    return (static_cast<int64_t>(first_token + TokenOf(row)) * Config::kQueryHeads + HeadOf(row)) *
           Config::kHeadDim;
  }

 private:
  // Where tiles are not split along the keys the blocks of one divide its runs, neighbours of one
  // sequence, among them: a run each, and the last block what is left. A step of one token of each
  // of many sequences is as many blocks, not one that reads the keys of all in turn.
  __device__ __forceinline__ void TakeRuns(const int32_t* sequences) {
    if (gridDim.x == 1) return;
    const int lane = threadIdx.x % 32, mine = blockIdx.x, tokens = end;
    int before = 0;  // runs that begin in the tokens looked at so far
    begin = tokens;
    for (int first = 0; first < tokens; first += 32) {
      const int token = first + lane;
      const bool starts =
          token < tokens && (token == 0 || sequences[token] != sequences[token - 1]);
      uint32_t all = Ballot(starts);
      for (; all != 0; all &= all - 1, ++before) {
        const int at = first + LowestSetBit(all);
        if (before == mine) begin = at;
        if (before == mine + 1 && mine + 1 < static_cast<int>(gridDim.x)) end = at;
      }
    }
  }
};

}  // namespace renga::kernels
