// Types with blocks of 256 elements: the K types and IQ4_XS.
#include "runtime/device/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/device/cpu/quant_super.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/device/cpu/quant_rows-inl.h"
#include "runtime/device/cpu/quant_values.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {
namespace {

// Unit kU's place: its sub-block of 32 elements and the first element in there.
template <int kU>
inline constexpr int kSub = kU* kUnit / 32;
template <int kU>
inline constexpr int kIn = kU* kUnit % 32;

// out[i] = d * q[i] for n small integers.
template <int kN, typename T>
HWY_INLINE void ScaleAll(float d, const T* q, float* out) {
  const DFloat df;
  for (int i = 0; i < kN; i += kFloats) {
    const auto v = hn::PromoteTo(DInt(), hn::LoadU(hn::Rebind<T, DInt>(), q + i));
    hn::StoreU(hn::Mul(hn::Set(df, d), hn::ConvertTo(df, v)), df, out + i);
  }
}

uint32_t HWY_INLINE Word32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

// Q4_K and Q5_K: eight 6-bit scales and minima in 12 bytes. The first four of each are the low six
// bits of bytes 0..3 and 4..7, whose upper pairs complete the nibbles of bytes 8..11.
HWY_INLINE void SixBitScales(const uint8_t* p, float* scale, float* min) {
  const uint32_t a = Word32(p + 4), b = Word32(p + 8), c = Word32(p + 12);
  const uint32_t sc[2] = {a & 0x3F3F3F3F, (c & 0x0F0F0F0F) | (a >> 2 & 0x30303030)};
  const uint32_t mn[2] = {b & 0x3F3F3F3F, (c >> 4 & 0x0F0F0F0F) | (b >> 2 & 0x30303030)};
  ScaleAll<8>(HalfAt(p), reinterpret_cast<const uint8_t*>(sc), scale);
  ScaleAll<8>(-HalfAt(p + 2), reinterpret_cast<const uint8_t*>(mn), min);
}

struct Q4_K {
  static constexpr DType kType = DType::kQ4_K;
  static constexpr int kBlock = 256, kBytes = 144;
  static constexpr bool kPer16 = false, kMins = true;
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float* min) {
    SixBitScales(p, scale, min);
  }
  template <int kU>
  static HWY_INLINE Words Unit(const uint8_t* p) {
    // Two sub-blocks share 32 bytes.
    const DUWord du;
    const auto v = hn::BitCast(du, LoadBytes(p + 16 + kSub<kU> / 2 * 32 + kIn<kU>));
    const auto low = hn::Set(du, 0x000F);
    if constexpr (kSub<kU> % 2 == 0) {
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
  static constexpr int kBlock = 256, kBytes = 176;
  static constexpr bool kPer16 = false, kMins = true;
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float* min) {
    SixBitScales(p, scale, min);
  }
  template <int kU>
  static HWY_INLINE Words Unit(const uint8_t* p) {
    const DUWord du;
    const VByte low =
        ShiftAndMask<4 * (kSub<kU> % 2)>(LoadBytes(p + 48 + kSub<kU> / 2 * 32 + kIn<kU>), 0x0F);
    // Bit s of byte i is the fifth bit of element i of sub-block s.
    const auto bits = hn::BitCast(du, LoadBytes(p + 16 + kIn<kU>));
    auto fifth = bits;
    if constexpr (kSub<kU> < 4) fifth = hn::ShiftLeft<4 - kSub<kU>>(bits);
    if constexpr (kSub < kU >> 4) fifth = hn::ShiftRight<kSub<kU> - 4>(bits);
    return SplitUnsigned(hn::Or(low, hn::And(hn::BitCast(DByte(), fifth), hn::Set(DByte(), 0x10))));
  }
};

struct Q6_K {
  static constexpr DType kType = DType::kQ6_K;
  static constexpr int kBlock = 256, kBytes = 210;
  static constexpr bool kPer16 = true, kMins = false;
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    ScaleAll<16>(HalfAt(p + 208), reinterpret_cast<const int8_t*>(p + 192), scale);
  }
  template <int kU>
  static HWY_INLINE Words Unit(const uint8_t* p) {
    // Each half of 128 elements has 64 bytes of nibbles and 32 bytes of upper pairs.
    constexpr int kHalf = kSub<kU> / 4, kIn4 = kSub<kU> % 4;
    const DUWord du;
    const VByte low =
        ShiftAndMask<4 * (kIn4 / 2)>(LoadBytes(p + 64 * kHalf + 32 * (kIn4 % 2) + kIn<kU>), 0x0F);
    const auto pairs = hn::BitCast(du, LoadBytes(p + 128 + 32 * kHalf + kIn<kU>));
    auto upper = pairs;
    if constexpr (kIn4 < 2) upper = hn::ShiftLeft<4 - 2 * kIn4>(pairs);
    if constexpr (kIn4 > 2) upper = hn::ShiftRight<2>(pairs);
    const VByte q = hn::Or(low, hn::And(hn::BitCast(DByte(), upper), hn::Set(DByte(), 0x30)));
    return SplitSigned(hn::Sub(q, hn::Set(DByte(), 32)));
  }
};

