#include <algorithm>
#include <bit>
#include <cmath>

#include "gtest/gtest.h"
#include "ir/core/cache_rounding.h"
#include "ir/reference/dequant.h"
#include "tests/runtime/cpu/kernel_harness.h"

namespace renga::cpu {
namespace {

using ::testing::HasSubstr;

TEST(RegistryTest, SortedFindableAndAllTheDocumentedOnes) {
  const absl::Span<const KernelDef* const> all = AllKernels();
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end(), [](const KernelDef* a, const KernelDef* b) {
    return a->name < b->name;
  }));
  for (const KernelDef* kernel : all) EXPECT_EQ(FindKernel(kernel->name), kernel);
  EXPECT_EQ(FindKernel("no_such_kernel"), nullptr);
  for (const std::string_view name :
       {"embed",       "rms_norm",      "linear",           "add",
        "rope",        "kv_append",     "attn_scores",      "masked_softmax",
        "attn_values", "attention",     "attention_direct", "gate_up",
        "linear_add",  "norm_linear",   "qkv_rope",         "head",
        "arg_max",     "glu",           "gather_rows",      "slice",
        "moe_route",   "expert_linear", "expert_sum"}) {
    EXPECT_NE(FindKernel(name), nullptr) << name;
  }
}

TEST(RegistryTest, NoKernelTakesAnEmptyStep) {
  for (const KernelDef* kernel : AllKernels()) {
    EXPECT_THAT(std::string(kernel->prepare({"s", {}, {}, {}, {}}).status().message()),
                HasSubstr("step 's': got 0 inputs"));
  }
}

TEST(AddTest, AddsAndRefuses) {
  ThreadPool pool(2);
  for (const int64_t n : {1, 7, 100003}) {
    const std::vector<float> a = RandomFloats(n, 1), b = RandomFloats(n, 2);
    Tensor ta = Tensor::Floats({1, n}, a), tb = Tensor::Floats({1, n}, b);
    RunStep("add", {&ta, &tb}, {&ta}, {}, pool);  // in place
    const std::vector<float> y = ta.floats();
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(y[i], a[i] + b[i]);
  }
  Tensor x = Tensor::Make(DType::kF32, {2, 3}), other = Tensor::Make(DType::kF32, {2, 4});
  EXPECT_EQ(Refusal("add", {&x, &other}, {&x}, {}),
            "step 'the.step': b has shape [2,4], expected [2,3] as a");
  EXPECT_EQ(Refusal("add", {&x, &x}, {&other}, {}),
            "step 'the.step': y has shape [2,4], expected [2,3] as a");
}

TEST(RmsNormTest, MatchesDouble) {
  ThreadPool pool(2);
  for (const int64_t n : {1, 5, 64, 897}) {
    for (const int64_t rows : {1, 3, 33}) {
      std::vector<float> x = RandomFloats(rows * n, 1), weight = RandomFloats(n, 2);
      x[0] = 1e4f;
      Tensor tx = Tensor::Floats({rows, n}, x), tw = Tensor::Floats({n}, weight);
      Tensor y = Tensor::Make(DType::kF32, {rows, n});
      RunStep("rms_norm", {&tx, &tw}, {&y}, {{"eps", 1e-5}}, pool);
      for (int64_t r = 0; r < rows; ++r) {
        double sum = 0;
        for (int64_t i = 0; i < n; ++i) sum += double{x[r * n + i]} * x[r * n + i];
        for (int64_t i = 0; i < n; ++i) {
          const double want = x[r * n + i] * weight[i] / std::sqrt(sum / n + 1e-5);
          ASSERT_NEAR(y.floats()[r * n + i], want, std::abs(want) * 3e-7);
        }
      }
    }
  }
}

TEST(RmsNormTest, Refuses) {
  Tensor x = Tensor::Make(DType::kF32, {2, 8}), w = Tensor::Make(DType::kF32, {8});
  Tensor narrow = Tensor::Make(DType::kF32, {7}), half = Tensor::Make(DType::kF16, {8});
  EXPECT_EQ(Refusal("rms_norm", {&x, &w}, {&x}, {{"eps", 1e-6}}), "");
  EXPECT_EQ(Refusal("rms_norm", {&x, &w}, {&x}, {}), "step 'the.step': attribute eps is missing");
  EXPECT_EQ(Refusal("rms_norm", {&x, &w}, {&x}, {{"eps", -1.0}}),
            "step 'the.step': attribute eps is negative, expected 0 or more");
  EXPECT_EQ(Refusal("rms_norm", {&x, &w}, {&x}, {{"eps", std::string("x")}}),
            "step 'the.step': attribute eps is no finite number");
  EXPECT_EQ(Refusal("rms_norm", {&x, &narrow}, {&x}, {{"eps", 0.0}}),
            "step 'the.step': weight has shape [7], expected 8 at axis 0 as in x");
  EXPECT_EQ(Refusal("rms_norm", {&x, &half}, {&x}, {{"eps", 0.0}}),
            "step 'the.step': weight has type f16, expected f32");
}

