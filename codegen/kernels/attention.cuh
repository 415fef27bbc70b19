// attention over a paged cache, for decoding and for prefill:
//   y[t,h] = sum_j softmax_j(scale * q[t,h] . k[j]) v[j]   over the visible keys j of t's sequence
//
// A tile is up to 16 * kRowWarps rows, a row being one query head of one token; all share a key and
// value head. kKeyWarps warps divide the keys among them. Keys and values of kTileKeys positions at
// a time go through shared memory to mma.m16n8k16: scores, softmax as it goes, weighted sum. A tile
// may be split along the keys over several blocks (gridDim.x), of which the last to come combines
// the parts in their order, so the result depends on the number of splits alone.
//
// 16-bit operands of any range: the rows of q enter as a sum of two numbers, for f16 after a power
// of two, so a cache in f16 or bf16 costs no digits beyond its own. Caches in f32 or q8_0 become
// sums of two bf16. Weights of the sum (at most 1) are f16, or two bf16.
#pragma once

#include "codegen/kernels/args.cuh"
#include "codegen/kernels/kv_tile.cuh"
#include "codegen/kernels/ticket.cuh"

namespace renga::kernels {

// Config: kQueryHeads, kKvHeads, kHeadDim (even); KeyCache, ValueCache (kv_cache.cuh); kPageTokens;
// kCausal, kWindow (0: none), kScale, kSoftCap (0: none); kRowWarps, kKeyWarps, kTileTokens,
// kTileKeys (a multiple of 16 * kKeyWarps), kMaxSplits.
// Grid: splits, kKvHeads * kHeadTiles, tokens / kTileTokens rounded up.
template <class Config>
class AttentionKernel {
 public:
  static constexpr int kGroup = Config::kQueryHeads / Config::kKvHeads;
  static constexpr int kRows = 16 * Config::kRowWarps;
  // Query heads of a token in a tile, and tiles that the heads of a group make.
  static constexpr int kTileHeads =
      Config::kTileTokens * kGroup <= kRows ? kGroup : kRows / Config::kTileTokens;
  static constexpr int kHeadTiles = (kGroup + kTileHeads - 1) / kTileHeads;
  static constexpr int kWarps = Config::kRowWarps * Config::kKeyWarps;
  static constexpr int kThreads = 32 * kWarps;

  static __device__ __forceinline__ void Run(const AttentionArgs& args) {
    AttentionKernel kernel(args);
    WaitForPreviousKernel();
    LetNextKernelStart();
    kernel.LoadQueries();
    kernel.Start();
    for (int first = 0; first < kernel.tile_tokens_;) first = kernel.AddRun(first);
    kernel.JoinWarps();
    kernel.Finish();
  }

 private:
  static constexpr int kHeadDim = Config::kHeadDim;
  static constexpr int kPaddedDim = (kHeadDim + 15) / 16 * 16;
  static constexpr int kTileKeys = Config::kTileKeys;
  static constexpr int kKeysOfWarp = kTileKeys / Config::kKeyWarps;
  static_assert(Config::kQueryHeads % Config::kKvHeads == 0, "whole groups of heads");
  static_assert(kKeysOfWarp % 16 == 0 && kHeadDim % 2 == 0, "see above");
  using KeyTile = KvTile<typename Config::KeyCache, kTileKeys, kHeadDim>;
  using ValueTile = KvTile<typename Config::ValueCache, kTileKeys, kHeadDim>;
  static constexpr int kPitch = KeyTile::kPitch;

  __device__ __forceinline__ explicit AttentionKernel(const AttentionArgs& args)
      : args_(args),
        keys_(arena_),
        values_(arena_),
        queries_(arena_.Take<uint16_t>(2 * kRows * kPitch)),
        factors_(arena_.Take<float>(kRows)),
        cells_(arena_.Take<int>(kTileKeys)),
        sums_(arena_.Take<float>(kRows * kHeadDim)),
        stats_(arena_.Take<float>(2 * kRows * Config::kKeyWarps)),
        weights_(arena_.Take<float>(kRows * (Config::kMaxSplits + 1))),
        last_(arena_.Take<uint32_t>(1)) {
    kv_head_ = blockIdx.y / kHeadTiles;
    first_head_ = blockIdx.y % kHeadTiles * kTileHeads;
    first_token_ = blockIdx.z * Config::kTileTokens;
    tile_tokens_ = min(Config::kTileTokens, args.tokens - first_token_);
    lane_ = threadIdx.x % 32;
    row_warp_ = threadIdx.x / 32 % Config::kRowWarps;
    key_warp_ = threadIdx.x / 32 / Config::kRowWarps;
  }

