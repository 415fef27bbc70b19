// Real models, whole: the reference interpreter against the recorded exact outputs (llama.cpp on
// the weights dequantised to F32), and the cpu device against the reference interpreter. The
// recorded continuation is fed as input, so that every position is compared even after a near tie.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/support/logits.h"
#include "tests/support/real_model.h"
#include "tools/open_model.h"

namespace renga {

inline OpenedModel OpenForAllRows(const RealModel& model, const std::string& device) {
  OpenOptions options;
  options.device = device;
  options.use_cache = false;
  options.compile.max_rows = MaxStepTokens(options.compile);  // every position is looked at
  auto opened = OpenModel(model.path, options);
  EXPECT_TRUE(opened.ok()) << opened.status();
  return opened.ok() ? *std::move(opened) : OpenedModel();
}

// Every position of prompt and continuation: arg max and top five of the reference interpreter
// equal the record; the cpu device's distribution is closer to it than llama.cpp's usual run.
inline void CompareWithRecord(const RealModel& model,
                              const std::function<bool(size_t prompt_tokens)>& wanted) {
  OpenedModel reference = OpenForAllRows(model, "reference"), cpu = OpenForAllRows(model, "cpu");
  ASSERT_TRUE(reference.forward != nullptr && cpu.forward != nullptr);
  const int64_t vocab = reference.forward->vocab();
  double divergence = 0, worst_logit = 0;
  int64_t positions = 0, agreeing = 0;
  for (const nlohmann::json& record : ReadExactRecord(model.record)) {
    SCOPED_TRACE(record["id"].get<std::string>());
    const std::vector<int32_t> prompt = record["prompt_ids"], greedy = record["greedy_ids"];
    if (!wanted(prompt.size())) continue;
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
        const auto e = absl::MakeConstSpan(exact).subspan(r * vocab, vocab);
        const auto f = absl::MakeConstSpan(fast).subspan(r * vocab, vocab);
        divergence += Divergence(e, f);
        ++positions;
        agreeing += ArgMaxOf(e) == ArgMaxOf(f);
        if (at < first_greedy) {
          EXPECT_EQ(ArgMaxOf(e), record["argmax_at_prompt"][at]) << "prompt position " << at;
          continue;
        }
        const nlohmann::json& step = record["steps"][at - first_greedy];
        const double margin = step["margin"];
        if (margin > 1e-3) {
          EXPECT_EQ(ArgMaxOf(e), greedy[at - first_greedy]) << "at " << at;
        }
        for (const auto& [id, logit] : step["top5"].get<std::vector<std::pair<int, double>>>()) {
          worst_logit = std::max(worst_logit, std::abs(logit - e[id]));
        }
        if (model.llamacpp_kl == 0 || margin > 0.1) {
          EXPECT_EQ(ArgMaxOf(f), greedy[at - first_greedy])
              << "cpu at " << at << ", margin " << margin;
        }
      }
    }
  }
  ASSERT_GT(positions, 0);
  EXPECT_LT(worst_logit, 5e-4);
  const double mean = divergence / static_cast<double>(positions);
  std::printf(
      "%s: %lld positions, worst top-5 logit of the reference off by %.2g; cpu mean KL %.3g, "
      "top-1 agreement %.2f %%\n",
      model.record.c_str(), static_cast<long long>(positions), worst_logit, mean,
      100.0 * static_cast<double>(agreeing) / static_cast<double>(positions));
  // The integer activations of the cpu kernels carry 15 bits and more: far below llama.cpp's 8.
  EXPECT_LT(mean, model.llamacpp_kl == 0 ? 1e-4 : model.llamacpp_kl / 10);
}

}  // namespace renga
