// The cpu device on every tiny model, which between them hold every weight type, against
// llama.cpp's record of the same weights dequantised to F32: prompt in chunks of different sizes,
// then token by token.
#include <cmath>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/tiny_record.h"
#include "tools/open_model.h"

namespace renga {
namespace {

class TinyCpuTest : public testing::TestWithParam<std::string> {};

TEST_P(TinyCpuTest, LogitsAreCloseToTheRecord) {
  const TinyRecord record = TinyRecord::Read(GetParam());
  ASSERT_FALSE(record.logits.empty());
  std::vector<int32_t> tokens = record.prompt;
  tokens.insert(tokens.end(), record.greedy.begin(), record.greedy.end() - 1);

  OpenOptions options;
  options.device = "cpu";
  options.use_cache = false;
  options.compile.context = record.context;
  options.compile.k_type = options.compile.v_type = DType::kF32;
  auto opened = OpenModel(record.path, options);
  ASSERT_TRUE(opened.ok()) << opened.status();
  std::vector<float> logits;
  size_t begin = 0;
  for (const size_t chunk : {7, 1, 16, 1, 1, 13}) {
    std::vector<int32_t> rows(chunk);
    for (size_t i = 0; i < chunk; ++i) rows[i] = static_cast<int32_t>(i);
    std::vector<float> part;
    const absl::Status status =
        opened->forward->Run(absl::MakeConstSpan(tokens).subspan(begin, chunk), rows, &part);
    ASSERT_TRUE(status.ok()) << status;
    logits.insert(logits.end(), part.begin(), part.end());
    begin += chunk;
  }
  ASSERT_EQ(logits.size(), record.logits.size());
  double sum = 0, sum_of_squares = 0, errors = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double expected = record.logits[i];
    sum += expected;
    sum_of_squares += expected * expected;
    errors += (logits[i] - expected) * (logits[i] - expected);
  }
  const double n = static_cast<double>(logits.size());
  const double deviation = std::sqrt(sum_of_squares / n - sum / n * sum / n);
  // Activations of 15 bits and more per block of 32 leave a relative error of about 2^-16 in each
  // product; f16 operands, which have 11, are allowed 1 %.
  EXPECT_LT(std::sqrt(errors / n), 1e-3 * deviation);
  for (int row = 0; row < TinyRecord::kRows; ++row) {
    EXPECT_EQ(TinyRecord::ArgMax(logits, row), TinyRecord::ArgMax(record.logits, row)) << row;
  }
}

INSTANTIATE_TEST_SUITE_P(All, TinyCpuTest, testing::ValuesIn(TinyRecord::Names()),
                         [](const auto& info) { return TinyRecord::TestName(info.param); });

}  // namespace
}  // namespace renga
