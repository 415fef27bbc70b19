// Every tiny model, which between them hold every type of weights and every feature, as a plan for
// a GPU on the emulator, against llama.cpp's record of the same weights dequantised to F32.
#include <cstring>
#include <numeric>
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

// Of the tokens in steps of `chunk`, one logits row each.
absl::StatusOr<std::vector<float>> LogitsInSteps(EmulatorForward& forward,
                                                 absl::Span<const int32_t> tokens, size_t chunk) {
  RENGA_RETURN_IF_ERROR(forward.Truncate(0));
  std::vector<float> logits, part;
  for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
    const auto taken = tokens.subspan(begin, chunk);
    std::vector<int32_t> rows(taken.size());
    std::iota(rows.begin(), rows.end(), 0);
    RENGA_RETURN_IF_ERROR(forward.Run(taken, rows, &part));
    logits.insert(logits.end(), part.begin(), part.end());
  }
  return logits;
}

// What --deterministic lives on. Pages of 16 and tiles of up to 128 keys: some tokens of a step see
// one tile of keys more than others.
TEST_P(TinyOnEmulatorTest, StepsOfAsManyTokensAsThePlanSaysChangeNoBit) {
  if (HasNoKernels(GetParam())) return;
  const TinyRecord record = TinyRecord::Read(GetParam());
  renga::CompileOptions options = GpuOptions(record.context);
  options.max_rows = 24;
  const auto plan = PlanFor(record.path, options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const int64_t alike = (*plan)->geometry.invariant_tokens;
  EXPECT_GE(alike, 4);
  EXPECT_LE(alike, 8);
  const auto forward = OpenOnEmulator(*plan);
  ASSERT_TRUE(forward.ok()) << forward.status();
  const auto tokens = absl::MakeConstSpan(record.prompt).first(static_cast<size_t>(alike) + 2);
  const auto alone = LogitsInSteps(**forward, tokens, 1);
  const auto together = LogitsInSteps(**forward, tokens, static_cast<size_t>(alike));
  ASSERT_TRUE(alone.ok() && together.ok()) << alone.status() << together.status();
  ASSERT_EQ(alone->size(), together->size());
  EXPECT_EQ(std::memcmp(alone->data(), together->data(), alone->size() * sizeof(float)), 0)
      << RelativeError(*together, *alone);
}

INSTANTIATE_TEST_SUITE_P(All, TinyOnEmulatorTest, testing::ValuesIn(TinyRecord::Names()),
                         [](const auto& info) { return TinyRecord::TestName(info.param); });

}  // namespace
}  // namespace renga::emulator
