// However a prompt is cut into steps, and however many threads compute it, the interpreter's logits
// are the same bits: fast paths are held against them.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/model_runner.h"

namespace renga {
namespace {

constexpr int kTokens = 17;

class ChunkingTest : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    auto file = GgufFile::Open(RENGA_SOURCE_DIR "/tests/data/stories260K.gguf");
    ASSERT_TRUE(file.ok()) << file.status();
    file_.emplace(*std::move(file));
    options_.context = 32;
    options_.page_tokens = 5;
    options_.k_type = options_.v_type = GetParam();
    auto model = BuildModel(*file_, options_);
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
  }

  std::vector<float> Logits(int chunk, int threads) {
    auto runner = ModelRunner::Create(*file_, model_, options_, threads);
    EXPECT_TRUE(runner.ok()) << runner.status();
    std::vector<float> all;
    for (int begin = 0; begin < kTokens; begin += chunk) {
      std::vector<int32_t> tokens;
      for (int i = begin; i < std::min(kTokens, begin + chunk); ++i) {
        tokens.push_back((i * 97 + 1) % 512);
      }
      const auto logits = (*runner)->Step(tokens);
      EXPECT_TRUE(logits.ok()) << logits.status();
      if (!logits.ok()) return all;
      all.insert(all.end(), logits->begin(), logits->end());
    }
    return all;
  }

  std::optional<GgufFile> file_;
  GraphOptions options_;
  Model model_;
};

TEST_P(ChunkingTest, ChunksAndThreadsDoNotChangeABit) {
  const std::vector<float> whole = Logits(kTokens, 1);
  ASSERT_EQ(whole.size(), kTokens * 512u);
  EXPECT_EQ(Logits(1, 1), whole) << "one token a step";
  EXPECT_EQ(Logits(7, 1), whole) << "steps of 7, the last of 3";
  EXPECT_EQ(Logits(kTokens, 2), whole) << "two threads";
}

INSTANTIATE_TEST_SUITE_P(CacheTypes, ChunkingTest, testing::Values(DType::kF32, DType::kF16),
                         [](const auto& info) { return std::string(Name(info.param)); });

}  // namespace
}  // namespace renga
