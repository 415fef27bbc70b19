// Rotary position embedding (ir/ops/rope.cc) of a head, and the norm of a head before it.
//
// Angles are computed in f64: at position 100,000 a frequency rounded to f32 is off by hundredths
// of a turn. Only the fraction of a turn goes on to f32. One lane computes one pair, so the few f64
// operations do not count even where they are slow.
#pragma once

#include "codegen/kernels/numbers.cuh"

namespace renga::kernels {

enum class RopePairing { kNeox, kNorm };  // pairs (p, p + dims/2), or (2p, 2p + 1)
enum class RopeScaling { kNone, kLinear, kYarn };

// Those of the node. kYarnLow and kYarnHigh are the pairs between which yarn's ramp runs.
//   struct Rope {
//     static constexpr int kDims = 64;
//     static constexpr RopePairing kPairing = RopePairing::kNeox;
//     static constexpr RopeScaling kScaling = RopeScaling::kNone;
//     static constexpr double kBase = 1e6, kFactor = 1, kMagnitude = 1;
//     static constexpr double kYarnLow = 0, kYarnHigh = 0;
//   };

struct Rotation {
  float cos, sin;  // times the magnitude
};

// log2 by squaring, for the compiler to compute.
__host__ __device__ constexpr double Log2Constant(double x) {
  double whole = 0;
  for (; x >= 2; x /= 2) whole += 1;
  for (; x < 1; x *= 2) whole -= 1;
  double fraction = 0;
  for (double bit = 0.5; bit > 1e-17; bit /= 2) {
    x *= x;
    if (x >= 2) {
      x /= 2;
      fraction += bit;
    }
  }
  return whole + fraction;
}

// The nearest integer, |x| < 2^51.
__device__ __forceinline__ double RoundDouble(double x) {
  const double kMagic = 6755399441055744.0;  // 1.5 * 2^52: its last digit is 1
  return (x + kMagic) - kMagic;
}

// 2^x for -1000 < x <= 0.
__device__ __forceinline__ double Exp2Double(double x) {
  const double whole = RoundDouble(x);
  const double y = (x - whole) * 0.6931471805599453;
  double term = 1, sum = 1;
#pragma unroll
  for (int i = 1; i <= 12; ++i) {
    term *= y * (1.0 / i);
    sum += term;
  }
  for (int i = static_cast<int>(whole); i < 0; i += 30) {
    const int step = max(i, -30);
    sum *= static_cast<double>(PowerOfTwo(step));
  }
  return sum;
}

// cos and sin of x + `quarter` pi/2, |x| <= pi/4, quarter 0 to 3, times the magnitude.
__device__ __forceinline__ Rotation RotationOfQuarter(float x, int quarter, float magnitude) {
  const float xx = x * x;
  const float sin =
      x + x * xx * (-1.0f / 6 + xx * (1.0f / 120 + xx * (-1.0f / 5040 + xx * (1.0f / 362880))));
  const float cos =
      1.0f + xx * (-0.5f + xx * (1.0f / 24 +
                                 xx * (-1.0f / 720 + xx * (1.0f / 40320 - xx * (1.0f / 3628800)))));
  const float c = quarter % 2 == 0 ? cos : sin, s = quarter % 2 == 0 ? sin : cos;
  return {(quarter == 1 || quarter == 2 ? -c : c) * magnitude, (quarter >= 2 ? -s : s) * magnitude};
}

// cos and sin of `turns` * 2 pi, |turns| <= 1/2, times the magnitude.
__device__ __forceinline__ Rotation RotationOfTurns(double turns, float magnitude) {
  const double quarters = RoundDouble(turns * 4);
  const float x = static_cast<float>((turns - quarters * 0.25) * 6.283185307179586);  // within pi/4
  return RotationOfQuarter(x, static_cast<int>(quarters) & 3, magnitude);
}

// Radians from position to position of pair `pair` of dims/2. `factors` may be null.
template <class Rope>
__device__ __forceinline__ double FrequencyOf(int pair, const float* factors) {
  constexpr double kStep = -2.0 * Log2Constant(Rope::kBase) / Rope::kDims;
  double frequency = Exp2Double(pair * kStep);
  if (factors != nullptr) frequency /= static_cast<double>(factors[pair]);
  if constexpr (Rope::kScaling == RopeScaling::kLinear) frequency /= Rope::kFactor;
  if constexpr (Rope::kScaling == RopeScaling::kYarn) {
    constexpr double kSpan = Rope::kYarnHigh - Rope::kYarnLow;
    constexpr double kInverse = 1 / (kSpan > 0.001 ? kSpan : 0.001);
    const double at = (pair - Rope::kYarnLow) * kInverse;
    const double ramp = at < 0 ? 1 : at > 1 ? 0 : 1 - at;
    frequency *= ramp + (1 - ramp) * (1 / Rope::kFactor);
  }
  return frequency;
}

// Of pair `pair` of dims/2. `factors` may be null.
template <class Rope>
__device__ __forceinline__ Rotation RotationOf(int position, int pair, const float* factors) {
  const double frequency = FrequencyOf<Rope>(pair, factors);
  const double turns = position * frequency * 0.15915494309189535;
  return RotationOfTurns(turns - RoundDouble(turns), static_cast<float>(Rope::kMagnitude));
}

// For many positions: no f64 but once a pair. A pair's turns from position to position as a whole
// number of 2^-64 turns; what is beyond a turn falls off by itself.
template <class Rope>
__device__ __forceinline__ uint64_t FixedTurnsOf(int pair) {
  const double turns = FrequencyOf<Rope>(pair, nullptr) * 0.15915494309189535;
  const double fraction = turns - RoundDouble(turns);
  return static_cast<uint64_t>(static_cast<int64_t>(fraction * 4611686018427387904.0)) << 2;
}

// Of fixed turns times a position.
__device__ __forceinline__ Rotation RotationOfFixed(uint64_t fixed, float magnitude) {
  const uint32_t turns = static_cast<uint32_t>(fixed >> 32);
  const uint32_t quarter = (turns + 0x20000000u) >> 30;
  const int32_t rest = static_cast<int32_t>(turns - (quarter << 30));          // within an eighth
  return RotationOfQuarter(static_cast<float>(rest) * 1.4629180792671596e-9f,  // 2 pi / 2^32
                           static_cast<int>(quarter), magnitude);
}

// The values of one head in shared memory, worked on by a warp. Lane l has values l, l + 32, ...
// between the calls; each ends with the warp in step.
template <int kHeadDim>
struct HeadValues {
  float* values;

  // Times norm[kHeadDim] and 1/rms.
  __device__ __forceinline__ void Norm(const float* norm, float eps) const {
    const int lane = threadIdx.x % 32;
    float squares = 0;
    for (int d = lane; d < kHeadDim; d += 32) squares += values[d] * values[d];
    const float scale = FastRsqrt(WarpSum(squares) * (1.0f / kHeadDim) + eps);
    for (int d = lane; d < kHeadDim; d += 32) values[d] *= scale * norm[d];
    SyncWarp();
  }

  template <class Rope>
  __device__ __forceinline__ void Rotate(int position, const float* factors) const {
    for (int pair = threadIdx.x % 32; pair < Rope::kDims / 2; pair += 32) {
      const Rotation rotation = RotationOf<Rope>(position, pair, factors);
      constexpr bool kNeox = Rope::kPairing == RopePairing::kNeox;
      float& first = values[kNeox ? pair : 2 * pair];
      float& second = values[kNeox ? pair + Rope::kDims / 2 : 2 * pair + 1];
      const float a = first, b = second;
      first = a * rotation.cos - b * rotation.sin;
      second = a * rotation.sin + b * rotation.cos;
    }
    SyncWarp();
  }
};

}  // namespace renga::kernels
