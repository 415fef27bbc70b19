// rows8 for types with blocks of 256 elements.
#include "runtime/device/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/device/cpu/rows8_super.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/device/cpu/rows8-inl.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {
namespace {

// Bytes of every lane, each as a float times `d`, to out[0..3].
HWY_INLINE void ScaleBytes(VFloat d, VUInt v, VFloat* out) {
  const DUInt du;
  const DInt di;
  const auto byte = hn::Set(du, 0xFF);
  const auto scaled = [&](VUInt b) {
    return hn::Mul(d, hn::ConvertTo(DFloat(), hn::BitCast(di, b)));
  };
  out[0] = scaled(hn::And(v, byte));
  out[1] = scaled(hn::And(hn::ShiftRight<8>(v), byte));
  out[2] = scaled(hn::And(hn::ShiftRight<16>(v), byte));
  out[3] = scaled(hn::ShiftRight<24>(v));
}

// Q4_K and Q5_K: d and dmin, then twelve bytes of 6-bit scales and minima (quant_super.cc has their
// form), four of each to a lane.
HWY_INLINE void SixBitScales(const uint8_t* tile, int row, VFloat* scale, VFloat* min) {
  const DUInt du;
  const auto a = hn::BitCast(du, LoadChunk(tile + 32, 0, row));
  const auto b = hn::BitCast(du, LoadChunk(tile + 32, 1, row));
  const auto c = hn::BitCast(du, LoadChunk(tile + 32, 2, row));
  const auto six = hn::Set(du, 0x3F3F3F3F), four = hn::Set(du, 0x0F0F0F0F);
  const auto top = hn::Set(du, 0x30303030);
  const VFloat d = LoadHalves(tile, row), dmin = hn::Neg(LoadHalves(tile + 16, row));
  ScaleBytes(d, hn::And(a, six), scale);
  ScaleBytes(d, hn::Or(hn::And(c, four), hn::And(hn::ShiftRight<2>(a), top)), scale + 4);
  ScaleBytes(dmin, hn::And(b, six), min);
  ScaleBytes(dmin, hn::Or(hn::And(hn::ShiftRight<4>(c), four), hn::And(hn::ShiftRight<2>(b), top)),
             min + 4);
}

// Chunk kC's sub-block of 32 elements in the part, and its place in there.
template <int kC>
inline constexpr int kSub8 = kC / 8;
template <int kC>
inline constexpr int kIn8 = kC % 8;

struct Q4_K {
  static constexpr DType kType = DType::kQ4_K;
  static constexpr int kBlock = 256, kPart = 64, kBytes = 144, kOffsetBits = 0;
  static constexpr bool kPer16 = false, kMins = true;
  static HWY_INLINE void Scales(const uint8_t* tile, int row, VFloat* scale, VFloat* min) {
    SixBitScales(tile, row, scale, min);
  }
  template <int kC>
  static HWY_INLINE Words Quads(const uint8_t* tile, int part, int row) {
    // Two sub-blocks share 32 bytes.
    const DUWord du;
    const auto v = hn::BitCast(du, LoadChunk(tile + 128 + 256 * part, kIn8<kC>, row));
    const auto low = hn::Set(du, 0x000F);
    if constexpr (kSub8<kC> == 0) {
      return {hn::BitCast(DWord(), hn::And(v, low)),
              hn::BitCast(DWord(), hn::And(hn::ShiftRight<8>(v), low))};
    } else {
      return {hn::BitCast(DWord(), hn::And(hn::ShiftRight<4>(v), low)),
              hn::BitCast(DWord(), hn::ShiftRight<12>(v))};
    }
  }
};

struct Q5_K {
  static constexpr DType kType = DType::kQ5_K;
  static constexpr int kBlock = 256, kPart = 64, kBytes = 176, kOffsetBits = 0;
  static constexpr bool kPer16 = false, kMins = true;
  static HWY_INLINE void Scales(const uint8_t* tile, int row, VFloat* scale, VFloat* min) {
    SixBitScales(tile, row, scale, min);
  }
  template <int kC>
  static HWY_INLINE Words Quads(const uint8_t* tile, int part, int row) {
    constexpr int kS = kSub8<kC>;
    const VByte low = ShiftAndMask<4 * kS>(LoadChunk(tile + 384 + 256 * part, kIn8<kC>, row), 0x0F);
    // Bit s of byte i is the fifth bit of element i of sub-block s.
    const auto bits = hn::BitCast(DUWord(), LoadChunk(tile + 128, kIn8<kC>, row));
    const auto bit =
        hn::And(hn::BitCast(DByte(), hn::ShiftRightSame(bits, 2 * part + kS)), hn::Set(DByte(), 1));
    const auto fifth = hn::BitCast(DByte(), hn::ShiftLeft<4>(hn::BitCast(DUWord(), bit)));
    return SplitUnsigned(hn::Or(low, fifth));
  }
};

struct Q6_K {
  static constexpr DType kType = DType::kQ6_K;
  static constexpr int kBlock = 256, kPart = 128, kBytes = 210, kOffsetBits = 5;
  static constexpr bool kPer16 = true, kMins = false;
  static HWY_INLINE void Scales(const uint8_t* tile, int row, VFloat* scale, VFloat*) {
    const DInt di;
    const uint8_t* scales = tile + 8 * (128 + 64);
    const VFloat d = LoadHalves(scales + 8 * 16, row);
    const auto scaled = [&](VInt b) { return hn::Mul(d, hn::ConvertTo(DFloat(), b)); };
    for (int i = 0; i < 4; ++i) {
      const auto v = hn::BitCast(di, LoadChunk(scales, i, row));
      scale[4 * i] = scaled(hn::ShiftRight<24>(hn::ShiftLeft<24>(v)));
      scale[4 * i + 1] = scaled(hn::ShiftRight<24>(hn::ShiftLeft<16>(v)));
      scale[4 * i + 2] = scaled(hn::ShiftRight<24>(hn::ShiftLeft<8>(v)));
      scale[4 * i + 3] = scaled(hn::ShiftRight<24>(v));
    }
  }
  template <int kC>
  static HWY_INLINE Words Quads(const uint8_t* tile, int part, int row) {
    // Each half of 128 elements has 64 bytes of nibbles and 32 bytes of upper pairs.
    constexpr int kS = kSub8<kC>;
    const VByte low = ShiftAndMask<4 * (kS / 2)>(
        LoadChunk(tile + 512 * part, 8 * (kS % 2) + kIn8<kC>, row), 0x0F);
    const auto pairs = hn::BitCast(DUWord(), LoadChunk(tile + 8 * 128 + 256 * part, kIn8<kC>, row));
    auto upper = pairs;
    if constexpr (kS < 2) upper = hn::ShiftLeft<4 - 2 * (kS % 2)>(pairs);
    if constexpr (kS > 2) upper = hn::ShiftRight<2>(pairs);
    return SplitUnsigned(hn::Or(low, hn::And(hn::BitCast(DByte(), upper), hn::Set(DByte(), 0x30))));
  }
};

const Rows8Ops kOps[] = {MakeRows8Ops<Q4_K>(), MakeRows8Ops<Q5_K>(), MakeRows8Ops<Q6_K>()};

}  // namespace

absl::Span<const Rows8Ops> Rows8SuperBlockTable() { return kOps; }

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace renga::cpu {

HWY_EXPORT(Rows8SuperBlockTable);
absl::Span<const Rows8Ops> Rows8SuperBlockOps() {
  return HWY_DYNAMIC_DISPATCH(Rows8SuperBlockTable)();
}

}  // namespace renga::cpu
#endif
