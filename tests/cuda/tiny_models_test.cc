// Every tiny model, which between them hold every type of weights and every feature, on a GPU,
// against llama.cpp's record of the same weights dequantised to F32.
#include "tests/cuda/support.h"
#include "tests/support/logits.h"
#include "tests/support/tiny_record.h"

namespace renga {
namespace {

// Models of types that have no kernel for GPUs: the compiler says so.
bool HasNoKernels(const std::string& name) {
  for (const char* type : {"-IQ1", "-IQ2", "-IQ3", "-IQ4_XS", "-Q2_K", "-Q3_K"}) {
    if (name.find(type) != name.npos) return true;
  }
  return false;
}

class CudaTinyTest : public CudaTest, public testing::WithParamInterface<std::string> {};

TEST_P(CudaTinyTest, LogitsAreCloseToTheRecordInStepsOfAnySize) {
  const TinyRecord record = TinyRecord::Read(GetParam());
  ASSERT_FALSE(record.logits.empty());
  OpenOptions options;
  options.compile.context = record.context;
  options.compile.max_rows = 64;
  options.compile.max_step_tokens = 64;
  options.device = "cuda";
  options.use_cache = false;
  auto opened = OpenModel(record.path, options);
  if (HasNoKernels(GetParam())) {
    EXPECT_EQ(opened.status().code(), absl::StatusCode::kUnimplemented) << opened.status();
    return;
  }
  ASSERT_TRUE(opened.ok()) << opened.status();
  std::vector<int32_t> tokens = record.prompt;
  tokens.insert(tokens.end(), record.greedy.begin(), record.greedy.end() - 1);
  for (const size_t chunk : {1, 2, 7, 9, 24, 39}) {
    SCOPED_TRACE(testing::Message() << chunk << " tokens a step");
    const auto all = [](size_t) { return true; };
    const auto logits = LogitsOf(*opened->forward, tokens, tokens.size(), chunk, all);
    ASSERT_TRUE(logits.ok()) << logits.status();
    ASSERT_EQ(logits->size(), record.logits.size());
    // K and V are f16, the record's F32: most models have room for that in the 1 % of f16 operands.
    EXPECT_LT(RelativeError(*logits, record.logits), 0.01);
    const auto again = LogitsOf(*opened->forward, tokens, tokens.size(), chunk, all);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(*again == *logits) << "a second run differs";
  }
}

INSTANTIATE_TEST_SUITE_P(All, CudaTinyTest, testing::ValuesIn(TinyRecord::Names()),
                         [](const auto& info) { return TinyRecord::TestName(info.param); });

}  // namespace
}  // namespace renga
