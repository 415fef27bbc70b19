// y = W x for a few tokens: the core of the decode kernels.
//
// A warp streams steps of tiles (weights.cuh): A = 16 rows of weights, dequantised in registers,
// B = up to 8 tokens from shared memory for each group of 8, f32 sums. The steps of a tile are
// split over the warps of the block, whose sums meet in shared memory and are added in the order of
// the warps, so results do not depend on timing or on the grid. The loads of what comes next are
// under way while a step is computed, over the borders of tiles, and the first are issued before
// the previous kernel is known to have ended.
//
// The order of k inside a block of 32 is free as long as A and B agree: lane q takes k = 8 q to
// 8 q + 7, so that B is one 16-byte load.
//
// Of x in two parts columns 2 t and 2 t + 1 are those of token t: the product of four tokens has
// room for them.
#pragma once

#include "codegen/kernels/activations.cuh"
#include "codegen/kernels/weights.cuh"

namespace renga::kernels {

// Sums of a warp: of rows g and g + 8, columns 8 n + 2 q and the next.
template <int kTokens, int kXParts = 1>
struct WarpSums {
  static constexpr int kColumns = kTokens * kXParts;
  static constexpr int kGroups = (kColumns + 7) / 8;
  // Two chains of products where one alone would wait for itself.
  static constexpr int kChains = kGroups == 1 ? 2 : 1;
  // Two groups are two chains where a step has tokens for one.
  static constexpr bool kEither = kGroups == 2 && kXParts == 2;
  float value[kGroups][kChains][4];

  __device__ __forceinline__ void Clear() {
#pragma unroll
    for (int n = 0; n < kGroups; ++n) {
#pragma unroll
      for (int c = 0; c < kChains; ++c) {
#pragma unroll
        for (int i = 0; i < 4; ++i) value[n][c][i] = 0;
      }
    }
  }
  __device__ __forceinline__ float Total(int n, int i) const {
    return kChains == 1 ? value[n][0][i] : value[n][0][i] + value[n][kChains - 1][i];
  }
  // Where the second group is the first's other chain.
  __device__ __forceinline__ void JoinChains() {
#pragma unroll
    for (int i = 0; i < 4; ++i) value[0][0][i] += value[kGroups - 1][0][i];
  }
};

// The tiles first, first + stride, ... of a weight that has `tiles`, as a warp sees them. `Weight`
// is a PackedLayout. kStreams: how many of them a warp has at once.
template <class Weight, int kWarps, int kStreams = 1>
class TileStream {
 public:
  // Issues the first loads. Needs no previous kernel.
  __device__ __forceinline__ TileStream(const void* packed, int tiles, int first, int stride)
      : view_(packed, tiles, threadIdx.x % 32),
        lane_(threadIdx.x % 32),
        warp_(threadIdx.x / 32),
        stride_(stride),
        end_(tiles),
        exponent_(view_.LoadExponent()),
        tile_(first),
        round_(0) {
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) Issue(slot);
    Advance();
  }

  // Adds the products of this warp's steps of the next tile. `x` has rows of kPitch halves, a token
  // kXParts of them.
  template <int kPitch, int kTokens, int kXParts>
  __device__ __forceinline__ void Multiply(const Half* x, int tokens,
                                           WarpSums<kTokens, kXParts>& sums) {
    using Sums = WarpSums<kTokens, kXParts>;
    if constexpr (Sums::kEither) {
      if (tokens * kXParts <= 8) {
        MultiplyGroups<kPitch, 1>(x, tokens * kXParts, sums);
        sums.JoinChains();
        return;
      }
    }
    MultiplyGroups<kPitch, Sums::kGroups>(x, tokens * kXParts, sums);
  }

  // What the sums are to be multiplied by.
  __device__ __forceinline__ float unscale() const { return Type::Unscale(exponent_); }

 private:
  // With kGroups groups of eight columns, of which `columns` are there.
  template <int kPitch, int kGroups, class Sums>
  __device__ __forceinline__ void MultiplyGroups(const Half* x, int columns, Sums& sums) {
    const typename Type::Factor factor = Type::Factor::Of(exponent_);
    const int g = lane_ / 4, q = lane_ % 4;
    int rows[kGroups];
#pragma unroll
    for (int n = 0; n < kGroups; ++n) {
      // A column that is not there has another's; nobody reads its sums.
      rows[n] = min(n * 8 + g, columns - 1) * kPitch;
    }
#pragma unroll 1  // a step is long enough
    for (int step = warp_; step < Weight::kSteps; step += kWarps * kSlots) {
#pragma unroll
      for (int slot = 0; slot < kSlots; ++slot) {
        const int at = step + slot * kWarps;
        const typename Weight::Step now = steps_[slot];
        Issue(slot);
        if (kSlots > 1 && at >= Weight::kSteps) continue;
        const typename Type::Scales scales = Type::Prepare(now.words, factor);
        const int k = at * Weight::kStepK + q * 8;
#pragma unroll
        for (int b = 0; b < Weight::kBlocks; ++b) {
          Fragments a[Type::kParts];
          Type::Dequantize(now.words, scales, b, a);
#pragma unroll
          for (int n = 0; n < kGroups; ++n) {
            const uint4 tokens8 = *reinterpret_cast<const uint4*>(x + rows[n] + k + b * 32);
            const uint32_t first[2] = {tokens8.x, tokens8.y};
            const uint32_t second[2] = {tokens8.z, tokens8.w};
#pragma unroll
            for (int part = 0; part < Type::kParts; ++part) {
              MmaF16(sums.value[n][0], a[part][0], first);
              MmaF16(kGroups < Sums::kGroups ? sums.value[Sums::kGroups - 1][0]
                                             : sums.value[n][Sums::kChains - 1],
                     a[part][1], second);
            }
          }
        }
      }
      Advance();
    }
  }

