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
    constexpr int kQueryEnd = Config::kQueryBlocks, kKeyEnd = kQueryEnd + Config::kKeyBlocks;
    const int block = blockIdx.x;
    Segment segment;
    if (block < kQueryEnd) {
      segment = {Part::kQuery, args.q, args.q_bias, kQueryRows, 0, block, Config::kQueryBlocks};
    } else if (block < kKeyEnd) {
      segment = {Part::kKey,        args.k, args.k_bias, kKvRows, kQueryRows, block - kQueryEnd,
                 Config::kKeyBlocks};
    } else {
      segment = {Part::kValue,         args.v,          args.v_bias,         kKvRows,
                 kQueryRows + kKvRows, block - kKeyEnd, Config::kValueBlocks};
    }
    // Code once for each layout, not for each weight.
    if (segment.part == Part::kQuery ||
        (segment.part == Part::kKey ? kIsSame<KeyLayout, QueryLayout>
                                    : kIsSame<ValueLayout, QueryLayout>)) {
      RunSegment<QueryLayout>(args, segment);
      return;
    }
    if constexpr (!kIsSame<KeyLayout, QueryLayout>) {
      if (segment.part == Part::kKey || kIsSame<ValueLayout, KeyLayout>) {
        RunSegment<KeyLayout>(args, segment);
        return;
      }
    }
    if constexpr (!kIsSame<ValueLayout, QueryLayout> && !kIsSame<ValueLayout, KeyLayout>) {
      RunSegment<ValueLayout>(args, segment);
    }
  }

 private:
  enum class Part { kQuery, kKey, kValue };
  using Rope = typename Config::Rope;
  using QueryLayout = typename Config::Query::Layout;
  using KeyLayout = typename Config::Key::Layout;
  using ValueLayout = typename Config::Value::Layout;
  static constexpr int kWarps = Config::kWarps, kTokens = Config::kTokens,
                       kXParts = Config::kXParts;
  static constexpr int kHeadDim = Config::kHeadDim, kKvHeads = Config::kKvHeads;
  static constexpr int kQueryRows = Config::Query::kRows, kKvRows = Config::Key::kRows;
  static constexpr int kAllRows = kQueryRows + 2 * kKvRows;
  static_assert(kQueryRows == Config::kQueryHeads * kHeadDim, "rows are heads");
  static_assert(kKvRows == kKvHeads * kHeadDim && Config::Value::kRows == kKvRows,
                "keys and values have one shape");
  static_assert(kHeadDim % 2 == 0, "pairs lie within heads");

  // What one of the weights is, and which of its blocks this is.
  struct Segment {
    Part part;
    const void* packed;
    const float* bias;
    int rows, first_raw;  // and where they start in a token's raw products
    int block, blocks;
  };

  // Whether a tile can be finished alone.
  static constexpr bool kPairsAlone = !Config::kHeadNorm && Rope::kPairing == RopePairing::kNorm;
  static __device__ __forceinline__ bool IsAlone(Part part) {
    if (part == Part::kQuery) return kPairsAlone;
    if (part == Part::kKey) return kPairsAlone && !kIsQuantised<typename Config::KeyCache>;
    return !kIsQuantised<typename Config::ValueCache>;
  }

  static __host__ __device__ constexpr int Larger(int a, int b) { return a < b ? b : a; }

  template <class Layout>
  static __device__ __forceinline__ void RunSegment(const QkvRopeArgs& args,
                                                    const Segment& segment) {
    constexpr int kPaddedK =
        Larger(Larger(QueryLayout::kPaddedK, KeyLayout::kPaddedK), ValueLayout::kPaddedK);
    using Rows = StagedRows<kWarps * 32, Layout::kK, kPaddedK, kXParts>;

    SharedArena arena;
    Rows rows(arena, args.tokens);
    TileSums<kWarps, kTokens, kXParts> tile_sums(arena);
    float* heads = arena.Take<float>(kWarps * kHeadDim);
    uint32_t* last = arena.Take<uint32_t>(1);
    const int tiles = (segment.rows + 15) / 16;
    TileStream<Layout, kWarps> stream(segment.packed, tiles, segment.block, segment.blocks);

    if constexpr (Config::kNorm) Rows::BringNorm(args.norm);
    if (segment.bias != nullptr && threadIdx.x == 0)
      PrefetchToL2(segment.bias + segment.block * 16);
    WaitForPreviousKernel();
    LetNextKernelStart();
    rows.template Fill<Config::kNorm>(args.x, args.norm, Config::kEps, args.tokens);

    const float unscale = stream.unscale();
    for (int tile = segment.block; tile < tiles; tile += segment.blocks) {
      WarpSums<kTokens, kXParts> sums;
      sums.Clear();
      stream.template Multiply<Rows::kPitch>(rows.values, args.tokens, sums);
      const float* all = tile_sums.Put(sums);
      SyncThreads();
      const auto value = [&](int row, int t) {
        const float y =
            TileSums<kWarps, kTokens, kXParts>::Sum(all, row, t) * unscale * rows.factors[t];
        return segment.bias == nullptr ? y : y + segment.bias[tile * 16 + row];
      };
      if (IsAlone(segment.part)) {
        FinishTile(args, segment, tile, value);
        continue;
      }
      for (int n = threadIdx.x; n < 16 * args.tokens; n += kWarps * 32) {
        const int row = tile * 16 + n % 16, t = n / 16;
        if (row < segment.rows) args.raw[RawAt(segment, t, row)] = value(n % 16, t);
      }
      const int end = min(tile * 16 + 16, segment.rows);
      for (int head = tile * 16 / kHeadDim; head * kHeadDim < end; ++head) {
        const int first_tile = head * kHeadDim / 16;
        const int last_tile = (head * kHeadDim + kHeadDim - 1) / 16;
        uint32_t* ticket = args.tickets + segment.first_raw / kHeadDim + head;
        if (ComesLast(ticket, last_tile - first_tile + 1, last)) {
          FinishHead(args, segment, head, heads + threadIdx.x / 32 * kHeadDim);
        }
      }
    }
  }

  static __device__ __forceinline__ int64_t RawAt(const Segment& segment, int t, int row) {
    return static_cast<int64_t>(t) * kAllRows + segment.first_raw + row;
  }

  // Rows 2 i and 2 i + 1 of a tile by one thread.
  template <typename Value>
  static __device__ __forceinline__ void FinishTile(const QkvRopeArgs& args, const Segment& segment,
                                                    int tile, Value value) {
    for (int n = threadIdx.x; n < 8 * args.tokens; n += kWarps * 32) {
      const int row = tile * 16 + n % 8 * 2, t = n / 8, d = row % kHeadDim;
      if (row >= segment.rows) continue;
      float a = value(n % 8 * 2, t), b = value(n % 8 * 2 + 1, t);
      if (segment.part != Part::kValue && d < Rope::kDims) {
        const Rotation rotation = RotationOf<Rope>(args.positions[t], d / 2, args.factors);
        const float first = a;
        a = first * rotation.cos - b * rotation.sin;
        b = first * rotation.sin + b * rotation.cos;
      }
      if (segment.part == Part::kQuery) {
        float* to = args.q_out + static_cast<int64_t>(t) * kQueryRows + row;
        to[0] = a;
        to[1] = b;
        continue;
      }
      if (args.cells[t] < 0) continue;
      const int64_t at = static_cast<int64_t>(args.cells[t]) * kKvRows + row;
      if (segment.part == Part::kKey) {
        StorePair<typename Config::KeyCache>(args.k_cache, at, a, b);
      } else {
        StorePair<typename Config::ValueCache>(args.v_cache, at, a, b);
      }
    }
  }

  template <class Element>
  static __device__ __forceinline__ void StorePair(void* cache, int64_t at, float a, float b) {
    if constexpr (!kIsQuantised<Element>) {  // whose tiles are never alone
      ConvertTo(a, static_cast<Element*>(cache)[at]);
      ConvertTo(b, static_cast<Element*>(cache)[at + 1]);
    }
  }

  // A warp takes a token at a time. `values` is the warp's own.
  static __device__ __forceinline__ void FinishHead(const QkvRopeArgs& args, const Segment& segment,
                                                    int head, float* values) {
    const HeadValues<kHeadDim> in_shared = {values};
    const int lane = threadIdx.x % 32;
    for (int t = threadIdx.x / 32; t < args.tokens; t += kWarps) {
      const float* raw = args.raw + RawAt(segment, t, head * kHeadDim);
      for (int d = lane; d < kHeadDim; d += 32) values[d] = LoadFromL2(raw + d);
      SyncWarp();
      if (segment.part != Part::kValue) {
        if constexpr (Config::kHeadNorm) {
          in_shared.Norm(segment.part == Part::kQuery ? args.q_norm : args.k_norm,
                         Config::kHeadEps);
        }
        in_shared.template Rotate<Rope>(args.positions[t], args.factors);
      }
      if (segment.part == Part::kQuery) {
        float* to = args.q_out + static_cast<int64_t>(t) * kQueryRows + head * kHeadDim;
        for (int d = lane; d < kHeadDim; d += 32) to[d] = values[d];
      } else if (segment.part == Part::kKey) {
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
