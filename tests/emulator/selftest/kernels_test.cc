// Right kernels of every kind the emulator knows: right results under every schedule, and no
// complaint.

#include <cmath>

#include "tests/emulator/selftest/support.h"

namespace renga::emulator {
namespace {

class RightKernels : public testing::TestWithParam<int> {
 protected:
  LaunchOptions Options(bool overlaps = false, bool cooperative = false) const {
    return {.schedule = TestSchedules()[GetParam()].schedule,
            .overlaps_previous = overlaps,
            .cooperative = cooperative};
  }
  Emulator emulator_;
};

INSTANTIATE_TEST_SUITE_P(Schedules, RightKernels,
                         testing::Range(0, static_cast<int>(TestSchedules().size())),
                         [](const auto& info) {
                           std::string name = TestSchedules()[info.param].name;
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

TEST_P(RightKernels, FlashDecode) {
  constexpr int kKvHeads = 2, kShared = 4, kDim = 128, kContext = 37, kSplits = 3;
  constexpr int kHeads = kKvHeads * kShared;
  const auto q = NoiseOf(kHeads * kDim, 1);
  const auto k = HalvesOf(NoiseOf(kKvHeads * kContext * kDim, 2));
  const auto v = HalvesOf(NoiseOf(kKvHeads * kContext * kDim, 3));
  float* q_at = Upload(&emulator_, "q", q);
  uint16_t* k_at = Upload(&emulator_, "k", k);
  uint16_t* v_at = Upload(&emulator_, "v", v);
  float* parts = Fresh<float>(&emulator_, "parts", kHeads * kSplits * (2 + kDim));
  uint16_t* out = Fresh<uint16_t>(&emulator_, "out", kHeads * kDim);
  const float scale = 0.3f;
  absl::Status status = emulator_.Launch(
      TestKernel("flash_decode"), {{kKvHeads, kSplits}, {128}, (2 * 16 + 16 * kDim) * 4},
      Options(true), q_at, k_at, v_at, parts, kContext, kSplits, scale);
  ASSERT_TRUE(status.ok()) << status;
  status = emulator_.Launch(TestKernel("flash_combine"), {{kHeads}, {128}}, Options(true), parts,
                            out, kSplits);
  ASSERT_TRUE(status.ok()) << status;
  const auto got = Download(&emulator_, out, kHeads * kDim);
  for (int h = 0; h < kHeads; ++h) {
    std::vector<double> weights(kContext), values(kDim);
    double total = 0;
    for (int p = 0; p < kContext; ++p) {
      const int at = (h / kShared * kContext + p) * kDim;
      double score = 0;
      for (int i = 0; i < kDim; ++i) score += double{q[h * kDim + i]} * HalfValue(k[at + i]);
      weights[p] = std::exp(score * scale);
      total += weights[p];
      for (int i = 0; i < kDim; ++i) values[i] += weights[p] * HalfValue(v[at + i]);
    }
    for (int i = 0; i < kDim; ++i) {
      // Averages of numbers below 1, rounded to f16: half a unit of 2^-11 below 1, and f32 sums
      // beside it.
      EXPECT_NEAR(HalfValue(got[h * kDim + i]), values[i] / total, 3e-4) << h << "," << i;
    }
  }
}

TEST_P(RightKernels, GemmThroughCopyAsyncAndMma) {
  constexpr int kM = 128, kN = 64, kK = 96;
  const auto a = HalvesOf(NoiseOf(kM * kK, 4)), b = HalvesOf(NoiseOf(kK * kN, 5));
  const auto a_values = ValuesOf(a), b_values = ValuesOf(b);
  float* c = Fresh<float>(&emulator_, "c", kM * kN);
  const absl::Status status = emulator_.Launch(
      TestKernel("gemm_mma"), {{kN / 64, kM / 64}, {128}, 2 * 64 * 40 * 2 + 2 * 32 * 72 * 2},
      Options(), Upload(&emulator_, "a", a), Upload(&emulator_, "b", b), c, kN, kK);
  ASSERT_TRUE(status.ok()) << status;
  const auto got = Download(&emulator_, c, kM * kN);
  for (int i = 0; i < kM; ++i) {
    for (int j = 0; j < kN; ++j) {
      double sum = 0;
      for (int k = 0; k < kK; ++k) sum += double{a_values[i * kK + k]} * b_values[k * kN + j];
      // f32 sums of 96 products below 1: 96 roundings of at most 96 * 2^-24 each.
      ASSERT_NEAR(got[i * kN + j], sum, 96 * 96 * 6e-8) << i << "," << j;
    }
  }
}

TEST_P(RightKernels, GemmThroughTilesAndWgmma) {
  constexpr int kM = 256, kN = 150,
                kK = 448;  // rows, tokens (the second tile is not full), 7 tiles deep
  const auto w = HalvesOf(NoiseOf(kM * kK, 6)), x = HalvesOf(NoiseOf(kN * kK, 7));
  const auto w_values = ValuesOf(w), x_values = ValuesOf(x);
  uint16_t* x_at = Upload(&emulator_, "x", x);
  const auto map = MakeTensorMap({.base = x_at,
                                  .element_bytes = 2,
                                  .rank = 2,
                                  .sizes = {kK, kN},
                                  .stride_bytes = {kK * 2},
                                  .box = {64, 128},
                                  .swizzle = Swizzle::k128Bytes});
  ASSERT_TRUE(map.ok()) << map.status();
  float* y = Fresh<float>(&emulator_, "y", kN * kM);
  const absl::Status status =
      emulator_.Launch(TestKernel("gemm_wgmma"), {{kM / 128, 2}, {384}, 3 * 128 * 64 * 2 + 64},
                       Options(true), Upload(&emulator_, "w", w), *map, y, kM, kN, kK);
  ASSERT_TRUE(status.ok()) << status;
  const auto got = Download(&emulator_, y, kN * kM);
  for (int t = 0; t < kN; ++t) {
    for (int r = 0; r < kM; ++r) {
      double sum = 0;
      for (int k = 0; k < kK; ++k) sum += double{w_values[r * kK + k]} * x_values[t * kK + k];
      // f32 sums of 448 products below 1; sums of such noise stay below 32, so 448 roundings of 32
      // * 2^-24.
      ASSERT_NEAR(got[t * kM + r], sum, 448 * 2e-6) << t << "," << r;
    }
  }
}

TEST_P(RightKernels, SumsOverBlocks) {
  constexpr int kCount = 5000;
  constexpr uint32_t kBlocks = 7;
  const auto x = NoiseOf(kCount, 8);
  double sum = 0;
  for (const float value : x) sum += value;
  float* x_at = Upload(&emulator_, "x", x);
  float* parts = Fresh<float>(&emulator_, "parts", kBlocks);
  uint32_t* counter = Upload(&emulator_, "counter", std::vector<uint32_t>{0});
  float* y = Fresh<float>(&emulator_, "y", kBlocks);
  const double tolerance = kCount * 100 * 6e-8;  // partial sums stay below 100
  for (const char* name :
       {"split_sum", "split_sum", "split_sum_fence"}) {  // twice: it resets itself
    const absl::Status status = emulator_.Launch(TestKernel(name), {{kBlocks}, {96}, 256},
                                                 Options(), x_at, parts, counter, y, kCount);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_NEAR(Download(&emulator_, y, 1)[0], sum, tolerance) << name;
  }
  const absl::Status status =
      emulator_.Launch(TestKernel("grid_sum"), {{kBlocks}, {96}, 128}, Options(false, true), x_at,
                       parts, counter, y, kCount);
  ASSERT_TRUE(status.ok()) << status;
  for (const float got : Download(&emulator_, y, kBlocks)) EXPECT_NEAR(got, sum, tolerance);
}

TEST_P(RightKernels, ChainOfDependentLaunches) {
  constexpr uint32_t kBlocks = 3, kThreads = 64, kCount = kBlocks * kThreads;
  const auto x = NoiseOf(kCount, 9), weight = NoiseOf(kCount, 10);
  float* ping = Upload(&emulator_, "ping", x);
  float* pong = Fresh<float>(&emulator_, "pong", kCount);
  float* weight_at = Upload(&emulator_, "weight", weight);
  std::vector<float> want = x;
  for (int step = 0; step < 6; ++step) {
    const absl::Status status =
        emulator_.Launch(TestKernel(step % 2 == 0 ? "chain_scale" : "chain_reverse"),
                         {{kBlocks}, {kThreads}}, Options(true), ping, weight_at, pong);
    ASSERT_TRUE(status.ok()) << status;
    const std::vector<float> old = want;
    for (uint32_t i = 0; i < kCount; ++i) {
      want[i] = step % 2 == 0 ? old[i] * weight[i] : old[kCount - 1 - i] + weight[i];
    }
    std::swap(ping, pong);
  }
  EXPECT_EQ(Download(&emulator_, ping, kCount), want);
}

}  // namespace
}  // namespace renga::emulator
