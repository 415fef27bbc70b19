// The right kernels of the tests with all it takes to run them and to judge what comes out.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "ir/base/status.h"
#include "tests/emulator/cases/case_library.h"
#include "tests/emulator/selftest/support.h"

namespace renga::emulator {

// Ok where the results are right; an internal error otherwise, the emulator's own or "wrong result
// ...".
struct RightKernel {
  std::string file;
  std::vector<std::string> kernels;  // in it
  absl::Status (*run)(CaseRun& device);
};

inline void PrintTo(const RightKernel& kernel, std::ostream* os) { *os << kernel.file; }

// A kernel's arguments, a launch, and buffers on a device. Addresses are null where that fails,
// which the launch will not take.
template <typename... Values>
absl::Status Launch(CaseRun& device, const std::string& kernel, const CaseLaunch& launch,
                    Values... values) {
  void* arguments[] = {static_cast<void*>(&values)...};
  return device.Launch(kernel, launch, arguments);
}
template <typename T>
T* Fresh(CaseRun& device, const std::string& name, size_t count) {
  auto base = device.Allocate(name, count * sizeof(T));
  EXPECT_TRUE(base.ok()) << base.status();
  return base.ok() ? static_cast<T*>(*base) : nullptr;
}
template <typename T>
T* Upload(CaseRun& device, const std::string& name, const std::vector<T>& values) {
  T* base = Fresh<T>(device, name, values.size());
  const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
  if (base != nullptr) {
    EXPECT_TRUE(device.Write(base, {bytes, values.size() * sizeof(T)}).ok());
  }
  return base;
}
template <typename T>
absl::StatusOr<std::vector<T>> Download(CaseRun& device, const T* from, size_t count) {
  std::vector<T> values(count);
  auto* bytes = reinterpret_cast<uint8_t*>(values.data());
  RENGA_RETURN_IF_ERROR(device.Read(from, {bytes, count * sizeof(T)}));
  return values;
}

inline absl::Status ExpectNear(double got, double want, double tolerance, size_t at) {
  if (std::abs(got - want) <= tolerance) return absl::OkStatus();  // false for NaN
  return absl::InternalError(
      StrCat("wrong result: at ", at, " expected ", want, " +- ", tolerance, ", got ", got));
}

inline absl::Status RunFlashDecode(CaseRun& device) {
  constexpr int kKvHeads = 2, kShared = 4, kDim = 128, kContext = 37, kSplits = 3;
  constexpr int kHeads = kKvHeads * kShared;
  const auto q = NoiseOf(kHeads * kDim, 1);
  const auto k = HalvesOf(NoiseOf(kKvHeads * kContext * kDim, 2));
  const auto v = HalvesOf(NoiseOf(kKvHeads * kContext * kDim, 3));
  float* parts = Fresh<float>(device, "parts", kHeads * kSplits * (2 + kDim));
  uint16_t* out = Fresh<uint16_t>(device, "out", kHeads * kDim);
  const float scale = 0.3f;
  RENGA_RETURN_IF_ERROR(Launch(device, "flash_decode",
                               {{kKvHeads, kSplits}, 128, (2 * 16 + 16 * kDim) * 4, true},
                               Upload(device, "q", q), Upload(device, "k", k),
                               Upload(device, "v", v), parts, kContext, kSplits, scale));
  RENGA_RETURN_IF_ERROR(
      Launch(device, "flash_combine", {{kHeads}, 128, 0, true}, parts, out, kSplits));
  RENGA_ASSIGN_OR_RETURN(const auto got, Download(device, out, kHeads * kDim));
  for (int h = 0; h < kHeads; ++h) {
    std::vector<double> values(kDim);
    double total = 0;
    for (int p = 0; p < kContext; ++p) {
      const int at = (h / kShared * kContext + p) * kDim;
      double score = 0;
      for (int i = 0; i < kDim; ++i) score += double{q[h * kDim + i]} * HalfValue(k[at + i]);
      const double weight = std::exp(score * scale);
      total += weight;
      for (int i = 0; i < kDim; ++i) values[i] += weight * HalfValue(v[at + i]);
    }
    for (int i = 0; i < kDim; ++i) {
      // Averages of numbers below 1, rounded to f16: half a unit of 2^-11 below 1, and f32 sums
      // beside it.
      RENGA_RETURN_IF_ERROR(
          ExpectNear(HalfValue(got[h * kDim + i]), values[i] / total, 3e-4, h * kDim + i));
    }
  }
  return absl::OkStatus();
}

inline absl::Status RunGemmMma(CaseRun& device) {
  constexpr int kM = 128, kN = 64, kK = 96;
  const auto a = HalvesOf(NoiseOf(kM * kK, 4)), b = HalvesOf(NoiseOf(kK * kN, 5));
  const auto a_values = ValuesOf(a), b_values = ValuesOf(b);
  float* c = Fresh<float>(device, "c", kM * kN);
  RENGA_RETURN_IF_ERROR(Launch(device, "gemm_mma",
                               {{kN / 64, kM / 64}, 128, 2 * 64 * 40 * 2 + 2 * 32 * 72 * 2},
                               Upload(device, "a", a), Upload(device, "b", b), c, kN, kK));
  RENGA_ASSIGN_OR_RETURN(const auto got, Download(device, c, kM * kN));
  for (int i = 0; i < kM; ++i) {
    for (int j = 0; j < kN; ++j) {
      double sum = 0;
      for (int k = 0; k < kK; ++k) sum += double{a_values[i * kK + k]} * b_values[k * kN + j];
      // f32 sums of 96 products below 1: 96 roundings of at most 96 * 2^-24 each.
      RENGA_RETURN_IF_ERROR(ExpectNear(got[i * kN + j], sum, 96 * 96 * 6e-8, i * kN + j));
    }
  }
  return absl::OkStatus();
}

inline absl::Status RunGemmWgmma(CaseRun& device) {
  // Rows, tokens (the second tile is not full), 7 tiles deep.
  constexpr int kM = 256, kN = 150, kK = 448;
  const auto w = HalvesOf(NoiseOf(kM * kK, 6)), x = HalvesOf(NoiseOf(kN * kK, 7));
  const auto w_values = ValuesOf(w), x_values = ValuesOf(x);
  RENGA_ASSIGN_OR_RETURN(const EncodedTensorMap map,
                         device.EncodeMap({.base = Upload(device, "x", x),
                                           .element_bytes = 2,
                                           .rank = 2,
                                           .sizes = {kK, kN},
                                           .stride_bytes = {kK * 2},
                                           .box = {64, 128},
                                           .swizzle = Swizzle::k128Bytes}));
  float* y = Fresh<float>(device, "y", kN * kM);
  RENGA_RETURN_IF_ERROR(Launch(device, "gemm_wgmma",
                               {{kM / 128, 2}, 384, 3 * 128 * 64 * 2 + 64, true},
                               Upload(device, "w", w), map, y, kM, kN, kK));
  RENGA_ASSIGN_OR_RETURN(const auto got, Download(device, y, kN * kM));
  for (int t = 0; t < kN; ++t) {
    for (int r = 0; r < kM; ++r) {
      double sum = 0;
      for (int k = 0; k < kK; ++k) sum += double{w_values[r * kK + k]} * x_values[t * kK + k];
      // f32 sums of 448 products below 1; sums of such noise stay below 32, so 448 roundings of 32
      // * 2^-24.
      RENGA_RETURN_IF_ERROR(ExpectNear(got[t * kM + r], sum, 448 * 2e-6, t * kM + r));
    }
  }
  return absl::OkStatus();
}

inline absl::Status RunSplitK(CaseRun& device) {
  constexpr int kCount = 5000;
  constexpr uint32_t kBlocks = 7;
  const auto x = NoiseOf(kCount, 8);
  double sum = 0;
  for (const float value : x) sum += value;
  float* x_at = Upload(device, "x", x);
  float* parts = Fresh<float>(device, "parts", kBlocks);
  uint32_t* counter = Upload(device, "counter", std::vector<uint32_t>{0});
  float* y = Fresh<float>(device, "y", kBlocks);
  const double tolerance = kCount * 100 * 6e-8;  // partial sums stay below 100
  for (const char* name :
       {"split_sum", "split_sum", "split_sum_fence"}) {  // twice: it resets itself
    RENGA_RETURN_IF_ERROR(
        Launch(device, name, {{kBlocks}, 96, 256}, x_at, parts, counter, y, kCount));
    RENGA_ASSIGN_OR_RETURN(const auto got, Download(device, y, 1));
    RENGA_RETURN_IF_ERROR(ExpectNear(got[0], sum, tolerance, 0));
  }
  RENGA_RETURN_IF_ERROR(Launch(device, "grid_sum", {{kBlocks}, 96, 128, false, true}, x_at, parts,
                               counter, y, kCount));
  RENGA_ASSIGN_OR_RETURN(const auto all, Download(device, y, kBlocks));
  for (const float got : all) {
    RENGA_RETURN_IF_ERROR(ExpectNear(got, sum, tolerance, 0));
  }
  return absl::OkStatus();
}

inline absl::Status RunChain(CaseRun& device) {
  constexpr uint32_t kBlocks = 3, kThreads = 64, kCount = kBlocks * kThreads;
  const auto weight = NoiseOf(kCount, 10);
  std::vector<float> want = NoiseOf(kCount, 9);
  float* ping = Upload(device, "ping", want);
  float* pong = Fresh<float>(device, "pong", kCount);
  float* weight_at = Upload(device, "weight", weight);
  for (int step = 0; step < 6; ++step) {
    const bool scales = step % 2 == 0;
    RENGA_RETURN_IF_ERROR(Launch(device, scales ? "chain_scale" : "chain_reverse",
                                 {{kBlocks}, kThreads, 0, true}, ping, weight_at, pong));
    const std::vector<float> old = want;
    for (uint32_t i = 0; i < kCount; ++i) {
      want[i] = scales ? old[i] * weight[i] : old[kCount - 1 - i] + weight[i];
    }
    std::swap(ping, pong);
  }
  RENGA_ASSIGN_OR_RETURN(const auto got, Download(device, ping, kCount));
  for (uint32_t i = 0; i < kCount; ++i) RENGA_RETURN_IF_ERROR(ExpectNear(got[i], want[i], 0, i));
  return absl::OkStatus();
}

inline const std::vector<RightKernel>& RightKernels() {
  static const auto& kernels = *new std::vector<RightKernel>{
      {"flash_decode.cu", {"flash_decode", "flash_combine"}, RunFlashDecode},
      {"gemm_mma.cu", {"gemm_mma"}, RunGemmMma},
      {"gemm_wgmma.cu", {"gemm_wgmma"}, RunGemmWgmma},
      {"split_k.cu", {"split_sum", "split_sum_fence", "grid_sum"}, RunSplitK},
      {"chain.cu", {"chain_scale", "chain_reverse"}, RunChain}};
  return kernels;
}

}  // namespace renga::emulator