  // ---- Rows ----

  __device__ __forceinline__ int TokenOf(int row) const { return row / kTileHeads; }  // of the tile
  __device__ __forceinline__ bool HasRow(int row) const {
    return TokenOf(row) < tile_tokens_ && first_head_ + row % kTileHeads < kGroup;
  }
  __device__ __forceinline__ int HeadOf(int row) const {
    return kv_head_ * kGroup + first_head_ + row % kTileHeads;
  }
  // Of a row's values among those of all tokens and heads.
  __device__ __forceinline__ int64_t PlaceOf(int row) const {
    return (static_cast<int64_t>(first_token_ + TokenOf(row)) * Config::kQueryHeads + HeadOf(row)) *
           kHeadDim;
  }

  // Rows as sums of two 16-bit numbers; the factor that scores take. A warp takes a row at a time.
  __device__ __forceinline__ void LoadQueries() {
    for (int row = threadIdx.x / 32; row < kRows; row += kWarps) {
      const bool there = HasRow(row);
      constexpr int kOfLane = (kPaddedDim + 31) / 32;
      float in[kOfLane];
      float largest = 0;
#pragma unroll
      for (int i = 0; i < kOfLane; ++i) {
        const int d = i * 32 + lane_;
        in[i] = there && d < kHeadDim ? LoadFromL2(args_.q + PlaceOf(row) + d) : 0.0f;
        largest = max(largest, fabsf(in[i]));
      }
      RowScale row_scale = {1.0f, 1.0f};
      if constexpr (KeyTile::kHalf) row_scale = ScaleOfLargest(WarpMax(largest));
#pragma unroll
      for (int i = 0; i < kOfLane; ++i) {
        const int d = i * 32 + lane_;
        if (d >= kPaddedDim) continue;
        const float value = in[i] * row_scale.scale;
        const auto high = KeyTile::Round(value);
        const auto low = KeyTile::Round(value - ToFloat(high));
        queries_[row * kPitch + d] = high.bits;
        queries_[(kRows + row) * kPitch + d] = low.bits;
      }
      if (lane_ == 0) {
        factors_[row] = row_scale.inverse * static_cast<float>(Config::kScale);
      }
    }
    keys_.ClearPadding();
    values_.ClearPadding();
    SyncThreads();
  }

