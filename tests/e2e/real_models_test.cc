// Real models, whole: the reference interpreter against the recorded exact outputs (llama.cpp on
// the weights dequantised to F32), and the cpu device against the reference interpreter. The
// recorded continuation is fed as input, so that every position is compared even after a near tie.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "sys/stat.h"
#include "tests/support/real_model.h"
#include "tools/open_model.h"

namespace renga {
namespace {

struct RealModel {
  std::string record;  // tests/data/reference/<record>.exact.jsonl
  std::string path;
  double llamacpp_kl;  // mean KL of llama.cpp's usual run from the exact one; 0: ids must be equal
};

std::vector<RealModel> Models() {
  return {
      {"stories260K", RENGA_SOURCE_DIR "/tests/data/stories260K.gguf", 0},
      {"smollm2-135m", SmolLm2(), 0.0032},
      {"qwen2.5-coder-0.5b", QwenCoder(), 0.0014},
  };
}

int ArgMax(const float* logits, int64_t vocab) {
  return static_cast<int>(std::max_element(logits, logits + vocab) - logits);
}

// KL(p || q) of the softmax distributions of two rows of logits.
double Divergence(const float* p, const float* q, int64_t vocab) {
  const double p_max = *std::max_element(p, p + vocab), q_max = *std::max_element(q, q + vocab);
  double p_sum = 0, q_sum = 0;
  for (int64_t i = 0; i < vocab; ++i) {
    p_sum += std::exp(p[i] - p_max);
    q_sum += std::exp(q[i] - q_max);
  }
  const double p_log = p_max + std::log(p_sum), q_log = q_max + std::log(q_sum);
  double sum = 0;
  for (int64_t i = 0; i < vocab; ++i) {
    sum += std::exp(p[i] - p_log) * ((p[i] - p_log) - (q[i] - q_log));
  }
  return sum;
}

class RealModelTest : public testing::TestWithParam<RealModel> {
 protected:
  void SetUp() override {
    struct stat info;
    if (stat(GetParam().path.c_str(), &info) != 0) {
      GTEST_SKIP() << "SKIPPED: " << GetParam().path << " is absent; tools/fetch-models gets it";
    }
  }

  OpenedModel Open(const std::string& device) {
    OpenOptions options;
    options.device = device;
    options.use_cache = false;
    options.compile.max_rows = MaxStepTokens(options.compile);  // every position is looked at
    auto opened = OpenModel(GetParam().path, options);
    EXPECT_TRUE(opened.ok()) << opened.status();
    return opened.ok() ? *std::move(opened) : OpenedModel();
  }
};

// Every position of prompt and continuation: arg max and top five of the reference interpreter
// equal the record; the cpu device's distribution is closer to it than llama.cpp's usual run.
TEST_P(RealModelTest, ReferenceIsExactAndCpuIsClose) {
  OpenedModel reference = Open("reference"), cpu = Open("cpu");
  ASSERT_TRUE(reference.forward != nullptr && cpu.forward != nullptr);
  const int64_t vocab = reference.forward->vocab();
  double divergence = 0, worst_logit = 0;
  int64_t positions = 0, agreeing = 0;
  for (const nlohmann::json& record : ReadExactRecord(GetParam().record)) {
    SCOPED_TRACE(record["id"].get<std::string>());
    const std::vector<int32_t> prompt = record["prompt_ids"], greedy = record["greedy_ids"];
    EXPECT_THAT(reference.tokenizer->Encode(record["text"].get<std::string>()).value(),
                testing::ElementsAreArray(prompt));
    std::vector<int32_t> tokens = prompt;
    tokens.insert(tokens.end(), greedy.begin(), greedy.end() - 1);
    // Logits of a few prompt positions of long prompts only: the head is a third of the work.
    const int64_t first_greedy = static_cast<int64_t>(prompt.size()) - 1;
    ASSERT_TRUE(reference.forward->Truncate(0).ok());
    ASSERT_TRUE(cpu.forward->Truncate(0).ok());
    const int64_t chunk = reference.forward->max_step_tokens();
    for (int64_t begin = 0; begin < static_cast<int64_t>(tokens.size()); begin += chunk) {
      const auto part = absl::MakeConstSpan(tokens).subspan(begin, chunk);
      std::vector<int32_t> rows;
      for (size_t i = 0; i < part.size(); ++i) {
        const int64_t at = begin + static_cast<int64_t>(i);
        if (at >= first_greedy || at % 16 == 5) rows.push_back(static_cast<int32_t>(i));
      }
      std::vector<float> exact, fast;
      ASSERT_TRUE(reference.forward->Run(part, rows, &exact).ok());
      ASSERT_TRUE(cpu.forward->Run(part, rows, &fast).ok());
      for (size_t r = 0; r < rows.size(); ++r) {
        const int64_t at = begin + rows[r];
        const float* e = exact.data() + r * vocab;
        const float* f = fast.data() + r * vocab;
        divergence += Divergence(e, f, vocab);
        ++positions;
        agreeing += ArgMax(e, vocab) == ArgMax(f, vocab);
        if (at < first_greedy) {
          EXPECT_EQ(ArgMax(e, vocab), record["argmax_at_prompt"][at]) << "prompt position " << at;
          continue;
        }
        const nlohmann::json& step = record["steps"][at - first_greedy];
        const double margin = step["margin"];
        if (margin > 1e-3) {
          EXPECT_EQ(ArgMax(e, vocab), greedy[at - first_greedy]) << "at " << at;
        }
        for (const auto& [id, logit] : step["top5"].get<std::vector<std::pair<int, double>>>()) {
          worst_logit = std::max(worst_logit, std::abs(logit - e[id]));
        }
        if (GetParam().llamacpp_kl == 0 || margin > 0.1) {
          EXPECT_EQ(ArgMax(f, vocab), greedy[at - first_greedy])
              << "cpu at " << at << ", margin " << margin;
        }
      }
    }
  }
  EXPECT_LT(worst_logit, 5e-4);
  const double mean = divergence / static_cast<double>(positions);
  std::printf(
      "%s: %lld positions, worst top-5 logit of the reference off by %.2g; cpu mean KL %.3g, "
      "top-1 agreement %.2f %%\n",
      GetParam().record.c_str(), static_cast<long long>(positions), worst_logit, mean,
      100.0 * static_cast<double>(agreeing) / static_cast<double>(positions));
  // The integer activations of the cpu kernels carry 15 bits and more: far below llama.cpp's 8.
  EXPECT_LT(mean, GetParam().llamacpp_kl == 0 ? 1e-4 : GetParam().llamacpp_kl / 10);
}

INSTANTIATE_TEST_SUITE_P(All, RealModelTest, testing::ValuesIn(Models()), [](const auto& info) {
  std::string name = info.param.record;
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
});

}  // namespace
}  // namespace renga
