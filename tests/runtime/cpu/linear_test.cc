#include <cmath>

#include "gtest/gtest.h"
#include "hwy/targets.h"
#include "tests/runtime/cpu/kernel_harness.h"
#include "tests/runtime/cpu/random_weight.h"

namespace renga::cpu {
namespace {

using ::testing::HasSubstr;

void CheckProduct(const Tensor& w, const std::vector<float>& x, const std::vector<float>& y,
                  const std::vector<float>& bias) {
  const int64_t n = w.sizes[0], k = w.sizes[1];
  const std::vector<float> values = Values(w);
  for (int64_t t = 0; t < static_cast<int64_t>(x.size()) / k; ++t) {
    for (int64_t r = 0; r < n; ++r) {
      double sum = bias.empty() ? 0 : bias[r];
      for (int64_t i = 0; i < k; ++i) sum += double{values[r * k + i]} * x[t * k + i];
      const double bound = Tolerance(w.type.dtype, values.data() + r * k, x.data() + t * k, k) +
                           std::abs(sum) * 1e-6;
      ASSERT_NEAR(y[t * n + r], sum, bound) << Name(w.type.dtype) << " token " << t << " row " << r;
    }
  }
}

std::vector<float> Linear(Tensor& w, const std::vector<float>& x, const std::vector<float>& bias,
                          ThreadPool& pool) {
  const int64_t n = w.sizes[0], k = w.sizes[1];
  const int64_t tokens = static_cast<int64_t>(x.size()) / k;
  Tensor input = Tensor::Floats({tokens, k}, x);
  Tensor b = Tensor::Floats({n}, bias.empty() ? std::vector<float>(n) : bias);
  Tensor y = Tensor::Make(DType::kF32, {tokens, n});
  RunStep("linear", {&input, &w, bias.empty() ? nullptr : &b}, {&y}, {}, pool);
  return y.floats();
}

class LinearTest : public ::testing::TestWithParam<DType> {};

INSTANTIATE_TEST_SUITE_P(Types, LinearTest, ::testing::ValuesIn(kTypes),
                         [](const auto& info) { return std::string(Name(info.param)); });

TEST_P(LinearTest, MatchesDoubleLoops) {
  ThreadPool pool(2);
  const int64_t block = Info(GetParam()).block_elements;
  const std::vector<int64_t> columns =
      block == 1 ? std::vector<int64_t>{1, 33, 100} : std::vector<int64_t>{block, 3 * block};
  for (const int64_t k : columns) {
    for (const int64_t n : {1, 5, 67}) {
      Tensor w = RandomWeight(GetParam(), n, k, static_cast<int>(k + n));
      for (const int64_t tokens : {1, 2, 3, 7, 33}) {
        const std::vector<float> x = RandomFloats(tokens * k, static_cast<int>(tokens));
        const std::vector<float> bias = n == 5 ? RandomFloats(n, 9) : std::vector<float>();
        CheckProduct(w, x, Linear(w, x, bias, pool), bias);
      }
    }
  }
}

TEST_P(LinearTest, BitsDependNeitherOnBatchNorOnThreads) {
  ThreadPool one(1), three(3);
  const int64_t k = 2048 + 256, n = 37, tokens = 41;
  Tensor w = RandomWeight(GetParam(), n, k, 1);
  const std::vector<float> x = RandomFloats(tokens * k, 2);
  const std::vector<float> all = Linear(w, x, {}, three);
  EXPECT_EQ(all, Linear(w, x, {}, one));
  for (const int64_t size : {1, 2, 3, 5}) {
    for (int64_t t = 0; t + size <= tokens; t += 9) {
      const std::vector<float> part(x.begin() + t * k, x.begin() + (t + size) * k);
      const std::vector<float> y = Linear(w, part, {}, one);
      EXPECT_EQ(y, std::vector<float>(all.begin() + t * n, all.begin() + (t + size) * n))
          << size << " tokens from " << t;
    }
  }
}

TEST_P(LinearTest, OutliersZerosAndDenormals) {
  ThreadPool pool(1);
  const int64_t k = 768;
  Tensor w = RandomWeight(GetParam(), 3, k, 5);
  std::vector<float> x = RandomFloats(5 * k, 6);
  for (int64_t i = 0; i < k; ++i) {
    x[i] = 0;
    if (i % 100 == 7) x[k + i] = 1e4f;
    x[2 * k + i] = i % 2 == 0 ? 1e-40f : -3e-39f;
    x[3 * k + i] *= 1e30f;
    if (i < 32) x[4 * k + i] = 1e-30f;
  }
  CheckProduct(w, x, Linear(w, x, {}, pool), {});
}

TEST_P(LinearTest, InfinityAndNaNAreNotHidden) {
  ThreadPool pool(1);
  const int64_t k = 256;
  Tensor w = RandomWeight(GetParam(), 2, k, 8);
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    std::vector<float> x = RandomFloats(k, 6);
    x[77] = bad;
    for (const float y : Linear(w, x, {}, pool)) EXPECT_FALSE(std::isfinite(y));
  }
}

// Rows decoded by embed equal the reference exactly, in every format.
TEST_P(LinearTest, EmbedDecodesExactly) {
  ThreadPool pool(2);
  const DType type = GetParam();
  const int64_t k = 3 * std::max(Info(type).block_elements, 11);
  Tensor table = RandomWeight(type, 7, k, 3);
  Tensor tokens = Tensor::Ints({4}, {6, 0, 3, 3});
  Tensor y = Tensor::Make(DType::kF32, {4, k});
  RunStep("embed", {&tokens, &table}, {&y}, {}, pool);
  const std::vector<float> values = Values(table);
  for (const int64_t t : {0, 1, 2, 3}) {
    const int64_t row = tokens.ints()[t];
    for (int64_t i = 0; i < k; ++i) {
      ASSERT_EQ(y.floats()[t * k + i], values[row * k + i]) << "token " << t << " element " << i;
    }
  }
}

TEST_P(LinearTest, ExpertLinearEqualsLinear) {
  ThreadPool pool(2);
  const int64_t k = 256, n = 21, experts = 3, used = 2, tokens = 9;
  Tensor w = RandomWeight(GetParam(), experts * n, k, 3);
  const size_t matrix = w.bytes.size() / experts;
  std::vector<Tensor> single;
  for (int64_t e = 0; e < experts; ++e) {
    single.push_back(Tensor::Make(GetParam(), {n, k}));
    std::memcpy(single.back().bytes.data(), w.bytes.data() + e * matrix, matrix);
  }
  w.sizes = {experts, n, k};
  w.type.shape = {{-1, experts}, {-1, n}, {-1, k}};
  std::vector<int32_t> routes;
  for (int64_t i = 0; i < tokens * used; ++i) routes.push_back((i * 5 + i / 4) % 3);
  Tensor ids = Tensor::Ints({tokens, used}, routes);
  for (const bool own_x : {false, true}) {
    const std::vector<float> x = RandomFloats(tokens * (own_x ? used : 1) * k, 4);
    Tensor input = own_x ? Tensor::Floats({tokens, used, k}, x) : Tensor::Floats({tokens, k}, x);
    Tensor y = Tensor::Make(DType::kF32, {tokens, used, n});
    RunStep("expert_linear", {&input, &w, &ids}, {&y}, {}, pool);
    for (int64_t i = 0; i < tokens * used; ++i) {
      const int64_t row = own_x ? i : i / used;
      const std::vector<float> one(x.begin() + row * k, x.begin() + (row + 1) * k);
      const std::vector<float> all = y.floats();
      EXPECT_EQ(Linear(single[routes[i]], one, {}, pool),
                std::vector<float>(all.begin() + i * n, all.begin() + (i + 1) * n));
    }
  }
}

class Rows8Test : public ::testing::TestWithParam<DType> {};

std::vector<DType> Rows8Types() {
  const absl::Span<const DType> types = FindLayout("rows8")->types;
  return {types.begin(), types.end()};
}

INSTANTIATE_TEST_SUITE_P(Types, Rows8Test, ::testing::ValuesIn(Rows8Types()),
                         [](const auto& info) { return std::string(Name(info.param)); });

// On every instruction set that this machine has, whose vectors hold four or eight rows.
TEST_P(Rows8Test, MatchesDoubleLoops) {
  const int64_t all = hwy::SupportedTargets();
  int tried = 0;
  for (int64_t left = all; left != 0; left &= left - 1) {
    const int64_t target = left & -left;
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    SCOPED_TRACE(hwy::TargetName(target));
    ++tried;
    ThreadPool pool(2);
    const int64_t block = Info(GetParam()).block_elements;
    for (const int64_t k : {block, 3 * block, 1024 + 256 + block}) {
      for (const int64_t n : {1, 8, 67}) {
        Tensor w = RandomWeight(GetParam(), n, k, static_cast<int>(k + n));
        Tensor packed = Pack8(w);
        for (const int64_t tokens : {1, 2, 7, 13}) {
          const std::vector<float> x = RandomFloats(tokens * k, static_cast<int>(tokens));
          const std::vector<float> bias = n == 8 ? RandomFloats(n, 9) : std::vector<float>();
          CheckProduct(w, x, Linear(packed, x, bias, pool), bias);
        }
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  EXPECT_GE(tried, 1);
}

TEST_P(Rows8Test, BitsDependNeitherOnBatchNorOnThreads) {
  ThreadPool one(1), three(3);
  const int64_t k = 2048 + 256, n = 137, tokens = 41;
  Tensor w = RandomWeight(GetParam(), n, k, 1), packed = Pack8(w);
  const std::vector<float> x = RandomFloats(tokens * k, 2);
  const std::vector<float> all = Linear(packed, x, {}, three);
  EXPECT_EQ(all, Linear(packed, x, {}, one));
  for (const int64_t size : {1, 2, 3, 5, 12}) {
    for (int64_t t = 0; t + size <= tokens; t += 9) {
      const std::vector<float> part(x.begin() + t * k, x.begin() + (t + size) * k);
      EXPECT_EQ(Linear(packed, part, {}, one),
                std::vector<float>(all.begin() + t * n, all.begin() + (t + size) * n))
          << size << " tokens from " << t;
    }
  }
}

TEST_P(Rows8Test, OutliersZerosInfinitiesAndNaN) {
  ThreadPool pool(1);
  const int64_t k = 768;
  Tensor w = RandomWeight(GetParam(), 3, k, 5), packed = Pack8(w);
  std::vector<float> x = RandomFloats(5 * k, 6);
  for (int64_t i = 0; i < k; ++i) {
    x[i] = 0;
    if (i % 100 == 7) x[k + i] = 1e4f;
    x[2 * k + i] = i % 2 == 0 ? 1e-40f : -3e-39f;
    x[3 * k + i] *= 1e30f;
    if (i < 32) x[4 * k + i] = 1e-30f;
  }
  CheckProduct(w, x, Linear(packed, x, {}, pool), {});
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    std::vector<float> one = RandomFloats(k, 6);
    one[77] = bad;
    for (const float y : Linear(packed, one, {}, pool)) EXPECT_FALSE(std::isfinite(y));
  }
}

// Matrices whose rows are no multiple of a group are padded one by one.
TEST_P(Rows8Test, ExpertLinearEqualsLinear) {
  ThreadPool pool(2);
  const int64_t k = 256, n = 21, experts = 3, tokens = 9;
  Tensor w = RandomWeight(GetParam(), experts * n, k, 3);
  const size_t matrix = w.bytes.size() / experts;
  std::vector<Tensor> single;
  for (int64_t e = 0; e < experts; ++e) {
    Tensor one = Tensor::Make(GetParam(), {n, k});
    std::memcpy(one.bytes.data(), w.bytes.data() + e * matrix, matrix);
    single.push_back(Pack8(one));
  }
  w.sizes = {experts, n, k};
  w.type.shape = {{-1, experts}, {-1, n}, {-1, k}};
  Tensor packed = Pack8(w);
  std::vector<int32_t> routes;
  for (int64_t i = 0; i < tokens; ++i) routes.push_back(static_cast<int32_t>(i * 5 % 3));
  Tensor ids = Tensor::Ints({tokens, 1}, routes);
  const std::vector<float> x = RandomFloats(tokens * k, 4);
  Tensor input = Tensor::Floats({tokens, k}, x);
  Tensor y = Tensor::Make(DType::kF32, {tokens, 1, n});
  RunStep("expert_linear", {&input, &packed, &ids}, {&y}, {}, pool);
  const std::vector<float> all = y.floats();
  for (int64_t t = 0; t < tokens; ++t) {
    const std::vector<float> one(x.begin() + t * k, x.begin() + (t + 1) * k);
    EXPECT_EQ(Linear(single[routes[t]], one, {}, pool),
              std::vector<float>(all.begin() + t * n, all.begin() + (t + 1) * n));
  }
}

TEST(LayoutRefusalTest, KernelsSayWhichLayoutsTheyRead) {
  Tensor x = Tensor::Make(DType::kF32, {3, 256}), y = Tensor::Make(DType::kF32, {3, 8});
  Tensor w = Tensor::Make(DType::kQ4_K, {8, 256});
  w.type.layout = "rows8";
  EXPECT_EQ(Refusal("linear", {&x, &w}, {&y}, {}), "");
  w.type.layout = "rows7";
  EXPECT_THAT(Refusal("linear", {&x, &w}, {&y}, {}),
              HasSubstr("weight has type q4_k in layout rows7, supported by the cpu target is "
                        "rows8 for q4_0, q4_1"));
  Tensor floats = Tensor::Make(DType::kF32, {8, 256});
  floats.type.layout = "rows8";
  EXPECT_THAT(Refusal("linear", {&x, &floats}, {&y}, {}),
              HasSubstr("weight has type f32 in layout rows8"));
  Tensor tokens = Tensor::Make(DType::kI32, {3}), rows = Tensor::Make(DType::kF32, {3, 256});
  w.type.layout = "rows8";
  EXPECT_EQ(Refusal("embed", {&tokens, &w}, {&rows}, {}),
            "step 'the.step': table has layout rows8, expected the file's own, which is all that "
            "this kernel reads");
  Tensor norm = Tensor::Make(DType::kF32, {256});
  norm.type.layout = "rows8";
  EXPECT_EQ(Refusal("rms_norm", {&x, &norm}, {&rows}, {{"eps", 1e-5}}),
            "step 'the.step': weight has layout rows8, expected the file's own, which is all that "
            "this kernel reads");
}

TEST(LinearRefusalTest, NamesWhatIsWrong) {
  Tensor x = Tensor::Make(DType::kF32, {3, 64}), w = Tensor::Make(DType::kQ8_0, {5, 64});
  Tensor y = Tensor::Make(DType::kF32, {3, 5}), bias = Tensor::Make(DType::kF32, {5});
  EXPECT_EQ(Refusal("linear", {&x, &w, &bias}, {&y}, {}), "");
  EXPECT_EQ(Refusal("linear", {&x}, {&y}, {}),
            "step 'the.step': got 1 inputs, expected 2 to 3 (x, weight, bias)");
  EXPECT_EQ(Refusal("linear", {&x, nullptr}, {&y}, {}),
            "step 'the.step': input weight is absent, expected a tensor");
  EXPECT_EQ(Refusal("linear", {&x, &w}, {}, {}), "step 'the.step': got 0 outputs, expected 1 (y)");
  EXPECT_EQ(Refusal("linear", {&x, &w}, {nullptr}, {}),
            "step 'the.step': output y is absent, expected a tensor");
  EXPECT_EQ(Refusal("linear", {&x, &w}, {&y}, {{"scale", 2.0}}),
            "step 'the.step': attribute scale is unknown, expected none");
  Tensor half = Tensor::Make(DType::kF16, {3, 64});
  EXPECT_EQ(Refusal("linear", {&half, &w}, {&y}, {}),
            "step 'the.step': x has type f16, expected f32");
  Tensor wide = Tensor::Make(DType::kF32, {3, 96});
  EXPECT_EQ(Refusal("linear", {&wide, &w}, {&y}, {}),
            "step 'the.step': x has shape [3,96], expected 64 at axis 1 as in weight");
  Tensor short_bias = Tensor::Make(DType::kF32, {4});
  EXPECT_EQ(Refusal("linear", {&x, &w, &short_bias}, {&y}, {}),
            "step 'the.step': bias has shape [4], expected 5 at axis 0 as in weight");
  Tensor y2 = Tensor::Make(DType::kF32, {4, 5});
  EXPECT_EQ(Refusal("linear", {&x, &w}, {&y2}, {}),
            "step 'the.step': y has shape [4,5], expected 3 at axis 0 as in x");
  Tensor w1 = Tensor::Make(DType::kQ8_0, {64});
  EXPECT_EQ(Refusal("linear", {&x, &w1}, {&y}, {}),
            "step 'the.step': weight has shape [64], expected 2 dimensions");
  Tensor symbolic = w;
  symbolic.Symbol(0, 0);
  EXPECT_EQ(Refusal("linear", {&x, &symbolic}, {&y}, {}),
            "step 'the.step': weight has shape [T,64], expected a constant at axis 0");
  symbolic.Symbol(0, 7);
  EXPECT_EQ(Refusal("linear", {&x, &symbolic}, {&y}, {}),
            "step 'the.step': weight has a size with symbol number 7, expected a number below 3");
  Tensor ragged = w;
  ragged.type.shape[1].value = 40;
  Tensor x40 = Tensor::Make(DType::kF32, {3, 40});
  EXPECT_EQ(
      Refusal("linear", {&x40, &ragged}, {&y}, {}),
      "step 'the.step': weight has rows of 40 elements, expected a multiple of 32 for type q8_0");
  ragged.type.shape[1].value = -5;
  EXPECT_EQ(Refusal("linear", {&x, &ragged}, {&y}, {}),
            "step 'the.step': weight has the size -5, expected 1 to 2147483647");
  Tensor deep = Tensor::Make(DType::kF32, {1, 1, 1, 3, 64});
  EXPECT_EQ(Refusal("linear", {&deep, &w}, {&y}, {}),
            "step 'the.step': x has 5 dimensions, expected 1 to 4");
}

TEST(LinearRefusalTest, UnsupportedTypeListsTheSupported) {
  Tensor x = Tensor::Make(DType::kF32, {3, 256}), y = Tensor::Make(DType::kF32, {3, 5});
  Tensor w = Tensor::Make(DType::kQ8_K, {5, 256});
  const absl::Status status = PrepareStep("linear", {&x, &w}, {&y}, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("step 'the.step': weight has type q8_k, supported by the cpu target are "
                        "f32, f16, q4_0, q4_1"));
}

}  // namespace
}  // namespace renga::cpu
