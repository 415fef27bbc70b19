#include "runtime/device/cpu/cache_ops.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>

#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/device/cpu/float_ops.h"
#include "runtime/device/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/device/cpu/cache_ops.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace renga::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D4 = hn::FixedTag<float, 4>;
using V4 = hn::Vec<D4>;

constexpr int64_t kBlock = 32;
constexpr int kVectors = kBlock / 4;  // of a block

// The block's scale, in every lane.
HWY_INLINE V4 ScaleAt(const uint8_t* p) {
  uint16_t bits;
  std::memcpy(&bits, p, sizeof(bits));
  const hn::Rebind<uint16_t, D4> du;
  const hn::Rebind<hwy::float16_t, D4> dh;
  return hn::PromoteTo(D4(), hn::BitCast(dh, hn::Set(du, bits)));
}

// Four bytes as they are: i8 to f32.
HWY_INLINE V4 FourSigned(const uint8_t* p) {
  const hn::Rebind<int8_t, D4> d8;
  const auto bytes = hn::LoadU(d8, reinterpret_cast<const int8_t*>(p));
  return hn::ConvertTo(D4(), hn::PromoteTo(hn::Rebind<int32_t, D4>(), bytes));
}

void UnpackQ8(const uint8_t* row, int64_t n, float* out) {
  constexpr int64_t kBytes = 34;
  for (int64_t i = 0; i < n; i += kBlock, row += kBytes) {
    const V4 scale = ScaleAt(row);
    RENGA_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      hn::StoreU(hn::Mul(FourSigned(row + 2 + 4 * v), scale), D4(), out + i + 4 * v);
    }
  }
}

// The sums and differences of Hadamard's matrix, without its 1 / sqrt(32).
HWY_INLINE void Turn(V4 (&v)[kVectors]) {
  const D4 d;
  alignas(16) static constexpr float kOdd[4] = {1, -1, 1, -1}, kUpper[4] = {1, 1, -1, -1};
  const V4 odd = hn::Load(d, kOdd), upper = hn::Load(d, kUpper);
  RENGA_UNROLL
  for (int i = 0; i < kVectors; ++i) {
    v[i] = hn::MulAdd(v[i], odd, hn::Shuffle2301(v[i]));
    v[i] = hn::MulAdd(v[i], upper, hn::Shuffle1032(v[i]));
  }
  RENGA_UNROLL
  for (int step = 1; step < kVectors; step *= 2) {
    RENGA_UNROLL
    for (int i = 0; i < kVectors; ++i) {
      if ((i & step) != 0) continue;
      const V4 a = v[i], b = v[i + step];
      v[i] = hn::Add(a, b);
      v[i + step] = hn::Sub(a, b);
    }
  }
}

// The whole numbers are turned, which is exact, and then scaled.
void UnpackQ4(const uint8_t* row, int64_t n, float* out) {
  constexpr int64_t kBytes = 18;
  constexpr float kTurn = 0.17677669529663687f;  // 1 / sqrt(32)
  const D4 d;
  const hn::Rebind<int32_t, D4> di;
  const hn::Rebind<uint8_t, D4> d8;
  for (int64_t i = 0; i < n; i += kBlock, row += kBytes) {
    V4 v[kVectors];
    RENGA_UNROLL
    for (int j = 0; j < kVectors / 2; ++j) {
      const auto bytes = hn::PromoteTo(di, hn::LoadU(d8, row + 2 + 4 * j));
      const auto middle = hn::Set(di, 8);
      v[j] = hn::ConvertTo(d, hn::Sub(hn::And(bytes, hn::Set(di, 15)), middle));
      v[j + kVectors / 2] = hn::ConvertTo(d, hn::Sub(hn::ShiftRight<4>(bytes), middle));
    }
    Turn(v);
    const V4 scale = hn::Mul(ScaleAt(row), hn::Set(d, kTurn));
    RENGA_UNROLL
    for (int j = 0; j < kVectors; ++j) hn::StoreU(hn::Mul(v[j], scale), d, out + i + 4 * j);
  }
}

