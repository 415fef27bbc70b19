// The right kernels of the tests with all it takes to run them and to judge what comes out.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "ir/base/status.h"
#include "tests/emulator/selftest/support.h"

namespace renga::emulator {

// Ok where the results are right; an internal error otherwise, the emulator's own or "wrong result
// ...".
struct KernelRun {
  std::string file;
  absl::Status (*run)(const KernelLibrary& library, const Schedule& schedule);
};

inline void PrintTo(const KernelRun& run, std::ostream* os) { *os << run.file; }

inline absl::Status ExpectNear(double got, double want, double tolerance, size_t at) {
  if (std::abs(got - want) <= tolerance) return absl::OkStatus();  // false for NaN
  return absl::InternalError(
      StrCat("wrong result: at ", at, " expected ", want, " +- ", tolerance, ", got ", got));
}

inline absl::Status RunFlashDecode(const KernelLibrary& library, const Schedule& schedule) {
  constexpr int kKvHeads = 2, kShared = 4, kDim = 128, kContext = 37, kSplits = 3;
  constexpr int kHeads = kKvHeads * kShared;
  Emulator emulator;
  const LaunchOptions options{.schedule = schedule, .overlaps_previous = true};
  const auto q = NoiseOf(kHeads * kDim, 1);
  const auto k = HalvesOf(NoiseOf(kKvHeads * kContext * kDim, 2));
  const auto v = HalvesOf(NoiseOf(kKvHeads * kContext * kDim, 3));
  float* parts = Fresh<float>(&emulator, "parts", kHeads * kSplits * (2 + kDim));
  uint16_t* out = Fresh<uint16_t>(&emulator, "out", kHeads * kDim);
  const float scale = 0.3f;
  RENGA_RETURN_IF_ERROR(emulator.Launch(
      **library.Find("flash_decode"), {{kKvHeads, kSplits}, {128}, (2 * 16 + 16 * kDim) * 4},
      options, Upload(&emulator, "q", q), Upload(&emulator, "k", k), Upload(&emulator, "v", v),
      parts, kContext, kSplits, scale));
  RENGA_RETURN_IF_ERROR(emulator.Launch(**library.Find("flash_combine"), {{kHeads}, {128}}, options,
                                        parts, out, kSplits));
  const auto got = Download(&emulator, out, kHeads * kDim);
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

inline absl::Status RunGemmMma(const KernelLibrary& library, const Schedule& schedule) {
  constexpr int kM = 128, kN = 64, kK = 96;
  Emulator emulator;
  const auto a = HalvesOf(NoiseOf(kM * kK, 4)), b = HalvesOf(NoiseOf(kK * kN, 5));
  const auto a_values = ValuesOf(a), b_values = ValuesOf(b);
  float* c = Fresh<float>(&emulator, "c", kM * kN);
  RENGA_RETURN_IF_ERROR(emulator.Launch(
      **library.Find("gemm_mma"), {{kN / 64, kM / 64}, {128}, 2 * 64 * 40 * 2 + 2 * 32 * 72 * 2},
      {.schedule = schedule}, Upload(&emulator, "a", a), Upload(&emulator, "b", b), c, kN, kK));
  const auto got = Download(&emulator, c, kM * kN);
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

inline absl::Status RunGemmWgmma(const KernelLibrary& library, const Schedule& schedule) {
  // Rows, tokens (the second tile is not full), 7 tiles deep.
  constexpr int kM = 256, kN = 150, kK = 448;
  Emulator emulator;
  const auto w = HalvesOf(NoiseOf(kM * kK, 6)), x = HalvesOf(NoiseOf(kN * kK, 7));
  const auto w_values = ValuesOf(w), x_values = ValuesOf(x);
  RENGA_ASSIGN_OR_RETURN(const EncodedTensorMap map,
                         MakeTensorMap({.base = Upload(&emulator, "x", x),
                                        .element_bytes = 2,
                                        .rank = 2,
                                        .sizes = {kK, kN},
                                        .stride_bytes = {kK * 2},
                                        .box = {64, 128},
                                        .swizzle = Swizzle::k128Bytes}));
  float* y = Fresh<float>(&emulator, "y", kN * kM);
  RENGA_RETURN_IF_ERROR(emulator.Launch(**library.Find("gemm_wgmma"),
                                        {{kM / 128, 2}, {384}, 3 * 128 * 64 * 2 + 64},
                                        {.schedule = schedule, .overlaps_previous = true},
                                        Upload(&emulator, "w", w), map, y, kM, kN, kK));
  const auto got = Download(&emulator, y, kN * kM);
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

inline absl::Status RunSplitK(const KernelLibrary& library, const Schedule& schedule) {
  constexpr int kCount = 5000;
  constexpr uint32_t kBlocks = 7;
  Emulator emulator;
  const auto x = NoiseOf(kCount, 8);
  double sum = 0;
  for (const float value : x) sum += value;
  float* x_at = Upload(&emulator, "x", x);
  float* parts = Fresh<float>(&emulator, "parts", kBlocks);
  uint32_t* counter = Upload(&emulator, "counter", std::vector<uint32_t>{0});
  float* y = Fresh<float>(&emulator, "y", kBlocks);
  const double tolerance = kCount * 100 * 6e-8;  // partial sums stay below 100
  for (const char* name :
       {"split_sum", "split_sum", "split_sum_fence"}) {  // twice: it resets itself
    RENGA_RETURN_IF_ERROR(emulator.Launch(**library.Find(name), {{kBlocks}, {96}, 256},
                                          {.schedule = schedule}, x_at, parts, counter, y, kCount));
    RENGA_RETURN_IF_ERROR(ExpectNear(Download(&emulator, y, 1)[0], sum, tolerance, 0));
  }
  RENGA_RETURN_IF_ERROR(emulator.Launch(**library.Find("grid_sum"), {{kBlocks}, {96}, 128},
                                        {.schedule = schedule, .cooperative = true}, x_at, parts,
                                        counter, y, kCount));
  for (const float got : Download(&emulator, y, kBlocks)) {
    RENGA_RETURN_IF_ERROR(ExpectNear(got, sum, tolerance, 0));
  }
  return absl::OkStatus();
}

inline absl::Status RunChain(const KernelLibrary& library, const Schedule& schedule) {
  constexpr uint32_t kBlocks = 3, kThreads = 64, kCount = kBlocks * kThreads;
  Emulator emulator;
  const auto weight = NoiseOf(kCount, 10);
  std::vector<float> want = NoiseOf(kCount, 9);
  float* ping = Upload(&emulator, "ping", want);
  float* pong = Fresh<float>(&emulator, "pong", kCount);
  float* weight_at = Upload(&emulator, "weight", weight);
  for (int step = 0; step < 6; ++step) {
    const bool scales = step % 2 == 0;
    RENGA_RETURN_IF_ERROR(emulator.Launch(
        **library.Find(scales ? "chain_scale" : "chain_reverse"), {{kBlocks}, {kThreads}},
        {.schedule = schedule, .overlaps_previous = true}, ping, weight_at, pong));
    const std::vector<float> old = want;
    for (uint32_t i = 0; i < kCount; ++i) {
      want[i] = scales ? old[i] * weight[i] : old[kCount - 1 - i] + weight[i];
    }
    std::swap(ping, pong);
  }
  const auto got = Download(&emulator, ping, kCount);
  for (uint32_t i = 0; i < kCount; ++i) RENGA_RETURN_IF_ERROR(ExpectNear(got[i], want[i], 0, i));
  return absl::OkStatus();
}

inline const std::vector<KernelRun>& KernelRuns() {
  static const auto& runs = *new std::vector<KernelRun>{{"flash_decode.cu", RunFlashDecode},
                                                        {"gemm_mma.cu", RunGemmMma},
                                                        {"gemm_wgmma.cu", RunGemmWgmma},
                                                        {"split_k.cu", RunSplitK},
                                                        {"chain.cu", RunChain}};
  return runs;
}

}  // namespace renga::emulator
