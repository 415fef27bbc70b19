// The bias of keys that their cache is without (ir/ops/attn_scores.cc): turned by each key's
// position and added where a tile of keys is loaded.
//
// A key of a tile is kSteps a + s keys from its first. The bias turned by the position of each key
// kSteps a is computed once a tile, the cosines of s once a block: so a number of a key costs two
// products and no cosine. Angles are whole numbers (RotationOfFixed): f64, slow on many GPUs, is
// for frequencies alone.
#pragma once

#include "codegen/kernels/kv_tile.cuh"
#include "codegen/kernels/rope.cuh"

namespace renga::kernels {

// Of keys that are whole in their cache.
template <class Config>
struct NoKeyBias : AddNothing {
  static constexpr bool kThere = false;
  __device__ __forceinline__ NoKeyBias(const float*, int, SharedArena&) {}
};

// Config: kHeadDim, kTileKeys, kRowWarps and kKeyWarps of attention.cuh; Rope (rope.cuh), whose
// kDims is a multiple of 8.
template <class Config>
class KeyBias {
 public:
  static constexpr bool kThere = true;

  // `bias` is that of all heads.
  __device__ __forceinline__ KeyBias(const float* bias, int kv_head, SharedArena& arena)
      : bias_(bias + kv_head * kHeadDim),
        fixed_(arena.Take<uint64_t>(kPairs)),
        turns_(arena.Take<float>(kSteps * Rope::kDims)),
        bases_(arena.Take<float>(kBases * kHeadDim)) {}

  // For a tile whose first key is at `position`, the block's first. By all threads; ends with
  // SyncThreads.
  __device__ __forceinline__ void Start(int position) const {
    for (int pair = threadIdx.x; pair < kPairs; pair += kThreads) {
      fixed_[pair] = FixedTurnsOf<Rope>(pair);
    }
    for (int i = threadIdx.x; i < kBases * kRest; i += kThreads) {
      const int d = Rope::kDims + i % max(kRest, 1);
      bases_[i / max(kRest, 1) * kHeadDim + d] = bias_[d];
    }
    SyncThreads();
    for (int i = threadIdx.x; i < kSteps * kPairs; i += kThreads) {
      const int step = i / kPairs, pair = i % kPairs;
      const Rotation rotation = RotationOfFixed(fixed_[pair] * static_cast<uint64_t>(step), 1.0f);
      turns_[step * Rope::kDims + pair] = rotation.cos;
      turns_[step * Rope::kDims + kPairs + pair] = rotation.sin;
    }
    MoveTo(position);
    SyncThreads();
  }

  // For another tile, after all threads are done with Add and before SyncThreads.
  __device__ __forceinline__ void MoveTo(int position) const {
    for (int i = threadIdx.x; i < kBases * kPairs; i += kThreads) {
      const int base = i / kPairs, pair = i % kPairs;
      const Rotation rotation =
          RotationOfFixed(fixed_[pair] * static_cast<uint64_t>(position + base * kSteps),
                          static_cast<float>(Rope::kMagnitude));
      const int first = kNeox ? pair : 2 * pair, second = kNeox ? pair + kPairs : 2 * pair + 1;
      const float a = bias_[first], b = bias_[second];
      bases_[base * kHeadDim + first] = a * rotation.cos - b * rotation.sin;
      bases_[base * kHeadDim + second] = a * rotation.sin + b * rotation.cos;
    }
  }

  // To numbers d, d + 1, ... of key `row` of the tile; d and kCount are multiples of 4.
  template <int kCount>
  __device__ __forceinline__ void Add(int row, int d, float (&x)[kCount]) const {
#pragma unroll
    for (int c = 0; c < kCount; c += 4) AddFour(row, d + c, x + c);
  }

 private:
  using Rope = typename Config::Rope;
  static constexpr int kHeadDim = Config::kHeadDim;
  static constexpr int kThreads = 32 * Config::kRowWarps * Config::kKeyWarps;
  static constexpr int kPairs = Rope::kDims / 2, kRest = kHeadDim - Rope::kDims;
  static constexpr bool kNeox = Rope::kPairing == RopePairing::kNeox;
  static constexpr int kSteps = 8, kBases = Config::kTileKeys / kSteps;
  static_assert(Rope::kDims % 8 == 0, "four numbers and their partners are read at once");
  static_assert(Config::kTileKeys % kSteps == 0, "see above");

  __device__ __forceinline__ void AddFour(int row, int d, float* x) const {
    const float* base = bases_ + row / kSteps * kHeadDim;
    const float* turn = turns_ + row % kSteps * Rope::kDims;
    const float4 own = *reinterpret_cast<const float4*>(base + d);
    if (kRest > 0 && d >= Rope::kDims) {
      x[0] += own.x, x[1] += own.y, x[2] += own.z, x[3] += own.w;
    } else if constexpr (kNeox) {
      const bool first = d < kPairs;
      const int pair = first ? d : d - kPairs;
      const float4 other = *reinterpret_cast<const float4*>(base + (first ? d + kPairs : pair));
      const float4 cos = *reinterpret_cast<const float4*>(turn + pair);
      const float4 sin = *reinterpret_cast<const float4*>(turn + kPairs + pair);
      const float sign = first ? -1.0f : 1.0f;
      x[0] += own.x * cos.x + sign * other.x * sin.x;
      x[1] += own.y * cos.y + sign * other.y * sin.y;
      x[2] += own.z * cos.z + sign * other.z * sin.z;
      x[3] += own.w * cos.w + sign * other.w * sin.w;
    } else {
      const float2 cos = *reinterpret_cast<const float2*>(turn + d / 2);
      const float2 sin = *reinterpret_cast<const float2*>(turn + kPairs + d / 2);
      x[0] += own.x * cos.x - own.y * sin.x;
      x[1] += own.x * sin.x + own.y * cos.x;
      x[2] += own.z * cos.y - own.w * sin.y;
      x[3] += own.z * sin.y + own.w * cos.y;
    }
  }

  const float* bias_;  // [kHeadDim], of this head
  uint64_t* fixed_;    // [kPairs]: FixedTurnsOf
  float* turns_;       // [kSteps, 2, kPairs]: cosines and sines of 0 .. kSteps - 1 positions
  float* bases_;       // [kBases, kHeadDim]: the bias turned by each kSteps-th position
};

}  // namespace renga::kernels
