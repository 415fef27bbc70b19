// attention over a paged cache, for decoding and for prefill:
//   y[t,h] = sum_j softmax_j(scale * q[t,h] . k[j]) v[j]   over the visible keys j of t's sequence
//
// A tile is up to 16 * kRowWarps rows, a row being one query head of one token; all share a key and
// value head. kKeyWarps warps divide the keys among them. Keys and values of kTileKeys positions at
// a time go through shared memory to mma.m16n8k16: scores, softmax as it goes, weighted sum. A tile
// may be split along the keys over several blocks (gridDim.x), of which the last to come combines
// the parts in their order, so the result depends on the number of splits alone. Where it is not
// (kMaxSplits is 1) they divide the sequences of the tile instead.
//
// At a few tokens all of this is a chain of latencies, so it is kept short. The keys of earlier
// steps are on their way before WaitForPreviousKernel, and the next tile's while one is computed; a
// split without keys ends at once.
//
// 16-bit operands of any range: the rows of q enter as a sum of two numbers, for f16 after a power
// of two, so a cache in f16, bf16 or f8_e4m3 (which becomes f16) costs no digits beyond its own.
// Caches in f32 become sums of two bf16, and keys in f16 whose bias is added here sums of two f16.
// Weights of the sum (at most 1) are f16, or two bf16. Codes of q8_0 and q4_0 are operands as they
// are where a block has 16 rows (kv_codes.cuh), their numbers sums of two bf16 where it has more.
#pragma once

#include "codegen/kernels/attention_join.cuh"
#include "codegen/kernels/attention_keys.cuh"
#include "codegen/kernels/attention_rows.cuh"
#include "codegen/kernels/key_bias.cuh"
#include "codegen/kernels/kv_codes.cuh"

namespace renga::kernels {

// Config: kQueryHeads, kKvHeads, kHeadDim (even); KeyCache, ValueCache (kv_cache.cuh); kPageTokens;
// kCausal, kWindow (0: none), kScale, kSoftCap (0: none); kRowWarps, kKeyWarps, kTileTokens,
// kTileKeys (a multiple of 16 * kKeyWarps), kStages (tiles of keys in shared memory, 1 or 2),
// kMaxSplits.
// Grid: splits, or where kMaxSplits is 1 any number of blocks for the sequences of a tile; kKvHeads
// * kHeadTiles; tokens / kTileTokens rounded up. `Bias` is KeyBias or NoKeyBias (key_bias.cuh); the
// former with one stage.
template <class Config, class Bias>
class AttentionKernel {
 public:
  using Rows = AttentionRows<Config>;
  static constexpr int kRows = Rows::kRows;
  static constexpr int kWarps = Config::kRowWarps * Config::kKeyWarps;
  static constexpr int kThreads = 32 * kWarps;

  static __device__ __forceinline__ void Run(const AttentionArgs& args, const float* k_bias) {
    AttentionKernel kernel(args, k_bias);
    if (kernel.rows_.begin >= kernel.rows_.end) return;  // another block has all there is
    KeyRun run = kernel.runs_.At(kernel.rows_.begin);
    int splits = 1;
    if constexpr (Config::kMaxSplits > 1) {
      splits = kernel.runs_.SplitsFrom(run);
      if (blockIdx.x >= splits) return;  // who has keys does not wait for this one
    }
    kernel.Clear();
    const bool any = kernel.runs_.Settle(run);
    if constexpr (Bias::kThere) {
      if (any) kernel.bias_.Start(run.tile * kTileKeys);
    }
    if (any) kernel.LoadOldKeys(run);
    WaitForPreviousKernel();
    LetNextKernelStart();
    if (any) kernel.LoadFreshKeys(run);
    kernel.LoadQueries();
    SyncThreads();
    kernel.Start();
    if (any) kernel.AddTiles(run);
    kernel.Finish(splits);
  }

