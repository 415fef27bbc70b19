#include "tests/bench/synthetic/random_blocks.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "absl/types/span.h"

namespace renga::synthetic {
namespace {

// SplitMix64 (Steele, Lea and Flood, 2014): a gigabyte a second is the point of it.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Bits() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  // Mean 0, deviation 1: a sum of four uniform numbers, of deviation 1/sqrt(12) each.
  double Bell() {
    const uint64_t bits = Bits();
    const double sum = static_cast<double>((bits & 0xFFFF) + (bits >> 16 & 0xFFFF) +
                                           (bits >> 32 & 0xFFFF) + (bits >> 48));
    return (sum / 65535 - 2) * 1.7320508075688772;
  }
  double Around(double value) {  // value times 0.75 to 1.25
    return value * (0.75 + 0.5 * static_cast<double>(Bits() >> 11) * 0x1p-53);
  }
  void Fill(uint8_t* bytes, size_t count) {
    for (; count >= 8; bytes += 8, count -= 8) {
      const uint64_t bits = Bits();
      std::memcpy(bytes, &bits, 8);
    }
    const uint64_t bits = Bits();
    std::memcpy(bytes, &bits, count);
  }

 private:
  uint64_t state_;
};

void PutHalf(double value, uint8_t* at) {
  const uint16_t bits = FloatToHalf(static_cast<float>(value));
  std::memcpy(at, &bits, 2);
}

// How a block of random bytes becomes one of weights: a scale is set so that an element, whose
// integers are uniform, has the deviation asked for.
struct Recipe {
  DType type;
  int scale_at;     // of the half d in the block
  double integers;  // deviation of what d multiplies
  int minimum_at;   // of the half dmin; -1: none
  double minimum;   // dmin / d that makes the mean 0
};
constexpr Recipe kRecipes[] = {
    // q in -128..127
    {DType::kQ8_0, 0, 73.9, -1, 0},
    // q - 16, q in 0..31
    {DType::kQ5_0, 0, 9.25, -1, 0},
    // s q - 7.5 m with s, m in 0..63 and q in 0..15: E[s^2] E[q^2] - (31.5 * 7.5)^2 +
    // 7.5^2 Var[m] = 1333.5 * 77.5 - 55814 + 56.25 * 341.25 = 258.3^2
    {DType::kQ4_K, 0, 258.3, 2, 7.5},
    // s (q - 32) with s in -128..127 and q in 0..63: sqrt(5461.5 * 341.5)
    {DType::kQ6_K, 208, 1365.7, -1, 0},
};

const Recipe* FindRecipe(DType type) {
  for (const Recipe& recipe : kRecipes) {
    if (recipe.type == type) return &recipe;
  }
  return nullptr;
}

struct PlainRecipe {
  DType type;
  uint16_t (*bits)(float value);
};
constexpr PlainRecipe kPlainRecipes[] = {{DType::kF16, FloatToHalf},
                                         {DType::kBF16, FloatToBFloat16}};

const PlainRecipe* FindPlainRecipe(DType type) {
  for (const PlainRecipe& recipe : kPlainRecipes) {
    if (recipe.type == type) return &recipe;
  }
  return nullptr;
}

}  // namespace

bool HasRecipe(DType type) {
  return FindRecipe(type) != nullptr || FindPlainRecipe(type) != nullptr;
}

std::string RandomBlocks(DType type, double deviation, int64_t count, uint64_t seed) {
  Random random(seed);
  const size_t block_bytes = Info(type).block_bytes;
  std::string blocks(static_cast<size_t>(count) * block_bytes, '\0');
  uint8_t* at = reinterpret_cast<uint8_t*>(blocks.data());
  if (const PlainRecipe* plain = FindPlainRecipe(type)) {
    for (int64_t i = 0; i < count; ++i, at += 2) {
      const uint16_t bits = plain->bits(static_cast<float>(deviation * random.Bell()));
      std::memcpy(at, &bits, 2);
    }
    return blocks;
  }
  const Recipe& recipe = *FindRecipe(type);
  random.Fill(at, blocks.size());
  for (int64_t i = 0; i < count; ++i, at += block_bytes) {
    const double scale = random.Around(deviation / recipe.integers);
    PutHalf(scale, at + recipe.scale_at);
    if (recipe.minimum_at >= 0) PutHalf(scale * recipe.minimum, at + recipe.minimum_at);
  }
  return blocks;
}

std::string RandomFloats(double mean, double deviation, int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = static_cast<float>(mean + deviation * random.Bell());
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

}  // namespace renga::synthetic
