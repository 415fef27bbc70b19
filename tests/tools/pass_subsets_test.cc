// A model generates the same ids whichever passes ran: all subsets on stories260K, random ones on
// every tiny model.
#include <algorithm>
#include <bit>
#include <fstream>
#include <random>
#include <set>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/support/pass_subsets.h"
#include "tests/support/tiny_record.h"

namespace renga {
namespace {

constexpr char kStories[] = RENGA_SOURCE_DIR "/tests/data/stories260K.gguf";

struct Case {
  std::vector<int32_t> prompt;
  int64_t tokens;
};

// Of one token, the shortest and the longest recorded one (5 and 146), of a whole step, of a step
// and a token.
std::vector<Case> StoryCases() {
  std::ifstream file(RENGA_SOURCE_DIR "/tests/data/reference/stories260K.exact.jsonl");
  std::vector<std::vector<int32_t>> prompts;
  for (std::string line; std::getline(file, line);) {
    prompts.push_back(nlohmann::json::parse(line)["prompt_ids"].get<std::vector<int32_t>>());
  }
  const auto by_size = [](const auto& a, const auto& b) { return a.size() < b.size(); };
  const auto [shortest, longest] = std::minmax_element(prompts.begin(), prompts.end(), by_size);
  std::vector<Case> cases = {{*shortest, 24}, {*longest, 24}, {{1}, 24}};
  for (const int64_t size : {64, 65}) {
    cases.push_back({{longest->begin(), longest->begin() + size}, 24});
  }
  return cases;
}

using Ids = std::vector<std::vector<int32_t>>;  // of each case

Ids Generate(const std::string& device, const std::shared_ptr<const plan::Plan>& plan,
             const std::vector<Case>& cases) {
  Ids ids;
  auto forward = OpenOnHost(device, plan, /*threads=*/1);
  EXPECT_TRUE(forward.ok()) << forward.status();
  for (const Case& one : cases) {
    if (!forward.ok()) break;
    auto generated = Greedy(**forward, one.prompt, one.tokens);
    EXPECT_TRUE(generated.ok()) << generated.status();
    ids.push_back(generated.ok() ? *std::move(generated) : std::vector<int32_t>());
  }
  return ids;
}

CompileOptions SmallSteps() {
  CompileOptions options;
  options.context = 256;
  options.max_step_tokens = 64;
  return options;
}

// Under the sanitizers, which see memory and not ids, a part of them.
#ifdef RENGA_SANITIZED
constexpr PassSet kStride = 7;
#else
constexpr PassSet kStride = 1;
#endif

TEST(PassSubsets, EveryOneGeneratesTheSameOnStories) {
  const std::vector<Case> cases = StoryCases();
  ASSERT_EQ(cases.size(), 5u);
  const auto all = CompileWith(kStories, AllPasses(), SmallSteps());
  ASSERT_TRUE(all.ok()) << all.status();
  const Ids expected = Generate("cpu", *all, cases);
  std::set<std::string> seen;  // graphs: passes that find nothing to do change nothing
  for (PassSet set = 0; set <= AllPasses(); set += kStride) {
    const auto plan = CompileWith(kStories, set, SmallSteps());
    ASSERT_TRUE(plan.ok()) << TextOf(set) << ": " << plan.status();
    if (!seen.insert((*plan)->ir).second) continue;
    ASSERT_EQ(Generate("cpu", *plan, cases), expected) << TextOf(set);
  }
  EXPECT_GT(seen.size(), static_cast<size_t>(PassCount()));
  std::printf("%u subsets of %d passes, %zu different graphs\n", AllPasses() / kStride + 1,
              PassCount(), seen.size());
}

// What a graph means does not depend on the passes either: each alone, each left out, none, all.
TEST(PassSubsets, TheReferenceAgrees) {
  const std::vector<Case> all_cases = StoryCases();
  const std::vector<Case> cases = {{all_cases[0].prompt, 8}, {all_cases[3].prompt, 4}};
  const auto all = CompileWith(kStories, AllPasses(), SmallSteps());
  ASSERT_TRUE(all.ok()) << all.status();
  const Ids expected = Generate("cpu", *all, cases);
  std::set<std::string> seen;
  for (PassSet set = 0; set <= AllPasses(); ++set) {
    const int bits = std::popcount(set);
    if (bits > 1 && bits < PassCount() - 1) continue;
    const auto plan = CompileWith(kStories, set, SmallSteps());
    ASSERT_TRUE(plan.ok()) << TextOf(set) << ": " << plan.status();
    if (!seen.insert((*plan)->ir).second) continue;
    EXPECT_EQ(Generate("reference", *plan, cases), expected) << TextOf(set);
  }
}

class TinyPassSubsets : public testing::TestWithParam<std::string> {};

TEST_P(TinyPassSubsets, RandomOnesGenerateTheSame) {
  const TinyRecord record = TinyRecord::Read(GetParam());
  CompileOptions options;
  options.context = record.context;
  options.max_step_tokens = 16;
  options.k_type = options.v_type = DType::kF32;  // as the record has it
  const std::vector<Case> cases = {{record.prompt, 15}, {{record.prompt[0]}, 3}};
  const auto all = CompileWith(record.path, AllPasses(), options);
  ASSERT_TRUE(all.ok()) << all.status();
  const Ids expected = Generate("cpu", *all, cases);
  EXPECT_EQ(expected[0], std::vector<int32_t>(record.greedy.begin(), record.greedy.begin() + 15));
  std::mt19937 random(static_cast<uint32_t>(std::hash<std::string>()(GetParam())));
  std::vector<PassSet> sets = {0};
  for (int i = 0; i < 6; ++i) sets.push_back(random() & AllPasses());
  std::set<std::string> seen = {(*all)->ir};
  for (const PassSet set : sets) {
    const auto plan = CompileWith(record.path, set, options);
    ASSERT_TRUE(plan.ok()) << TextOf(set) << ": " << plan.status();
    if (!seen.insert((*plan)->ir).second) continue;
    EXPECT_EQ(Generate("cpu", *plan, cases), expected) << TextOf(set);
  }
  EXPECT_GT(seen.size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(All, TinyPassSubsets, testing::ValuesIn(TinyRecord::Names()),
                         [](const auto& info) { return TinyRecord::TestName(info.param); });

}  // namespace
}  // namespace renga
