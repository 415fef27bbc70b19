// Real models on a GPU: against the reference interpreter and the recorded exact outputs (llama.cpp
// on the weights dequantised to F32), with the prompt in steps of several sizes. The recorded
// continuation is fed token by token, so that every position is compared even after a near tie.
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>

#include "tests/cuda/support.h"
#include "tests/support/logits.h"
#include "tests/support/real_model.h"

namespace renga {
namespace {

// Of f16 operands, measured in float64 (tests/data/README.md): 1e-6 to 5e-6.
constexpr double kMeanDivergence = 5e-5;
constexpr double kAgreement = 0.998;
constexpr size_t kChunks[] = {1, 7, 64, 1024};

class CudaRealModelTest : public CudaTest, public testing::WithParamInterface<RealModel> {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    struct stat info;
    if (!IsSkipped() && stat(GetParam().path.c_str(), &info) != 0) {
      GTEST_SKIP() << "SKIPPED: " << GetParam().path << " is absent; tools/fetch-models gets it";
    }
  }

  void Add(const nlohmann::json& record);

  OpenedModel reference_, cuda_;
  size_t first_greedy_ = 0;  // position whose logits choose the first generated token
  struct Sum {
    double divergence = 0;
    int64_t positions = 0, agreeing = 0;
  } sums_[std::size(kChunks)];
};

void CudaRealModelTest::Add(const nlohmann::json& record) {
  const std::vector<int32_t> prompt = record["prompt_ids"], greedy = record["greedy_ids"];
  std::vector<int32_t> tokens = prompt;
  tokens.insert(tokens.end(), greedy.begin(), greedy.end() - 1);
  const size_t first = prompt.size() - 1, vocab = static_cast<size_t>(cuda_.forward->vocab());
  // Of every position: among a few, a single near tie would be half a percent.
  const auto wants = [](size_t) { return true; };
  const auto exact = LogitsOf(*reference_.forward, tokens, prompt.size(), 64, wants);
  ASSERT_TRUE(exact.ok()) << exact.status();
  for (size_t c = 0; c < std::size(kChunks); ++c) {
    SCOPED_TRACE(testing::Message() << kChunks[c] << " tokens a step");
    const auto fast = LogitsOf(*cuda_.forward, tokens, prompt.size(), kChunks[c], wants);
    ASSERT_TRUE(fast.ok()) << fast.status();
    ASSERT_EQ(fast->size(), exact->size());
    const auto again = LogitsOf(*cuda_.forward, tokens, prompt.size(), kChunks[c], wants);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(*again == *fast) << "a second run differs";
    size_t row = 0;
    for (size_t at = 0; at < tokens.size(); ++at) {
      if (!wants(at)) continue;
      const auto e = absl::MakeConstSpan(*exact).subspan(row * vocab, vocab);
      const auto f = absl::MakeConstSpan(*fast).subspan(row++ * vocab, vocab);
      sums_[c].divergence += Divergence(e, f);
      sums_[c].agreeing += ArgMaxOf(e) == ArgMaxOf(f);
      ++sums_[c].positions;
      if (at < first) continue;  // the record has no margins there
      const double margin = record["steps"][at - first]["margin"];
      if (GetParam().llamacpp_kl == 0 || margin > 0.1) {
        EXPECT_EQ(ArgMaxOf(f), greedy[at - first]) << "at " << at << ", margin " << margin;
      }
    }
    // What greedy decoding goes on with is the largest of the last logits.
    ASSERT_EQ(cuda_.forward->next().empty(), false);
    EXPECT_EQ(cuda_.forward->next().back(),
              ArgMaxOf(absl::MakeConstSpan(*fast).subspan((row - 1) * vocab, vocab)));
  }
}

TEST_P(CudaRealModelTest, IdsAndDistributionsAreThoseOfTheReference) {
  OpenOptions options;
  options.compile.max_rows = 1024;
  cuda_ = Open(GetParam().path, options);
  options.compile.max_rows = 128;
  reference_ = Open(GetParam().path, options, "reference");
  ASSERT_TRUE(cuda_.forward != nullptr && reference_.forward != nullptr);
  for (const nlohmann::json& record : ReadExactRecord(GetParam().record)) {
    SCOPED_TRACE(record["id"].get<std::string>());
    Add(record);
    if (HasFatalFailure()) return;
  }
  for (size_t c = 0; c < std::size(kChunks); ++c) {
    const double n = static_cast<double>(sums_[c].positions);
    const double mean = sums_[c].divergence / n;
    const double agreement = static_cast<double>(sums_[c].agreeing) / n;
    std::printf("%s, %zu tokens a step: %.0f positions, mean KL %.3g, top-1 agreement %.2f %%\n",
                GetParam().record.c_str(), kChunks[c], n, mean, 100 * agreement);
    EXPECT_LT(mean, kMeanDivergence);
    EXPECT_GE(agreement, kAgreement);
  }
}

INSTANTIATE_TEST_SUITE_P(All, CudaRealModelTest, testing::ValuesIn(RealModels()),
                         [](const auto& info) { return TestNameOf(info.param); });

}  // namespace
}  // namespace renga
