#include "runtime/text/sampling_filters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace renga {
namespace {

using ::testing::ElementsAre;
using Json = nlohmann::json;

constexpr float kInf = std::numeric_limits<float>::infinity();

// False for a sampler that is not built here.
bool Apply(const Json& step, absl::Span<const int32_t> history, Candidates* candidates) {
  const std::string name = step["sampler"];
  const auto number = [&](const char* key) { return step[key].get<float>(); };
  const auto min_keep = [&] { return step["min_keep"].get<size_t>(); };
  if (name == "top_k") {
    FilterTopK(step["k"], candidates);
  } else if (name == "top_p") {
    FilterTopP(number("p"), min_keep(), candidates);
  } else if (name == "min_p") {
    FilterMinP(number("p"), min_keep(), candidates);
  } else if (name == "typical") {
    FilterTypical(number("p"), min_keep(), candidates);
  } else if (name == "temp") {
    ApplyTemperature(number("t"), candidates);
  } else if (name == "penalties") {
    ApplyPenalties({step["last_n"], number("repeat"), number("frequency"), number("presence")},
                   history, candidates);
  } else if (name == "logit_bias") {
    std::vector<std::pair<int32_t, float>> bias;
    for (const Json& entry : step["bias"]) {
      bias.emplace_back(entry[0], entry[1].is_string() ? -kInf : entry[1].get<float>());
    }
    ApplyLogitBias(bias, candidates);
  } else if (name == "dist") {
    // Only the probabilities: draws come from another generator.
  } else if (name == "top_n_sigma") {
    return number("n") <= 0;  // off
  } else if (name == "xtc") {
    return number("p") <= 0;
  } else if (name == "dry") {
    return number("multiplier") == 0;
  } else {
    return false;
  }
  return true;
}

TEST(SamplingFilters, RecordedChains) {
  std::ifstream in(RENGA_SOURCE_DIR "/tests/data/sampling.json");
  const Json file = Json::parse(in);
  int checked = 0;
  std::map<std::string, int> left_out;
  for (size_t n = 0; n < file["cases"].size(); ++n) {
    const Json& test = file["cases"][n];
    SCOPED_TRACE("case " + std::to_string(n) + ": " + test["chain"].dump().substr(0, 300));
    const auto logits = file["vectors"][test["vector"].get<size_t>()].get<std::vector<float>>();
    const auto history = test["history"].get<std::vector<int32_t>>();
    Candidates candidates;
    for (size_t i = 0; i < logits.size(); ++i) {
      candidates.push_back({static_cast<int32_t>(i), logits[i]});
    }
    bool known = true;
    for (const Json& step : test["chain"]) {
      if (!Apply(step, history, &candidates)) {
        known = false;
        ++left_out[step["sampler"]];
        break;
      }
    }
    if (!known) continue;
    ++checked;
    EXPECT_EQ(candidates.size(), test["size"].get<size_t>());
    SortByLogit(&candidates);
    const std::vector<double> p = Softmax(candidates);
    const Json& expected = test["candidates"];
    const bool ties = test.value("cut_through_ties", false);
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_LT(i, candidates.size());
      // Which of several equals at the cut stay is nobody's promise; those above it must agree.
      const bool at_cut = ties && expected[i][1].get<double>() <=
                                      static_cast<double>(candidates.back().logit) + 1e-4;
      if (!at_cut) {
        EXPECT_EQ(candidates[i].id, expected[i][0].get<int32_t>()) << i;
      }
      EXPECT_NEAR(candidates[i].logit, expected[i][1].get<double>(), 1e-4) << i;
      const double want = expected[i][2].get<double>();
      EXPECT_NEAR(p[i], want, std::max(1e-7, 2e-5 * want)) << i;
    }
    // -inf candidates are not listed.
    const auto alive = static_cast<size_t>(std::count_if(
        candidates.begin(), candidates.end(), [](const Candidate& c) { return c.logit > -kInf; }));
    EXPECT_EQ(std::min<size_t>(alive, logits.size() > 64 ? 24 : 64), expected.size());
  }
  for (const auto& [name, count] : left_out) RecordProperty("left_out_" + name, count);
  EXPECT_EQ(checked, 299 - 27);  // the rest have dry, temp_ext, top_n_sigma or xtc
}

TEST(SamplingFilters, DrawFollowsTheProbabilitiesInOrderOfIds) {
  const Candidates candidates = {
      {7, std::log(0.25f)}, {2, std::log(0.5f)}, {5, -kInf}, {9, std::log(0.25f)}};
  const auto draw = [&](double u) {
    Candidates copy = candidates;
    return Draw(u, &copy);
  };
  EXPECT_EQ(draw(0.0), 2);
  EXPECT_EQ(draw(0.49), 2);
  EXPECT_EQ(draw(0.51), 7);
  EXPECT_EQ(draw(0.74), 7);
  EXPECT_EQ(draw(0.76), 9);
  EXPECT_EQ(draw(std::nextafter(1.0, 0.0)), 9);
}

TEST(SamplingFilters, ForbiddenCandidatesNeverComeBack) {
  Candidates candidates = {{0, -kInf}, {1, 2.0f}, {2, -kInf}};
  FilterTypical(0.5f, 3, &candidates);
  FilterTopP(0.5f, 3, &candidates);
  FilterMinP(0.5f, 3, &candidates);
  EXPECT_EQ(candidates.size(), 3u);
  EXPECT_THAT(Softmax(candidates), ElementsAre(1.0, 0.0, 0.0));
  EXPECT_EQ(Draw(0.999, &candidates), 1);
}

TEST(SamplingFilters, AllForbiddenIsNoToken) {
  const Candidates none = {{0, -kInf}, {1, -kInf}};
  for (float p : {0.0f, 0.5f}) {
    Candidates candidates = none;
    FilterTopK(5, &candidates);
    FilterTypical(p, 1, &candidates);
    FilterTopP(p, 1, &candidates);
    FilterMinP(p, 1, &candidates);
    ApplyTemperature(0.5f, &candidates);
    EXPECT_FALSE(candidates.empty());
    EXPECT_EQ(Draw(0.5, &candidates), -1);
  }
}

TEST(SamplingFilters, TemperatureTooSmallToDivideByIsGreedy) {
  Candidates candidates = {{0, 4.0f}, {1, 5.0f}, {2, 5.0f}};
  ApplyTemperature(1e-40f, &candidates);
  EXPECT_EQ(candidates[0].logit, -kInf);
  EXPECT_EQ(candidates[1].logit, 5.0f);
  EXPECT_EQ(candidates[2].logit, -kInf);
}

TEST(SamplingFilters, TopPOnAWholeVocabularyKeepsTheSameAsSortingAll) {
  Candidates candidates;
  for (int32_t id = 0; id < 20'000; ++id) {
    candidates.push_back({id, static_cast<float>(id * 7919 % 1009) / 200});
  }
  Candidates sorted = candidates;
  SortByLogit(&sorted);
  const std::vector<double> p = Softmax(sorted);
  double sum = 0;
  size_t keep = 0;
  while (sum < 0.9) sum += p[keep++];
  FilterTopP(0.9f, 1, &candidates);
  // 0.9f is not 0.9, and the sums run over different roundings.
  EXPECT_NEAR(static_cast<double>(candidates.size()), static_cast<double>(keep), 1);
  for (size_t i = 0; i < std::min(keep, candidates.size()); ++i) {
    ASSERT_EQ(candidates[i].id, sorted[i].id) << i;
  }
}

}  // namespace
}  // namespace renga
