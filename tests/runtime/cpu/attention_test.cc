// The fused attention kernel against double sums, for every batch and number of threads alike.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"
#include "ir/core/cache_rounding.h"
#include "tests/runtime/cpu/kernel_harness.h"

namespace renga::cpu {
namespace {

using ::testing::HasSubstr;

struct Mask {
  bool causal;
  int64_t window;
  bool sinks;
};

std::vector<plan::Attr> Attrs(const Mask& mask, int64_t page, double scale) {
  return {
      {"causal", mask.causal}, {"page_tokens", page}, {"scale", scale}, {"window", mask.window}};
}

// How the bias of keys is turned, where there is one.
constexpr double kBase = 700;
std::vector<plan::Attr> BiasAttrs(int64_t dims) {
  return {{"base", kBase},     {"dims", dims},      {"factor", 1.0},
          {"magnitude", 1.25}, {"pairing", "norm"}, {"scaling", "none"}};
}

struct Caches {
  DType k, v;
  int64_t width, v_width;
  int64_t bias_dims = 0;  // of a bias of keys; 0: none
};

// Two sequences of up to 700 positions in pages of 7 that lie in no order, one page of the first
// missing, one cell page that neither has.
class AttentionKernelTest : public ::testing::TestWithParam<Caches> {
 protected:
  static constexpr int64_t kPage = 7, kColumns = 100, kCells = kPage * (2 * kColumns + 1);
  static constexpr int64_t kHeads = 8, kKv = 2, kMost = 90;
  static constexpr double kScale = 0.3;

  AttentionKernelTest() {
    std::mt19937 random(3);
    pages_.resize(2 * kColumns);
    std::iota(pages_.begin(), pages_.end(), 1);  // page 0 is nobody's
    std::shuffle(pages_.begin(), pages_.end(), random);
    pages_[1] = -1;
    const Caches& caches = GetParam();
    width_ = caches.width;
    v_width_ = caches.v_width;
    k_ = Cache(caches.k, width_, 1, &k_values_);
    v_ = Cache(caches.v, v_width_, 2, &v_values_);
    bias_ = RandomFloats(kKv * width_, 6, 5);
    // Nobody may read the page that is nobody's.
    std::fill_n(k_.bytes.begin(), k_.bytes.size() / (2 * kColumns + 1), 0xFF);
    std::fill_n(v_.bytes.begin(), v_.bytes.size() / (2 * kColumns + 1), 0xFF);
    // Runs of neighbours, single tokens, the longest position in the middle.
    for (int64_t t = 0; t < kMost; ++t) {
      sequences_.push_back(t % 40 < 35 ? 0 : 1);
      positions_.push_back(static_cast<int32_t>((t * 37 + 5) % 700));
      if (t < 35) positions_.back() = static_cast<int32_t>(600 + t);
    }
    q_ = RandomFloats(kMost * kHeads * width_, 4, 1 / std::sqrt(static_cast<float>(width_)));
    sinks_ = RandomFloats(kHeads, 5);
  }

  // `kept`: what the reference keeps.
  static Tensor Cache(DType type, int64_t width, int seed, std::vector<float>* kept) {
    ThreadPool pool(1);
    *kept = RandomFloats(kCells * kKv * width, seed, 2);
    Tensor cache = Tensor::Make(type, {kCells, kKv, width});
    Tensor x = Tensor::Floats({kCells, kKv, width}, *kept);
    RoundRow(type, absl::MakeSpan(*kept));
    std::vector<int32_t> cells(kCells);
    std::iota(cells.begin(), cells.end(), 0);
    Tensor tc = Tensor::Ints({kCells}, cells);
    RunStep("kv_append", {&cache, &x, &tc}, {&cache}, {}, pool);
    return cache;
  }

