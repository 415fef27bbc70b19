// y = W x for many tokens on sm_90a: A is the weights, dequantised in registers from the layout
// that decoding reads, B is tiles of tokens that the copy engine brings.
//
// A block is three warpgroups for 128 rows and kTileTokens tokens. One thread of the first keeps
// kStages tiles of 64 k under way; the others take 64 rows each. While the tensor cores work on one
// chunk of 64 k the lanes dequantise the next, into the other of two sets of registers.
//
// Few tokens make few blocks, and what a multiprocessor has under way of a stream of weights is one
// block's: so kSplits blocks may divide k among them. Each leaves its sums in memory, and the last
// to come adds them in the order of k: the result does not depend on which that is.
//
// Where x is the sum of two f16, a chunk is two tiles of tokens in turn, for the same weights.
#pragma once

#include "codegen/kernels/matmul.cuh"
#include "codegen/kernels/ticket.cuh"

#if defined(RENGA_EMULATOR) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

namespace renga::kernels {

// Whether a type's A is the very words that were loaded.
template <class Type>
inline constexpr bool kAsLoaded = false;
template <int kBlocks>
inline constexpr bool kAsLoaded<F16<kBlocks>> = true;

// Config: Weight (of a type whose weights are one f16 each, not F32; padded k a multiple of 64);
// kXParts, kPitch (of HalfRows: columns from part to part); kTileTokens (64, 128 or 256), kStages,
// kSplits (none without a step of k). Grid: tokens / kTileTokens, rows / 128, both rounded up;
// kSplits. Block: 384 threads.
template <class Config>
class MatmulWgmmaKernel {
 public:
  using Weight = typename Config::Weight;
  using Type = typename Weight::Type;
  static constexpr int kTileTokens = Config::kTileTokens, kStages = Config::kStages;
  static constexpr int kSplits = Config::kSplits, kXParts = Config::kXParts;
  static constexpr int kStepsOfSplit = (Weight::kSteps + kSplits - 1) / kSplits;
  static_assert(Type::kParts == 1 && Weight::kBlocks % 2 == 0, "see above");
  static_assert((kSplits - 1) * kStepsOfSplit < Weight::kSteps, "see above");

  static __device__ __forceinline__ void Run(const MatmulWgmmaArgs& args) {
    MatmulWgmmaKernel kernel(args);
    if (threadIdx.x < 128) {
      ReleaseRegisters<40>();
      if (threadIdx.x == 0) kernel.Produce();
      if constexpr (kSplits > 1) kernel.AllDone();
      return;
    }
    ClaimRegisters<232>();
    kernel.Consume();
  }

 private:
  static constexpr int kTileBytes = kTileTokens * 64 * 2;
  static constexpr int kChunks = Weight::kBlocks / 2;  // of a step

  // A of the four products of a chunk.
  using ChunkFragments = Fragments[2][1];

  __device__ __forceinline__ explicit MatmulWgmmaKernel(const MatmulWgmmaArgs& args) : args_(args) {
    SharedArena arena;
    tiles_ = arena.Take<uint8_t>(kStages * kTileBytes, 1024);
    full_ = arena.Take<uint64_t>(kStages);
    empty_ = arena.Take<uint64_t>(kStages);
    if constexpr (kSplits > 1) last_ = arena.Take<uint32_t>(1);
    if (threadIdx.x == 0) {
      for (int s = 0; s < kStages; ++s) {
        InitMbarrier(full_ + s, 1);
        InitMbarrier(empty_ + s, 2);
      }
      FenceMbarrierInit();
    }
    SyncThreads();
  }

  // The block's share of k: constants where it is all of it.
  static __device__ __forceinline__ int FirstStep() {
    return kSplits == 1 ? 0 : static_cast<int>(blockIdx.z) * kStepsOfSplit;
  }
  static __device__ __forceinline__ int EndStep() {
    return kSplits == 1 ? Weight::kSteps : min(FirstStep() + kStepsOfSplit, Weight::kSteps);
  }

  __device__ __forceinline__ void Produce() const {
    WaitForPreviousKernel();
    LetNextKernelStart();
    int stage = 0, parity = 0;
    for (int chunk = FirstStep() * kChunks; chunk < EndStep() * kChunks; ++chunk) {
      for (int part = 0; part < kXParts; ++part) {
        WaitForMbarrier(empty_ + stage, parity ^ 1);
        ArriveExpectingBytes(full_ + stage, kTileBytes);
        LoadTile2d(tiles_ + stage * kTileBytes, &args_.map, part * Config::kPitch + chunk * 64,
                   blockIdx.x * kTileTokens, full_ + stage);
        if (++stage == kStages) stage = 0, parity ^= 1;
      }
    }
  }