// Codes of f8_e4m3 in 32-bit lanes. No f32 on the way is subnormal: the machine may be told to take
// those for zero, and is slow with them otherwise.
template <class D>
HWY_INLINE hn::Vec<D> FromE4M3(D d, hn::Vec<hn::Rebind<uint32_t, D>> codes) {
  const hn::Rebind<uint32_t, D> du;
  const hn::Rebind<int32_t, D> di;
  const auto number = hn::And(codes, hn::Set(du, 0x7f));
  const auto sign = hn::ShiftLeft<24>(hn::Xor(codes, number));
  const auto normal = hn::Add(hn::ShiftLeft<20>(number), hn::Set(du, 120u << 23));
  const auto subnormal = hn::Mul(hn::ConvertTo(d, hn::BitCast(di, number)), hn::Set(d, 0x1p-9f));
  auto bits = hn::IfThenElse(hn::Lt(number, hn::Set(du, 8)), hn::BitCast(du, subnormal), normal);
  bits = hn::IfThenElse(hn::Eq(number, hn::Set(du, 0x7f)), hn::Set(du, 0x7fc00000u), bits);
  return hn::BitCast(d, hn::Or(bits, sign));
}

void UnpackE4M3(const uint8_t* row, int64_t n, float* out) {
  using D = hn::CappedTag<float, 16>;
  const D d;
  const hn::Rebind<uint8_t, D> d8;
  const hn::Rebind<uint32_t, D> du;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(FromE4M3(d, hn::PromoteTo(du, hn::LoadU(d8, row + i))), d, out + i);
  }
  if (i < n) {
    alignas(64) uint8_t rest[16] = {};
    std::memcpy(rest, row + i, n - i);
    hn::StoreU(FromE4M3(d, hn::PromoteTo(du, hn::LoadU(d8, rest))), d, out + i);
    i += lanes;
  }
  for (const int64_t end = FloatStride(n); i < end; ++i) out[i] = 0;
}

struct CoarseUnpack {
  DType type;
  CacheOps::Unpack unpack;
};
constexpr CoarseUnpack kUnpacks[] = {
    {DType::kQ8_0, UnpackQ8}, {DType::kQ4_0, UnpackQ4}, {DType::kF8_E4M3, UnpackE4M3}};

}  // namespace

// Of a coarse type; nullptr for others.
CacheOps::Unpack FindUnpack(DType type) {
  for (const CoarseUnpack& unpack : kUnpacks) {
    if (unpack.type == type) return unpack.unpack;
  }
  return nullptr;
}

}  // namespace renga::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace renga::cpu {

HWY_EXPORT(FindUnpack);