  // The kernel's result for tokens [from, to).
  std::vector<float> Run(int64_t from, int64_t to, const Mask& mask, int threads) {
    ThreadPool pool(threads);
    const int64_t tokens = to - from, row = kHeads * width_;
    Tensor q =
        Tensor::Floats({tokens, kHeads, width_}, {q_.begin() + from * row, q_.begin() + to * row});
    Tensor positions = Tensor::Ints({tokens}, {positions_.begin() + from, positions_.begin() + to});
    Tensor sequences = Tensor::Ints({tokens}, {sequences_.begin() + from, sequences_.begin() + to});
    Tensor pages = Tensor::Ints({2, kColumns}, pages_);
    Tensor sinks = Tensor::Floats({kHeads}, sinks_);
    Tensor y = Tensor::Make(DType::kF32, {tokens, kHeads, v_width_});
    Tensor bias = Tensor::Floats({kKv * width_}, bias_);
    std::vector<plan::Attr> attrs = Attrs(mask, kPage, kScale);
    const int64_t dims = GetParam().bias_dims;
    if (dims > 0) {
      for (plan::Attr& attr : BiasAttrs(dims)) attrs.push_back(std::move(attr));
    }
    RunStep("attention",
            {&q, &k_, &v_, &positions, &sequences, &pages, mask.sinks ? &sinks : nullptr,
             dims > 0 ? &bias : nullptr},
            {&y}, attrs, pool);
    return y.floats();
  }

  // Number d of the bias of keys of head `kv`, turned by position j.
  double Bias(int64_t kv, int64_t j, int64_t d) const {
    const int64_t dims = GetParam().bias_dims;
    const float* bias = bias_.data() + kv * width_;
    if (dims == 0) return 0;
    if (d >= dims) return bias[d];
    const double angle =
        static_cast<double>(j) * std::pow(kBase, -static_cast<double>(d / 2 * 2) / dims);
    const double a = bias[d / 2 * 2], b = bias[d / 2 * 2 + 1];
    return 1.25 * (d % 2 == 0 ? a * std::cos(angle) - b * std::sin(angle)
                              : a * std::sin(angle) + b * std::cos(angle));
  }

  // One head of one token, in double. Keys end at `span`. `slack`: how far a float may be off.
  std::vector<double> Want(int64_t t, int64_t h, const Mask& mask, int64_t span, double* slack) {
    const int64_t kv = h / (kHeads / kKv), position = positions_[t];
    std::vector<double> scores, y(v_width_);
    std::vector<int64_t> cells;
    double top = mask.sinks ? sinks_[h] : -std::numeric_limits<double>::infinity(), largest = 0;
    for (int64_t j = 0; j < span; ++j) {
      if ((mask.causal && j > position) || (mask.window > 0 && position - j >= mask.window)) {
        continue;
      }
      const int32_t page = pages_[sequences_[t] * kColumns + j / kPage];
      double sum = 0, magnitude = 0;
      for (int64_t d = 0; page >= 0 && d < width_; ++d) {
        const double key = k_values_[((page * kPage + j % kPage) * kKv + kv) * width_ + d];
        const double product = q_[(t * kHeads + h) * width_ + d] * (key + Bias(kv, j, d));
        sum += product;
        magnitude += std::abs(product);
      }
      cells.push_back(page < 0 ? -1 : page * kPage + j % kPage);
      scores.push_back(kScale * sum);
      top = std::max(top, scores.back());
      largest = std::max(largest, kScale * magnitude);
    }
    double below = mask.sinks ? std::exp(sinks_[h] - top) : 0, weighted = 0;
    for (size_t i = 0; i < cells.size(); ++i) {
      const double p = std::exp(scores[i] - top);
      below += p;
      for (int64_t d = 0; cells[i] >= 0 && d < v_width_; ++d) {
        const double value = v_values_[(cells[i] * kKv + kv) * v_width_ + d];
        y[d] += p * value;
        weighted += p * std::abs(value) / static_cast<double>(v_width_);
      }
    }
    for (double& v : y) v /= below;
    // A score off by its rounding (2^-24 of its terms, a few times) moves its exponential by as
    // much in relation; sums of positive weights add about 1e-6. Four times the mean weighted size
    // covers the largest component.
    *slack = 4 * (1e-6 + 1e-6 * largest) * weighted / below;
    return y;
  }

