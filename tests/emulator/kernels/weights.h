// Random weights of all types, their values from the independent decoders, and how far a product
// with f16 operands may be from exact.
#pragma once

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "ir/base/dtype.h"
#include "ir/base/mma_layout.h"
#include "ir/base/strings.h"
#include "ir/reference/dequant.h"

namespace renga::emulator {

class Random {
 public:
  explicit Random(uint32_t seed) : bits_(seed) {}
  uint32_t Bits() { return bits_(); }
  float Between(float low, float high) {
    return low + (high - low) * static_cast<float>(bits_() >> 8) / 16777216.0f;
  }
  std::vector<float> Vector(size_t count, float size) {
    std::vector<float> values(count);
    for (float& value : values) value = Between(-size, size);
    return values;
  }

 private:
  std::mt19937 bits_;
};

struct TestWeight {
  DType type;
  int64_t rows, k;
  MmaLayout layout;
  std::vector<uint8_t> file, packed;
  std::vector<float> values;   // [rows, k]
  std::vector<float> largest;  // [rows, k]: of the block of 32

  // "Packed<Q4_K, 37, 512>", as a Config names it; of a product that takes x as so many f16.
  std::string Name(int x_parts = 1) const {
    std::string name(renga::Name(type));
    for (char& c : name) c = static_cast<char>(toupper(c));
    if (x_parts == 2 && (type == DType::kQ4_K || type == DType::kQ5_K)) name += "_FromMiddle";
    return StrCat("Packed<", name, ", ", rows, ", ", k, ">");
  }
};

// Sets the scales of a block so that its weights are about as large as `size`; its quants stay.
inline void SetScales(DType type, float size, uint8_t* block) {
  const auto half = [&](int at, float value) {
    const uint16_t bits = FloatToHalf(value);
    std::memcpy(block + at, &bits, 2);
  };
  if (type == DType::kQ8_0 || type == DType::kIQ4_NL) half(0, size / 127);
  if (type == DType::kQ4_0) half(0, size / 8);
  if (type == DType::kQ5_0) half(0, size / 16);
  if (type == DType::kQ4_1 || type == DType::kQ5_1) {
    half(0, size / (type == DType::kQ4_1 ? 8 : 16));
    half(2, -size);
  }
  if (type == DType::kQ4_K || type == DType::kQ5_K) {
    half(0, std::abs(size) / 256);
    half(2, std::abs(size) / 32);
  }
  if (type == DType::kQ6_K) half(208, size / 2048);
  if (type == DType::kMXFP4) {
    block[0] = static_cast<uint8_t>(127 + std::ilogb(std::abs(size) / 4));
  }
}

// Weights about as large as `size`; one block in 16 is eight times that.
inline TestWeight MakeWeight(DType type, int64_t rows, int64_t k, float size, Random* random) {
  TestWeight weight{type, rows, k, MmaLayoutOf(type, rows, k).value(), {}, {}, {}, {}};
  const int64_t row_bytes = RowBytes(type, k);
  weight.file.resize(rows * row_bytes);
  for (uint8_t& byte : weight.file) byte = static_cast<uint8_t>(random->Bits());
  const int block_bytes = Info(type).block_bytes;
  for (size_t at = 0; at < weight.file.size(); at += block_bytes) {
    float block_size = size * random->Between(0.1f, 1.0f) * (random->Bits() % 16 == 0 ? 8 : 1);
    if (random->Bits() % 2 == 0) block_size = -block_size;
    uint8_t* block = weight.file.data() + at;
    if (Info(type).quantized) {
      SetScales(type, block_size, block);
      continue;
    }
    const float value = block_size * random->Between(-1, 1);
    const uint16_t bits = type == DType::kF16 ? FloatToHalf(value) : FloatToBFloat16(value);
    if (type == DType::kF32) {
      std::memcpy(block, &value, 4);
    } else {
      std::memcpy(block, &bits, 2);
    }
  }
  weight.values.resize(rows * k);
  FindDequant(type)(weight.file.data(), rows * k, weight.values.data());
  weight.largest.resize(rows * k);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t first = 0; first < k; first += 32) {
      const int64_t end = std::min(first + 32, k);
      float largest = 0;
      for (int64_t i = first; i < end; ++i) {
        largest = std::max(largest, std::abs(weight.values[row * k + i]));
      }
      for (int64_t i = first; i < end; ++i) weight.largest[row * k + i] = largest;
    }
  }
  weight.packed.resize(weight.layout.bytes);
  EXPECT_TRUE(PackForMma(weight.layout, weight.file, absl::MakeSpan(weight.packed)).ok());
  return weight;
}

// x or rms_norm(x, norm), row by row.
inline std::vector<double> Normed(const std::vector<float>& x, const std::vector<float>& norm,
                                  double eps, int64_t tokens) {
  const int64_t k = static_cast<int64_t>(x.size()) / tokens;
  std::vector<double> out(x.begin(), x.end());
  if (norm.empty()) return out;
  for (int64_t t = 0; t < tokens; ++t) {
    double squares = 0;
    for (int64_t i = 0; i < k; ++i) squares += out[t * k + i] * out[t * k + i];
    const double scale = 1 / std::sqrt(squares / static_cast<double>(k) + eps);
    for (int64_t i = 0; i < k; ++i) out[t * k + i] *= scale * norm[i];
  }
  return out;
}

struct Product {
  std::vector<double> values;   // [tokens, rows]
  std::vector<double> allowed;  // how far from it f16 operands may lead
};

// W h. An operand rounded to f16 is off by 2^-11 of itself. A weight is a code times a scale plus a
// minimum, where scale, minimum and sum are rounded and none exceeds twice the largest weight of
// the block (whose codes reach both ends), h is rounded once: at most four such errors of that
// largest. f32 sums add far less.
inline Product Multiply(const TestWeight& weight, const std::vector<double>& h, int64_t tokens) {
  Product product;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t n = 0; n < weight.rows; ++n) {
      double sum = 0, size = 0;
      for (int64_t i = 0; i < weight.k; ++i) {
        sum += weight.values[n * weight.k + i] * h[t * weight.k + i];
        size += weight.largest[n * weight.k + i] * std::abs(h[t * weight.k + i]);
      }
      product.values.push_back(sum);
      product.allowed.push_back(size * 4 / 2048);
    }
  }
  return product;
}

// W h of F16 weights, which are exact, and h as the sum of two f16: 22 digits, but for what is
// below f16's least in a row whose largest is brought to 2^14 or more. f32 sums: at most two
// roundings for each product of 16 k by either part, one to the other.
inline Product MultiplyInTwoParts(const TestWeight& weight, const std::vector<double>& h,
                                  int64_t tokens) {
  Product product = Multiply(weight, h, tokens);
  const double roundings = 4 * std::ceil(static_cast<double>(weight.k) / 16) + 8;
  for (int64_t t = 0; t < tokens; ++t) {
    double largest = 0;
    for (int64_t i = 0; i < weight.k; ++i)
      largest = std::max(largest, std::abs(h[t * weight.k + i]));
    for (int64_t n = 0; n < weight.rows; ++n) {
      double size = 0, weights = 0;
      for (int64_t i = 0; i < weight.k; ++i) {
        const double w = std::abs(weight.values[n * weight.k + i]);
        size += w * std::abs(h[t * weight.k + i]);
        weights += w;
      }
      product.allowed[t * weight.rows + n] =
          size * (std::ldexp(1, -21) + roundings * std::ldexp(1, -24)) +
          weights * largest * std::ldexp(1, -39);
    }
  }
  return product;
}

}  // namespace renga::emulator
