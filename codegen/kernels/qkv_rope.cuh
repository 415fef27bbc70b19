// qkv_rope for a few tokens: everything between a layer's input and its attention.
//   h = rms_norm(x, norm) or x
//   q[t]              = rope(heads(q h[t] + q_bias)), head by head normed by q_norm before it
//   k_cache[cells[t]] = rope(heads(k h[t] + k_bias)), normed by k_norm likewise
//   v_cache[cells[t]] = heads(v h[t] + v_bias)
//
// The blocks are divided among the three weights, which may differ in type. Where the values of a
// pair are neighbours and heads are not normed, a tile of 16 rows has all it needs and is finished
// where it was computed. Otherwise the products go to `raw`, and the block that completes a head
// finishes it.
#pragma once

#include "codegen/kernels/args.cuh"
#include "codegen/kernels/kv_cache.cuh"
#include "codegen/kernels/matvec.cuh"
#include "codegen/kernels/rope.cuh"
#include "codegen/kernels/ticket.cuh"
#include "codegen/kernels/weights_blocks.cuh"
#include "codegen/kernels/weights_plain.cuh"
#include "codegen/kernels/weights_super.cuh"

namespace renga::kernels {

// Config: Query, Key, Value (weights with equal k); kTokens, kWarps; kQueryBlocks, kKeyBlocks,
// kValueBlocks, each at least 1, whose sum is the grid; kQueryHeads, kKvHeads, kHeadDim; kNorm,
// kEps; kHeadNorm, kHeadEps; Rope (rope.cuh); KeyCache, ValueCache (kv_cache.cuh).
template <class Config>
class QkvRopeKernel {
 public:
  static __device__ __forceinline__ void Run(const QkvRopeArgs& args) {
    const int block = blockIdx.x;
    constexpr int kKeyEnd = Config::kQueryBlocks + Config::kKeyBlocks;
    if (block < Config::kQueryBlocks) {
      Segment<typename Config::Query, Part::kQuery>(args, block, Config::kQueryBlocks);
    } else if (block < kKeyEnd) {
      Segment<typename Config::Key, Part::kKey>(args, block - Config::kQueryBlocks,
                                                Config::kKeyBlocks);
    } else {
      Segment<typename Config::Value, Part::kValue>(args, block - kKeyEnd, Config::kValueBlocks);
    }
  }

 private:
  enum class Part { kQuery, kKey, kValue };
  using Rope = typename Config::Rope;
  static constexpr int kWarps = Config::kWarps, kTokens = Config::kTokens;
  static constexpr int kHeadDim = Config::kHeadDim, kKvHeads = Config::kKvHeads;
  static constexpr int kQueryRows = Config::Query::kRows, kKvRows = Config::Key::kRows;
  static constexpr int kAllRows = kQueryRows + 2 * kKvRows;
  static_assert(kQueryRows == Config::kQueryHeads * kHeadDim, "rows are heads");
  static_assert(kKvRows == kKvHeads * kHeadDim && Config::Value::kRows == kKvRows,
                "keys and values have one shape");

  // Whether a tile can be finished alone.
  template <Part kPart>
  static constexpr bool kAlone =
      kPart == Part::kQuery
          ? !Config::kHeadNorm && Rope::kPairing == RopePairing::kNorm
          : (kPart == Part::kKey ? !Config::kHeadNorm && Rope::kPairing == RopePairing::kNorm &&
                                       !kIsSame<typename Config::KeyCache, Q8>
                                 : !kIsSame<typename Config::ValueCache, Q8>);

  template <class Weight, Part kPart>
  static __device__ __forceinline__ void Segment(const QkvRopeArgs& args, int block, int blocks) {
    constexpr int kPaddedK =
        Larger(Larger(Config::Query::kPaddedK, Config::Key::kPaddedK), Config::Value::kPaddedK);
    using Rows = StagedRows<kWarps * 32, Weight::kK, kPaddedK>;
    const void* packed = kPart == Part::kQuery ? args.q : kPart == Part::kKey ? args.k : args.v;

    SharedArena arena;
    Rows rows(arena, args.tokens);
    TileSums<kWarps, kTokens> tile_sums(arena);
    float* heads = arena.Take<float>(kWarps * kHeadDim);
    uint32_t* last = arena.Take<uint32_t>(1);
    TileStream<Weight, kWarps> stream;
    stream.Start(packed, block, blocks, Weight::kTiles);

    WaitForPreviousKernel();
    LetNextKernelStart();
    rows.template Fill<Config::kNorm>(args.x, args.norm, Config::kEps, args.tokens);

    const float* bias = kPart == Part::kQuery ? args.q_bias
                        : kPart == Part::kKey ? args.k_bias
                                              : args.v_bias;
    const float unscale = stream.unscale();
    for (int tile = block; tile < Weight::kTiles; tile += blocks) {
      WarpSums<kTokens> sums;
      sums.Clear();
      stream.template Multiply<Rows::kPitch>(rows.values, args.tokens, sums);
      const float* all = tile_sums.Put(sums);
      SyncThreads();
      const auto value = [&](int row, int t) {
        const float y = TileSums<kWarps, kTokens>::Sum(all, row, t) * unscale * rows.factors[t];
        return bias == nullptr ? y : y + bias[tile * 16 + row];
      };
      if constexpr (kAlone<kPart>) {
        FinishTile<kPart>(args, tile, value);
      } else {
        for (int n = threadIdx.x; n < 16 * args.tokens; n += kWarps * 32) {
          const int row = tile * 16 + n % 16, t = n / 16;
          if (row < Weight::kRows) args.raw[RawAt<kPart>(t, row)] = value(n % 16, t);
        }
        const int end = min(tile * 16 + 16, Weight::kRows);
        for (int head = tile * 16 / kHeadDim; head * kHeadDim < end; ++head) {
          const int first_tile = head * kHeadDim / 16;
          const int last_tile = (head * kHeadDim + kHeadDim - 1) / 16;
          uint32_t* ticket = args.tickets + head +
                             (kPart == Part::kQuery ? 0
                              : kPart == Part::kKey ? Config::kQueryHeads
                                                    : Config::kQueryHeads + kKvHeads);
          if (ComesLast(ticket, last_tile - first_tile + 1, last)) {
            FinishHead<kPart>(args, head, heads + threadIdx.x / 32 * kHeadDim);
          }
        }
      }
    }
  }

