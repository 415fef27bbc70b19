// rows8 for types with blocks of 32 elements. A tile is the fields of eight rows' blocks, one field
// after another.
#include "runtime/device/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/device/cpu/rows8_block32.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/device/cpu/quant_values.h"
#include "runtime/device/cpu/rows8-inl.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {
namespace {

// 16 bytes of nibbles of each row, the low ones being the first 16 elements: chunk kC as words.
template <int kC>
HWY_INLINE Words Nibbles(const uint8_t* field, int row) {
  const DUWord du;
  const auto v = hn::BitCast(du, LoadChunk(field, kC % 4, row));
  const auto low = hn::Set(du, 0x000F);
  if constexpr (kC < 4) {
    return {hn::BitCast(DWord(), hn::And(v, low)),
            hn::BitCast(DWord(), hn::And(hn::ShiftRight<8>(v), low))};
  } else {
    return {hn::BitCast(DWord(), hn::And(hn::ShiftRight<4>(v), low)),
            hn::BitCast(DWord(), hn::ShiftRight<12>(v))};
  }
}

// The same as bytes.
template <int kC>
HWY_INLINE VByte NibbleBytes(const uint8_t* field, int row) {
  return ShiftAndMask<kC / 4 * 4>(LoadChunk(field, kC % 4, row), 0x0F);
}

// Bit 8 * i + kC of a row's 32 is the fifth of element 4 * kC + i: as bytes 0x10 or 0.
template <int kC>
HWY_INLINE VByte FifthBits8(const uint8_t* field, int row) {
  const DUWord du;
  const auto bits = hn::BitCast(du, LoadChunk(field, 0, row));
  auto fifth = bits;
  if constexpr (kC < 4) fifth = hn::ShiftLeft<4 - kC % 4>(bits);
  if constexpr (kC > 4) fifth = hn::ShiftRight<kC % 4>(bits);
  return hn::And(hn::BitCast(DByte(), fifth), hn::Set(DByte(), 0x10));
}

// Sixteen values, 128 added to make them unsigned.
struct RaisedTable {
  alignas(16) uint8_t values[16];
  constexpr explicit RaisedTable(const int8_t (&table)[16]) : values() {
    for (int i = 0; i < 16; ++i) values[i] = static_cast<uint8_t>(table[i] + 128);
  }
};

template <int kC>
HWY_INLINE Words LookUpRaised(const uint8_t* field, int row, const RaisedTable& table) {
  const DByte db;
  return SplitUnsigned(
      hn::TableLookupBytes(hn::LoadDup128(db, table.values), NibbleBytes<kC>(field, row)));
}

// Types whose block begins with a half, the scale.
struct HalfScale {
  static constexpr int kBlock = 32, kPart = 32;
  static constexpr bool kPer16 = false, kMins = false;
  static HWY_INLINE void Scales(const uint8_t* tile, int row, VFloat* scale, VFloat*) {
    scale[0] = LoadHalves(tile, row);
  }
};

// ... and a second, the minimum.
struct HalfScaleMin {
  static constexpr int kBlock = 32, kPart = 32;
  static constexpr bool kPer16 = false, kMins = true;
  static HWY_INLINE void Scales(const uint8_t* tile, int row, VFloat* scale, VFloat* min) {
    scale[0] = LoadHalves(tile, row);
    min[0] = LoadHalves(tile + 16, row);
  }
};

struct Q8_0 : HalfScale {
  static constexpr DType kType = DType::kQ8_0;
  // 128 added makes the bytes unsigned, which split into words with fewer shifts.
  static constexpr int kBytes = 34, kOffsetBits = 7;
  template <int kC>
  static HWY_INLINE Words Quads(const uint8_t* tile, int, int row) {
    return SplitUnsigned(hn::Xor(LoadChunk(tile + 16, kC, row), hn::Set(DByte(), 0x80)));
  }
};

struct Q4_0 : HalfScale {
  static constexpr DType kType = DType::kQ4_0;
  static constexpr int kBytes = 18, kOffsetBits = 3;
  template <int kC>
  static HWY_INLINE Words Quads(const uint8_t* tile, int, int row) {
    return Nibbles<kC>(tile + 16, row);
  }
};

struct Q4_1 : HalfScaleMin {
  static constexpr DType kType = DType::kQ4_1;
  static constexpr int kBytes = 20, kOffsetBits = 0;
  template <int kC>
  static HWY_INLINE Words Quads(const uint8_t* tile, int, int row) {
    return Nibbles<kC>(tile + 32, row);
  }
};

struct Q5_0 : HalfScale {
  static constexpr DType kType = DType::kQ5_0;
  static constexpr int kBytes = 22, kOffsetBits = 4;
  template <int kC>
  static HWY_INLINE Words Quads(const uint8_t* tile, int, int row) {
    return SplitUnsigned(hn::Or(NibbleBytes<kC>(tile + 48, row), FifthBits8<kC>(tile + 16, row)));
  }
};

struct Q5_1 : HalfScaleMin {
  static constexpr DType kType = DType::kQ5_1;
  static constexpr int kBytes = 24, kOffsetBits = 0;
  template <int kC>
  static HWY_INLINE Words Quads(const uint8_t* tile, int, int row) {
    return SplitUnsigned(hn::Or(NibbleBytes<kC>(tile + 64, row), FifthBits8<kC>(tile + 32, row)));
  }
};

constexpr RaisedTable kIq4Raised(kIq4Values);
constexpr RaisedTable kE2M1Raised(kE2M1Doubled);

struct IQ4_NL : HalfScale {
  static constexpr DType kType = DType::kIQ4_NL;
  static constexpr int kBytes = 18, kOffsetBits = 7;
  template <int kC>
  static HWY_INLINE Words Quads(const uint8_t* tile, int, int row) {
    return LookUpRaised<kC>(tile + 16, row, kIq4Raised);
  }
};

struct MXFP4 {
  static constexpr DType kType = DType::kMXFP4;
  static constexpr int kBlock = 32, kPart = 32, kBytes = 17, kOffsetBits = 7;
  static constexpr bool kPer16 = false, kMins = false;
  static HWY_INLINE void Scales(const uint8_t* tile, int row, VFloat* scale, VFloat*) {
    // Half of 2^(e - 127), because the values are doubled; subnormal for e < 2.
    const DUInt du;
    const auto e = hn::PromoteTo(du, hn::LoadU(hn::Rebind<uint8_t, DUInt>(), tile + row));
    const auto normal = hn::ShiftLeft<23>(hn::Sub(e, hn::Set(du, 1)));
    const auto tiny =
        hn::IfThenElse(hn::Eq(e, hn::Zero(du)), hn::Set(du, 0x00200000), hn::Set(du, 0x00400000));
    scale[0] = hn::BitCast(DFloat(), hn::IfThenElse(hn::Lt(e, hn::Set(du, 2)), tiny, normal));
  }
  template <int kC>
  static HWY_INLINE Words Quads(const uint8_t* tile, int, int row) {
    return LookUpRaised<kC>(tile + 8, row, kE2M1Raised);
  }
};

const Rows8Ops kOps[] = {MakeRows8Ops<Q8_0>(), MakeRows8Ops<Q4_0>(), MakeRows8Ops<Q4_1>(),
                         MakeRows8Ops<Q5_0>(), MakeRows8Ops<Q5_1>(), MakeRows8Ops<IQ4_NL>(),
                         MakeRows8Ops<MXFP4>()};

}  // namespace

absl::Span<const Rows8Ops> Rows8Block32Table() { return kOps; }

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace renga::cpu {

HWY_EXPORT(Rows8Block32Table);
absl::Span<const Rows8Ops> Rows8Block32Ops() { return HWY_DYNAMIC_DISPATCH(Rows8Block32Table)(); }

int64_t Rows8Scratch() { return 64 * 8; }

const Rows8Ops* FindRows8Ops(DType type) {
  for (const absl::Span<const Rows8Ops> table : {Rows8Block32Ops(), Rows8SuperBlockOps()}) {
    for (const Rows8Ops& ops : table) {
      if (ops.type == type) return &ops;
    }
  }
  return nullptr;
}

}  // namespace renga::cpu
#endif