TEST(GluTest, MatchesDoubleFarOut) {
  ThreadPool pool(1);
  std::vector<float> gate = RandomFloats(1003, 1, 5), up = RandomFloats(1003, 2);
  for (const float extreme : {-1e4f, -100.f, -20.f, 0.f, 20.f, 100.f, 1e4f}) {
    gate.push_back(extreme);
    up.push_back(3);
  }
  const int64_t n = static_cast<int64_t>(gate.size());
  Tensor tg = Tensor::Floats({2, n / 2}, gate), tu = Tensor::Floats({2, n / 2}, up);
  ASSERT_EQ(n % 2, 0);
  for (const std::string activation : {"silu", "gelu_tanh"}) {
    Tensor y = Tensor::Make(DType::kF32, {2, n / 2});
    RunStep("glu", {&tg, &tu}, {&y}, {{"activation", activation}}, pool);
    for (int64_t i = 0; i < n; ++i) {
      const double g = gate[i];
      const double u = std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g);
      const double act = activation == "silu" ? g / (1 + std::exp(-g)) : g / (1 + std::exp(-2 * u));
      // The exponent's argument is rounded to f32 first, hence the error in proportion to it.
      const double arg = activation == "silu" ? std::abs(g) : std::abs(2 * u);
      ASSERT_NEAR(y.floats()[i], act * up[i],
                  std::abs(act * up[i]) * (1e-6 + 3e-7 * std::min(arg, 200.0)) + 1e-30)
          << activation << " " << g;
    }
  }
  EXPECT_EQ(Refusal("glu", {&tg, &tu}, {&tg}, {{"activation", std::string("relu")}}),
            "step 'the.step': attribute activation is 'relu', expected silu or gelu_tanh");
  EXPECT_EQ(Refusal("glu", {&tg, &tu}, {&tg}, {{"activation", int64_t{1}}}),
            "step 'the.step': attribute activation is no string, expected silu or gelu_tanh");
}

TEST(SoftmaxTest, MatchesDouble) {
  ThreadPool pool(2);
  for (const int64_t span : {1, 9, 64, 130}) {
    for (const bool causal : {true, false}) {
      for (const int64_t window : {0, 1, 20}) {
        for (const bool with_sinks : {false, true}) {
          const int64_t tokens = 3, heads = 2;
          const std::vector<float> s = RandomFloats(tokens * heads * span, 3, 10);
          const std::vector<int32_t> pos = {0, static_cast<int32_t>(span / 2),
                                            static_cast<int32_t>(span - 1)};
          const std::vector<float> sinks = {0.5f, 40.f};
          Tensor ts = Tensor::Floats({tokens, heads, span}, s);
          Tensor tp = Tensor::Ints({tokens}, pos), tk = Tensor::Floats({heads}, sinks);
          Tensor p = Tensor::Make(DType::kF32, {tokens, heads, span});
          RunStep("masked_softmax", {&ts, &tp, with_sinks ? &tk : nullptr}, {&p},
                  {{"causal", causal}, {"window", window}}, pool);
          for (int64_t row = 0; row < tokens * heads; ++row) {
            const auto visible = [&](int64_t j) {
              return (!causal || j <= pos[row / heads]) &&
                     (window == 0 || pos[row / heads] - j < window);
            };
            double sum = with_sinks ? std::exp(double{sinks[row % heads]}) : 0;
            for (int64_t j = 0; j < span; ++j) {
              if (visible(j)) sum += std::exp(double{s[row * span + j]});
            }
            for (int64_t j = 0; j < span; ++j) {
              const double want = visible(j) ? std::exp(double{s[row * span + j]}) / sum : 0;
              // The distance from the largest is rounded to f32: 4e-6 at 64 and more.
              ASSERT_NEAR(p.floats()[row * span + j], want, want * 1e-5 + 1e-37);
              if (!visible(j)) {
                ASSERT_EQ(p.floats()[row * span + j], 0);
              }
            }
          }
        }
      }
    }
  }
}