 private:
  static constexpr int kHeadDim = Config::kHeadDim;
  static constexpr int kPaddedDim = (kHeadDim + 15) / 16 * 16;
  static constexpr int kTileKeys = Config::kTileKeys;
  static constexpr int kStages = Config::kStages;
  static constexpr int kKeysOfWarp = kTileKeys / Config::kKeyWarps;
  static constexpr bool kKeyWarpsOnly = Config::kRowWarps == 1;  // every warp has all rows
  static_assert(kKeysOfWarp % 16 == 0 && kHeadDim % 2 == 0, "see above");
  static_assert(kStages == 1 || kStages == 2, "see above");
  using KeyTile = KvTileOf<typename Config::KeyCache, kTileKeys, kHeadDim, Config::kRowWarps, true,
                           Bias::kThere>;
  using ValueTile =
      KvTileOf<typename Config::ValueCache, kTileKeys, kHeadDim, Config::kRowWarps, false, false>;
  using Join = AttentionJoin<Config, ValueTile>;
  static_assert(!Bias::kThere || kStages == 1, "see above");
  static constexpr int kPitch = kPaddedDim + 8;  // of queries, as KvTile's
  static constexpr int kKeyHalves = kStages * KeyTile::kHalves;
  static constexpr int kSlotHalves = 2 * Join::kSlotFloats;

  __device__ __forceinline__ AttentionKernel(const AttentionArgs& args, const float* k_bias)
      : args_(args),
        rows_(args),
        runs_(args, rows_.first_token, rows_.end),
        keys_(arena_.Take<uint16_t>(kKeyHalves < kSlotHalves ? kSlotHalves : kKeyHalves)),
        values_(arena_.Take<uint16_t>(kStages * ValueTile::kHalves)),
        queries_(arena_.Take<uint16_t>(2 * kRows * kPitch)),
        factors_(arena_.Take<float>(kRows)),
        join_(args, rows_, arena_),
        bias_(k_bias, rows_.kv_head, arena_) {
    lane_ = threadIdx.x % 32;
    row_warp_ = threadIdx.x / 32 % Config::kRowWarps;
    key_warp_ = threadIdx.x / 32 / Config::kRowWarps;
  }

  __device__ __forceinline__ KeyTile Keys(int stage) const {
    return KeyTile(keys_ + stage * KeyTile::kHalves);
  }
  __device__ __forceinline__ ValueTile Values(int stage) const {
    return ValueTile(values_ + stage * ValueTile::kHalves);
  }

  // ---- Rows ----