  int64_t width_ = 0, v_width_ = 0;
  std::vector<int32_t> pages_, positions_, sequences_;
  Tensor k_, v_;
  std::vector<float> k_values_, v_values_, q_, sinks_, bias_;
};

INSTANTIATE_TEST_SUITE_P(Caches, AttentionKernelTest,
                         ::testing::Values(Caches{DType::kF32, DType::kF16, 1, 4},
                                           Caches{DType::kF16, DType::kF16, 64, 67},
                                           Caches{DType::kBF16, DType::kF32, 20, 23},
                                           Caches{DType::kF16, DType::kBF16, 128, 131},
                                           Caches{DType::kQ8_0, DType::kQ4_0, 64, 32},
                                           Caches{DType::kF32, DType::kQ8_0, 5, 32},
                                           Caches{DType::kQ4_0, DType::kF16, 32, 35, 32},
                                           Caches{DType::kQ8_0, DType::kQ8_0, 96, 64, 62},
                                           Caches{DType::kBF16, DType::kQ4_0, 19, 32, 6},
                                           Caches{DType::kF8_E4M3, DType::kF8_E4M3, 64, 67},
                                           Caches{DType::kF8_E4M3, DType::kQ8_0, 21, 32, 20},
                                           Caches{DType::kF16, DType::kF8_E4M3, 8, 3}));

constexpr Mask kMasks[] = {
    {true, 0, false}, {true, 0, true}, {true, 9, false}, {true, 300, true}, {false, 0, false}};

TEST_P(AttentionKernelTest, MatchesDouble) {
  const int64_t span = *std::max_element(positions_.begin(), positions_.end()) + 1;
  for (const Mask& mask : kMasks) {
    SCOPED_TRACE(::testing::Message() << mask.causal << mask.window << mask.sinks);
    const std::vector<float> got = Run(0, kMost, mask, 2);
    for (int64_t t = 0; t < kMost; t += 3) {
      for (int64_t h = 0; h < kHeads; ++h) {
        double slack = 0;
        const std::vector<double> want = Want(t, h, mask, span, &slack);
        for (int64_t d = 0; d < v_width_; ++d) {
          ASSERT_NEAR(got[(t * kHeads + h) * v_width_ + d], want[d], slack)
              << "token " << t << " head " << h << " dim " << d;
        }
      }
    }
  }
}

// Bit for bit: whatever the batch and the threads, whether chunks of keys are divided or not.
TEST_P(AttentionKernelTest, DoesNotDependOnBatchAndThreads) {
  for (const Mask& mask : kMasks) {
    if (!mask.causal) continue;  // sees what the longest of the batch has
    const std::vector<float> all = Run(0, kMost, mask, 1);
    const int64_t row = kHeads * v_width_;
    for (const auto& [from, to, threads] : {std::tuple<int64_t, int64_t, int>{0, kMost, 7},
                                            {0, 1, 1},
                                            {3, 4, 2},
                                            {34, 35, 16},
                                            {2, 9, 3},
                                            {30, 45, 5},
                                            {60, 90, 1}}) {
      EXPECT_EQ(Run(from, to, mask, threads),
                std::vector<float>(all.begin() + from * row, all.begin() + to * row))
          << "tokens " << from << ".." << to << " on " << threads << " threads";
    }
  }
}

TEST_P(AttentionKernelTest, WhatIsNotANumberShows) {
  q_[5 * kHeads * width_] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> y = Run(4, 7, {true, 0, false}, 1);
  const int64_t row = kHeads * v_width_;
  for (int64_t i = 0; i < 3 * row; ++i) {
    ASSERT_EQ(std::isnan(y[i]), i / row == 1 && i % row < v_width_) << i;
  }
}

TEST(AttentionEdgeTest, TokenThatSeesNothingGetsZeros) {
  ThreadPool pool(1);
  Tensor q = Tensor::Floats({2, 1, 1}, {1, 2}), k = Tensor::Floats({4, 1, 1}, {1, -1, NAN, NAN});
  Tensor v = Tensor::Floats({4, 1, 1}, {3, 4, NAN, NAN}), positions = Tensor::Ints({2}, {-1, 1});
  Tensor sequences = Tensor::Ints({2}, {0, 0}), pages = Tensor::Ints({1, 2}, {0, 1});
  Tensor sinks = Tensor::Floats({1}, {0}), y = Tensor::Make(DType::kF32, {2, 1, 1});
  for (Tensor* sink : {static_cast<Tensor*>(nullptr), &sinks}) {
    RunStep("attention", {&q, &k, &v, &positions, &sequences, &pages, sink}, {&y},
            Attrs({true, 0, false}, 2, 1.0), pool);
    const double e = std::exp(-2.0), e4 = std::exp(-4.0);
    EXPECT_EQ(y.floats()[0], 0);
    EXPECT_NEAR(y.floats()[1], (3 + 4 * e4) / (1 + e4 + (sink == nullptr ? 0 : e)), 1e-6);
  }
}

// Scores of 1000 do not overflow, also when the largest comes late.
TEST(AttentionEdgeTest, LargeScores) {
  ThreadPool pool(1);
  constexpr int64_t kSpan = 600;
  std::vector<float> keys(kSpan), values(kSpan);
  for (int64_t j = 0; j < kSpan; ++j) keys[j] = values[j] = static_cast<float>(j);
  Tensor k = Tensor::Floats({kSpan, 1, 1}, keys), v = Tensor::Floats({kSpan, 1, 1}, values);
  Tensor q = Tensor::Floats({1, 2, 1}, {10, -10}), position = Tensor::Ints({1}, {kSpan - 1});
  Tensor sequence = Tensor::Ints({1}, {0}), pages = Tensor::Ints({1, 1}, {0});
  Tensor y = Tensor::Make(DType::kF32, {1, 2, 1});
  RunStep("attention", {&q, &k, &v, &position, &sequence, &pages}, {&y},
          Attrs({true, 0, false}, kSpan, 2.0), pool);
  EXPECT_NEAR(y.floats()[0], kSpan - 1, 1e-3);
  EXPECT_NEAR(y.floats()[1], 0, 1e-3);
}

// attention_direct is attention, to the bit: for few rows and many, pages that are missing, blocks
// that are seen in part.
TEST(AttentionDirectTest, EqualsAttention) {
  constexpr int64_t kPage = 5, kColumns = 70, kCells = kPage * (2 * kColumns + 1);
  ThreadPool one(1), three(3);
  constexpr DType kTypes[] = {DType::kF32, DType::kF16, DType::kBF16};
  std::mt19937 random(11);
  std::vector<int32_t> pages(2 * kColumns);
  std::iota(pages.begin(), pages.end(), 1);
  std::shuffle(pages.begin(), pages.end(), random);
  pages[2] = pages[20] = pages[kColumns + 3] = -1;
  int turn = 0;
  for (const auto& [heads, kv_heads] :
       {std::pair<int64_t, int64_t>{3, 3}, {6, 2}, {7, 1}, {9, 1}}) {
    for (const auto& [width, v_width] :
         {std::pair<int64_t, int64_t>{16, 48}, {64, 64}, {128, 16}}) {
      for (const int64_t tokens : {1, 2, 3, 9}) {
        const DType k_type = kTypes[turn % 3], v_type = kTypes[turn / 3 % 3];
        const Mask mask{turn % 4 != 0, turn % 5 == 0 ? 37 : 0, turn % 2 == 0};
        ++turn;
        SCOPED_TRACE(::testing::Message()
                     << heads << "/" << kv_heads << " heads of " << width << " and " << v_width
                     << " tokens " << tokens << " turn " << turn);
        const auto cache = [&](DType type, int64_t columns, int seed) {
          Tensor made = Tensor::Make(type, {kCells, kv_heads, columns});
          Tensor x = Tensor::Floats({kCells, kv_heads, columns},
                                    RandomFloats(kCells * kv_heads * columns, seed));
          std::vector<int32_t> all(kCells);
          std::iota(all.begin(), all.end(), 0);
          Tensor cells = Tensor::Ints({kCells}, all);
          RunStep("kv_append", {&made, &x, &cells}, {&made}, {}, one);
          // Nobody may read the page that is nobody's.
          std::fill_n(made.bytes.begin(), made.bytes.size() / (2 * kColumns + 1), 0xFF);
          return made;
        };
        Tensor k = cache(k_type, width, 1), v = cache(v_type, v_width, 2);
        std::vector<int32_t> at(tokens), sequence(tokens);
        for (int64_t t = 0; t < tokens; ++t) {
          at[t] = static_cast<int32_t>((t * 97 + turn * 31) % (kPage * kColumns));
          sequence[t] = t % 5 == 4 ? 1 : 0;
        }
        Tensor q = Tensor::Floats({tokens, heads, width}, RandomFloats(tokens * heads * width, 3));
        Tensor positions = Tensor::Ints({tokens}, at), sequences = Tensor::Ints({tokens}, sequence);
        Tensor table = Tensor::Ints({2, kColumns}, pages);
        Tensor sinks = Tensor::Floats({heads}, RandomFloats(heads, 4));
        Tensor want = Tensor::Make(DType::kF32, {tokens, heads, v_width}), got = want;
        const std::vector<Tensor*> in = {
            &q, &k, &v, &positions, &sequences, &table, mask.sinks ? &sinks : nullptr};
        RunStep("attention", in, {&want}, Attrs(mask, kPage, 0.2), one);
        for (const float y : want.floats()) ASSERT_TRUE(std::isfinite(y));
        for (ThreadPool* pool : {&one, &three}) {
          RunStep("attention_direct", in, {&got}, Attrs(mask, kPage, 0.2), *pool);
          EXPECT_EQ(got.floats(), want.floats());
        }
      }
    }
  }
}

TEST(AttentionDirectTest, RefusesHeadsThatAreNoWholeVectors) {
  Tensor q = Tensor::Make(DType::kF32, {1, 2, 16}), k = Tensor::Make(DType::kF16, {8, 1, 16});
  Tensor v = Tensor::Make(DType::kF16, {8, 1, 24}), y = Tensor::Make(DType::kF32, {1, 2, 24});
  Tensor positions = Tensor::Make(DType::kI32, {1}), pages = Tensor::Make(DType::kI32, {1, 1});
  const std::vector<plan::Attr> attrs = Attrs({true, 0, false}, 8, 1);
  EXPECT_EQ(Refusal("attention", {&q, &k, &v, &positions, &positions, &pages}, {&y}, attrs), "");
  EXPECT_EQ(Refusal("attention_direct", {&q, &k, &v, &positions, &positions, &pages}, {&y}, attrs),
            "step 'the.step': v_cache has shape [8,1,24], expected a multiple of 16 at axis 2");
  EXPECT_EQ(Refusal("attention_direct", {&q, &k, &k, &positions, &positions, &pages}, {&q}, attrs),
            "");
  Tensor k8 = Tensor::Make(DType::kF16, {8, 1, 8}), q8 = Tensor::Make(DType::kF32, {1, 2, 8});
  EXPECT_EQ(
      Refusal("attention_direct", {&q8, &k8, &k, &positions, &positions, &pages}, {&q}, attrs),
      "step 'the.step': k_cache has shape [8,1,8], expected a multiple of 16 at axis 2");
}

// Keys of zeros, so that their bias is all there is: at the ends of what shares a rotation, and
// where angles are no longer in a table.
TEST(KeyBiasTest, TurnsToTheLastPosition) {
  ThreadPool pool(2);
  constexpr int64_t kSpan = 4200, kWidth = 34, kDims = 32;
  const std::vector<float> q = RandomFloats(kWidth, 1), bias = RandomFloats(kWidth, 2, 50);
  Tensor tq = Tensor::Floats({1, 1, kWidth}, q), tb = Tensor::Floats({kWidth}, bias);
  Tensor k = Tensor::Make(DType::kF16, {kSpan, 1, kWidth}), seq = Tensor::Ints({1}, {0});
  Tensor pages = Tensor::Ints({1, 1}, {0}), s = Tensor::Make(DType::kF32, {1, 1, kSpan});
  for (const std::string pairing : {"neox", "norm"}) {
    std::vector<plan::Attr> attrs = BiasAttrs(kDims);
    attrs[4].value = pairing;
    attrs.push_back({"page_tokens", kSpan});
    attrs.push_back({"scale", 0.5});
    RunStep("attn_scores", {&tq, &k, &seq, &pages, &tb}, {&s}, attrs, pool);
    const std::vector<float> got = s.floats();
    for (int64_t j = 0; j < kSpan; j += j % 64 == 63 ? 1 : 31) {
      double want = 0, magnitude = 0;
      for (int64_t d = kDims; d < kWidth; ++d) want += double{q[d]} * bias[d];
      for (int64_t p = 0; p < kDims / 2; ++p) {
        const int64_t first = pairing == "neox" ? p : 2 * p;
        const int64_t second = pairing == "neox" ? p + kDims / 2 : 2 * p + 1;
        const double angle =
            static_cast<double>(j) * std::pow(kBase, -2 * static_cast<double>(p) / kDims);
        const double c = 1.25 * std::cos(angle), sine = 1.25 * std::sin(angle);
        want += q[first] * (bias[first] * c - bias[second] * sine);
        want += q[second] * (bias[first] * sine + bias[second] * c);
        magnitude += std::abs(q[first]) + std::abs(q[second]);
      }
      // Two rotations and a sum, each rounded to float: some 5 times 2^-24 of 100 or so.
      ASSERT_NEAR(got[j], 0.5 * want, 4e-5 * magnitude) << pairing << " at " << j;
    }
  }
}

TEST(AttentionDirectTest, RefusesWhatItCannotReadAsItIsStored) {
  Tensor q = Tensor::Make(DType::kF32, {1, 2, 32}), k = Tensor::Make(DType::kF16, {8, 1, 32});
  Tensor v = Tensor::Make(DType::kQ8_0, {8, 1, 32}), bias = Tensor::Make(DType::kF32, {32});
  Tensor positions = Tensor::Make(DType::kI32, {1}), pages = Tensor::Make(DType::kI32, {1, 1});
  std::vector<plan::Attr> attrs = Attrs({true, 0, false}, 8, 1);
  EXPECT_EQ(Refusal("attention_direct", {&q, &k, &v, &positions, &positions, &pages}, {&q}, attrs),
            "step 'the.step': v_cache has type q8_0, expected f32, f16, bf16");
  EXPECT_EQ(Refusal("attention_direct", {&q, &v, &k, &positions, &positions, &pages}, {&q}, attrs),
            "step 'the.step': k_cache has type q8_0, expected f32, f16, bf16");
  for (plan::Attr& attr : BiasAttrs(32)) attrs.push_back(std::move(attr));
  const std::vector<Tensor*> in = {&q, &k, &k, &positions, &positions, &pages, nullptr, &bias};
  EXPECT_EQ(Refusal("attention", in, {&q}, attrs), "");
  EXPECT_EQ(
      Refusal("attention_direct", in, {&q}, attrs),
      "step 'the.step': input k_bias is given, expected none: nothing is added to stored keys");
}

TEST(KeyBiasRefusalTest, NamesWhatIsWrongWithTheBias) {
  Tensor q = Tensor::Make(DType::kF32, {1, 2, 32}), k = Tensor::Make(DType::kF16, {8, 1, 32});
  Tensor bias = Tensor::Make(DType::kF32, {32}), wide = Tensor::Make(DType::kF32, {64});
  Tensor half = Tensor::Make(DType::kF16, {32}), pages = Tensor::Make(DType::kI32, {1, 1});
  Tensor sequences = Tensor::Make(DType::kI32, {1}), s = Tensor::Make(DType::kF32, {1, 2, 8});
  const auto refusal = [&](Tensor* given, std::vector<plan::Attr> attrs) {
    attrs.push_back({"page_tokens", int64_t{8}});
    attrs.push_back({"scale", 1.0});
    return Refusal("attn_scores", {&q, &k, &sequences, &pages, given}, {&s}, attrs);
  };
  EXPECT_EQ(refusal(&bias, BiasAttrs(32)), "");
  EXPECT_EQ(refusal(nullptr, {}), "");
  EXPECT_EQ(refusal(nullptr, BiasAttrs(32)),
            "step 'the.step': attribute base is given, expected none without k_bias");
  EXPECT_EQ(refusal(&bias, {}), "step 'the.step': attribute dims is missing");
  EXPECT_THAT(refusal(&bias, BiasAttrs(34)), HasSubstr("expected an even number in 2..32"));
  EXPECT_EQ(refusal(&wide, BiasAttrs(32)),
            "step 'the.step': k_bias has shape [64], expected 32 at axis 0 as in all heads of "
            "k_cache");
  EXPECT_EQ(refusal(&half, BiasAttrs(32)), "step 'the.step': k_bias has type f16, expected f32");
  constexpr int64_t kHuge = int64_t{1} << 30;  // of which a table would be kept
  for (Tensor* tensor : {&q, &k, &bias}) tensor->type.shape.back().value = kHuge;
  EXPECT_THAT(refusal(&bias, BiasAttrs(32)), HasSubstr("expected no more than 65536 at axis 2"));
}

TEST(AttentionRefusalTest, NamesWhatIsWrongWithTheFusedStep) {
  Tensor q = Tensor::Make(DType::kF32, {2, 6, 8}), k = Tensor::Make(DType::kF16, {10, 2, 8});
  Tensor v = Tensor::Make(DType::kF16, {10, 2, 5}), pos = Tensor::Make(DType::kI32, {2});
  Tensor seq = pos, pages = Tensor::Make(DType::kI32, {1, 2}),
         sinks = Tensor::Make(DType::kF32, {6});
  Tensor y = Tensor::Make(DType::kF32, {2, 6, 5});
  const Mask mask{true, 0, false};
  const auto refusal = [&](Tensor& tq, Tensor& tk, Tensor& tv, Tensor& tp, Tensor& ts, Tensor& ty) {
    return Refusal("attention", {&tq, &tk, &tv, &tp, &seq, &pages, &ts}, {&ty}, Attrs(mask, 5, 1));
  };
  const std::string at = "step 'the.step': ";
  EXPECT_EQ(refusal(q, k, v, pos, sinks, y), "");
  Tensor q5 = Tensor::Make(DType::kF32, {2, 5, 8}), q4 = Tensor::Make(DType::kF32, {2, 6, 4});
  EXPECT_EQ(refusal(q5, k, v, pos, sinks, y),
            at + "got 5 query heads, expected a multiple of 2 key and value heads");
  EXPECT_EQ(refusal(q4, k, v, pos, sinks, y),
            at + "q has shape [2,6,4], expected 8 at axis 2 as in k_cache");
  Tensor v3 = Tensor::Make(DType::kF16, {10, 3, 5}), v5 = Tensor::Make(DType::kQ5_0, {10, 2, 32});
  EXPECT_EQ(refusal(q, k, v3, pos, sinks, y),
            at + "v_cache has shape [10,3,5], expected 2 at axis 1 as in k_cache");
  EXPECT_EQ(refusal(q, k, v5, pos, sinks, y),
            at + "v_cache has type q5_0, expected f32, f16, bf16, q8_0, q4_0, f8_e4m3");
  EXPECT_EQ(refusal(q, k, v, seq, sinks, q),
            at + "y has shape [2,6,8], expected 5 at axis 2 as in v_cache");
  Tensor pos3 = Tensor::Make(DType::kI32, {3}), sinks2 = Tensor::Make(DType::kF32, {2});
  EXPECT_EQ(refusal(q, k, v, pos3, sinks, y),
            at + "pos has shape [3], expected 2 at axis 0 as in q");
  EXPECT_EQ(refusal(q, k, v, pos, sinks2, y),
            at + "sinks has shape [2], expected 6 at axis 0 as in q");
  const auto attrs = [&](std::vector<plan::Attr> given) {
    return Refusal("attention", {&q, &k, &v, &pos, &seq, &pages}, {&y}, given);
  };
  EXPECT_EQ(attrs(Attrs({true, -1, false}, 5, 1)),
            at + "attribute window is negative, expected 0 (none) or more");
  EXPECT_THAT(attrs(Attrs(mask, 0, 1)), HasSubstr("attribute page_tokens is 0, expected 1 to"));
  EXPECT_EQ(attrs({{"page_tokens", int64_t{5}}, {"scale", 1.0}, {"window", int64_t{0}}}),
            at + "attribute causal is missing");
}

}  // namespace
}  // namespace renga::cpu
