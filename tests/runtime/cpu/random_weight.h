// Random weights of every stored type, and how far from exact a product with them may be.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "ir/base/packing.h"
#include "ir/reference/dequant.h"
#include "tests/runtime/cpu/kernel_harness.h"

namespace renga::cpu {

inline const std::vector<DType> kTypes = {
    DType::kF32,    DType::kF16,    DType::kBF16,    DType::kQ4_0,  DType::kQ4_1,  DType::kQ5_0,
    DType::kQ5_1,   DType::kQ8_0,   DType::kQ2_K,    DType::kQ3_K,  DType::kQ4_K,  DType::kQ5_K,
    DType::kQ6_K,   DType::kIQ4_NL, DType::kIQ4_XS,  DType::kMXFP4, DType::kNVFP4, DType::kQ1_0,
    DType::kQ2_0,   DType::kTQ1_0,  DType::kTQ2_0,   DType::kIQ1_S, DType::kIQ1_M, DType::kIQ2_XXS,
    DType::kIQ2_XS, DType::kIQ2_S,  DType::kIQ3_XXS, DType::kIQ3_S,
};

// Random stored rows whose scales are ordinary numbers: any bytes, redrawn while a block holds a
// value that is not finite or above 1e3.
inline Tensor RandomWeight(DType type, int64_t n, int64_t k, int seed) {
  Tensor w = Tensor::Make(type, {n, k});
  std::mt19937 random(seed);
  const DTypeInfo& info = Info(type);
  std::vector<float> values(info.block_elements);
  for (size_t at = 0; at < w.bytes.size(); at += info.block_bytes) {
    bool ok = false;
    while (!ok) {
      for (int i = 0; i < info.block_bytes; ++i) w.bytes[at + i] = static_cast<uint8_t>(random());
      FindDequant(type)(w.bytes.data() + at, info.block_elements, values.data());
      ok = true;
      for (const float v : values) ok = ok && std::isfinite(v) && std::abs(v) < 1e3f;
    }
  }
  return w;
}

// The same weight in layout rows8, each matrix by itself. Nothing of the file's layout is left.
inline Tensor Pack8(const Tensor& w) {
  const Layout& layout = *FindLayout("rows8");
  const int64_t n = w.sizes[w.sizes.size() - 2], k = w.sizes.back();
  const size_t from = static_cast<size_t>(RowBytes(w.type.dtype, k) * n);
  const size_t to = static_cast<size_t>(PackedBytes(layout, w.type.dtype, n, k).value());
  Tensor packed = w;
  packed.type.layout = "rows8";
  packed.bytes.assign(w.bytes.size() / from * to, 0xAA);
  for (size_t i = 0; i < w.bytes.size() / from; ++i) {
    EXPECT_TRUE(Pack(layout, w.type.dtype, n, k,
                     absl::MakeConstSpan(w.bytes).subspan(i * from, from),
                     absl::MakeSpan(packed.bytes).subspan(i * to, to))
                    .ok());
  }
  return packed;
}

inline Tensor Pack8OrAsIs(const Tensor& w) {
  return Accepts(*FindLayout("rows8"), w.type.dtype) ? Pack8(w) : w;
}

inline std::vector<float> Values(const Tensor& w) {
  std::vector<float> out(w.sizes[0] * w.sizes[1]);
  FindDequant(w.type.dtype)(w.bytes.data(), static_cast<int64_t>(out.size()), out.data());
  return out;
}

// What quantising the activations may change of one product: half a step of each block of 32, a
// step being 1/32767 of the block's largest; with f32 rounding of every product and sum on top,
// taken as 1e-6 of the sum of magnitudes. Plain types have only the latter.
inline double Tolerance(DType type, const float* w, const float* x, int64_t k) {
  double bound = 1e-30;
  for (int64_t b = 0; b < k; b += 32) {
    double largest = 0, weights = 0;
    for (int64_t i = b; i < std::min(b + 32, k); ++i) {
      largest = std::max(largest, std::abs(double{x[i]}));
      weights += std::abs(w[i]);
      bound += 1e-6 * std::abs(double{w[i]} * x[i]);
    }
    // Types with minima subtract sums that cancel: their rounding goes with the largest too.
    if (Info(type).quantized) bound += weights * largest * (0.5 / 32767 + 1e-6) + weights * 1e-33;
  }
  return bound;
}

}  // namespace renga::cpu