TEST(SoftmaxTest, Refuses) {
  Tensor s = Tensor::Make(DType::kF32, {2, 3, 4}), pos = Tensor::Make(DType::kI32, {2});
  Tensor sinks = Tensor::Make(DType::kF32, {2});
  const std::vector<plan::Attr> attrs = {{"causal", true}, {"window", int64_t{0}}};
  EXPECT_EQ(Refusal("masked_softmax", {&s, &pos}, {&s}, attrs), "");
  EXPECT_EQ(Refusal("masked_softmax", {&s, &pos, &sinks}, {&s}, attrs),
            "step 'the.step': sinks has shape [2], expected 3 at axis 0 as in s");
  EXPECT_EQ(
      Refusal("masked_softmax", {&s, &pos}, {&s}, {{"causal", true}, {"window", int64_t{-1}}}),
      "step 'the.step': attribute window is negative, expected 0 (none) or more");
  EXPECT_EQ(Refusal("masked_softmax", {&s, &pos}, {&s}, {{"causal", int64_t{1}}}),
            "step 'the.step': attribute causal is neither true nor false");
  EXPECT_EQ(Refusal("masked_softmax", {&s, &pos}, {&s}, {{"causal", true}, {"window", 0.5}}),
            "step 'the.step': attribute window is no integer");
  Tensor bad = s;
  bad.Symbol(2, 1);
  EXPECT_EQ(Refusal("masked_softmax", {&s, &pos}, {&bad}, attrs),
            "step 'the.step': p has shape [2,3,L], expected [2,3,4] as s");
}

std::vector<plan::Attr> RopeAttrs(int64_t dims, std::string pairing, std::string scaling) {
  return {{"base", 10000.0},
          {"beta_fast", 32.0},
          {"beta_slow", 1.0},
          {"dims", dims},
          {"factor", 4.0},
          {"magnitude", 1.25},
          {"original_context", int64_t{2048}},
          {"pairing", std::move(pairing)},
          {"scaling", std::move(scaling)}};
}

TEST(RopeTest, MatchesTheDefinition) {
  ThreadPool pool(2);
  const int64_t tokens = 5, heads = 3, width = 64, dims = 48;
  const std::vector<int32_t> pos = {0, 1, 77, 131071, 1000003};
  const std::vector<float> x = RandomFloats(tokens * heads * width, 1);
  std::vector<float> factors(dims / 2);
  for (size_t i = 0; i < factors.size(); ++i) factors[i] = 1 + 0.1f * static_cast<float>(i);
  for (const std::string pairing : {"neox", "norm"}) {
    for (const std::string scaling : {"none", "linear", "yarn"}) {
      for (const bool with_factors : {false, true}) {
        Tensor tx = Tensor::Floats({tokens, heads, width}, x), tp = Tensor::Ints({tokens}, pos);
        Tensor tf = Tensor::Floats({dims / 2}, factors);
        RunStep("rope", {&tx, &tp, with_factors ? &tf : nullptr}, {&tx},
                RopeAttrs(dims, pairing, scaling), pool);  // in place
        const std::vector<float> y = tx.floats();
        for (int64_t row = 0; row < tokens * heads; ++row) {
          for (int64_t p = 0; p < dims / 2; ++p) {
            double f = std::pow(10000.0, -2.0 * p / dims);
            if (with_factors) f /= factors[p];
            if (scaling == "linear") f /= 4;
            if (scaling == "yarn") {
              const auto c = [&](double r) {
                return dims * std::log(2048 / (2 * M_PI * r)) / (2 * std::log(10000.0));
              };
              const double lo = std::max(0.0, std::floor(c(32)));
              const double hi = std::min(dims - 1.0, std::ceil(c(1)));
              const double ramp = 1 - std::clamp((p - lo) / std::max(0.001, hi - lo), 0.0, 1.0);
              f *= ramp + (1 - ramp) / 4;
            }
            const double angle = pos[row / heads] * f;
            const int64_t i = pairing == "neox" ? p : 2 * p;
            const int64_t j = pairing == "neox" ? p + dims / 2 : 2 * p + 1;
            const double a = x[row * width + i], b = x[row * width + j];
            ASSERT_NEAR(y[row * width + i], 1.25 * (a * std::cos(angle) - b * std::sin(angle)),
                        1e-6);
            ASSERT_NEAR(y[row * width + j], 1.25 * (a * std::sin(angle) + b * std::cos(angle)),
                        1e-6);
          }
          for (int64_t i = dims; i < width; ++i) ASSERT_EQ(y[row * width + i], x[row * width + i]);
        }
      }
    }
  }
}

TEST(RopeTest, Refuses) {
  Tensor x = Tensor::Make(DType::kF32, {2, 3, 8}), pos = Tensor::Make(DType::kI32, {2});
  Tensor factors = Tensor::Make(DType::kF32, {3});
  EXPECT_EQ(Refusal("rope", {&x, &pos}, {&x}, RopeAttrs(8, "neox", "yarn")), "");
  for (const int64_t dims : {0, -2, 5, 10}) {
    EXPECT_THAT(Refusal("rope", {&x, &pos}, {&x}, RopeAttrs(dims, "neox", "none")),
                HasSubstr("expected an even number in 2..8"));
  }
  EXPECT_EQ(
      Refusal("rope", {&x, &pos, &factors}, {&x}, RopeAttrs(8, "neox", "none")),
      "step 'the.step': factors has shape [3], expected 4 at axis 0 as in half of attribute dims");
  EXPECT_EQ(Refusal("rope", {&x, &pos}, {&x}, RopeAttrs(8, "gptj", "none")),
            "step 'the.step': attribute pairing is 'gptj', expected neox or norm");
  EXPECT_EQ(Refusal("rope", {&x, &pos}, {&x}, RopeAttrs(8, "norm", "ntk")),
            "step 'the.step': attribute scaling is 'ntk', expected none or linear or yarn");
  for (const std::string name : {"base", "factor", "magnitude", "original_context", "beta_fast"}) {
    std::vector<plan::Attr> attrs = RopeAttrs(8, "neox", "yarn");
    for (plan::Attr& attr : attrs) {
      if (attr.name == name) attr.value = 0.0;
    }
    EXPECT_EQ(Refusal("rope", {&x, &pos}, {&x}, attrs),
              "step 'the.step': attribute " + name + " is 0, expected more than 0");
  }
}

