// Caches of keys and values of all kinds on the emulator.
#pragma once

#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "codegen/kernels/args.cuh"
#include "ir/base/dtype.h"
#include "ir/base/strings.h"
#include "tests/emulator/kernels/support.h"

namespace renga::emulator {

// H x, H the symmetric Hadamard matrix over sqrt(32), of blocks of 32 (ir/core/cache_rounding.h).
template <typename T>
std::vector<T> Turned(const std::vector<T>& x) {
  std::vector<T> y(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    double sum = 0;
    for (size_t j = 0; j < 32; ++j) {
      const double value = x[i / 32 * 32 + j];
      sum += std::popcount(i % 32 & j) % 2 == 0 ? value : -value;
    }
    y[i] = static_cast<T>(sum / std::sqrt(32.0));
  }
  return y;
}

struct DeviceCache {
  void* values = nullptr;
  kernels::Half* scales = nullptr;
  size_t count = 0;
};

// `element` is as a Config names it: Half, Bfloat16, float, Q8, Q4, E4m3.
class CacheCase {
 public:
  explicit CacheCase(std::string element) : element_(std::move(element)) {}

  // Full of the given values, or of a mark in each cell (so that what is not stored shows).
  DeviceCache Upload(KernelRun* run, const std::string& name, int64_t cells, int64_t heads,
                     int64_t head_dim, const std::vector<float>* values = nullptr) const {
    DeviceCache cache;
    cache.count = cells * heads * head_dim;
    const auto value = [&](size_t i) { return values == nullptr ? mark() : (*values)[i]; };
    if (element_ == "float") {
      std::vector<float> bits(cache.count);
      for (size_t i = 0; i < cache.count; ++i) bits[i] = value(i);
      cache.values = run->Input(name, bits);
    } else if (element_ == "E4m3") {
      std::vector<uint8_t> codes(cache.count);
      for (size_t i = 0; i < cache.count; ++i) codes[i] = FloatToE4M3(value(i));
      cache.values = run->Input(name, codes);
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
    } else if (element_ == "Q4") {
      std::vector<float> all(cache.count);
      for (size_t i = 0; i < cache.count; ++i) all[i] = value(i);
      all = Turned(all);
      std::vector<uint8_t> quants(cache.count / 2);
      std::vector<uint16_t> scales(cache.count / 32);
      for (size_t b = 0; b < scales.size(); ++b) {
        float extreme = 0;
        for (size_t i = b * 32; i < b * 32 + 32; ++i) {
          if (std::abs(all[i]) > std::abs(extreme)) extreme = all[i];
        }
        scales[b] = FloatToHalf(extreme / -8);
        for (size_t i = 0; i < 32; ++i) {
          const auto quant = static_cast<int>(std::floor(all[b * 32 + i] * -8 / extreme + 8.5f));
          quants[b * 16 + i % 16] |= static_cast<uint8_t>(std::min(quant, 15) << (i < 16 ? 0 : 4));
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
    if (element_ == "E4m3") {
      const auto codes = run->Read(static_cast<uint8_t*>(cache.values), cache.count);
      for (size_t i = 0; i < cache.count; ++i) values[i] = E4M3ToFloat(codes[i]);
      return values;
    }
    if (element_ == "Q8") {
      const auto quants = run->Read(static_cast<int8_t*>(cache.values), cache.count);
      const auto scales = run->Read(reinterpret_cast<uint16_t*>(cache.scales), cache.count / 32);
      for (size_t i = 0; i < cache.count; ++i) values[i] = quants[i] * HalfToFloat(scales[i / 32]);
      return values;
    }
    if (element_ == "Q4") {
      const auto quants = run->Read(static_cast<uint8_t*>(cache.values), cache.count / 2);
      const auto scales = run->Read(reinterpret_cast<uint16_t*>(cache.scales), cache.count / 32);
      for (size_t i = 0; i < cache.count; ++i) {
        const int quant = quants[i / 32 * 16 + i % 16] >> (i % 32 < 16 ? 0 : 4) & 15;
        values[i] = static_cast<float>(quant - 8) * HalfToFloat(scales[i / 32]);
      }
      return Turned(values);
    }
    const auto bits = run->Read(static_cast<uint16_t*>(cache.values), cache.count);
    for (size_t i = 0; i < cache.count; ++i) {
      values[i] = element_ == "Half" ? HalfToFloat(bits[i]) : BFloat16ToFloat(bits[i]);
    }
    return values;
  }

  // Quantised: an element has a scale in common with others.
  bool quantised() const { return element_[0] == 'Q'; }
  // Of an element, and of the scales of so many.
  int64_t Bits16(int64_t count) const {
    return element_ == "Q4"                         ? count / 4
           : element_ == "Q8" || element_ == "E4m3" ? count / 2
           : element_ == "float"                    ? count * 2
                                                    : count;
  }
  int64_t ScaleBits16(int64_t count) const { return quantised() ? count / 32 : 0; }

  // The numbers that are rounded one by one.
  std::vector<double> Rounded(std::vector<double> values) const {
    return element_ == "Q4" ? Turned(values) : values;
  }
  // What errors of values are in them.
  std::vector<double> RoundedErrors(std::vector<double> errors) const {
    if (element_ != "Q4") return errors;
    std::vector<double> sums(errors.size());
    for (size_t i = 0; i < errors.size(); ++i) {
      for (size_t j = 0; j < 32; ++j) sums[i] += errors[i / 32 * 32 + j] / std::sqrt(32.0);
    }
    return sums;
  }

  // What rounding one of them may change: half a step of the type, which of E4m3 is a sixteenth of
  // the number or, below 2^-6, half of 2^-9; for Q8 half a quant of the
  // block's largest / 127 and the rounding of that to f16; for Q4 of the largest / 8, where 8 of
  // them the other way from the largest become 7.
  double Error(double value, double largest_of_block) const {
    if (element_ == "Q4") {
      const double quants = std::abs(value) > 7.4 / 8 * largest_of_block ? 1.01 : 0.51;
      return largest_of_block * (quants / 8 + 1.0 / 2048);
    }
    if (element_ == "Half") return std::abs(value) / 2048 + 3e-8;
    if (element_ == "E4m3") return std::abs(value) / 16 + 1.0 / 1024;
    if (element_ == "Bfloat16") return std::abs(value) / 256;
    if (element_ == "float") return std::abs(value) * 6e-8;
    return largest_of_block * (0.51 / 127 + 1.0 / 2048);
  }

  const std::string& element() const { return element_; }

  // What Upload gives cells of no given values, or a number near it.
  float mark() const { return element_ == "E4m3" ? kMaxE4M3 : 4711; }

 private:
  std::string element_;
};

}  // namespace renga::emulator
