// Products with weights in the layout rows8, for any type described by a policy P:
//
//   struct P {
//     static constexpr DType kType;
//     static constexpr int kBlock;   // elements: 32 or 256
//     static constexpr int kPart;    // elements after which the code repeats; divides kBlock
//     static constexpr int kBytes;   // of a block of one row
//     static constexpr bool kPer16;  // a scale for 16 elements, else for 32
//     static constexpr bool kMins;   // of 32 elements
//     // What Quads gives more than the quants are, as a power of two; 0 for nothing.
//     static constexpr int kOffsetBits;
//     // Scales, and minima if kMins, of a block, for the rows of a vector that begin with `row`.
//     static void Scales(const uint8_t* tile, int row, VFloat* scale, VFloat* min);
//     // Elements 4 * kC .. 4 * kC + 3 of part `part` of the block, for each of those rows.
//     template <int kC> static Words Quads(const uint8_t* tile, int part, int row);
//   };
//
// What a lane does for one token: for every 16 or 32 elements an exact sum of integer products,
// times both scales, added to the lane's float.
#if defined(RENGA_RUNTIME_DEVICE_CPU_ROWS8_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RENGA_RUNTIME_DEVICE_CPU_ROWS8_INL_H_
#undef RENGA_RUNTIME_DEVICE_CPU_ROWS8_INL_H_
#else
#define RENGA_RUNTIME_DEVICE_CPU_ROWS8_INL_H_
#endif

#include <algorithm>

#include "hwy/cache_control.h"
#include "runtime/device/cpu/quant-inl.h"
#include "runtime/device/cpu/rows8_ops.h"
#include "runtime/device/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {

using VInt = hn::Vec<DInt>;
using VUInt = hn::Vec<DUInt>;

// Tokens of the innermost product: their sums live in registers, of which AVX-512 has 32.
template <class P>
constexpr int kTokens8 = (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3) || P::kBlock == 32 ? 8 : 4;

// Elements of k between visits to the next rows: the tokens' part (at most 8 * 2 KiB) stays in the
// first level cache while the rows of a panel pass.
constexpr int64_t kRows8Depth = 1024;

// Rows that pass between visits to the next tokens.
constexpr int64_t kRows8Panel = 64;

// 32 bits (two activations) in every lane.
HWY_INLINE VWord PairOf(const int16_t* x) {
  int32_t pair;
  std::memcpy(&pair, x, sizeof(pair));
  return hn::BitCast(DWord(), hn::Set(DInt(), pair));
}

// Vector number `i` of a field that begins at `field`: 32 bits of each row, from row `row` on.
HWY_INLINE VByte LoadChunk(const uint8_t* field, int i, int row) {
  return LoadBytes(field + 32 * i + 4 * row);
}

// Halves, one a row.
HWY_INLINE VFloat LoadHalves(const uint8_t* field, int row) {
  const hn::Rebind<hwy::float16_t, DFloat> dh;
  return hn::PromoteTo(DFloat(),
                       hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(field + 2 * row)));
}

// Adds to every lane the products of its two words with the two activations at `x`. The sums are
// whole after RearrangeToOddPlusEven.
HWY_INLINE void AddPairs(VWord w, const int16_t* x, VInt& sum0, VInt& sum1) {
#if HWY_ARCH_X86 && HWY_TARGET == HWY_AVX3_DL
  // Highway has no name for it. Written out because GCC 12 makes an instruction of AVX-VNNI of the
  // intrinsic, which not every machine with AVX-512 VNNI has.
  asm("vpdpwssd %2, %1, %0" : "+v"(sum0.raw) : "v"(w.raw), "v"(PairOf(x).raw));
#else
  sum0 = hn::ReorderWidenMulAccumulate(DInt(), w, PairOf(x), sum0, sum1);
#if HWY_ARCH_X86 && HWY_COMPILER_GCC
  // GCC would regroup the additions into a tree and keep all products until then, in memory.
  asm("" : "+x"(sum0.raw));
#endif
#endif
}

