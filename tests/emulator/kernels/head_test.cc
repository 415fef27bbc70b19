// head: logits and the best token of them.
#include <cmath>
#include <limits>

#include "codegen/emit/kernel_shapes.h"
#include "codegen/kernels/args.cuh"
#include "tests/emulator/kernels/support.h"
#include "tests/emulator/kernels/weights.h"

namespace renga::emulator {
namespace {

using kernels::HeadArgs;

constexpr int kRows = 9, kWidth = 64, kVocabulary = 333;

const CaseLibrary* Library() {
  static const CaseLibrary* library = [] {
    return CompileCases({{"head", R"(#include "codegen/kernels/head.cuh"
using namespace renga::kernels;
struct Config {
  using Weight = Packed<F16, 333, 64>;
  static constexpr int kTokens = 9, kWarps = 2;
  static constexpr bool kNorm = false;
  static constexpr float kEps = 0;
};
extern "C" __global__ void head(const HeadArgs args) { Head<Config>(args); }
)"}}).release();
  }();
  return library;
}

struct Result {
  std::vector<float> logits;
  std::vector<int32_t> next;
};

Result RunHead(const TestWeight& weight, const std::vector<float>& x,
               const std::vector<float>& bias, int rows) {
  const auto bytes = UnderAllSchedules<float>(*Library(), [&](KernelRun& run) {
    HeadArgs args = {};
    args.x = run.Input("x", x);
    args.weight = run.Input("weight", weight.packed);
    args.bias = run.Input("bias", bias);
    args.logits = run.Output<float>("logits", rows * kVocabulary);
    args.next = run.Output<int32_t>("next", rows);
    args.best = run.Input("best", std::vector<uint64_t>(rows));
    args.ticket = run.Input("ticket", std::vector<uint32_t>(1));
    args.rows = rows;
    // Twice: the second finds what the first left.
    for (int i = 0; i < 2; ++i) {
      run.Launch("head", {5}, 64, codegen::HeadShared(2, kRows, weight.layout.padded_k()).At(rows),
                 args);
      if (testing::Test::HasFatalFailure()) return std::vector<float>();
    }
    std::vector<float> all = run.Read(args.logits, rows * kVocabulary);
    for (const int32_t next : run.Read(args.next, rows)) all.push_back(static_cast<float>(next));
    return all;
  });
  Result result;
  if (bytes.empty()) return result;
  result.logits.assign(bytes.begin(), bytes.begin() + rows * kVocabulary);
  for (int r = 0; r < rows; ++r) {
    result.next.push_back(static_cast<int32_t>(bytes[rows * kVocabulary + r]));
  }
  return result;
}

TEST(Head, LogitsAndTheBest) {
  RENGA_NEED_KERNELS(Library());
  Random random(9);
  const TestWeight weight = MakeWeight(DType::kF16, kVocabulary, kWidth, 0.1f, &random);
  const std::vector<float> bias = random.Vector(kVocabulary, 0.1f);
  for (const int rows : {1, kRows}) {
    const std::vector<float> x = random.Vector(rows * kWidth, 1);
    const Result result = RunHead(weight, x, bias, rows);
    if (HasFatalFailure()) return;
    const Product exact = Multiply(weight, {x.begin(), x.end()}, rows);
    for (int r = 0; r < rows; ++r) {
      int best = 0;
      for (int n = 0; n < kVocabulary; ++n) {
        const int i = r * kVocabulary + n;
        ASSERT_NEAR(result.logits[i], exact.values[i] + bias[n], exact.allowed[i] + 1e-6);
        if (result.logits[i] > result.logits[r * kVocabulary + best]) best = n;
      }
      EXPECT_EQ(result.next[r], best);
    }
  }
}

// x = 0, so the logits are the bias.
TEST(Head, TiesAndValuesThatSpoilTheChoice) {
  RENGA_NEED_KERNELS(Library());
  Random random(9);
  const TestWeight weight = MakeWeight(DType::kF16, kVocabulary, kWidth, 0.1f, &random);
  const std::vector<float> x(kWidth);
  const auto next = [&](const std::vector<float>& bias) {
    const Result result = RunHead(weight, x, bias, 1);
    return result.next.empty() ? -2 : result.next[0];
  };
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> bias(kVocabulary, -3);
  EXPECT_EQ(next(bias), 0);
  bias[332] = bias[17] = bias[200] = -1;
  EXPECT_EQ(next(bias), 17);
  bias[5] = 0.0f;
  bias[4] = -0.0f;
  EXPECT_EQ(next(bias), 4);
  bias[300] = std::nanf("");
  EXPECT_EQ(next(bias), -1);
  bias[300] = kInfinity;
  EXPECT_EQ(next(bias), -1);
  bias.assign(kVocabulary, -kInfinity);
  EXPECT_EQ(next(bias), -1);
  bias[331] = -1e30f;
  EXPECT_EQ(next(bias), 331);
}

}  // namespace
}  // namespace renga::emulator
