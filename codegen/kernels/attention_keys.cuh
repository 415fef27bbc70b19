// Which keys a block of attention reads, in which order, and which of them it may read before
// WaitForPreviousKernel. Of inputs of the step alone (positions, sequences, pages), so all of it
// can be known before that wait.
#pragma once

#include "codegen/kernels/args.cuh"
#include "codegen/kernels/numbers.cuh"

namespace renga::kernels {

// Neighbours in a tile that are of one sequence, and the tiles of their keys that a split has.
struct KeyRun {
  int sequence;
  int first, end;      // tokens of the tile
  int low, high;       // keys that some token may see
  int fresh;           // keys from here on may be written by this step
  int tile, tile_end;  // of kTileKeys each
  int splits;          // how many have a tile
};

// Config: as of attention.cuh. All methods by whole warps; all warps get the same.
template <class Config>
class KeyRuns {
 public:
  // Of the block's tile: its first token, and the end of those that are the block's.
  __device__ __forceinline__ KeyRuns(const AttentionArgs& args, int first_token, int end)
      : args_(args), first_token_(first_token), tokens_(end), lane_(threadIdx.x % 32) {
    step_sequence_ = 0;
    step_position_ = kNever;
    if (lane_ < args.tokens && IsFewTokens()) {
      step_sequence_ = args.sequences[lane_];
      step_position_ = args.positions[lane_];
    }
  }

  // The run that starts with token `first` of the tile, at this split's first tile. Splits take
  // equal numbers of tiles, the last ones fewer or none: who has keys does not depend on how many
  // splits have none.
  __device__ __forceinline__ KeyRun At(int first) const {
    KeyRun run;
    run.sequence = args_.sequences[first_token_ + first];
    run.first = first;
    int low = args_.span, high = 0;
    for (run.end = first; run.end < tokens_;) {
      const int token = run.end + lane_;
      bool ours = false;
      int position = 0;
      if (token < tokens_) {
        ours = args_.sequences[first_token_ + token] == run.sequence;
        position = args_.positions[first_token_ + token];
      }
      const uint32_t others = Ballot(!ours);
      const int count = others == 0 ? 32 : LowestSetBit(others);
      if (lane_ < count) {
        low = min(low, Config::kWindow > 0 ? max(0, position - Config::kWindow + 1) : 0);
        high = max(high, Config::kCausal ? position + 1 : args_.span);
      }
      run.end += count;
      if (count < 32) break;
    }
    run.low = -Largest(-low);
    run.high = min(Largest(high), args_.span);
    // In a step of many tokens all: finding the least position costs more than it gains.
    run.fresh =
        IsFewTokens() ? -Largest(step_sequence_ == run.sequence ? -step_position_ : -kNever) : 0;
    const int first_tile = run.low / Config::kTileKeys;
    const int end_tile = max(first_tile, (run.high + Config::kTileKeys - 1) / Config::kTileKeys);
    run.tile = first_tile;
    run.tile_end = end_tile;
    run.splits = 1;
    if constexpr (Config::kMaxSplits > 1) {
      const int tiles = end_tile - first_tile, splits = gridDim.x;
      const int each = max(1, (tiles + splits - 1) / splits);
      run.splits = (tiles + each - 1) / each;
      run.tile = min(end_tile, first_tile + each * static_cast<int>(blockIdx.x));
      run.tile_end = min(end_tile, run.tile + each);
    }
    return run;
  }

  // How many splits have keys of some run; 1 at least, who has the last word on the result.
  __device__ __forceinline__ int SplitsFrom(const KeyRun& first_run) const {
    int splits = max(1, first_run.splits);
    if constexpr (Config::kMaxSplits > 1) {
      for (int first = first_run.end; first < tokens_;) {
        const KeyRun run = At(first);
        splits = max(splits, run.splits);
        first = run.end;
      }
    }
    return splits;
  }

  // Whether there is a tile at `run`, after going on to the next run that has one.
  __device__ __forceinline__ bool Settle(KeyRun& run) const {
    while (run.tile >= run.tile_end) {
      if (run.end >= tokens_) return false;
      run = At(run.end);
    }
    return true;
  }
  __device__ __forceinline__ bool Next(KeyRun& run) const {
    ++run.tile;
    return Settle(run);
  }

  // The cell of a key, below 0: none, or not one that the run sees.
  __device__ __forceinline__ int CellOf(const KeyRun& run, int key) const {
    const int page = key / Config::kPageTokens;
    if (key < run.low || key >= run.high || page >= args_.pages_of_sequence) return -1;
    const int at = args_.pages[static_cast<int64_t>(run.sequence) * args_.pages_of_sequence + page];
    return at < 0 ? -1 : at * Config::kPageTokens + key % Config::kPageTokens;
  }

 private:
  static constexpr int kNever = 0x7fffffff;

  // All tokens of the step, one a lane.
  __device__ __forceinline__ bool IsFewTokens() const { return args_.tokens <= 32; }
  static __device__ __forceinline__ int Largest(int value) {
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) value = max(value, ShuffleXor(value, mask));
    return value;
  }

  const AttentionArgs& args_;
  int first_token_, tokens_, lane_;
  int step_sequence_, step_position_;
};

}  // namespace renga::kernels