struct Q2_K {
  static constexpr DType kType = DType::kQ2_K;
  static constexpr int kBlock = 256, kBytes = 84;
  static constexpr bool kPer16 = true, kMins = true;
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float* min) {
    uint8_t sc[16], mn[16];
    for (int i = 0; i < 16; ++i) {
      sc[i] = p[i] & 15;
      mn[i] = p[i] >> 4;
    }
    ScaleAll<16>(HalfAt(p + 80), sc, scale);
    ScaleAll<16>(-HalfAt(p + 82), mn, min);
  }
  template <int kU>
  static HWY_INLINE Words Unit(const uint8_t* p) {
    return SplitUnsigned(
        ShiftAndMask<2 * (kSub<kU> % 4)>(LoadBytes(p + 16 + 32 * (kSub<kU> / 4) + kIn<kU>), 0x03));
  }
};

struct Q3_K {
  static constexpr DType kType = DType::kQ3_K;
  static constexpr int kBlock = 256, kBytes = 110;
  static constexpr bool kPer16 = true, kMins = false;
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    // Sixteen 6-bit scales, 32 more than they mean: nibbles in bytes 0..7 (low ones first), upper
    // pairs in bytes 8..11.
    const uint32_t a = Word32(p + 96), b = Word32(p + 100), c = Word32(p + 104);
    const uint32_t sc[4] = {
        (a & 0x0F0F0F0F) | (c << 4 & 0x30303030), (b & 0x0F0F0F0F) | (c << 2 & 0x30303030),
        (a >> 4 & 0x0F0F0F0F) | (c & 0x30303030), (b >> 4 & 0x0F0F0F0F) | (c >> 2 & 0x30303030)};
    int8_t q[16];
    std::memcpy(q, sc, sizeof(q));
    for (int8_t& v : q) v = static_cast<int8_t>(v - 32);
    ScaleAll<16>(HalfAt(p + 108), q, scale);
  }
  template <int kU>
  static HWY_INLINE Words Unit(const uint8_t* p) {
    const DUWord du;
    const VByte low =
        ShiftAndMask<2 * (kSub<kU> % 4)>(LoadBytes(p + 32 + 32 * (kSub<kU> / 4) + kIn<kU>), 0x03);
    // Bit s of mask byte i belongs to element i of sub-block s; where it is clear, 4 is subtracted.
    const auto mask = hn::BitCast(du, LoadBytes(p + kIn<kU>));
    auto third = mask;
    if constexpr (kSub<kU> < 2) third = hn::ShiftLeft<2 - kSub<kU>>(mask);
    if constexpr (kSub < kU >> 2) third = hn::ShiftRight<kSub<kU> - 2>(mask);
    const VByte q = hn::Or(low, hn::And(hn::BitCast(DByte(), third), hn::Set(DByte(), 0x04)));
    return SplitSigned(hn::Sub(q, hn::Set(DByte(), 4)));
  }
};

struct IQ4_XS {
  static constexpr DType kType = DType::kIQ4_XS;
  static constexpr int kBlock = 256, kBytes = 136;
  static constexpr bool kPer16 = false, kMins = false;
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    const uint32_t upper = Word32(p) >> 16;
    int8_t q[8];
    for (int i = 0; i < 8; ++i) {
      const int low = p[4 + i / 2] >> (4 * (i % 2)) & 15;
      q[i] = static_cast<int8_t>((low | static_cast<int>(upper >> (2 * i) & 3) << 4) - 32);
    }
    ScaleAll<8>(HalfAt(p), q, scale);
  }
  template <int kU>
  static HWY_INLINE Words Unit(const uint8_t* p) {
    const DByte db;
    const VByte values = hn::LoadDup128(db, reinterpret_cast<const uint8_t*>(kIq4Values));
    return SplitSigned(
        hn::TableLookupBytes(values, Nibbles16<kIn<kU> / kUnit>(p + 8 + 16 * kSub<kU>)));
  }
};

const QuantOps kOps[] = {MakeOps<Q2_K>(), MakeOps<Q3_K>(), MakeOps<Q4_K>(),
                         MakeOps<Q5_K>(), MakeOps<Q6_K>(), MakeOps<IQ4_XS>()};

}  // namespace

absl::Span<const QuantOps> SuperBlockTable() { return kOps; }

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace renga::cpu {

HWY_EXPORT(SuperBlockTable);
absl::Span<const QuantOps> SuperBlockOps() { return HWY_DYNAMIC_DISPATCH(SuperBlockTable)(); }

}  // namespace renga::cpu
#endif
