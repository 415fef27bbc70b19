// Types with blocks of 32 elements.
#include "runtime/device/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/device/cpu/quant_block32.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/device/cpu/quant_rows-inl.h"
#include "runtime/device/cpu/quant_values.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {
namespace {

// The fifth bits of 32 elements, a bit each in element order, as bytes 0x10 or 0 of unit kU.
template <int kU>
HWY_INLINE VByte FifthBits(const uint8_t* p) {
  alignas(32) static constexpr uint8_t kSource[32] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1,
                                                      1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2,
                                                      2, 2, 3, 3, 3, 3, 3, 3, 3, 3};
  uint32_t bits;
  std::memcpy(&bits, p, sizeof(bits));
  const DByte db;
  const VByte all = hn::BitCast(db, hn::Set(DUInt(), bits));
  const VByte spread = hn::TableLookupBytes(all, hn::Load(db, kSource + kU * kUnit % 32));
  const VByte bit =
      hn::BitCast(db, hn::Set(hn::Repartition<uint64_t, DByte>(), uint64_t{0x8040201008040201}));
  return hn::And(hn::VecFromMask(db, hn::Eq(hn::And(spread, bit), bit)), hn::Set(db, 0x10));
}

struct Q8_0 {
  static constexpr DType kType = DType::kQ8_0;
  static constexpr int kBlock = 32, kBytes = 34;
  static constexpr bool kPer16 = false, kMins = false;
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) { scale[0] = HalfAt(p); }
  template <int kU>
  static HWY_INLINE Words Unit(const uint8_t* p) {
    return SplitSigned(LoadBytes(p + 2 + kU * kUnit));
  }
};

struct Q4_0 {
  static constexpr DType kType = DType::kQ4_0;
  static constexpr int kBlock = 32, kBytes = 18;
  static constexpr bool kPer16 = false, kMins = false;
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) { scale[0] = HalfAt(p); }
  template <int kU>
  static HWY_INLINE Words Unit(const uint8_t* p) {
    return SplitSigned(hn::Sub(Nibbles16<kU>(p + 2), hn::Set(DByte(), 8)));
  }
};

struct Q4_1 {
  static constexpr DType kType = DType::kQ4_1;
  static constexpr int kBlock = 32, kBytes = 20;
  static constexpr bool kPer16 = false, kMins = true;
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float* min) {
    scale[0] = HalfAt(p);
    min[0] = HalfAt(p + 2);
  }
  template <int kU>
  static HWY_INLINE Words Unit(const uint8_t* p) {
    return SplitUnsigned(Nibbles16<kU>(p + 4));
  }
};

struct Q5_0 {
  static constexpr DType kType = DType::kQ5_0;
  static constexpr int kBlock = 32, kBytes = 22;
  static constexpr bool kPer16 = false, kMins = false;
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) { scale[0] = HalfAt(p); }
  template <int kU>
  static HWY_INLINE Words Unit(const uint8_t* p) {
    const VByte q = hn::Or(Nibbles16<kU>(p + 6), FifthBits<kU>(p + 2));
    return SplitSigned(hn::Sub(q, hn::Set(DByte(), 16)));
  }
};

struct Q5_1 {
  static constexpr DType kType = DType::kQ5_1;
  static constexpr int kBlock = 32, kBytes = 24;
  static constexpr bool kPer16 = false, kMins = true;
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float* min) {
    scale[0] = HalfAt(p);
    min[0] = HalfAt(p + 2);
  }
  template <int kU>
  static HWY_INLINE Words Unit(const uint8_t* p) {
    return SplitUnsigned(hn::Or(Nibbles16<kU>(p + 8), FifthBits<kU>(p + 4)));
  }
};

// Sixteen signed values in every 128 bits.
HWY_INLINE Words LookUp(VByte nibbles, const int8_t* table) {
  const DByte db;
  const VByte values = hn::LoadDup128(db, reinterpret_cast<const uint8_t*>(table));
  return SplitSigned(hn::TableLookupBytes(values, nibbles));
}

struct IQ4_NL {
  static constexpr DType kType = DType::kIQ4_NL;
  static constexpr int kBlock = 32, kBytes = 18;
  static constexpr bool kPer16 = false, kMins = false;
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) { scale[0] = HalfAt(p); }
  template <int kU>
  static HWY_INLINE Words Unit(const uint8_t* p) {
    return LookUp(Nibbles16<kU>(p + 2), kIq4Values);
  }
};

struct MXFP4 {
  static constexpr DType kType = DType::kMXFP4;
  static constexpr int kBlock = 32, kBytes = 17;
  static constexpr bool kPer16 = false, kMins = false;
  static HWY_INLINE void Scales(const uint8_t* p, float* scale, float*) {
    // Half of 2^(e - 127), because the values below are doubled; subnormal for e < 2.
    const uint32_t e = p[0];
    const uint32_t bits = e < 2 ? uint32_t{0x00200000} << e : (e - 1) << 23;
    std::memcpy(scale, &bits, sizeof(bits));
  }
  template <int kU>
  static HWY_INLINE Words Unit(const uint8_t* p) {
    return LookUp(Nibbles16<kU>(p + 1), kE2M1Doubled);
  }
};

const QuantOps kOps[] = {MakeOps<Q8_0>(), MakeOps<Q4_0>(),   MakeOps<Q4_1>(), MakeOps<Q5_0>(),
                         MakeOps<Q5_1>(), MakeOps<IQ4_NL>(), MakeOps<MXFP4>()};

}  // namespace

absl::Span<const QuantOps> Block32Table() { return kOps; }

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace renga::cpu {

HWY_EXPORT(Block32Table);
absl::Span<const QuantOps> Block32Ops() { return HWY_DYNAMIC_DISPATCH(Block32Table)(); }

}  // namespace renga::cpu
#endif