// Chains of additions of a token: enough that they overlap, few enough to stay in registers.
template <int kTokens>
inline constexpr int kChains = kTokens == 1   ? 4
                               : kTokens <= 4 ? 2
                                              : 1;

template <class P, int kTokens, int kC, int kEnd, int kN>
HWY_INLINE void AddQuads(const uint8_t* tile, int part, int row, const int16_t* xq,
                         int64_t x_stride, VInt (&sum0)[kTokens][kN], VInt (&sum1)[kTokens][kN]) {
  if constexpr (kC < kEnd) {
    const Words w = P::template Quads<kC>(tile, part, row);
    // Elements 4 * kC and 4 * kC + 2 in unit order, then the two between and behind.
    constexpr int kAt = 4 * kC / kUnit * kUnit + 4 * kC % kUnit / 2;
    constexpr int kEven = 2 * kC % kN, kOdd = (2 * kC + 1) % kN;
    RENGA_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const int16_t* x = xq + t * x_stride + kAt;
      AddPairs(w.even, x, sum0[t][kEven], sum1[t][kEven]);
      AddPairs(w.odd, x + kWords, sum0[t][kOdd], sum1[t][kOdd]);
    }
    AddQuads<P, kTokens, kC + 1, kEnd>(tile, part, row, xq, x_stride, sum0, sum1);
  }
}

// Adds scale group kS and all behind it in the part. `x` starts at the part, as do the scales.
template <class P, int kTokens, int kS = 0>
HWY_INLINE void AddScaleGroups(const uint8_t* tile, int part, int row, const VFloat* scale,
                               const VFloat* min, const QuantTokens& x, VFloat (&acc)[kTokens]) {
  constexpr int kElements = P::kPer16 ? 16 : 32;
  if constexpr (kS < P::kPart / kElements) {
    const DFloat df;
    const DInt di;
    constexpr int kN = kChains<kTokens>;
    VInt sum0[kTokens][kN], sum1[kTokens][kN];
    RENGA_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      RENGA_UNROLL
      for (int i = 0; i < kN; ++i) sum0[t][i] = sum1[t][i] = hn::Zero(di);
    }
    constexpr int kFirst = kS * kElements / 4;
    AddQuads<P, kTokens, kFirst, kFirst + kElements / 4>(tile, part, row, x.q, x.q_stride, sum0,
                                                         sum1);
    RENGA_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      VInt sum = hn::RearrangeToOddPlusEven(sum0[t][0], sum1[t][0]);
      RENGA_UNROLL
      for (int i = 1; i < kN; ++i) {
        sum = hn::Add(sum, hn::RearrangeToOddPlusEven(sum0[t][i], sum1[t][i]));
      }
      if constexpr (P::kOffsetBits != 0) {
        const int32_t* total = P::kPer16 ? x.total16 + t * x.stride16 : x.total32 + t * x.stride32;
        sum = hn::Sub(sum, hn::ShiftLeft<P::kOffsetBits>(hn::Set(di, total[kS])));
      }
      const VFloat sx = hn::Set(df, x.scale[t * x.stride32 + kS * kElements / 32]);
      acc[t] = hn::MulAdd(hn::ConvertTo(df, sum), hn::Mul(scale[kS], sx), acc[t]);
      if constexpr (P::kMins) {
        acc[t] = hn::MulAdd(min[kS], hn::Set(df, x.sum32[t * x.stride32 + kS]), acc[t]);
      }
    }
    AddScaleGroups<P, kTokens, kS + 1>(tile, part, row, scale, min, x, acc);
  }
}

// Bytes ahead of use at which weights are asked for.
constexpr int64_t kRows8Ahead = 2048;