// A sequence's pages in any order, one of them absent, and a second sequence.
struct Paged {
  static constexpr int64_t kPage = 5, kSpan = 23, kKv = 2;
  std::vector<int32_t> pages = {6, 2, 4, -1, 0, /*second*/ 5, 1, 3, 7, 8};

  int64_t Cell(int64_t seq, int64_t j) const {
    const int32_t page = pages[seq * 5 + j / kPage];
    return page < 0 ? -1 : page * kPage + j % kPage;
  }
};

class AttentionTest : public ::testing::TestWithParam<std::tuple<DType, int64_t>> {
 protected:
  static constexpr int64_t kCells = 9 * Paged::kPage;

  std::vector<float> Entries(int seed) const {
    return RandomFloats(kCells * Paged::kKv * std::get<1>(GetParam()), seed);
  }
  Tensor Cache(int seed) {
    const auto [type, width] = GetParam();
    Tensor cache = Tensor::Make(type, {kCells, Paged::kKv, width});
    Tensor x = Tensor::Floats({kCells, Paged::kKv, width}, Entries(seed));
    std::vector<int32_t> cells(kCells);
    for (size_t i = 0; i < cells.size(); ++i) cells[i] = static_cast<int32_t>(i);
    Tensor tc = Tensor::Ints({kCells}, cells);
    RunStep("kv_append", {&cache, &x, &tc}, {&cache}, {}, pool_);
    return cache;
  }
  // What the reference keeps of the same.
  std::vector<float> CacheValues(int seed) const {
    std::vector<float> values = Entries(seed);
    RoundRow(std::get<0>(GetParam()), absl::MakeSpan(values));
    return values;
  }
  // Tokens 0.. of the two sequences, in runs.
  static std::vector<int32_t> Sequences(int64_t tokens) {
    std::vector<int32_t> seq(tokens);
    for (int64_t t = 0; t < tokens; ++t) seq[t] = t % 7 < 3 ? 0 : 1;
    return seq;
  }

  ThreadPool pool_{2};
  Paged paged_;
  static constexpr int64_t kHeads = 6;
};

INSTANTIATE_TEST_SUITE_P(Caches, AttentionTest,
                         ::testing::Combine(::testing::Values(DType::kF32, DType::kF16,
                                                              DType::kBF16),
                                            ::testing::Values(1, 20, 64, 128)));
INSTANTIATE_TEST_SUITE_P(CachesInBlocks, AttentionTest,
                         ::testing::Combine(::testing::Values(DType::kQ8_0, DType::kQ4_0),
                                            ::testing::Values(32, 64, 128)));

TEST_P(AttentionTest, ScoresMatchDoubleAndDoNotDependOnTheBatch) {
  const int64_t width = std::get<1>(GetParam());
  Tensor cache = Cache(1);
  const std::vector<float> k = CacheValues(1);
  std::vector<float> first;
  for (const int64_t tokens : {70, 1, 2, 3, 33}) {
    const std::vector<int32_t> seq = Sequences(tokens);
    const std::vector<float> all_q = RandomFloats(70 * kHeads * width, 2);
    const std::vector<float> q(all_q.begin(), all_q.begin() + tokens * kHeads * width);
    Tensor tq = Tensor::Floats({tokens, kHeads, width}, q), ts = Tensor::Ints({tokens}, seq);
    Tensor tp = Tensor::Ints({2, 5}, paged_.pages);
    Tensor s = Tensor::Make(DType::kF32, {tokens, kHeads, Paged::kSpan});
    RunStep("attn_scores", {&tq, &cache, &ts, &tp}, {&s},
            {{"page_tokens", Paged::kPage}, {"scale", 0.125}}, pool_);
    const std::vector<float> got = s.floats();
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t h = 0; h < kHeads; ++h) {
        for (int64_t j = 0; j < Paged::kSpan; ++j) {
          const int64_t cell = paged_.Cell(seq[t], j);
          double sum = 0, magnitude = 0;
          for (int64_t d = 0; cell >= 0 && d < width; ++d) {
            const double product = double{q[(t * kHeads + h) * width + d]} *
                                   k[(cell * Paged::kKv + h / 3) * width + d];
            sum += product;
            magnitude += std::abs(product);
          }
          ASSERT_NEAR(got[(t * kHeads + h) * Paged::kSpan + j], 0.125 * sum, 1e-6 * magnitude);
        }
      }
    }
    if (first.empty()) first = got;
    EXPECT_EQ(got, std::vector<float>(first.begin(), first.begin() + got.size()));
  }
}

