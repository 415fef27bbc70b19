// The frontend's graphs on the reference interpreter against what llama.cpp computes on the same
// weights dequantised to F32: full logits at 39 positions of tiny models, each made so that every
// mistake of its kind shows far above the noise of 6e-5.
#include <cmath>
#include <string>
#include <vector>

#include "frontend/gguf/gguf.h"
#include "frontend/models/model.h"
#include "gtest/gtest.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_record.h"

namespace renga {
namespace {

class TinyModelTest : public testing::TestWithParam<std::string> {};

TEST_P(TinyModelTest, LogitsEqualTheRecord) {
  const TinyRecord record = TinyRecord::Read(GetParam());
  ASSERT_FALSE(record.logits.empty());
  auto file = GgufFile::Open(record.path);
  ASSERT_TRUE(file.ok()) << file.status();
  GraphOptions options;
  options.context = record.context;
  options.page_tokens = 7;  // pages that no size divides
  options.k_type = options.v_type = DType::kF32;
  auto model = BuildModel(*file, options);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto runner = ModelRunner::Create(*file, *model, options, /*threads=*/2);
  ASSERT_TRUE(runner.ok()) << runner.status();
  const auto prompt = (*runner)->Step(record.prompt);
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  std::vector<float> logits = *prompt;
  for (size_t i = 0; i + 1 < record.greedy.size(); ++i) {
    const auto row = (*runner)->Step({record.greedy[i]});
    ASSERT_TRUE(row.ok()) << row.status();
    logits.insert(logits.end(), row->begin(), row->end());
  }
  ASSERT_EQ(logits.size(), record.logits.size());
  double worst = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    worst = std::max(worst, std::abs(double{logits[i]} - record.logits[i]));
  }
  // 6e-5 is what an independent float64 implementation shows against the same record.
  EXPECT_LT(worst, 5e-4);
  for (int row = 0; row < TinyRecord::kRows; ++row) {
    EXPECT_EQ(TinyRecord::ArgMax(logits, row), TinyRecord::ArgMax(record.logits, row)) << row;
  }
}

INSTANTIATE_TEST_SUITE_P(All, TinyModelTest, testing::ValuesIn(TinyRecord::Names()),
                         [](const auto& info) { return TinyRecord::TestName(info.param); });

}  // namespace
}  // namespace renga
