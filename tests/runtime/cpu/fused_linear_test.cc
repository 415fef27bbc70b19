// Kernels that join projections with what comes before and after them: each is the steps it
// replaces, to the bit, whatever the batch and the threads.
#include <cmath>
#include <limits>

#include "gtest/gtest.h"
#include "tests/runtime/cpu/kernel_harness.h"
#include "tests/runtime/cpu/random_weight.h"

namespace renga::cpu {
namespace {

using ::testing::HasSubstr;

// Pairs of types that take activations in one form, in the form of one of them, and in two.
const std::pair<DType, DType> kPairs[] = {
    {DType::kQ4_K, DType::kQ4_K}, {DType::kQ4_K, DType::kQ6_K}, {DType::kQ8_0, DType::kQ4_1},
    {DType::kQ2_K, DType::kQ4_K}, {DType::kF16, DType::kF16},   {DType::kQ4_0, DType::kF32}};

// gate_up, linear_add and norm_linear are the steps they replace, to the bit.
TEST(FusedLinearTest, EqualsTheStepsItReplaces) {
  constexpr int64_t kWidth = 512;
  ThreadPool one(1), three(3);
  const plan::Attr eps = {"eps", 1e-6};
  for (const auto& [gate_type, up_type] : kPairs) {
    for (const int64_t n : {5, 67, 200}) {
      Tensor gate = RandomWeight(gate_type, n, kWidth, 1), up = RandomWeight(up_type, n, kWidth, 2);
      if (n == 67) gate = Pack8OrAsIs(gate);
      if (n >= 67) up = Pack8OrAsIs(up);
      Tensor gate_bias = Tensor::Floats({n}, RandomFloats(n, 3));
      Tensor up_bias = Tensor::Floats({n}, RandomFloats(n, 4));
      Tensor norm = Tensor::Floats({kWidth}, RandomFloats(kWidth, 7));
      for (const int64_t tokens : {1, 3, 5, 33}) {
        SCOPED_TRACE(::testing::Message() << Name(gate_type) << " " << Name(up_type) << " rows "
                                          << n << " tokens " << tokens);
        Tensor x = Tensor::Floats({tokens, kWidth}, RandomFloats(tokens * kWidth, 5, 0.1f));
        Tensor residual = Tensor::Floats({tokens, n}, RandomFloats(tokens * n, 6));
        Tensor a = Tensor::Make(DType::kF32, {tokens, n}), b = a, want = a, got = a, normed = x;
        RunStep("rms_norm", {&x, &norm}, {&normed}, {eps}, one);
        for (const int biases : {0, 1, 2, 3}) {
          Tensor* const with_gate = (biases & 1) != 0 ? &gate_bias : nullptr;
          Tensor* const with_up = (biases & 2) != 0 ? &up_bias : nullptr;
          const plan::Attr activation = {"activation",
                                         std::string(biases == 0 ? "silu" : "gelu_tanh")};
          for (const bool with_norm : {false, true}) {
            SCOPED_TRACE(::testing::Message() << "biases " << biases << " norm " << with_norm);
            Tensor& h = with_norm ? normed : x;
            RunStep("linear", {&h, &gate, with_gate}, {&a}, {}, one);
            RunStep("linear", {&h, &up, with_up}, {&b}, {}, one);
            RunStep("glu", {&a, &b}, {&want}, {activation}, one);
            std::vector<plan::Attr> attrs = {activation};
            if (with_norm) attrs.push_back(eps);
            RunStep("gate_up", {&x, &gate, &up, with_norm ? &norm : nullptr, with_gate, with_up},
                    {&got}, attrs, three);
            EXPECT_EQ(got.floats(), want.floats());
            if (!with_norm) continue;
            RunStep("norm_linear", {&x, &norm, &gate, with_gate}, {&got}, {eps}, three);
            EXPECT_EQ(got.floats(), a.floats());
          }
          RunStep("linear", {&x, &gate, with_gate}, {&a}, {}, one);
          RunStep("add", {&residual, &a}, {&want}, {}, one);
          RunStep("linear_add", {&residual, &x, &gate, with_gate}, {&got}, {}, three);
          EXPECT_EQ(got.floats(), want.floats()) << "biases " << biases;
        }
      }
    }
  }
}

// What the definition says, element by element.
std::vector<int32_t> ArgMaxOf(const std::vector<float>& x, int64_t width) {
  std::vector<int32_t> out;
  for (auto row = x.begin(); row != x.end(); row += width) {
    const bool trusted = std::all_of(row, row + width, [](float v) { return v < INFINITY; });
    const auto best = std::max_element(row, row + width);  // the first of them
    out.push_back(trusted && *best > -INFINITY ? static_cast<int32_t>(best - row) : -1);
  }
  return out;
}

TEST(ArgMaxTest, FirstOfTheLargestAndNoneWhereOneIsNonsense) {
  constexpr float kInf = std::numeric_limits<float>::infinity(), kNaN = NAN;
  ThreadPool one(1), three(3);
  for (const int64_t width : {1, 2, 17, 4096, 9001, 40000}) {
    const int64_t rows = 9;
    std::vector<float> x = RandomFloats(rows * width, 1);
    const auto row = [&](int64_t r) { return x.begin() + r * width; };
    *(row(1) + width / 2) = kNaN;
    *(row(2) + width - 1) = kInf;
    std::fill_n(row(3), width, -kInf);
    std::fill_n(row(4), width, -2.5f);  // all the same
    std::fill_n(row(5), width, -kInf);
    *(row(5) + width - 1) = -1e38f;
    *(row(6) + width - 1) = 9;  // last, and maybe twice
    *(row(6) + width / 3) = 9;
    *row(7) = kNaN;
    *(row(7) + width - 1) = kInf;
    std::fill_n(row(8), width, 0.0f);  // zeros of both signs are equal
    *(row(8) + width - 1) = -0.0f;
    Tensor tx = Tensor::Floats({3, 3, width}, x), y = Tensor::Make(DType::kI32, {3, 3});
    for (ThreadPool* pool : {&one, &three}) {
      RunStep("arg_max", {&tx}, {&y}, {}, *pool);
      EXPECT_EQ(y.ints(), ArgMaxOf(x, width)) << width;
    }
  }
}

TEST(ArgMaxTest, Refuses) {
  Tensor x = Tensor::Make(DType::kF32, {2, 8}), y = Tensor::Make(DType::kI32, {2});
  Tensor y3 = Tensor::Make(DType::kI32, {3}), flat = Tensor::Make(DType::kF32, {8});
  Tensor floats = Tensor::Make(DType::kF32, {2});
  const std::string at = "step 'the.step': ";
  EXPECT_EQ(Refusal("arg_max", {&x}, {&y}, {}), "");
  EXPECT_EQ(Refusal("arg_max", {&x}, {&y3}, {}),
            at + "y has shape [3], expected 2 at axis 0 as in x");
  EXPECT_EQ(Refusal("arg_max", {&x}, {&x}, {}), at + "y has type f32, expected i32");
  EXPECT_EQ(Refusal("arg_max", {&x}, {&floats}, {}), at + "y has type f32, expected i32");
  EXPECT_EQ(Refusal("arg_max", {&flat}, {&y}, {}),
            at + "x has shape [8], expected 2 to 4 dimensions");
  EXPECT_EQ(Refusal("arg_max", {&y}, {&y}, {}), at + "x has type i32, expected f32");
  EXPECT_EQ(Refusal("arg_max", {&x}, {&y}, {{"axis", int64_t{0}}}),
            at + "attribute axis is unknown, expected none");
  x.Symbol(1, 1);
  EXPECT_EQ(Refusal("arg_max", {&x}, {&y}, {}),
            at + "x has shape [2,L], expected a constant at axis 1");
}

TEST(HeadTest, EqualsTheStepsItReplaces) {
  ThreadPool one(1), three(3);
  const plan::Attr eps = {"eps", 1e-5};
  for (const DType type : {DType::kF32, DType::kF16, DType::kQ8_0, DType::kQ4_1, DType::kQ6_K}) {
    const int64_t k = type == DType::kF32 ? 77 : 256;
    for (const int64_t n : {1, 33, 1001}) {
      for (const int64_t rows : {1, 2, 7, 19}) {
        for (const int parts : {0, 1, 2, 3}) {
          SCOPED_TRACE(::testing::Message()
                       << Name(type) << " n " << n << " rows " << rows << " parts " << parts);
          Tensor w = RandomWeight(type, n, k, 1);
          // Ties: a row of the weight twice.
          if (n > 40) {
            const int64_t bytes = RowBytes(type, k);
            std::copy_n(w.bytes.begin() + 3 * bytes, bytes, w.bytes.begin() + 39 * bytes);
          }
          Tensor x = Tensor::Floats({rows, k}, RandomFloats(rows * k, 2));
          Tensor norm = Tensor::Floats({k}, RandomFloats(k, 3));
          Tensor bias = Tensor::Floats({n}, RandomFloats(n, 4));
          if (n > 40) {
            float same = 1e7f;  // larger than any product: the two win together
            std::memcpy(bias.bytes.data() + 3 * sizeof(float), &same, sizeof(float));
            std::memcpy(bias.bytes.data() + 39 * sizeof(float), &same, sizeof(float));
          }
          Tensor normed = x, want = Tensor::Make(DType::kF32, {rows, n}), logits = want;
          Tensor want_next = Tensor::Make(DType::kI32, {rows}), next = want_next;
          const bool with_norm = (parts & 1) != 0;
          Tensor* const with_bias = (parts & 2) != 0 ? &bias : nullptr;
          if (with_norm) RunStep("rms_norm", {&x, &norm}, {&normed}, {eps}, one);
          RunStep("linear", {&normed, &w, with_bias}, {&want}, {}, one);
          RunStep("arg_max", {&want}, {&want_next}, {}, one);
          ASSERT_EQ(want_next.ints(), ArgMaxOf(want.floats(), n));
          for (ThreadPool* pool : {&one, &three}) {
            RunStep("head", {&x, &w, with_norm ? &norm : nullptr, with_bias}, {&logits, &next},
                    with_norm ? std::vector<plan::Attr>{eps} : std::vector<plan::Attr>{}, *pool);
            EXPECT_EQ(logits.floats(), want.floats());
            EXPECT_EQ(next.ints(), want_next.ints());
          }
        }
      }
    }
  }
}

TEST(HeadTest, NonsenseIsNotChosen) {
  ThreadPool pool(3);
  const int64_t k = 32, n = 100;
  Tensor w = RandomWeight(DType::kF32, n, k, 1);
  std::vector<float> x = RandomFloats(3 * k, 2);
  x[k + 5] = NAN;
  Tensor tx = Tensor::Floats({3, k}, x), logits = Tensor::Make(DType::kF32, {3, n});
  Tensor next = Tensor::Make(DType::kI32, {3});
  RunStep("head", {&tx, &w}, {&logits, &next}, {}, pool);
  EXPECT_GE(next.ints()[0], 0);
  EXPECT_EQ(next.ints()[1], -1);
  EXPECT_GE(next.ints()[2], 0);
}

TEST(HeadTest, Refuses) {
  Tensor x = Tensor::Make(DType::kF32, {2, 64}), w = Tensor::Make(DType::kQ8_0, {5, 64});
  Tensor y = Tensor::Make(DType::kF32, {2, 5}), next = Tensor::Make(DType::kI32, {2});
  Tensor norm = Tensor::Make(DType::kF32, {64}), norm5 = Tensor::Make(DType::kF32, {5});
  Tensor next3 = Tensor::Make(DType::kI32, {3}), wide = Tensor::Make(DType::kI32, {2, 5});
  Tensor x1 = Tensor::Make(DType::kF32, {64}), y1 = Tensor::Make(DType::kF32, {5});
  const std::string at = "step 'the.step': ";
  const std::vector<plan::Attr> eps = {{"eps", 1e-6}};
  EXPECT_EQ(Refusal("head", {&x, &w}, {&y, &next}, {}), "");
  EXPECT_EQ(Refusal("head", {&x, &w, &norm, &norm5}, {&y, &next}, eps), "");
  EXPECT_EQ(Refusal("head", {&x, &w}, {&y}, {}), at + "got 1 outputs, expected 2 (y, next)");
  EXPECT_EQ(Refusal("head", {&x, &w, &norm}, {&y, &next}, {}), at + "attribute eps is missing");
  EXPECT_EQ(Refusal("head", {&x, &w}, {&y, &next}, eps),
            at + "attribute eps is given, expected none as there is no norm");
  EXPECT_EQ(Refusal("head", {&x, &w, &norm5}, {&y, &next}, eps),
            at + "norm has shape [5], expected 64 at axis 0 as in x");
  EXPECT_EQ(Refusal("head", {&x, &w}, {&y, &next3}, {}),
            at + "next has shape [3], expected 2 at axis 0 as in x");
  EXPECT_EQ(Refusal("head", {&x, &w}, {&y, &wide}, {}),
            at + "next has shape [2,5], expected that of x without the last axis, [2,64]");
  EXPECT_EQ(Refusal("head", {&x, &w}, {&y, &norm5}, {}), at + "next has type f32, expected i32");
  EXPECT_EQ(Refusal("head", {&x1, &w}, {&y1, &next}, {}),
            at + "next has shape [2], expected that of x without the last axis, [64]");
  EXPECT_EQ(Refusal("norm_linear", {&x, &norm, &w}, {&y}, eps), "");
  EXPECT_EQ(Refusal("norm_linear", {&x, &norm5, &w}, {&y}, eps),
            at + "norm has shape [5], expected 64 at axis 0 as in x");
  EXPECT_EQ(Refusal("norm_linear", {&x, &norm, &w}, {&y}, {}), at + "attribute eps is missing");
  EXPECT_EQ(Refusal("norm_linear", {&x, &norm, &w}, {&y}, {{"eps", -1.0}}),
            at + "attribute eps is negative, expected 0 or more");
  EXPECT_EQ(Refusal("norm_linear", {&x, nullptr, &w}, {&y}, eps),
            at + "input norm is absent, expected a tensor");
  EXPECT_EQ(Refusal("norm_linear", {&x, &norm, &w, &norm}, {&y}, eps),
            at + "bias has shape [64], expected 5 at axis 0 as in weight");
}

TEST(FusedLinearTest, Refuses) {
  Tensor x = Tensor::Make(DType::kF32, {2, 64}), w = Tensor::Make(DType::kQ8_0, {5, 64});
  Tensor narrow = Tensor::Make(DType::kQ8_0, {5, 32}), low = Tensor::Make(DType::kQ8_0, {4, 64});
  Tensor bias4 = Tensor::Make(DType::kF32, {4}), y = Tensor::Make(DType::kF32, {2, 5});
  Tensor ints = Tensor::Make(DType::kI64, {5, 64}), y4 = Tensor::Make(DType::kF32, {2, 4});
  const std::vector<plan::Attr> silu = {{"activation", std::string("silu")}};
  const std::string at = "step 'the.step': ";
  EXPECT_EQ(Refusal("gate_up", {&x, &w, &w}, {&y}, silu), "");
  EXPECT_EQ(Refusal("gate_up", {&x, &w, &w}, {&y}, {}), at + "attribute activation is missing");
  EXPECT_EQ(Refusal("gate_up", {&x, &w, &w}, {&y}, {{"activation", std::string("relu")}}),
            at + "attribute activation is 'relu', expected silu or gelu_tanh");
  EXPECT_EQ(Refusal("gate_up", {&x, &w, &narrow}, {&y}, silu),
            at + "x has shape [2,64], expected 32 at axis 1 as in up");
  EXPECT_EQ(Refusal("gate_up", {&x, &w, &low}, {&y}, silu),
            at + "y has shape [2,5], expected 4 at axis 1 as in up");
  EXPECT_EQ(Refusal("gate_up", {&x, &w, &w, nullptr, nullptr, &bias4}, {&y}, silu),
            at + "up_bias has shape [4], expected 5 at axis 0 as in up");
  EXPECT_THAT(Refusal("gate_up", {&x, &ints, &w}, {&y}, silu), HasSubstr("gate has type i64"));
  EXPECT_EQ(Refusal("gate_up", {&x, &w, &w, &bias4}, {&y},
                    {{"activation", std::string("silu")}, {"eps", 1e-6}}),
            at + "norm has shape [4], expected 64 at axis 0 as in x");
  Tensor norm = Tensor::Make(DType::kF32, {64});
  EXPECT_EQ(Refusal("gate_up", {&x, &w, &w, &norm}, {&y}, silu), at + "attribute eps is missing");
  EXPECT_EQ(
      Refusal("gate_up", {&x, &w, &w}, {&y}, {{"activation", std::string("silu")}, {"eps", 1e-6}}),
      at + "attribute eps is given, expected none as there is no norm");
  EXPECT_EQ(Refusal("linear_add", {&y, &x, &w}, {&y}, {}), "");
  EXPECT_EQ(Refusal("linear_add", {&y4, &x, &w}, {&y}, {}),
            at + "residual has shape [2,4], expected [2,5] as y");
  EXPECT_EQ(Refusal("linear_add", {&y, &x, &narrow}, {&y}, {}),
            at + "x has shape [2,64], expected 32 at axis 1 as in weight");
  EXPECT_EQ(Refusal("linear_add", {&y, &x, &w, &bias4}, {&y}, {}),
            at + "bias has shape [4], expected 5 at axis 0 as in weight");
}

}  // namespace
}  // namespace renga::cpu