TEST_P(AttentionTest, ValuesMatchDoubleSkipZerosAndDoNotDependOnTheBatch) {
  const int64_t width = std::get<1>(GetParam());
  Tensor cache = Cache(3);
  const std::vector<float> v = CacheValues(3);
  // Cells of page 0 (the second sequence never has it, the first at 20..22) hold garbage.
  std::fill_n(cache.bytes.begin(), cache.bytes.size() / 9, 0xFF);
  std::vector<float> first;
  for (const int64_t tokens : {70, 1, 2, 3, 33}) {
    const std::vector<int32_t> seq = Sequences(tokens);
    std::vector<float> p = RandomFloats(tokens * kHeads * Paged::kSpan, 4);
    for (int64_t i = 0; i < tokens * kHeads * Paged::kSpan; ++i) {
      const int64_t j = i % Paged::kSpan, t = i / Paged::kSpan / kHeads;
      if (j == 7 || paged_.Cell(seq[t], j) < Paged::kPage) p[i] = 0;
    }
    Tensor tw = Tensor::Floats({tokens, kHeads, Paged::kSpan}, p), ts = Tensor::Ints({tokens}, seq);
    Tensor tp = Tensor::Ints({2, 5}, paged_.pages);
    Tensor y = Tensor::Make(DType::kF32, {tokens, kHeads, width});
    RunStep("attn_values", {&tw, &cache, &ts, &tp}, {&y}, {{"page_tokens", Paged::kPage}}, pool_);
    const std::vector<float> got = y.floats();
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t h = 0; h < kHeads; ++h) {
        for (int64_t d = 0; d < width; ++d) {
          double sum = 0, magnitude = 0;
          for (int64_t j = 0; j < Paged::kSpan; ++j) {
            const float weight = p[(t * kHeads + h) * Paged::kSpan + j];
            if (weight == 0) continue;
            const double product =
                double{weight} * v[(paged_.Cell(seq[t], j) * Paged::kKv + h / 3) * width + d];
            sum += product;
            magnitude += std::abs(product);
          }
          ASSERT_NEAR(got[(t * kHeads + h) * width + d], sum, 1e-6 * magnitude);
        }
      }
    }
    if (first.empty()) first = got;
    EXPECT_EQ(got, std::vector<float>(first.begin(), first.begin() + got.size()));
  }
}

TEST(AttentionRefusalTest, NamesWhatIsWrong) {
  Tensor q = Tensor::Make(DType::kF32, {2, 6, 8}), cache = Tensor::Make(DType::kF16, {10, 2, 8});
  Tensor seq = Tensor::Make(DType::kI32, {2}), pages = Tensor::Make(DType::kI32, {1, 2});
  Tensor s = Tensor::Make(DType::kF32, {2, 6, 10});
  const auto refusal = [&](Tensor& tq, Tensor& tc, Tensor& tseq, int64_t page) {
    return Refusal("attn_scores", {&tq, &tc, &tseq, &pages}, {&s},
                   {{"page_tokens", page}, {"scale", 1.0}});
  };
  EXPECT_EQ(refusal(q, cache, seq, 5), "");
  EXPECT_EQ(refusal(q, cache, seq, 0),
            "step 'the.step': attribute page_tokens is 0, expected 1 to 2147483647");
  Tensor q5 = Tensor::Make(DType::kF32, {2, 5, 8});
  EXPECT_EQ(refusal(q5, cache, seq, 5),
            "step 'the.step': got 5 query heads, expected a multiple of 2 key and value heads");
  Tensor q4 = Tensor::Make(DType::kF32, {2, 6, 4});
  EXPECT_EQ(refusal(q4, cache, seq, 5),
            "step 'the.step': q has shape [2,6,4], expected 8 at axis 2 as in k_cache");
  Tensor five = Tensor::Make(DType::kQ5_0, {10, 2, 32});
  EXPECT_EQ(refusal(q, five, seq, 5),
            "step 'the.step': k_cache has type q5_0, expected f32, f16, bf16, q8_0, q4_0, f8_e4m3");
  Tensor seq3 = Tensor::Make(DType::kI32, {3});
  EXPECT_EQ(refusal(q, cache, seq3, 5),
            "step 'the.step': seq has shape [3], expected 2 at axis 0 as in the tokens");
  Tensor y = Tensor::Make(DType::kF32, {2, 6, 4});
  EXPECT_EQ(Refusal("attn_values", {&s, &cache, &seq, &pages}, {&y}, {{"page_tokens", int64_t{5}}}),
            "step 'the.step': y has shape [2,6,4], expected 8 at axis 2 as in v_cache");
}