  using Type = typename Weight::Type;
  static constexpr int kStepsOfWarp = (Weight::kSteps + kWarps - 1) / kWarps;
  // Steps under way: as many as have 64 bytes of codes a lane, or 128 where a step is little else
  // and a lane has the registers.
  static constexpr bool kTwice = sizeof(typename Weight::Step) <= (kStreams == 1 ? 80 : 64);
  static constexpr int kWanted =
      Type::kPlane[0].words >= 16 ? (kTwice ? 2 : 1) : 16 / Type::kPlane[0].words;
  static constexpr int kSlots = kWanted < kStepsOfWarp ? kWanted : kStepsOfWarp;

  // Loads what slot `slot` needs of round `round_` of tile `tile_`.
  __device__ __forceinline__ void Issue(int slot) {
    const int step = warp_ + (round_ * kSlots + slot) * kWarps;
    if (tile_ < end_ && step < Weight::kSteps) {
      view_.Load(static_cast<uint32_t>(tile_) * Weight::kSteps + step, steps_[slot]);
    }
  }
  // To the next round, or to the first of the next tile.
  __device__ __forceinline__ void Advance() {
    ++round_;
    if (warp_ + round_ * kSlots * kWarps >= Weight::kSteps) {
      round_ = 0;
      tile_ += stride_;
    }
  }

  typename Weight::View view_;
  typename Weight::Step steps_[kSlots];
  int lane_, warp_, stride_, end_, exponent_;
  int tile_, round_;  // that are issued next
};

// Where the warps' sums of a tile meet. Two buffers in turn, so a tile takes one barrier.
template <int kWarps, int kTokens, int kXParts = 1>
class TileSums {
 public:
  using Sums = WarpSums<kTokens, kXParts>;
  static constexpr int kColumns = (kTokens + 1) / 2 * 2;
  static constexpr int kFloats = 2 * kWarps * 16 * kColumns;  // of shared memory

  __device__ __forceinline__ explicit TileSums(SharedArena& arena)
      : shared_(arena.Take<float>(kFloats)) {}

  // Calls finish(row 0..15, token, sum) once for each, spread over the threads. Of all threads of
  // the block.
  template <typename Finish>
  __device__ __forceinline__ void Add(const Sums& sums, int tokens, Finish finish) {
    const float* all = Put(sums);
    SyncThreads();
    for (int n = threadIdx.x; n < 16 * tokens; n += kWarps * 32) {
      finish(n % 16, n / 16, Sum(all, n % 16, n / 16));
    }
  }

  // Puts this warp's sums into the next buffer; the others' are there after a barrier.
  __device__ __forceinline__ const float* Put(const Sums& sums) {
    float* buffer = shared_ + buffer_ * kWarps * 16 * kColumns;
    buffer_ ^= 1;
    const int lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
    float* mine = buffer + (threadIdx.x / 32 * 16 + g) * kColumns + 2 / kXParts * q;
#pragma unroll
    for (int n = 0; n < Sums::kGroups; ++n) {
      if constexpr (kXParts == 2) {
        if (n * 4 + q < kColumns) {
          mine[n * 4] = sums.Total(n, 0) + sums.Total(n, 1);
          mine[n * 4 + 8 * kColumns] = sums.Total(n, 2) + sums.Total(n, 3);
        }
      } else if (n * 8 + 2 * q < kColumns) {
        *reinterpret_cast<float2*>(mine + n * 8) = make_float2(sums.Total(n, 0), sums.Total(n, 1));
        *reinterpret_cast<float2*>(mine + n * 8 + 8 * kColumns) =
            make_float2(sums.Total(n, 2), sums.Total(n, 3));
      }
    }
    return buffer;
  }

  static __device__ __forceinline__ float Sum(const float* buffer, int row, int token) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) sum += buffer[(w * 16 + row) * kColumns + token];
    return sum;
  }

 private:
  float* shared_;
  int buffer_ = 0;
};

}  // namespace renga::kernels