  __device__ __forceinline__ void Consume() {
    const int lane = threadIdx.x % 32, first_tile = blockIdx.y * 8 + threadIdx.x / 32 - 4;
    const typename Weight::View view(args_.product.weight, Weight::kTiles, lane);
    // A tile that is not there is read as the last.
    const uint32_t first_item =
        static_cast<uint32_t>(min(first_tile, Weight::kTiles - 1)) * Weight::kSteps;
    const int exponent = view.LoadExponent();
    const typename Type::Factor factor = Type::Factor::Of(exponent);
    typename Weight::Step next;
    view.Load(first_item + FirstStep(), next);
    WaitForPreviousKernel();
    LetNextKernelStart();

    float sums[kTileTokens / 2];
    ChunkFragments a[2];
    // Two steps in turn where a step is one chunk: which set of registers is never computed.
    constexpr int kUnrolled = kChunks == 1 ? 2 : 1;
    for (int step = FirstStep(); step < EndStep(); step += kUnrolled) {
#pragma unroll
      for (int u = 0; u < kUnrolled; ++u) {
        if (step + u >= EndStep()) continue;
        const typename Weight::Step now = next;
        if (step + u + 1 < EndStep()) view.Load(first_item + step + u + 1, next);
        const typename Type::Scales scales = Type::Prepare(now.words, factor);
#pragma unroll
        for (int c = 0; c < kChunks; ++c) {
          ChunkFragments& set = a[(u + c) % 2];
          Type::Dequantize(now.words, scales, 2 * c, set[0]);
          Type::Dequantize(now.words, scales, 2 * c + 1, set[1]);
          if constexpr (kAsLoaded<Type>) OwnRegisters(set);
#pragma unroll
          for (int part = 0; part < kXParts; ++part) {
            Multiply(set, step + u == FirstStep() && c == 0 && part == 0, sums);
          }
        }
      }
    }
    WaitForWgmma<0>();

    const float unscale = Type::Unscale(exponent);
    const int row = first_tile * 16 + lane / 4;
    const int token = blockIdx.x * kTileTokens + lane % 4 * 2;
    if constexpr (kSplits > 1) {
      if (!JoinSplits(row, token, sums)) return;
    }
    ForEachSum(row, token, [&](int r, int t, int64_t at, int i) {
      const float bias = args_.product.bias == nullptr ? 0.0f : args_.product.bias[r];
      float y = sums[i] * unscale * args_.product.factors[t] + bias;
      if (args_.product.residual != nullptr) y += LoadFromL2(args_.product.residual + at);
      args_.product.y[at] = y;
    });
  }

  // Calls function(row, token, place in [tokens, n], index into the lane's sums) for those there
  // are, from the lane's first row and token on.
  template <typename Function>
  __device__ __forceinline__ void ForEachSum(int row, int token, Function function) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      if (row + r * 8 >= Weight::kRows) continue;
#pragma unroll
      for (int i = 0; i < kTileTokens / 4; ++i) {
        const int t = token + i / 2 * 8 + i % 2;
        if (t >= args_.product.tokens) continue;
        function(row + r * 8, t, static_cast<int64_t>(t) * Weight::kRows + row + r * 8,
                 i / 2 * 4 + r * 2 + i % 2);
      }
    }
  }

  // The sums of all splits in the block that comes last; false in the others.
  __device__ __forceinline__ bool JoinSplits(int row, int token, float (&sums)[kTileTokens / 2]) {
    const int64_t part = static_cast<int64_t>(args_.product.tokens) * Weight::kRows;
    float* mine = args_.parts + blockIdx.z * part;
    ForEachSum(row, token, [&](int, int, int64_t at, int i) { mine[at] = sums[i]; });
    if (!AllDone()) return false;
    ForEachSum(row, token, [&](int, int, int64_t at, int i) {
      float of_split[kSplits];
#pragma unroll
      for (int s = 0; s < kSplits; ++s) of_split[s] = LoadFromL2(args_.parts + s * part + at);
      sums[i] = of_split[0];
#pragma unroll
      for (int s = 1; s < kSplits; ++s) sums[i] += of_split[s];
    });
    return true;
  }

  // By all threads of the block: whether it is the last of the splits to have written its sums.
  __device__ __forceinline__ bool AllDone() const {
    return ComesLast(args_.tickets + blockIdx.y * gridDim.x + blockIdx.x, kSplits, last_);
  }

  static __device__ __forceinline__ void OwnRegisters(ChunkFragments& a) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      uint32_t& word = a[i / 8][0][i / 4 % 2][i % 4];
      word = OwnRegister(word);
    }
  }

  __device__ __forceinline__ void Multiply(const ChunkFragments& a, bool first,
                                           float (&sums)[kTileTokens / 2]) {
    WaitForMbarrier(full_ + stage_, parity_);
    FenceWgmma();
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      Wgmma(sums, a[k / 2][0][k % 2], WgmmaTile(tiles_ + stage_ * kTileBytes, k), !first || k > 0);
    }
    CommitWgmma();
    WaitForWgmma<1>();  // the chunk before is done: its stage may be filled again
    if (!first && threadIdx.x % 128 == 0) {
      ArriveAtMbarrier(empty_ + (stage_ == 0 ? kStages - 1 : stage_ - 1));
    }
    if (++stage_ == kStages) stage_ = 0, parity_ ^= 1;
  }

  const MatmulWgmmaArgs& args_;
  uint8_t* tiles_;  // [kStages, kTileTokens, 64] f16, swizzled
  uint64_t* full_;  // [kStages]
  uint64_t* empty_;
  uint32_t* last_ = nullptr;
  int stage_ = 0, parity_ = 0;  // of a consumer
};

template <class Config>
__device__ __forceinline__ void MatmulWgmma(const MatmulWgmmaArgs& args) {
  MatmulWgmmaKernel<Config>::Run(args);
}

}  // namespace renga::kernels

#endif