  // Zeros for the rows that are not there and the columns that no load writes; this lane's rows.
  __device__ __forceinline__ void Clear() {
    constexpr int kUnits = kPitch / 8;  // of 16 bytes
    for (int i = threadIdx.x; i < 2 * kRows * kUnits; i += kThreads) {
      if (HasRow(i / kUnits % kRows)) continue;
      *reinterpret_cast<uint4*>(queries_ + i * 8) = make_uint4(0, 0, 0, 0);
    }
    for (int row = threadIdx.x; row < kRows; row += kThreads) {
      if (!HasRow(row)) factors_[row] = 0;
    }
    for (int stage = 0; stage < kStages; ++stage) {
      Keys(stage).ClearPadding();
      Values(stage).ClearPadding();
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = row_warp_ * 16 + r * 8 + lane_ / 4;
      position_[r] = -1;
      token_[r] = -1;
      if (HasRow(row)) {
        token_[r] = rows_.TokenOf(row);
        position_[r] = args_.positions[rows_.first_token + token_[r]];
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

  __device__ __forceinline__ bool HasRow(int row) const {
    return row < Rows::kTileRows && rows_.Has(row);
  }

  // Rows as sums of two 16-bit numbers; the factor that scores take. A warp takes some rows at a
  // time.
  __device__ __forceinline__ void LoadQueries() {
    constexpr int kPairs = (kPaddedDim / 2 + 31) / 32;  // of a lane
    constexpr int kRowsOfWarp = (Rows::kTileRows + kWarps - 1) / kWarps;
    constexpr int kAtOnce = kRowsOfWarp < 4 ? kRowsOfWarp : 4;
    for (int first = threadIdx.x / 32; first < Rows::kTileRows; first += kAtOnce * kWarps) {
      float2 in[kAtOnce][kPairs];
#pragma unroll
      for (int r = 0; r < kAtOnce; ++r) {
        const int row = first + r * kWarps;
        const bool there = HasRow(row);
#pragma unroll
        for (int i = 0; i < kPairs; ++i) {
          const int d = 2 * (i * 32 + lane_);
          in[r][i] =
              there && d < kHeadDim
                  ? LoadFromL2(reinterpret_cast<const float2*>(args_.q + rows_.PlaceOf(row) + d))
                  : make_float2(0, 0);
        }
      }
#pragma unroll
      for (int r = 0; r < kAtOnce; ++r) {
        const int row = first + r * kWarps;
        if (!HasRow(row)) continue;
        KeyTile::TurnQuery(in[r]);
        StoreQuery(row, in[r]);
      }
    }
  }

  template <int kPairs>
  __device__ __forceinline__ void StoreQuery(int row, const float2 (&in)[kPairs]) {
    RowScale row_scale = {1.0f, 1.0f};
    if constexpr (KeyTile::kHalf) {
      float largest = 0;
#pragma unroll
      for (int i = 0; i < kPairs; ++i) {
        largest = max(largest, max(fabsf(in[i].x), fabsf(in[i].y)));
      }
      row_scale = ScaleOfLargest(WarpMax(largest));
    }
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      const int d = 2 * (i * 32 + lane_);
      if (d >= kPaddedDim) continue;
      const float x = in[i].x * row_scale.scale, y = in[i].y * row_scale.scale;
      const auto high_x = KeyTile::Round(x), high_y = KeyTile::Round(y);
      const auto low_x = KeyTile::Round(x - ToFloat(high_x));
      const auto low_y = KeyTile::Round(y - ToFloat(high_y));
      uint16_t* to = queries_ + row * kPitch + (d < kHeadDim ? KeyTile::PlaceOfQuery(d) : d);
      *reinterpret_cast<uint32_t*>(to) = high_x.bits | static_cast<uint32_t>(high_y.bits) << 16;
      *reinterpret_cast<uint32_t*>(to + kRows * kPitch) =
          low_x.bits | static_cast<uint32_t>(low_y.bits) << 16;
    }
    if (lane_ == 0) factors_[row] = row_scale.inverse * static_cast<float>(Config::kScale);
  }

  __device__ __forceinline__ void Start() {
#pragma unroll
    for (int r = 0; r < 2; ++r) factor_[r] = factors_[row_warp_ * 16 + r * 8 + lane_ / 4];
  }

  // ---- Keys ----

  // Whether keys may be read before the kernel that writes others of their cache has ended.
  static constexpr bool kEarly = KeyTile::kPastL1 && ValueTile::kPastL1;

  // The first tile, but for what this step may be writing.
  __device__ __forceinline__ void LoadOldKeys(const KeyRun& run) {
    if constexpr (!kEarly) return;
    const int first = run.tile * kTileKeys;
    if (run.fresh <= first) return;
    const auto cell_of = [&](int i) {
      const int key = first + i;
      return key >= run.fresh && key < run.high ? kLeaveAlone : runs_.CellOf(run, key);
    };
    LoadKeys<true>(cell_of, 0, 0, kTileKeys);
    LoadValues<true>(cell_of, 0, 0, kTileKeys);
  }
  // The rest of it.
  __device__ __forceinline__ void LoadFreshKeys(const KeyRun& run) {
    const int first = run.tile * kTileKeys;
    int from = 0, to = kTileKeys;
    if (kEarly && run.fresh > first) {
      from = min(run.fresh - first, kTileKeys);
      to = min(max(run.high - first, from), kTileKeys);
    }
    const auto cell_of = [&](int i) { return runs_.CellOf(run, first + i); };
    LoadKeys<false>(cell_of, 0, from, to);
    CommitCopies();
    LoadValues<false>(cell_of, 0, from, to);
    CommitCopies();
  }
  __device__ __forceinline__ void LoadTile(const KeyRun& run, int stage) {
    const int first = run.tile * kTileKeys;
    const auto cell_of = [&](int i) { return runs_.CellOf(run, first + i); };
    LoadKeys<false>(cell_of, stage, 0, kTileKeys);
    CommitCopies();
    LoadValues<false>(cell_of, stage, 0, kTileKeys);
    CommitCopies();
  }

  template <bool kBeforeWait, typename CellOf>
  __device__ __forceinline__ void LoadKeys(CellOf cell_of, int stage, int from, int to) const {
    Keys(stage).template Load<kThreads, Config::kKvHeads, kBeforeWait>(
        args_.k_cache, args_.k_scales, rows_.kv_head, from, to, cell_of, bias_);
  }
  template <bool kBeforeWait, typename CellOf>
  __device__ __forceinline__ void LoadValues(CellOf cell_of, int stage, int from, int to) const {
    Values(stage).template Load<kThreads, Config::kKvHeads, kBeforeWait>(
        args_.v_cache, args_.v_scales, rows_.kv_head, from, to, cell_of, AddNothing());
  }

  // All tiles from the one at `run` on, which is under way. Its keys and its values are a group of
  // copies each; with two stages so are the next one's, or empty groups in their place.
  __device__ __forceinline__ void AddTiles(KeyRun run) {
    for (int stage = 0;;) {
      WaitForCopies<1>();
      SyncThreads();  // its keys are there, and all are done with the tile before
      KeyRun next = run;
      const bool more = runs_.Next(next);
      if constexpr (kStages == 2) {
        if (more) {
          LoadTile(next, 1 - stage);
        } else {
          CommitCopies();
          CommitCopies();
        }
      }
      // A warp may have no row of this sequence: then all of its weights would be 0.
      const bool any = kKeyWarpsOnly || rows_.AnyOf(row_warp_ * 16, 16, run.first, run.end);
      float scores[kKeysOfWarp / 8][4];
      if (any) {
        Scores(Keys(stage), scores);
        Weigh(run.tile * kTileKeys + key_warp_ * kKeysOfWarp, run.first, run.end, scores);
      }
      WaitForCopies<2 * (kStages - 1)>();
      SyncThreads();  // its values are there, and all are done with its keys
      if (any) Values(stage).AddWeighted(key_warp_ * kKeysOfWarp, scores, output_);
      if (!more) return;
      if constexpr (kStages == 2) {
        stage = 1 - stage;
      } else {
        if constexpr (Bias::kThere) bias_.MoveTo(next.tile * kTileKeys);
        SyncThreads();
        LoadTile(next, 0);
      }
      run = next;
    }
  }

  // scores = q k, 16 rows by this warp's keys.
  __device__ __forceinline__ void Scores(const KeyTile& keys,
                                         float (&scores)[kKeysOfWarp / 8][4]) const {
#pragma unroll
    for (int n = 0; n < kKeysOfWarp / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[n][i] = 0;
    }
    const int matrix = lane_ / 8, row = row_warp_ * 16 + matrix % 2 * 8 + lane_ % 8;
    keys.AddScores(queries_ + row * kPitch + matrix / 2 * 8, kRows * kPitch,
                   key_warp_ * kKeysOfWarp, scores);
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

  // ---- The end ----

  // The values' last wait left nobody reading keys, so the sums may take their place.
  __device__ __forceinline__ void Finish(int splits) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      total_[r] += ShuffleXor(total_[r], 1);
      total_[r] += ShuffleXor(total_[r], 2);
    }
    join_.Finish(reinterpret_cast<float*>(keys_), splits, row_warp_ * 16 + lane_ / 4, key_warp_,
                 largest_, total_, output_);
  }

  const AttentionArgs& args_;
  const Rows rows_;
  const KeyRuns<Config> runs_;
  SharedArena arena_;
  uint16_t* keys_;     // [kStages] of KeyTile; at the end what the warps have
  uint16_t* values_;   // [kStages] of ValueTile
  uint16_t* queries_;  // [2, kRows, kPitch]: high parts, low parts
  float* factors_;     // [kRows]
  const Join join_;
  const Bias bias_;

  int lane_, row_warp_, key_warp_;
  // Of this lane's two rows: what scores are multiplied by, token in the tile (-1: no row) and
  // position, largest score so far times log2 e, sum of weights (this lane's keys).
  float factor_[2];
  int token_[2], position_[2];
  float largest_[2], total_[2];
  float output_[kPaddedDim / 8][4];
};

template <class Config>
__device__ __forceinline__ void Attention(const AttentionArgs& args) {
  AttentionKernel<Config, NoKeyBias<Config>>::Run(args, nullptr);
}

// With a Config that has the Rope of the bias.
template <class Config>
__device__ __forceinline__ void BiasedAttention(const BiasedAttentionArgs& args) {
  AttentionKernel<Config, KeyBias<Config>>::Run(args.attention, args.k_bias);
}

}  // namespace renga::kernels