TEST(KvAppendTest, RoundsAndPlaces) {
  ThreadPool pool(1);
  const std::vector<float> x = {1.0009765625f, 65536.f, 1e-8f, -3.f, 0.1f, 2.f};
  Tensor tx = Tensor::Floats({2, 1, 3}, x), cells = Tensor::Ints({2}, {3, 1});
  Tensor cache = Tensor::Make(DType::kF16, {4, 1, 3});
  RunStep("kv_append", {&cache, &tx, &cells}, {&cache}, {}, pool);
  for (size_t i = 0; i < 3; ++i) {
    uint16_t bits;
    std::memcpy(&bits, cache.bytes.data() + (9 + i) * 2, 2);
    EXPECT_EQ(bits, FloatToHalf(x[i]));
    std::memcpy(&bits, cache.bytes.data() + (3 + i) * 2, 2);
    EXPECT_EQ(bits, FloatToHalf(x[3 + i]));
    std::memcpy(&bits, cache.bytes.data() + i * 2, 2);
    EXPECT_EQ(bits, 0);
  }
  Tensor wide = Tensor::Make(DType::kF32, {2, 1, 4});
  EXPECT_EQ(Refusal("kv_append", {&cache, &wide, &cells}, {&cache}, {}),
            "step 'the.step': x has shape [2,1,4], expected 3 at axis 2 as in cache");
  Tensor other = Tensor::Make(DType::kF16, {5, 1, 3});
  EXPECT_EQ(Refusal("kv_append", {&cache, &tx, &cells}, {&other}, {}),
            "step 'the.step': output cache has shape [5,1,3], expected [4,1,3] as input cache");
  Tensor full = Tensor::Make(DType::kF32, {4, 1, 3});
  EXPECT_EQ(Refusal("kv_append", {&cache, &tx, &cells}, {&full}, {}),
            "step 'the.step': cache has type f32, expected f16");
}

// Bytes as GGUF has them, read by the reference's own dequantiser: what it keeps, to the bit in
// q8_0. In q4_0 the block is turned by Hadamard's matrix, whose sums differ in the last place.
TEST(KvAppendTest, KeepsBlocksAsTheReferenceDoes) {
  ThreadPool pool(1);
  constexpr int64_t kTokens = 40, kHeads = 3, kWidth = 64;
  std::vector<float> x = RandomFloats(kTokens * kHeads * kWidth, 6, 3);
  for (size_t i = 0; i < x.size(); i += 257) x[i] *= 100;  // one large among small
  std::fill_n(x.begin() + 64, 32, 0.0f);
  Tensor tx = Tensor::Floats({kTokens, kHeads, kWidth}, x);
  std::vector<int32_t> all(kTokens);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int32_t>(i);
  Tensor cells = Tensor::Ints({kTokens}, all);
  for (const DType type : {DType::kQ8_0, DType::kQ4_0}) {
    SCOPED_TRACE(std::string(Name(type)));
    Tensor cache = Tensor::Make(type, {kTokens, kHeads, kWidth});
    RunStep("kv_append", {&cache, &tx, &cells}, {&cache}, {}, pool);
    std::vector<float> want = x, got(x.size());
    RoundRow(type, absl::MakeSpan(want));
    ASSERT_TRUE(DequantRow(type, cache.bytes, absl::MakeSpan(got)).ok());
    if (type == DType::kQ8_0) {
      EXPECT_EQ(got, want);
    }
    for (size_t block = 0; type == DType::kQ4_0 && block < got.size(); block += 32) {
      for (size_t i = 0; i < 32; ++i) {
        double sum = 0;
        for (size_t j = 0; j < 32; ++j) {
          sum += std::popcount(i & j) % 2 == 0 ? got[block + j] : -got[block + j];
        }
        ASSERT_NEAR(sum / std::sqrt(32.0), want[block + i],
                    1e-6 * std::abs(want[block + i]) + 1e-6);
      }
    }
  }
}

