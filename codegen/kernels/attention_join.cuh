// The end of attention: what the warps of a block have of each row becomes one sum, and what the
// splits of a tile have becomes the result. Always added in the order of warps and of splits.
#pragma once

#include "codegen/kernels/attention_rows.cuh"
#include "codegen/kernels/ticket.cuh"

namespace renga::kernels {

// Of some keys: the largest score times log2 e, and the sum of 2^(score - largest).
struct alignas(8) RowStats {
  float largest, total;
};

// Config: as of attention.cuh. ValueTile: whose output it takes.
template <class Config, class ValueTile>
class AttentionJoin {
 public:
  using Rows = AttentionRows<Config>;
  static constexpr int kPaddedDim = (Config::kHeadDim + 15) / 16 * 16;
  // One warp has all of a row: nothing is to be joined, and y is written from registers.
  static constexpr bool kAlone = Config::kKeyWarps == 1 && Config::kMaxSplits == 1;
  // Floats from row to row: pairs of 8 rows by 4 lanes lie in different banks.
  static constexpr int kPitch = kPaddedDim + 8;
  // What the warps have, which takes the place of the keys.
  static constexpr int kSlotFloats = kAlone ? 0 : Config::kKeyWarps * Rows::kTileRows * kPitch;

  __device__ __forceinline__ AttentionJoin(const AttentionArgs& args, const Rows& rows,
                                           SharedArena& arena)
      : args_(args), rows_(rows) {
    if constexpr (!kAlone) {
      warp_stats_ = arena.Take<RowStats>(Config::kKeyWarps * Rows::kTileRows);
      split_stats_ = arena.Take<RowStats>(Config::kMaxSplits * Rows::kTileRows);
      last_ = arena.Take<uint32_t>(1);
    }
  }

