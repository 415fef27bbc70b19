// Faults of samplers, held against llama.cpp's recorded candidates (tests/data/sampling.json) and
// against the vocabulary: 24, a nucleus of something else than probabilities over all tokens; 9,
// padded rows of the output that win.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/text/sampler.h"
#include "runtime/text/sampling_filters.h"
#include "tests/support/test_data.h"

namespace renga::faults {
namespace {

using Json = nlohmann::json;
using TopP = void (*)(float p, size_t min_keep, Candidates* candidates);

// Recorded cases of top_p, alone or behind top_k and temperature, that a sampler gets wrong.
int WrongCases(TopP top_p, int* cases) {
  std::ifstream in(TestData("sampling.json"));
  const Json data = Json::parse(in);
  int wrong = 0;
  *cases = 0;
  for (const Json& one : data["cases"]) {
    bool has = false, known = !one.value("cut_through_ties", false);
    Candidates candidates;
    const std::vector<float> logits = data["vectors"][one["vector"].get<size_t>()];
    for (size_t id = 0; id < logits.size(); ++id) {
      candidates.push_back({static_cast<int32_t>(id), logits[id]});
    }
    for (const Json& link : one["chain"]) {
      const std::string name = link["sampler"];
      if (name == "top_k") {
        FilterTopK(link["k"], &candidates);
      } else if (name == "temp") {
        ApplyTemperature(link["t"], &candidates);
      } else if (name == "top_p") {
        has = true;
        top_p(link["p"], link["min_keep"], &candidates);
      } else {
        known = false;
      }
    }
    if (!has || !known) continue;
    ++*cases;
    // Which are left; of a nucleus that is the whole answer.
    std::set<int32_t> expected, got;
    for (const Json& candidate : one["candidates"]) expected.insert(candidate[0].get<int32_t>());
    for (const Candidate& candidate : candidates) got.insert(candidate.id);
    const bool all_told = expected.size() == one["size"].get<size_t>();
    wrong += (all_told ? got != expected : got.size() != one["size"].get<size_t>()) ? 1 : 0;
  }
  return wrong;
}

// Cuts where the running sum of `weight` reaches p.
template <typename Weight>
void Cut(float p, size_t min_keep, Candidates* candidates, Weight weight) {
  SortByLogit(candidates);
  double sum = 0;
  size_t keep = 0;
  while (keep < candidates->size() && (sum < p || keep < std::max<size_t>(1, min_keep))) {
    sum += weight((*candidates)[keep++]);
  }
  candidates->resize(keep);
}

void OfLogits(float p, size_t min_keep, Candidates* candidates) {
  if (p >= 1) return;
  Cut(p, min_keep, candidates, [](const Candidate& c) { return c.logit; });
}

void OfATruncatedSum(float p, size_t min_keep, Candidates* candidates) {
  if (p >= 1) return;
  Candidates first = *candidates;
  SortByLogit(&first);
  if (first.size() > 10) first.resize(10);  // the normaliser of the ten best
  double all = 0;
  for (const Candidate& c : first) all += std::exp(c.logit - first[0].logit);
  Cut(p, min_keep, candidates,
      [&](const Candidate& c) { return std::exp(c.logit - first[0].logit) / all; });
}

TEST(SamplerFaults, F24ANucleusOfSomethingElse) {
  int cases = 0;
  EXPECT_EQ(WrongCases(FilterTopP, &cases), 0);
  EXPECT_GT(cases, 10);
  EXPECT_GT(WrongCases(OfLogits, &cases), 0);
  EXPECT_GT(WrongCases(OfATruncatedSum, &cases), 0);
}

// Whether it ever gives an id that no token has, of rows whose padding is largest.
template <typename Sample>
bool ChoosesPadding(Sample sample) {
  for (int seed = 0; seed < 20; ++seed) {
    std::vector<float> logits(64);
    for (size_t i = 0; i < logits.size(); ++i) {
      logits[i] = static_cast<float>((i * 37 + static_cast<size_t>(seed) * 11) % 64) / 8;
    }
    for (size_t i = 50; i < logits.size(); ++i) logits[i] += 9;  // 50 tokens, 64 rows
    if (sample(logits, static_cast<uint64_t>(seed)) >= 50) return true;
  }
  return false;
}

TEST(SamplerFaults, F09PaddedRowsWin) {
  for (const float temperature : {0.0f, 0.8f}) {
    const auto of = [temperature](int32_t vocab) {
      return [=](const std::vector<float>& logits, uint64_t seed) {
        auto sampler = Sampler::Create({.temperature = temperature, .seed = seed}, vocab);
        EXPECT_TRUE(sampler.ok());
        return *sampler->Sample(logits);
      };
    };
    EXPECT_FALSE(ChoosesPadding(of(50)));
    EXPECT_TRUE(ChoosesPadding(of(64))) << "told the rows of the matrix for the vocabulary";
  }
}

}  // namespace
}  // namespace renga::faults