  static __host__ __device__ constexpr int Larger(int a, int b) { return a < b ? b : a; }

  template <Part kPart>
  static __device__ __forceinline__ int64_t RawAt(int t, int row) {
    constexpr int kFirst = kPart == Part::kQuery ? 0
                           : kPart == Part::kKey ? kQueryRows
                                                 : kQueryRows + kKvRows;
    return static_cast<int64_t>(t) * kAllRows + kFirst + row;
  }

  // Rows 2 i and 2 i + 1 of a tile by one thread.
  template <Part kPart, typename Value>
  static __device__ __forceinline__ void FinishTile(const QkvRopeArgs& args, int tile,
                                                    Value value) {
    static_assert(kHeadDim % 2 == 0, "pairs lie within heads");
    constexpr int kRows = kPart == Part::kQuery ? kQueryRows : kKvRows;
    for (int n = threadIdx.x; n < 8 * args.tokens; n += kWarps * 32) {
      const int row = tile * 16 + n % 8 * 2, t = n / 8, d = row % kHeadDim;
      if (row >= kRows) continue;
      float a = value(n % 8 * 2, t), b = value(n % 8 * 2 + 1, t);
      if (kPart != Part::kValue && d < Rope::kDims) {
        const Rotation rotation = RotationOf<Rope>(args.positions[t], d / 2, args.factors);
        const float first = a;
        a = first * rotation.cos - b * rotation.sin;
        b = first * rotation.sin + b * rotation.cos;
      }
      if constexpr (kPart == Part::kQuery) {
        float* to = args.q_out + static_cast<int64_t>(t) * kRows + row;
        to[0] = a;
        to[1] = b;
      } else if (args.cells[t] >= 0) {
        const int64_t at = static_cast<int64_t>(args.cells[t]) * kRows + row;
        if constexpr (kPart == Part::kKey) {
          ConvertTo(a, static_cast<typename Config::KeyCache*>(args.k_cache)[at]);
          ConvertTo(b, static_cast<typename Config::KeyCache*>(args.k_cache)[at + 1]);
        } else {
          ConvertTo(a, static_cast<typename Config::ValueCache*>(args.v_cache)[at]);
          ConvertTo(b, static_cast<typename Config::ValueCache*>(args.v_cache)[at + 1]);
        }
      }
    }
  }

  // A warp takes a token at a time. `values` is the warp's own.
  template <Part kPart>
  static __device__ __forceinline__ void FinishHead(const QkvRopeArgs& args, int head,
                                                    float* values) {
    const HeadValues<kHeadDim> in_shared = {values};
    const int lane = threadIdx.x % 32;
    for (int t = threadIdx.x / 32; t < args.tokens; t += kWarps) {
      for (int d = lane; d < kHeadDim; d += 32) {
        values[d] = LoadFromL2(args.raw + RawAt<kPart>(t, head * kHeadDim + d));
      }
      SyncWarp();
      if constexpr (kPart != Part::kValue) {
        if constexpr (Config::kHeadNorm) {
          in_shared.Norm(kPart == Part::kQuery ? args.q_norm : args.k_norm, Config::kHeadEps);
        }
        in_shared.template Rotate<Rope>(args.positions[t], args.factors);
      }
      if constexpr (kPart == Part::kQuery) {
        float* to = args.q_out + static_cast<int64_t>(t) * kQueryRows + head * kHeadDim;
        for (int d = lane; d < kHeadDim; d += 32) to[d] = values[d];
      } else if constexpr (kPart == Part::kKey) {
        StoreHead<typename Config::KeyCache, kKvHeads, kHeadDim>(args.k_cache, args.k_scales,
                                                                 args.cells[t], head, values);
      } else {
        StoreHead<typename Config::ValueCache, kKvHeads, kHeadDim>(args.v_cache, args.v_scales,
                                                                   args.cells[t], head, values);
      }
      SyncWarp();
    }
  }
};

template <class Config>
__device__ __forceinline__ void QkvRope(const QkvRopeArgs& args) {
  QkvRopeKernel<Config>::Run(args);
}

}  // namespace renga::kernels
