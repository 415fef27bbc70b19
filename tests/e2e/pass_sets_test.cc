// Real models with each pass left out, and with none: the ids are those of the whole pipeline
// except where the exact logits are nearly tied. And what fusion is for in memory: the activation
// arena.
#include <algorithm>
#include <filesystem>

#include "gtest/gtest.h"
#include "tests/support/pass_subsets.h"
#include "tests/support/real_model.h"

namespace renga {
namespace {

struct ModelOfSets {
  std::string record;
  std::string path;
};

class PassSetsTest : public testing::TestWithParam<ModelOfSets> {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(GetParam().path)) {
      GTEST_SKIP() << "SKIPPED: " << GetParam().path << " is absent; tools/fetch-models gets it";
    }
  }

  std::shared_ptr<const plan::Plan> PlanOf(PassSet set) const {
    CompileOptions options;
    options.context = 256;
    const auto plan = CompileWith(GetParam().path, set, options);
    EXPECT_TRUE(plan.ok()) << TextOf(set) << ": " << plan.status();
    return plan.ok() ? *plan : nullptr;
  }

  std::unique_ptr<Forward> Open(PassSet set) const {
    const auto plan = PlanOf(set);
    if (plan == nullptr) return nullptr;
    auto forward = OpenOnHost("cpu", plan, /*threads=*/2);
    EXPECT_TRUE(forward.ok()) << TextOf(set) << ": " << forward.status();
    return forward.ok() ? *std::move(forward) : nullptr;
  }
};

constexpr size_t kFed = 40;  // recorded tokens of a case, which lead past near ties of each model

// Arg max behind the prompt and behind each recorded token: the record is fed, so that every
// position counts even after a near tie. Prompt in one step, then steps of 1 and of 15 tokens.
std::vector<int32_t> Chosen(Forward& forward, const std::vector<int32_t>& prompt,
                            const std::vector<int32_t>& greedy) {
  std::vector<int32_t> chosen;
  const int64_t vocab = forward.vocab();
  std::vector<float> logits;
  const auto step = [&](absl::Span<const int32_t> tokens, const std::vector<int32_t>& rows) {
    const absl::Status status = forward.Run(tokens, rows, &logits);
    ASSERT_TRUE(status.ok()) << status;
    for (size_t row = 0; row < rows.size(); ++row) {
      const auto first = logits.begin() + static_cast<int64_t>(row) * vocab;
      chosen.push_back(static_cast<int32_t>(std::max_element(first, first + vocab) - first));
    }
  };
  EXPECT_TRUE(forward.Truncate(0).ok());
  step(prompt, {static_cast<int32_t>(prompt.size()) - 1});
  const auto fed = absl::MakeConstSpan(greedy).first(std::min(greedy.size() - 1, kFed));
  for (size_t begin = 0; begin < fed.size();) {
    const size_t size = std::min<size_t>(begin % 16 == 0 ? 1 : 15, fed.size() - begin);
    std::vector<int32_t> rows(size);
    for (size_t i = 0; i < size; ++i) rows[i] = static_cast<int32_t>(i);
    step(fed.subspan(begin, size), rows);
    begin += size;
  }
  return chosen;
}

TEST_P(PassSetsTest, EachLeftOutAndAllLeftOut) {
  std::vector<nlohmann::json> records = ReadExactRecord(GetParam().record);
  // The others reach the same nodes at more expense.
  constexpr size_t kLongest = 60;
  std::erase_if(
      records, [](const nlohmann::json& record) { return record["prompt_ids"].size() > kLongest; });
  ASSERT_GE(records.size(), 3u);
  // Of the larger model, whose passes find the same shapes, one is enough.
  if (GetParam().path == QwenCoder()) records.resize(1);
  const auto run = [&](PassSet set) {
    std::vector<std::vector<int32_t>> chosen;
    const std::unique_ptr<Forward> forward = Open(set);
    for (const nlohmann::json& record : records) {
      if (forward == nullptr) break;
      chosen.push_back(Chosen(*forward, record["prompt_ids"].get<std::vector<int32_t>>(),
                              record["greedy_ids"].get<std::vector<int32_t>>()));
    }
    return chosen;
  };
  const auto expected = run(AllPasses());
  std::vector<PassSet> sets = {0};
  for (int i = 0; i < PassCount(); ++i) sets.push_back(AllPasses() & ~(PassSet{1} << i));
  int64_t compared = 0, apart = 0;
  const auto whole = PlanOf(AllPasses());
  ASSERT_TRUE(whole != nullptr);
  for (const PassSet set : sets) {
    const auto plan = PlanOf(set);
    ASSERT_TRUE(plan != nullptr);
    if (plan->ir == whole->ir) continue;  // the pass has nothing to do here
    const auto got = run(set);
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < records.size(); ++i) {
      ASSERT_EQ(got[i].size(), expected[i].size());
      for (size_t at = 0; at < got[i].size(); ++at) {
        ++compared;
        if (got[i][at] == expected[i][at]) continue;
        ++apart;
        EXPECT_LT(records[i]["steps"][at]["margin"].get<double>(), 0.02)
            << TextOf(set) << ", " << records[i]["id"] << " at " << at;
      }
    }
  }
  std::printf("%s: %zu sets of passes, %lld ids, %lld apart at near ties\n",
              GetParam().record.c_str(), sets.size(), static_cast<long long>(compared),
              static_cast<long long>(apart));
}

INSTANTIATE_TEST_SUITE_P(All, PassSetsTest,
                         testing::Values(ModelOfSets{"smollm2-135m", SmolLm2()},
                                         ModelOfSets{"qwen2.5-coder-0.5b", QwenCoder()}),
                         [](const auto& info) {
                           return std::string(info.param.record.starts_with("smol") ? "smollm2"
                                                                                    : "qwen");
                         });

// Bytes of activations of a step of 512 tokens with 4,096 of context.
absl::StatusOr<uint64_t> Activations(const std::string& model, PassSet set) {
  CompileOptions options;
  options.context = 4096;
  options.max_step_tokens = 512;
  RENGA_ASSIGN_OR_RETURN(const auto plan, CompileWith(model, set, options));
  return plan->memory.activations;
}

PassSet WithoutFusions() {
  PassSet set = 0;
  for (int i = 0; i < PassCount(); ++i) {
    if (!DefaultPipeline()[i].name.starts_with("fuse-")) set |= PassSet{1} << i;
  }
  return set;
}

TEST(ActivationArena, FusedIsAtLeastFourTimesSmaller) {
  int models = 0;
  for (const std::string& model :
       {std::string(RENGA_SOURCE_DIR "/tests/data/stories260K.gguf"), SmolLm2(), QwenCoder()}) {
    if (!std::filesystem::exists(model)) continue;
    const auto fused = Activations(model, AllPasses());
    const auto unfused = Activations(model, WithoutFusions());
    ASSERT_TRUE(fused.ok() && unfused.ok()) << fused.status() << unfused.status();
    EXPECT_GE(*unfused, 4 * *fused) << model;
    std::printf("%s: %llu bytes unfused, %llu fused, %.1f times smaller\n",
                std::filesystem::path(model).filename().c_str(),
                static_cast<unsigned long long>(*unfused), static_cast<unsigned long long>(*fused),
                static_cast<double>(*unfused) / static_cast<double>(*fused));
    ++models;
  }
  EXPECT_GT(models, 0);
}

}  // namespace
}  // namespace renga