namespace {

constexpr int64_t kBlock = 32;

void StoreF32(const float* x, int64_t n, uint8_t* out) { std::memcpy(out, x, n * sizeof(float)); }

template <uint16_t (*kNarrow)(float)>
void StoreNarrow(const float* x, int64_t n, uint8_t* out) {
  for (int64_t i = 0; i < n; ++i) {
    const uint16_t bits = kNarrow(x[i]);
    std::memcpy(out + i * sizeof(bits), &bits, sizeof(bits));
  }
}

void StoreE4M3(const float* x, int64_t n, uint8_t* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = FloatToE4M3(x[i]);
}

void StoreScale(float scale, uint8_t* out) {
  const uint16_t bits = FloatToHalf(scale);
  std::memcpy(out, &bits, sizeof(bits));
}

// What is not finite has no largest number to scale by: the block is to show it.
constexpr float kNotFinite = std::numeric_limits<float>::quiet_NaN();

// In double, as the rounding is defined: a quotient near the middle of two numbers rounds alike.
void StoreQ8(const float* x, int64_t n, uint8_t* out) {
  constexpr int64_t kBytes = 34;
  for (int64_t i = 0; i < n; i += kBlock, out += kBytes) {
    double largest = 0;
    bool finite = true;
    for (int64_t j = i; j < i + kBlock; ++j) {
      finite &= std::isfinite(x[j]);
      largest = std::max(largest, std::abs(double{x[j]}));
    }
    const double step = largest / 127;
    StoreScale(finite ? static_cast<float>(step) : kNotFinite, out);
    for (int64_t j = 0; j < kBlock; ++j) {
      const double quant = finite && step != 0 ? std::nearbyint(x[i + j] / step) : 1;
      out[2 + j] = static_cast<uint8_t>(static_cast<int8_t>(quant));
    }
  }
}

void StoreQ4(const float* x, int64_t n, uint8_t* out) {
  constexpr int64_t kBytes = 18;
  constexpr double kTurn = 0.17677669529663687;  // 1 / sqrt(32)
  for (int64_t i = 0; i < n; i += kBlock, out += kBytes) {
    std::array<double, kBlock> y;
    std::copy_n(x + i, kBlock, y.begin());
    for (int64_t step = 1; step < kBlock; step *= 2) {
      for (int64_t j = 0; j < kBlock; ++j) {
        if ((j & step) != 0) continue;
        const double a = y[j], b = y[j + step];
        y[j] = a + b;
        y[j + step] = a - b;
      }
    }
    double extreme = 0;
    bool finite = true;
    for (double& value : y) {
      value *= kTurn;
      finite &= std::isfinite(value);
      if (std::abs(value) > std::abs(extreme)) extreme = value;
    }
    const double step = extreme / -8;
    StoreScale(finite ? static_cast<float>(step) : kNotFinite, out);
    const auto quant = [&](int64_t j) -> int {
      if (!finite || step == 0) return 8;
      return static_cast<int>(std::clamp(std::floor(y[j] / step + 8.5), 0.0, 15.0));
    };
    for (int64_t j = 0; j < kBlock / 2; ++j) {
      out[2 + j] = static_cast<uint8_t>(quant(j) | quant(j + kBlock / 2) << 4);
    }
  }
}

struct Store {
  DType type;
  CacheOps::Store store;
};
constexpr Store kStores[] = {{DType::kF32, StoreF32},
                             {DType::kF16, StoreNarrow<FloatToHalf>},
                             {DType::kBF16, StoreNarrow<FloatToBFloat16>},
                             {DType::kQ8_0, StoreQ8},
                             {DType::kQ4_0, StoreQ4},
                             {DType::kF8_E4M3, StoreE4M3}};

}  // namespace

std::optional<CacheOps> FindCacheOps(DType type) {
  const auto store =
      std::find_if(std::begin(kStores), std::end(kStores),
                   [type](const Store& candidate) { return candidate.type == type; });
  if (store == std::end(kStores)) return std::nullopt;
  CacheOps ops = {type, store->store, nullptr};
  if (const FloatOps* const floats = FindFloatOps(type)) ops.unpack = floats->unpack;
  if (ops.unpack == nullptr) ops.unpack = HWY_DYNAMIC_DISPATCH(FindUnpack)(type);
  return ops;
}

absl::Status CheckCache(const StepCheck& check, size_t operand) {
  RENGA_RETURN_IF_ERROR(check.InType(
      operand,
      {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kF8_E4M3}, 3));
  const plan::TensorType& cache = check.In(operand);
  const int64_t block = Info(cache.dtype).block_elements;
  if (block == 1) return absl::OkStatus();
  RENGA_ASSIGN_OR_RETURN(const int64_t width, check.ConstDim(operand, 2));
  if (width % block == 0) return absl::OkStatus();
  return check.Error(StrCat("a cache of ", Name(cache.dtype), " has shape ", check.ShapeText(cache),
                            ", expected a multiple of ", block, " at axis 2"));
}

}  // namespace renga::cpu
#endif
