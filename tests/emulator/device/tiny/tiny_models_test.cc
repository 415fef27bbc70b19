// Every tiny model, which between them hold every type of weights and every feature, as a plan for
// a GPU on the emulator, against llama.cpp's record of the same weights dequantised to F32.
#include <string_view>

#include "tests/emulator/device/step_reference.h"
#include "tests/emulator/device/tests/support.h"
#include "tests/support/tiny_record.h"

namespace renga::emulator {
namespace {

// Models of types that have no kernel for GPUs: the compiler says so.
bool HasNoKernels(const std::string& name) {
  return name.find("-IQ1") != name.npos || name.find("-IQ2") != name.npos ||
         name.find("-IQ3") != name.npos || name.find("-IQ4_XS") != name.npos ||
         name.find("-Q2_K") != name.npos || name.find("-Q3_K") != name.npos;
}

class TinyOnEmulatorTest : public testing::TestWithParam<std::string> {};

TEST_P(TinyOnEmulatorTest, LogitsAreCloseToTheRecord) {
  const TinyRecord record = TinyRecord::Read(GetParam());
  ASSERT_FALSE(record.logits.empty());
  // The record is of K and V in F32; most models have room for f16 in the 1 % that f16 operands
  // get.
  renga::CompileOptions options = GpuOptions(record.context);
  options.max_rows = 24;
  const auto plan = PlanFor(record.path, options);
  if (HasNoKernels(GetParam())) {
    EXPECT_EQ(plan.status().code(), absl::StatusCode::kUnimplemented) << plan.status();
    return;
  }
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto forward = OpenOnEmulator(*plan);
  ASSERT_TRUE(forward.ok()) << forward.status();
  const auto reference = StepReference::Watch(**forward);
  ASSERT_TRUE(reference.ok()) << reference.status();

  std::vector<int32_t> tokens = record.prompt;
  tokens.insert(tokens.end(), record.greedy.begin(), record.greedy.end() - 1);
  std::vector<float> logits;
  size_t begin = 0;
  for (const size_t chunk : {18, 2, 12, 1, 6}) {
    std::vector<int32_t> rows(chunk);
    for (size_t i = 0; i < chunk; ++i) rows[i] = static_cast<int32_t>(i);
    std::vector<float> part;
    const absl::Status status =
        (*forward)->Run(absl::MakeConstSpan(tokens).subspan(begin, chunk), rows, &part);
    ASSERT_TRUE(status.ok()) << status;
    logits.insert(logits.end(), part.begin(), part.end());
    for (size_t i = 0; i < (*forward)->next().size(); ++i) {
      EXPECT_EQ((*forward)->next()[i], ArgMaxOf(absl::MakeConstSpan(part).subspan(
                                           i * TinyRecord::kVocab, TinyRecord::kVocab)));
    }
    begin += chunk;
  }
  ASSERT_EQ(logits.size(), record.logits.size());
  const double error = RelativeError(logits, record.logits);
  RecordProperty("error", std::to_string(error));
  EXPECT_LT(error, 0.01);
  const std::vector<std::string> left = NeverLaunched((*forward)->emulator());
  EXPECT_TRUE(left.empty()) << "never launched: " << StrJoin(left, " ");
}

INSTANTIATE_TEST_SUITE_P(All, TinyOnEmulatorTest, testing::ValuesIn(TinyRecord::Names()),
                         [](const auto& info) { return TinyRecord::TestName(info.param); });

}  // namespace
}  // namespace renga::emulator