  __device__ __forceinline__ void Start() {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = row_warp_ * 16 + r * 8 + lane_ / 4;
      factor_[r] = factors_[row];
      position_[r] = -1;
      token_[r] = -1;
      if (HasRow(row)) {
        token_[r] = TokenOf(row);
        position_[r] = args_.positions[first_token_ + token_[r]];
      }
      largest_[r] = -Infinity();
      total_[r] = 0;
    }
#pragma unroll
    for (int n = 0; n < kPaddedDim / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) output_[n][i] = 0;
    }
  }

  // ---- Keys ----

  // Adds the keys of this split for the tokens of one sequence, from `first` of the tile; returns
  // where the next sequence starts.
  __device__ __forceinline__ int AddRun(int first) {
    const int sequence = args_.sequences[first_token_ + first];
    int end = first, low = args_.span, high = 0;
    for (; end < tile_tokens_ && args_.sequences[first_token_ + end] == sequence; ++end) {
      const int position = args_.positions[first_token_ + end];
      low = Config::kWindow > 0 ? min(low, max(0, position - Config::kWindow + 1)) : 0;
      high = Config::kCausal ? max(high, position + 1) : args_.span;
    }
    high = min(high, args_.span);
    const int first_tile = low / kTileKeys;
    const int tiles = max(0, (high + kTileKeys - 1) / kTileKeys - first_tile);
    const int splits = gridDim.x, split = blockIdx.x;
    const int tile_end = first_tile + tiles * (split + 1) / splits;
    for (int tile = first_tile + tiles * split / splits; tile < tile_end; ++tile) {
      AddTile(sequence, tile * kTileKeys, low, high, first, end);
    }
    return end;
  }

  // Keys from `key` on, of which those from `low` to `high` are visible to some row.
  __device__ __forceinline__ void AddTile(int sequence, int key, int low, int high, int first,
                                          int end) {
    for (int i = threadIdx.x; i < kTileKeys; i += kThreads) {
      const int j = key + i, page = j / Config::kPageTokens;
      int cell = -1;
      if (j >= low && j < high && page < args_.pages_of_sequence) {
        const int at = args_.pages[static_cast<int64_t>(sequence) * args_.pages_of_sequence + page];
        if (at >= 0) cell = at * Config::kPageTokens + j % Config::kPageTokens;
      }
      cells_[i] = cell;
    }
    SyncThreads();  // the cells are there, and all are done with the tile before
    keys_.template Load<kThreads, Config::kKvHeads>(args_.k_cache, args_.k_scales, cells_,
                                                    kv_head_);
    CommitCopies();
    values_.template Load<kThreads, Config::kKvHeads>(args_.v_cache, args_.v_scales, cells_,
                                                      kv_head_);
    CommitCopies();
    WaitForCopies<1>();
    SyncThreads();
    float scores[kKeysOfWarp / 8][4];
    Scores(scores);
    Weigh(key + key_warp_ * kKeysOfWarp, first, end, scores);
    WaitForCopies<0>();
    SyncThreads();
    AddValues(scores);
  }

  // scores = q k, 16 rows by this warp's keys.
  __device__ __forceinline__ void Scores(float (&scores)[kKeysOfWarp / 8][4]) const {
#pragma unroll
    for (int n = 0; n < kKeysOfWarp / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[n][i] = 0;
    }
    const int matrix = lane_ / 8, row = lane_ % 8;
    const uint16_t* query =
        queries_ + (row_warp_ * 16 + matrix % 2 * 8 + row) * kPitch + matrix / 2 * 8;
    const uint16_t* key =
        keys_.at(0, key_warp_ * kKeysOfWarp + matrix / 2 * 8 + row, matrix % 2 * 8);
#pragma unroll
    for (int d = 0; d < kPaddedDim; d += 16) {
      uint32_t high[4], low[4];
      LoadMatrix4(high, query + d);
      LoadMatrix4(low, query + kRows * kPitch + d);
#pragma unroll
      for (int n = 0; n < kKeysOfWarp / 8; n += 2) {
#pragma unroll
        for (int part = 0; part < KeyTile::kParts; ++part) {
          uint32_t b[4];
          LoadMatrix4(b, key + part * KeyTile::kPart + n * 8 * kPitch + d);
          const uint32_t even[2] = {b[0], b[1]}, odd[2] = {b[2], b[3]};
          KeyTile::Mma(scores[n], high, even);
          KeyTile::Mma(scores[n + 1], high, odd);
          if (part > 0) continue;  // the product of the lesser parts is below f32's last digit
          KeyTile::Mma(scores[n], low, even);
          KeyTile::Mma(scores[n + 1], low, odd);
        }
      }
    }
  }

  __device__ __forceinline__ bool Visible(int r, int key, int first, int end) const {
    return token_[r] >= first && token_[r] < end && key < args_.span &&
           (!Config::kCausal || key <= position_[r]) &&
           (Config::kWindow == 0 || position_[r] - key < Config::kWindow);
  }

  // Scores of keys from `key` on to weights 2^(score - largest), with the sums so far made to fit.
  __device__ __forceinline__ void Weigh(int key, int first, int end,
                                        float (&scores)[kKeysOfWarp / 8][4]) {
    float largest[2] = {largest_[0], largest_[1]};
#pragma unroll
    for (int n = 0; n < kKeysOfWarp / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int r = i / 2;
        float score = scores[n][i] * factor_[r];
        if constexpr (Config::kSoftCap > 0) {
          constexpr float kTwice = 2 * kLog2E / static_cast<float>(Config::kSoftCap);
          score = static_cast<float>(Config::kSoftCap) *
                  (1.0f - 2.0f * FastReciprocal(1.0f + FastExp2(score * kTwice)));
        }
        const bool visible = Visible(r, key + n * 8 + lane_ % 4 * 2 + i % 2, first, end);
        scores[n][i] = visible ? score * kLog2E : -Infinity();
        largest[r] = max(largest[r], scores[n][i]);
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      largest[r] = max(largest[r], ShuffleXor(largest[r], 1));
      largest[r] = max(largest[r], ShuffleXor(largest[r], 2));
      const float base = largest[r] == -Infinity() ? 0.0f : largest[r];
      const float shrink = FastExp2(largest_[r] - base);
      largest_[r] = largest[r];
      total_[r] *= shrink;
#pragma unroll
      for (int n = 0; n < kPaddedDim / 8; ++n) {
        output_[n][2 * r] *= shrink;
        output_[n][2 * r + 1] *= shrink;
      }
#pragma unroll
      for (int n = 0; n < kKeysOfWarp / 8; ++n) {
#pragma unroll
        for (int i = 2 * r; i < 2 * r + 2; ++i) {
          scores[n][i] = FastExp2(scores[n][i] - base);
          total_[r] += scores[n][i];
        }
      }
    }
  }

  // output += weights v.
  __device__ __forceinline__ void AddValues(const float (&weights)[kKeysOfWarp / 8][4]) {
    const int matrix = lane_ / 8, row = lane_ % 8;
#pragma unroll
    for (int n = 0; n < kKeysOfWarp / 8; n += 2) {
      uint32_t high[4], low[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float first = weights[n + i / 2][i % 2 * 2],
                    second = weights[n + i / 2][i % 2 * 2 + 1];
        ValueTile::Split(first, second, high[i], low[i]);
      }
      const uint16_t* value =
          values_.at(0, key_warp_ * kKeysOfWarp + n * 8 + matrix % 2 * 8 + row, matrix / 2 * 8);
#pragma unroll
      for (int d = 0; d < kPaddedDim / 8; d += 2) {
#pragma unroll
        for (int part = 0; part < ValueTile::kParts; ++part) {
          uint32_t b[4];
          LoadMatrix4Transposed(b, value + part * ValueTile::kPart + d * 8);
          const uint32_t even[2] = {b[0], b[1]}, odd[2] = {b[2], b[3]};
          ValueTile::Mma(output_[d], high, even);
          ValueTile::Mma(output_[d + 1], high, odd);
          if (ValueTile::kHalf || part > 0) continue;  // a weight in f16 is one number
          ValueTile::Mma(output_[d], low, even);
          ValueTile::Mma(output_[d + 1], low, odd);
        }
      }
    }
  }

  // ---- The end ----

  // Adds up what the warps have of each row, in their order: sums_[kRows, kHeadDim] and, as the
  // first of stats_, largest and total.
  __device__ __forceinline__ void JoinWarps() {
    const int g = lane_ / 4, q = lane_ % 4;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      total_[r] += ShuffleXor(total_[r], 1);
      total_[r] += ShuffleXor(total_[r], 2);
      if (q == 0) {
        float* mine = stats_ + (key_warp_ * kRows + row_warp_ * 16 + r * 8 + g) * 2;
        mine[0] = largest_[r];
        mine[1] = total_[r];
      }
    }
    SyncThreads();
    float shrink[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float largest = -Infinity();
      for (int w = 0; w < Config::kKeyWarps; ++w) {
        largest = max(largest, stats_[(w * kRows + row_warp_ * 16 + r * 8 + g) * 2]);
      }
      shrink[r] = largest == -Infinity() ? 0.0f : FastExp2(largest_[r] - largest);
    }
    for (int w = 0; w < Config::kKeyWarps; ++w) {
      if (key_warp_ == w) {
#pragma unroll
        for (int n = 0; n < kPaddedDim / 8; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const int d = n * 8 + 2 * q + i % 2;
            if (d >= kHeadDim) continue;
            float& sum = sums_[(row_warp_ * 16 + i / 2 * 8 + g) * kHeadDim + d];
            const float value = output_[n][i] * shrink[i / 2];
            sum = w == 0 ? value : sum + value;
          }
        }
      }
      SyncThreads();
    }
    for (int row = threadIdx.x; row < kRows; row += kThreads) {
      float largest = -Infinity(), total = 0;
      for (int w = 0; w < Config::kKeyWarps; ++w) {
        largest = max(largest, stats_[(w * kRows + row) * 2]);
      }
      for (int w = 0; w < Config::kKeyWarps; ++w) {
        const float* of_warp = stats_ + (w * kRows + row) * 2;
        if (largest > -Infinity()) total += of_warp[1] * FastExp2(of_warp[0] - largest);
      }
      stats_[row * 2] = largest;
      stats_[row * 2 + 1] = total;
    }
    SyncThreads();
  }

  // With the sink, and with nothing visible at all, the inverse of the sum of weights relative to
  // 2^largest, which may grow.
  __device__ __forceinline__ float InverseOf(int row, float total, float& largest) const {
    float shrink = 1.0f;
    if (args_.sinks != nullptr) {
      const float sink = args_.sinks[HeadOf(row)] * kLog2E;
      const float with_sink = max(largest, sink);
      shrink = FastExp2(largest - with_sink);
      total = total * shrink + FastExp2(sink - with_sink);
      largest = with_sink;
    }
    return total > 0 ? shrink / total : 0.0f;
  }

  __device__ __forceinline__ void Finish() {
    const int splits = gridDim.x;
    if (splits == 1) {
      for (int i = threadIdx.x; i < kRows * kHeadDim; i += kThreads) {
        const int row = i / kHeadDim;
        if (!HasRow(row)) continue;
        float largest = stats_[row * 2];
        args_.y[PlaceOf(row) + i % kHeadDim] =
            sums_[i] * InverseOf(row, stats_[row * 2 + 1], largest);
      }
      return;
    }
    const int64_t tile = static_cast<int64_t>(blockIdx.z) * gridDim.y + blockIdx.y;
    float* parts = args_.part_values + tile * splits * kRows * kHeadDim;
    float* part_stats = args_.part_stats + tile * splits * kRows * 2;
    for (int i = threadIdx.x; i < kRows * kHeadDim; i += kThreads) {
      if (HasRow(i / kHeadDim)) parts[blockIdx.x * kRows * kHeadDim + i] = sums_[i];
    }
    for (int i = threadIdx.x; i < kRows * 2; i += kThreads) {
      if (HasRow(i / 2)) part_stats[blockIdx.x * kRows * 2 + i] = stats_[i];
    }
    if (!ComesLast(args_.tickets + tile, splits, last_)) return;

    // What each split's sums are multiplied by.
    for (int row = threadIdx.x; row < kRows; row += kThreads) {
      if (!HasRow(row)) continue;
      const float* stats = part_stats + row * 2;
      float largest = -Infinity(), total = 0;
      for (int s = 0; s < splits; ++s) largest = max(largest, LoadFromL2(stats + s * kRows * 2));
      const float base = largest == -Infinity() ? 0.0f : largest;
      for (int s = 0; s < splits; ++s) {
        const float weight = FastExp2(LoadFromL2(stats + s * kRows * 2) - base);
        weights_[row * (Config::kMaxSplits + 1) + s] = weight;
        total += LoadFromL2(stats + s * kRows * 2 + 1) * weight;
      }
      const float inverse = InverseOf(row, total, largest);
      weights_[row * (Config::kMaxSplits + 1) + Config::kMaxSplits] = inverse;
    }
    SyncThreads();
    for (int i = threadIdx.x; i < kRows * kHeadDim; i += kThreads) {
      const int row = i / kHeadDim;
      if (!HasRow(row)) continue;
      const float* weights = weights_ + row * (Config::kMaxSplits + 1);
      float sum = 0;
#pragma unroll 4
      for (int s = 0; s < splits; ++s) {
        sum += LoadFromL2(parts + s * kRows * kHeadDim + i) * weights[s];
      }
      args_.y[PlaceOf(row) + i % kHeadDim] = sum * weights[Config::kMaxSplits];
    }
  }

  const AttentionArgs& args_;
  SharedArena arena_;
  KeyTile keys_;
  ValueTile values_;
  uint16_t* queries_;  // [2, kRows, kPitch]: high parts, low parts
  float* factors_;     // [kRows]
  int* cells_;         // [kTileKeys]; -1: nothing there
  float* sums_;        // [kRows, kHeadDim]
  float* stats_;       // [kKeyWarps, kRows, 2]
  float* weights_;     // [kRows, kMaxSplits + 1]
  uint32_t* last_;

  int kv_head_, first_head_, first_token_, tile_tokens_, lane_, row_warp_, key_warp_;
  // Of this lane's two rows: what scores are multiplied by, token in the tile (-1: no row) and
  // position, largest score so far times log2 e, sum of weights (this lane's keys).
  float factor_[2];
  int token_[2], position_[2];
  float largest_[2], total_[2];
  float output_[kPaddedDim / 8][4];
};

template <class Config>
__device__ __forceinline__ void Attention(const AttentionArgs& args) {
  AttentionKernel<Config>::Run(args);
}

}  // namespace renga::kernels
