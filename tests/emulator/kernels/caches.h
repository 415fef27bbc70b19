// Caches of keys and values of all kinds on the emulator.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "codegen/kernels/args.cuh"
#include "ir/base/dtype.h"
#include "ir/base/strings.h"
#include "tests/emulator/kernels/support.h"

namespace renga::emulator {

struct DeviceCache {
  void* values = nullptr;
  kernels::Half* scales = nullptr;
  size_t count = 0;
};

// `element` is as a Config names it: Half, Bfloat16, float, Q8.
class CacheCase {
 public:
  explicit CacheCase(std::string element) : element_(std::move(element)) {}

  // Full of the given values, or of a mark in each cell (so that what is not stored shows).
  DeviceCache Upload(KernelRun* run, const std::string& name, int64_t cells, int64_t heads,
                     int64_t head_dim, const std::vector<float>* values = nullptr) const {
    DeviceCache cache;
    cache.count = cells * heads * head_dim;
    const auto value = [&](size_t i) { return values == nullptr ? kMark : (*values)[i]; };
    if (element_ == "float") {
      std::vector<float> bits(cache.count);
      for (size_t i = 0; i < cache.count; ++i) bits[i] = value(i);
      cache.values = run->Input(name, bits);
    } else if (element_ == "Q8") {
      std::vector<int8_t> quants(cache.count);
      std::vector<uint16_t> scales(cache.count / 32);
      for (size_t b = 0; b < scales.size(); ++b) {
        float largest = 0;
        for (size_t i = b * 32; i < b * 32 + 32; ++i) {
          largest = std::max(largest, std::abs(value(i)));
        }
        scales[b] = FloatToHalf(largest / 127);
        for (size_t i = b * 32; i < b * 32 + 32; ++i) {
          quants[i] = static_cast<int8_t>(std::lround(value(i) * 127 / largest));
        }
      }
      cache.values = run->Input(name, quants);
      cache.scales = reinterpret_cast<kernels::Half*>(run->Input(name + "_scales", scales));
    } else {
      std::vector<uint16_t> bits(cache.count);
      for (size_t i = 0; i < cache.count; ++i) {
        bits[i] = element_ == "Half" ? FloatToHalf(value(i)) : FloatToBFloat16(value(i));
      }
      cache.values = run->Input(name, bits);
    }
    return cache;
  }

  std::vector<float> Download(KernelRun* run, const DeviceCache& cache) const {
    std::vector<float> values(cache.count);
    if (element_ == "float") return run->Read(static_cast<float*>(cache.values), cache.count);
    if (element_ == "Q8") {
      const auto quants = run->Read(static_cast<int8_t*>(cache.values), cache.count);
      const auto scales = run->Read(reinterpret_cast<uint16_t*>(cache.scales), cache.count / 32);
      for (size_t i = 0; i < cache.count; ++i) values[i] = quants[i] * HalfToFloat(scales[i / 32]);
      return values;
    }
    const auto bits = run->Read(static_cast<uint16_t*>(cache.values), cache.count);
    for (size_t i = 0; i < cache.count; ++i) {
      values[i] = element_ == "Half" ? HalfToFloat(bits[i]) : BFloat16ToFloat(bits[i]);
    }
    return values;
  }

  // What rounding to an element may change: half a step of the type; for Q8 half a quant of the
  // block's largest / 127 and the rounding of that to f16.
  double Error(double value, double largest_of_block) const {
    if (element_ == "Half") return std::abs(value) / 2048 + 3e-8;
    if (element_ == "Bfloat16") return std::abs(value) / 256;
    if (element_ == "float") return std::abs(value) * 6e-8;
    return largest_of_block * (0.51 / 127 + 1.0 / 2048);
  }

  const std::string& element() const { return element_; }

 private:
  static constexpr float kMark = 4711;
  std::string element_;
};

}  // namespace renga::emulator