// To the bit, whatever the heads' size: every f16, infinities and NaN too, both by the kernel that
// writes and by one that reads.
TEST(KvAppendTest, KeepsE4M3AsTheReferenceDoes) {
  ThreadPool pool(1);
  constexpr int64_t kWidth = 37, kTokens = 65536 / kWidth + 1;
  std::vector<float> x(kTokens * kWidth);
  for (int half = 0; half < 65536; ++half) x[half] = HalfToFloat(static_cast<uint16_t>(half));
  Tensor tx = Tensor::Floats({kTokens, 1, kWidth}, x);
  std::vector<int32_t> all(kTokens);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int32_t>(i);
  Tensor cells = Tensor::Ints({kTokens}, all);
  Tensor cache = Tensor::Make(DType::kF8_E4M3, {kTokens, 1, kWidth});
  RunStep("kv_append", {&cache, &tx, &cells}, {&cache}, {}, pool);
  RoundRow(DType::kF8_E4M3, absl::MakeSpan(x));
  for (int64_t token = 0; token < kTokens; ++token) {
    Tensor p = Tensor::Floats({1, 1, 1}, {1}), zero = Tensor::Ints({1}, {0});
    Tensor pages = Tensor::Ints({1, 1}, {static_cast<int32_t>(token)});
    Tensor y = Tensor::Make(DType::kF32, {1, 1, kWidth});
    RunStep("attn_values", {&p, &cache, &zero, &pages}, {&y}, {{"page_tokens", int64_t{1}}}, pool);
    const std::vector<float> got = y.floats();
    for (int64_t i = 0; i < kWidth; ++i) {
      const float want = x[token * kWidth + i];
      ASSERT_TRUE(got[i] == want || (std::isnan(got[i]) && std::isnan(want)))
          << "token " << token << " number " << i << ": " << got[i] << ", " << want;
    }
  }
}

TEST(KvAppendTest, WhatIsNotFiniteShowsInItsBlock) {
  ThreadPool pool(1);
  for (const DType type : {DType::kQ8_0, DType::kQ4_0}) {
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      std::vector<float> x = RandomFloats(64, 7);
      x[40] = bad;
      Tensor tx = Tensor::Floats({1, 1, 64}, x), cells = Tensor::Ints({1}, {0});
      Tensor cache = Tensor::Make(type, {1, 1, 64}), q = Tensor::Floats({1, 1, 64}, x);
      RunStep("kv_append", {&cache, &tx, &cells}, {&cache}, {}, pool);
      Tensor p = Tensor::Floats({1, 1, 1}, {1}), zero = Tensor::Ints({1}, {0});
      Tensor pages = Tensor::Ints({1, 1}, {0}), y = Tensor::Make(DType::kF32, {1, 1, 64});
      RunStep("attn_values", {&p, &cache, &zero, &pages}, {&y}, {{"page_tokens", int64_t{1}}},
              pool);
      for (int64_t i = 0; i < 64; ++i) EXPECT_EQ(std::isnan(y.floats()[i]), i >= 32) << i;
    }
  }
}

TEST(KvAppendTest, RefusesHeadsThatAreNoWholeBlocks) {
  Tensor x = Tensor::Make(DType::kF32, {1, 4, 16}), cells = Tensor::Make(DType::kI32, {1});
  Tensor cache = Tensor::Make(DType::kQ4_0, {1, 2, 32});
  cache.type.shape = {{-1, 1}, {-1, 4}, {-1, 16}};
  EXPECT_EQ(Refusal("kv_append", {&cache, &x, &cells}, {&cache}, {}),
            "step 'the.step': a cache of q4_0 has shape [1,4,16], expected a multiple of 32 at "
            "axis 2");
}

