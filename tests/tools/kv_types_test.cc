// Every pair of types that K and V caches can have, on a tiny qwen2 whose key biases are a hundred
// times its keys: the cpu against the interpreter of the same graph, to the bit whatever the steps
// and threads, and both against what f32 caches give.
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "ir/core/cache_rounding.h"
#include "tests/support/biased_keys_model.h"
#include "tests/support/logits.h"
#include "tests/support/pass_subsets.h"

namespace renga {
namespace {

constexpr int64_t kTokens = 75;  // more than a page, and than the angles a table of biases has

absl::StatusOr<std::vector<float>> Logits(const std::string& path, DType k, DType v,
                                          const std::string& device, PassSet passes,
                                          const std::vector<size_t>& steps, int threads) {
  CompileOptions options;
  options.k_type = k;
  options.v_type = v;
  options.max_rows = MaxStepTokens(options);
  RENGA_ASSIGN_OR_RETURN(const auto plan, CompileWith(path, passes, options));
  RENGA_ASSIGN_OR_RETURN(const auto forward, OpenOnHost(device, plan, threads));
  std::vector<float> all;
  int64_t at = 0;
  for (size_t step = 0; at < kTokens; ++step) {
    const int64_t count =
        std::min<int64_t>(static_cast<int64_t>(steps[step % steps.size()]), kTokens - at);
    std::vector<int32_t> tokens, rows;
    for (int64_t i = 0; i < count; ++i, ++at) {
      tokens.push_back(static_cast<int32_t>(at * at % 23 + at % 2));
      rows.push_back(static_cast<int32_t>(i));
    }
    std::vector<float> logits;
    RENGA_RETURN_IF_ERROR(forward->Run(tokens, rows, &logits));
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

class KvTypesTest : public testing::TestWithParam<std::tuple<DType, DType>> {
 protected:
  std::vector<float> Run(const std::string& device, PassSet passes,
                         const std::vector<size_t>& steps = {kTokens}, int threads = 1) {
    const auto [k, v] = GetParam();
    auto logits = Logits(path_, k, v, device, passes, steps, threads);
    EXPECT_TRUE(logits.ok()) << logits.status();
    return logits.ok() ? *std::move(logits) : std::vector<float>();
  }

  TinyModel model_ = BiasedKeysModel();
  std::string path_ = model_.Write();
};

TEST_P(KvTypesTest, TheCpuDoesNotDependOnStepsAndThreads) {
  const std::vector<float> whole = Run("cpu", AllPasses());
  ASSERT_EQ(whole.size(), static_cast<size_t>(kTokens * 24));
  EXPECT_EQ(Run("cpu", AllPasses(), {1}), whole);
  EXPECT_EQ(Run("cpu", AllPasses(), {7, 1, 33}, 3), whole);
  const std::vector<float> parts = Run("cpu", 0);
  EXPECT_EQ(Run("cpu", 0, {9, 1}, 2), parts);
}

// Sums of f32 in another order are off by some 2^-21, and so are keys before they are rounded. A
// step of q8_0 is some 2^-7 of a key, so that one number of 2^14 rounds to its other neighbour, of
// q4_0 one of 2^18; of 38,400 numbers kept (2 layers, 75 tokens, 2 times 64, K and V, twice) that
// are a few. One such number in q4_0 changes a key by an eighth of its largest number in one of 32
// places: 2 % of a score or a value of one token among 75, 5e-4 of all logits if it is one that
// many look at. Four of them are allowed. In f8_e4m3 a step is up to an eighth of the number, so
// less of a key than one of q4_0 can be, and one number of 2^17 rounds the other way.
TEST_P(KvTypesTest, TheCpuIsNearTheReference) {
  for (const PassSet passes : {PassSet{0}, AllPasses()}) {
    const double error = RelativeError(Run("cpu", passes), Run("reference", passes));
    EXPECT_LT(error, 2e-3) << TextOf(passes);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Pairs, KvTypesTest,
    testing::Combine(testing::ValuesIn(CacheTypes().begin(), CacheTypes().end()),
                     testing::ValuesIn(CacheTypes().begin(), CacheTypes().end())),
    [](const auto& info) {
      return StrCat(Name(std::get<0>(info.param)), "_", Name(std::get<1>(info.param)));
    });

// Layers with types of their own: those of the plan, and the cpu as near the reference as above.
TEST(KvTypesOfLayers, AreTheirOwn) {
  TinyModel model = BiasedKeysModel();
  const std::string path = model.Write();
  CompileOptions options;
  options.k_type = DType::kQ8_0;
  options.kv_of_layers = {{0, 0, DType::kF32, DType::kQ4_0}, {1, 1, std::nullopt, DType::kBF16}};
  options.max_rows = MaxStepTokens(options);
  const auto plan = CompileWith(path, AllPasses(), options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  std::vector<std::string> types;
  for (const plan::Cache& cache : (*plan)->caches) {
    types.push_back(StrCat(cache.name, " ", Name(cache.dtype)));
  }
  EXPECT_EQ(types, (std::vector<std::string>{"0.k_cache f32", "0.v_cache q4_0", "1.k_cache q8_0",
                                             "1.v_cache bf16"}));
  std::vector<int32_t> tokens, rows;
  for (int32_t at = 0; at < kTokens; ++at) {
    tokens.push_back(at * at % 23 + at % 2);
    rows.push_back(at);
  }
  std::vector<float> logits[2];
  for (const int i : {0, 1}) {
    const auto forward = OpenOnHost(i == 0 ? "cpu" : "reference", *plan, 1);
    ASSERT_TRUE(forward.ok()) << forward.status();
    ASSERT_TRUE((*forward)->Run(tokens, rows, &logits[i]).ok());
  }
  EXPECT_LT(RelativeError(logits[0], logits[1]), 2e-3);
}

// A number is off by up to half a step, a root mean square of 0.29 steps. A step is the block's
// largest, some 2.5 times its root mean square, by 127 (in q4_0 8): 0.6 % of a key and 9 %. One of
// f8_e4m3 is a sixteenth to an eighth of the number itself, 0.09 on average: 2.6 % of a key. A key
// in 32 dimensions has a score of about 1, so as much is off the weights, and of them a mean of
// many tokens gives the logits less: half of it is the limit. With the bias inside the largest is
// some 60 times what the keys are, and in f8_e4m3 so is every number.
TEST(KvTypesOfKeys, AreFaithfulWithoutTheirBias) {
  TinyModel model = BiasedKeysModel();
  const std::string path = model.Write();
  PassSet without = AllPasses();
  for (int i = 0; i < PassCount(); ++i) {
    if (DefaultPipeline()[i].name == "key-bias-apart") without &= ~(PassSet{1} << i);
  }
  const auto logits = [&](DType type, PassSet passes) {
    return *Logits(path, type, DType::kF32, "cpu", passes, {kTokens}, 2);
  };
  const std::vector<float> exact = logits(DType::kF32, AllPasses());
  for (const auto& [type, limit] :
       {std::pair(DType::kQ8_0, 0.003), {DType::kQ4_0, 0.045}, {DType::kF8_E4M3, 0.013}}) {
    const double apart = RelativeError(logits(type, AllPasses()), exact);
    const double inside = RelativeError(logits(type, without), exact);
    EXPECT_LT(apart, limit) << Name(type);
    EXPECT_GT(inside, 10 * apart) << Name(type);
  }
}

}  // namespace
}  // namespace renga