// acc[t * kRows8 + r] += blocks [begin, end) of row r times token t, for a group of eight rows.
template <class P, int kTokens>
HWY_INLINE void AddBlocks(const uint8_t* group, int64_t begin, int64_t end, const QuantTokens& x,
                          float* HWY_RESTRICT sums) {
  const DFloat df;
  constexpr int kTile = kRows8 * P::kBytes;
  constexpr int kGroups = P::kBlock / (P::kPer16 ? 16 : 32);
  constexpr int kParts = P::kBlock / P::kPart;
  RENGA_UNROLL
  for (int row = 0; row < kRows8; row += kFloats) {
    VFloat acc[kTokens];
    RENGA_UNROLL
    for (int t = 0; t < kTokens; ++t) acc[t] = hn::LoadU(df, sums + t * kRows8 + row);
    const uint8_t* tile = group + begin * kTile;
    QuantTokens at = x.Skip(begin * P::kBlock);
    for (int64_t b = begin; b < end; ++b) {
      if constexpr (kTokens == 1) {
        RENGA_UNROLL
        for (int line = 0; line < kTile; line += 64) {
          // As a number: the address may lie behind the weights, where a prefetch does nothing.
          hwy::Prefetch(reinterpret_cast<const uint8_t*>(reinterpret_cast<uintptr_t>(tile) +
                                                         kRows8Ahead + line));
        }
      }
      VFloat scale[kGroups], min[kGroups];
      P::Scales(tile, row, scale, min);
      for (int part = 0; part < kParts; ++part) {
        AddScaleGroups<P, kTokens>(tile, part, row, scale + part * (kGroups / kParts),
                                   min + part * (kGroups / kParts), at, acc);
        at = at.Skip(P::kPart);
      }
      tile += kTile;
    }
    RENGA_UNROLL
    for (int t = 0; t < kTokens; ++t) hn::StoreU(acc[t], df, sums + t * kRows8 + row);
  }
}

template <class P, int kTokens>
void MultiplyTokens(const uint8_t* weight, int64_t rows, int64_t k, const QuantTokens& x,
                    float* sums, float* y, int64_t y_stride) {
  const int64_t blocks = k / P::kBlock;
  const int64_t group_bytes = kRows8 * blocks * P::kBytes;
  // One token's part stays in the first cache anyway, and the weights are best read as they lie.
  const int64_t depth = kTokens == 1 ? blocks : std::max<int64_t>(kRows8Depth / P::kBlock, 1);
  for (int64_t first = 0; first < rows; first += kRows8Panel) {
    const int64_t groups = (std::min(kRows8Panel, rows - first) + kRows8 - 1) / kRows8;
    const uint8_t* panel = weight + first / kRows8 * group_bytes;
    std::fill_n(sums, groups * kTokens * kRows8, 0.0f);
    for (int64_t b = 0; b < blocks; b += depth) {
      for (int64_t g = 0; g < groups; ++g) {
        AddBlocks<P, kTokens>(panel + g * group_bytes, b, std::min(b + depth, blocks), x,
                              sums + g * kTokens * kRows8);
      }
    }
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t at = first + g * kRows8;
      for (int t = 0; t < kTokens; ++t) {
        std::copy_n(sums + (g * kTokens + t) * kRows8, std::min(kRows8, rows - at),
                    y + t * y_stride + at);
      }
    }
  }
}

template <class P>
void MultiplyRows8(const uint8_t* weight, int64_t rows, int64_t k, const QuantTokens& x,
                   int64_t tokens, float* scratch, float* y, int64_t y_stride) {
  int64_t t = 0;
  for (; t + kTokens8<P> <= tokens; t += kTokens8<P>) {
    MultiplyTokens<P, kTokens8<P>>(weight, rows, k, x.At(t), scratch, y + t * y_stride, y_stride);
  }
  for (; kTokens8 < P >> 4 && t + 4 <= tokens; t += 4) {
    MultiplyTokens<P, 4>(weight, rows, k, x.At(t), scratch, y + t * y_stride, y_stride);
  }
  for (; t < tokens; ++t) {
    MultiplyTokens<P, 1>(weight, rows, k, x.At(t), scratch, y + t * y_stride, y_stride);
  }
}

template <class P>
constexpr Rows8Ops MakeRows8Ops() {
  return {P::kType, MultiplyRows8<P>};
}

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // RENGA_RUNTIME_DEVICE_CPU_ROWS8_INL_H_