  // Of this lane's rows, row and row + 8: sums of weights and of weighted values, as the products
  // left them, of all lanes' keys and of the columns that ValueTile::StoreRow knows. `slots` is
  // shared memory that all threads are done with; `splits` have something to add.
  __device__ __forceinline__ void Finish(float* slots, int splits, int row, int key_warp,
                                         const float (&largest)[2], const float (&total)[2],
                                         const float (&output)[kPaddedDim / 8][4]) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int at = row + 8 * r;
      if (!rows_.Has(at) || at >= Rows::kTileRows) continue;
      if constexpr (kAlone) {
        ValueTile::StoreRow(output, r, InverseOf(at, largest[r], total[r]),
                            args_.y + rows_.PlaceOf(at));
      } else {
        const int slot = key_warp * Rows::kTileRows + at;
        if (threadIdx.x % 4 == 0) warp_stats_[slot] = {largest[r], total[r]};
        ValueTile::StoreRow(output, r, 1.0f, slots + slot * kPitch);
      }
    }
    if constexpr (!kAlone) {
      SyncThreads();
      JoinWarps(slots, splits);
      if constexpr (Config::kMaxSplits > 1) {
        if (splits > 1 && ComesLast(args_.tickets + Tile(), splits, last_)) JoinSplits(splits);
      }
    }
  }

 private:
  static constexpr int kHeadDim = Config::kHeadDim;
  static constexpr int kThreads = 32 * Config::kRowWarps * Config::kKeyWarps;
  // Values of a row that a thread takes at a time; such pieces of all rows.
  static constexpr int kPiece = kHeadDim % 4 == 0 ? 4 : 2;
  static constexpr int kPieces = Rows::kTileRows * (kHeadDim / kPiece);

  struct alignas(4 * kPiece) Piece {
    float at[kPiece];

    __device__ __forceinline__ void Clear() {
#pragma unroll
      for (int i = 0; i < kPiece; ++i) at[i] = 0;
    }
    __device__ __forceinline__ void Add(const Piece& other, float factor) {
#pragma unroll
      for (int i = 0; i < kPiece; ++i) at[i] += other.at[i] * factor;
    }
    __device__ __forceinline__ void Multiply(float factor) {
#pragma unroll
      for (int i = 0; i < kPiece; ++i) at[i] *= factor;
    }
  };

  static __device__ __forceinline__ int RowOf(int piece) { return piece / (kHeadDim / kPiece); }
  static __device__ __forceinline__ int ColumnOf(int piece) {
    return piece % (kHeadDim / kPiece) * kPiece;
  }
  __device__ __forceinline__ int64_t Tile() const {
    return static_cast<int64_t>(blockIdx.z) * gridDim.y + blockIdx.y;
  }
  // Of a split's rows among those of all tiles and splits.
  __device__ __forceinline__ int64_t PartRow(int split, int row) const {
    return (Tile() * gridDim.x + split) * Rows::kTileRows + row;
  }

  // What a total relative to 2^largest is multiplied with: with the sink, and 0 where nothing is
  // visible at all.
  __device__ __forceinline__ float InverseOf(int row, float largest, float total) const {
    float shrink = 1.0f;
    if (args_.sinks != nullptr) {
      const float sink = args_.sinks[rows_.HeadOf(row)] * kLog2E;
      const float with_sink = max(largest, sink);
      shrink = FastExp2(largest - with_sink);
      total = total * shrink + FastExp2(sink - with_sink);
    }
    return total > 0 ? shrink / total : 0.0f;
  }

  // The largest of `count` of a row's, kTileRows apart; 0 where none has seen a key.
  static __device__ __forceinline__ float BaseOf(const RowStats* stats, int count) {
    float largest = -Infinity();
    for (int i = 0; i < count; ++i) largest = max(largest, stats[i * Rows::kTileRows].largest);
    return largest == -Infinity() ? 0.0f : largest;
  }

  // y where there is one split, else this split's part.
  __device__ __forceinline__ void JoinWarps(const float* slots, int splits) const {
    for (int piece = threadIdx.x; piece < kPieces; piece += kThreads) {
      const int row = RowOf(piece), column = ColumnOf(piece);
      if (!rows_.Has(row)) continue;
      const RowStats* stats = warp_stats_ + row;
      const float base = BaseOf(stats, Config::kKeyWarps);
      Piece sum;
      sum.Clear();
      float total = 0;
#pragma unroll
      for (int w = 0; w < Config::kKeyWarps; ++w) {
        const RowStats of_warp = stats[w * Rows::kTileRows];
        const float weight = FastExp2(of_warp.largest - base);
        total += of_warp.total * weight;
        sum.Add(
            *reinterpret_cast<const Piece*>(slots + (w * Rows::kTileRows + row) * kPitch + column),
            weight);
      }
      if (splits == 1) {
        sum.Multiply(InverseOf(row, base, total));
        *reinterpret_cast<Piece*>(args_.y + rows_.PlaceOf(row) + column) = sum;
        continue;
      }
      const int64_t part_row = PartRow(blockIdx.x, row);
      *reinterpret_cast<Piece*>(args_.part_values + part_row * kHeadDim + column) = sum;
      if (column == 0) {
        const float largest = total == 0 ? -Infinity() : base;
        *reinterpret_cast<RowStats*>(args_.part_stats + part_row * 2) = {largest, total};
      }
    }
  }

  // By the block that comes last. The values of many splits are on their way before the first of
  // them is wanted, and while the stats come.
  __device__ __forceinline__ void JoinSplits(int splits) const {
    constexpr int kAtOnce = Config::kMaxSplits < 16 ? Config::kMaxSplits : 16;
    Piece parts[kAtOnce];
    const auto load = [&](int piece, int first) {
      const float* from =
          args_.part_values + PartRow(first, RowOf(piece)) * kHeadDim + ColumnOf(piece);
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        if (first + i < splits) {
          parts[i] = LoadFromL2(reinterpret_cast<const Piece*>(from + i * Rows::kTileRows * kHeadDim));
        }
      }
    };
    int piece = threadIdx.x;
    if (piece < kPieces && rows_.Has(RowOf(piece))) load(piece, 0);
    for (int i = threadIdx.x; i < splits * Rows::kTileRows; i += kThreads) {
      const int split = i / Rows::kTileRows, row = i % Rows::kTileRows;
      if (!rows_.Has(row)) continue;
      split_stats_[i] =
          LoadFromL2(reinterpret_cast<const RowStats*>(args_.part_stats + PartRow(split, row) * 2));
    }
    SyncThreads();
    for (; piece < kPieces; piece += kThreads) {
      const int row = RowOf(piece);
      if (!rows_.Has(row)) continue;
      const RowStats* stats = split_stats_ + row;
      const float base = BaseOf(stats, splits);
      Piece sum;
      sum.Clear();
      float total = 0;
      for (int first = 0; first < splits; first += kAtOnce) {
        if (first > 0 || piece >= kThreads) load(piece, first);
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
          if (first + i >= splits) continue;
          const RowStats of_split = stats[(first + i) * Rows::kTileRows];
          const float weight = FastExp2(of_split.largest - base);
          total += of_split.total * weight;
          sum.Add(parts[i], weight);
        }
      }
      sum.Multiply(InverseOf(row, base, total));
      *reinterpret_cast<Piece*>(args_.y + rows_.PlaceOf(row) + ColumnOf(piece)) = sum;
    }
  }

  const AttentionArgs& args_;
  const Rows rows_;                  // a copy: a kernel that points into itself lives in memory
  RowStats* warp_stats_ = nullptr;   // [kKeyWarps, kTileRows]
  RowStats* split_stats_ = nullptr;  // [kMaxSplits, kTileRows]
  uint32_t* last_ = nullptr;
};

}  // namespace renga::kernels