TEST(RowsTest, GatherAndSlice) {
  ThreadPool pool(2);
  Tensor x = Tensor::Floats({3, 4}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  Tensor rows = Tensor::Ints({2}, {2, 0}), y = Tensor::Make(DType::kF32, {2, 4});
  RunStep("gather_rows", {&x, &rows}, {&y}, {}, pool);
  EXPECT_EQ(y.floats(), (std::vector<float>{8, 9, 10, 11, 0, 1, 2, 3}));
  Tensor cut = Tensor::Make(DType::kF32, {3, 2});
  RunStep("slice", {&x}, {&cut}, {{"size", int64_t{2}}, {"start", int64_t{1}}}, pool);
  EXPECT_EQ(cut.floats(), (std::vector<float>{1, 2, 5, 6, 9, 10}));

  EXPECT_EQ(Refusal("gather_rows", {&x, &rows}, {&cut}, {}),
            "step 'the.step': y has shape [3,2], expected 2 at axis 0 as in rows");
  for (const auto& [start, size] :
       {std::pair<int64_t, int64_t>{-1, 2}, {3, 2}, {0, 0}, {1, INT64_MAX}}) {
    EXPECT_THAT(Refusal("slice", {&x}, {&cut}, {{"size", size}, {"start", start}}),
                HasSubstr("expected a range within 4"));
  }
  EXPECT_EQ(Refusal("slice", {&x}, {&cut}, {{"size", int64_t{3}}, {"start", int64_t{1}}}),
            "step 'the.step': y has shape [3,2], expected 3 at axis 1 as in attribute size");
}

TEST(EmbedTest, Refuses) {
  Tensor tokens = Tensor::Make(DType::kI32, {3}), table = Tensor::Make(DType::kQ4_0, {9, 64});
  Tensor y = Tensor::Make(DType::kF32, {3, 64}), wide = Tensor::Make(DType::kF32, {3, 65});
  EXPECT_EQ(Refusal("embed", {&tokens, &table}, {&y}, {}), "");
  EXPECT_EQ(Refusal("embed", {&tokens, &table}, {&wide}, {}),
            "step 'the.step': y has shape [3,65], expected 64 at axis 1 as in table");
  Tensor ints = Tensor::Make(DType::kI64, {9, 64});
  EXPECT_THAT(Refusal("embed", {&tokens, &ints}, {&y}, {}),
              HasSubstr("table has type i64, supported"));
}

TEST(MoeTest, RoutesTiesToTheLowerIdAndSums) {
  ThreadPool pool(2);
  const std::vector<float> scores = {1, 3, 3, 2, /*far apart*/ 0, -1000, -1000, -1000};
  Tensor s = Tensor::Floats({2, 4}, scores);
  Tensor ids = Tensor::Make(DType::kI32, {2, 3}), weights = Tensor::Make(DType::kF32, {2, 3});
  for (const bool normalise : {false, true}) {
    RunStep("moe_route", {&s}, {&ids, &weights}, {{"normalise", normalise}, {"used", int64_t{3}}},
            pool);
    EXPECT_EQ(ids.ints(), (std::vector<int32_t>{1, 2, 3, 0, 1, 2}));
    const double e = std::exp(-1.0), e2 = std::exp(-2.0);
    const double sum = 2 + e + (normalise ? 0 : e2);
    const std::vector<float> w = weights.floats();
    EXPECT_NEAR(w[0], 1 / sum, 1e-7);
    EXPECT_NEAR(w[1], 1 / sum, 1e-7);
    EXPECT_NEAR(w[2], e / sum, 1e-7);
    EXPECT_EQ(w[3], 1);
    EXPECT_EQ(w[4], 0);
  }
  const std::vector<float> x = RandomFloats(2 * 3 * 11, 1);
  Tensor tx = Tensor::Floats({2, 3, 11}, x), y = Tensor::Make(DType::kF32, {2, 11});
  RunStep("expert_sum", {&tx, &weights}, {&y}, {}, pool);
  for (int64_t t = 0; t < 2; ++t) {
    for (int64_t i = 0; i < 11; ++i) {
      double sum = 0;
      for (int64_t u = 0; u < 3; ++u) {
        sum += double{weights.floats()[t * 3 + u]} * x[(t * 3 + u) * 11 + i];
      }
      EXPECT_NEAR(y.floats()[t * 11 + i], sum, 1e-6);
    }
  }
}

TEST(MoeTest, NaNScoresGiveValidIds) {
  ThreadPool pool(1);
  Tensor s = Tensor::Floats({1, 4}, {NAN, 1, 2, NAN});
  Tensor ids = Tensor::Make(DType::kI32, {1, 4}), weights = Tensor::Make(DType::kF32, {1, 4});
  RunStep("moe_route", {&s}, {&ids, &weights}, {{"normalise", true}, {"used", int64_t{4}}}, pool);
  for (const int32_t id : ids.ints()) {
    EXPECT_GE(id, 0);
    EXPECT_LT(id, 4);
  }
}

TEST(MoeTest, Refuses) {
  Tensor s = Tensor::Make(DType::kF32, {2, 4});
  Tensor ids = Tensor::Make(DType::kI32, {2, 3}), weights = Tensor::Make(DType::kF32, {2, 3});
  for (const int64_t used : {0, 5}) {
    EXPECT_THAT(Refusal("moe_route", {&s}, {&ids, &weights}, {{"normalise", true}, {"used", used}}),
                HasSubstr("expected 1 to 4"));
  }
  EXPECT_EQ(
      Refusal("moe_route", {&s}, {&ids, &weights}, {{"normalise", true}, {"used", int64_t{2}}}),
      "step 'the.step': experts has shape [2,3], expected 2 at axis 1 as in attribute used");
  Tensor x = Tensor::Make(DType::kF32, {2, 3, 5}), y = Tensor::Make(DType::kF32, {2, 6});
  EXPECT_EQ(Refusal("expert_sum", {&x, &weights}, {&y}, {}),
            "step 'the.step': y has shape [2,6], expected 5 at axis 1 as in x");
  Tensor w = Tensor::Make(DType::kQ8_0, {4, 5, 32}), in = Tensor::Make(DType::kF32, {2, 64});
  Tensor out = Tensor::Make(DType::kF32, {2, 3, 5});
  EXPECT_EQ(Refusal("expert_linear", {&in, &w, &ids}, {&out}, {}),
            "step 'the.step': x has shape [2,64], expected 32 at axis 1 as in weight");
}

}  // namespace
}  // namespace renga::cpu
