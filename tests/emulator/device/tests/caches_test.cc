// Caches in q8_0, q4_0 and f8_e4m3 on the emulator: alone, and beside the other types, and without
// the bias of their keys.
#include <tuple>

#include "gmock/gmock.h"
#include "tests/emulator/device/step_reference.h"
#include "tests/emulator/device/tests/support.h"
#include "tests/support/biased_keys_model.h"
#include "tests/support/tiny_record.h"

namespace renga::emulator {
namespace {

using testing::HasSubstr;

class CachesOnEmulatorTest : public testing::TestWithParam<std::tuple<DType, DType>> {};

TEST_P(CachesOnEmulatorTest, EveryStepIsCloseToTheReferenceAndTheLogitsToTheRecord) {
  const TinyRecord record = TinyRecord::Read("llama-Q4_K_M");  // its heads are of 32
  ASSERT_FALSE(record.logits.empty());
  renga::CompileOptions options = GpuOptions(record.context);
  options.max_rows = 24;
  std::tie(options.k_type, options.v_type) = GetParam();
  const auto plan = PlanFor(record.path, options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto forward = OpenOnEmulator(*plan);
  ASSERT_TRUE(forward.ok()) << forward.status();
  // Which keeps caches of the same types.
  const auto reference = StepReference::Watch(**forward);
  ASSERT_TRUE(reference.ok()) << reference.status();

  std::vector<int32_t> tokens = record.prompt;
  tokens.insert(tokens.end(), record.greedy.begin(), record.greedy.end() - 1);
  std::vector<float> logits;
  size_t begin = 0;
  for (const size_t chunk : {18, 1, 7, 12, 1}) {
    std::vector<int32_t> rows(chunk);
    for (size_t i = 0; i < chunk; ++i) rows[i] = static_cast<int32_t>(i);
    std::vector<float> part;
    const absl::Status status =
        (*forward)->Run(absl::MakeConstSpan(tokens).subspan(begin, chunk), rows, &part);
    ASSERT_TRUE(status.ok()) << status;
    logits.insert(logits.end(), part.begin(), part.end());
    begin += chunk;
  }
  ASSERT_EQ(logits.size(), record.logits.size());
  // f16 operands get 1 % (step_reference.h). An element of a block in q8_0 is off by up to half a
  // step of the block's largest / 127, sqrt(1/12) of a step as a root mean square; the largest of
  // 32 is about twice their root mean square. That is 0.5 % for V, and for K times the size of the
  // scores. In q4_0 a step is the largest / 8, some 16 times as long: a limit that says little,
  // where the reference beside every step says more. In f8_e4m3 a step is a sixteenth to an eighth
  // of the number, sqrt(1/12) of it 2.6 % on average: 5 times the 0.5 %.
  const auto is = [&](DType type) { return options.k_type == type || options.v_type == type; };
  const double error = RelativeError(logits, record.logits);
  RecordProperty("error", std::to_string(error));
  EXPECT_LT(error, 0.03 * (is(DType::kQ4_0) ? 16 : is(DType::kF8_E4M3) ? 5 : 1));
}

INSTANTIATE_TEST_SUITE_P(All, CachesOnEmulatorTest,
                         testing::Values(std::tuple(DType::kF32, DType::kQ8_0),
                                         std::tuple(DType::kQ4_0, DType::kBF16),
                                         std::tuple(DType::kQ8_0, DType::kQ4_0),
                                         std::tuple(DType::kF8_E4M3, DType::kF8_E4M3)),
                         [](const auto& info) {
                           return StrCat(Name(std::get<0>(info.param)), "_",
                                         Name(std::get<1>(info.param)));
                         });

// Keys whose biases are a hundred times as large: every step beside the reference, which has the
// biases apart too, and the logits against those of f32 caches. With the bias inside they would be
// off ten times as much (tests/tools/kv_types_test.cc, where the limits come from), and here the
// f16 operands of both runs add their 0.5 %, which is 0.7 % of the difference.
class BiasedCachesOnEmulatorTest : public testing::TestWithParam<std::tuple<DType, DType>> {};

// All logits of 75 tokens, which every step of `watched` computes beside the reference.
std::vector<float> LogitsOfBiased(const std::string& path, DType k, DType v, bool watched,
                                  std::vector<KvTypesOfLayers> layers = {}) {
  renga::CompileOptions options = GpuOptions(96);
  options.max_rows = 40;
  options.k_type = k;
  options.v_type = v;
  options.kv_of_layers = std::move(layers);
  std::vector<float> logits;
  const auto plan = PlanFor(path, options);
  EXPECT_TRUE(plan.ok()) << plan.status();
  if (!plan.ok()) return logits;
  const auto forward = OpenOnEmulator(*plan);
  EXPECT_TRUE(forward.ok()) << forward.status();
  if (!forward.ok()) return logits;
  std::unique_ptr<StepReference> reference;
  if (watched) {
    auto watch = StepReference::Watch(**forward);
    EXPECT_TRUE(watch.ok()) << watch.status();
    if (watch.ok()) reference = *std::move(watch);
  }
  int64_t at = 0;
  for (const int64_t chunk : {30, 1, 8, 1, 35}) {
    std::vector<int32_t> tokens, rows;
    for (int64_t i = 0; i < chunk; ++i, ++at) {
      tokens.push_back(static_cast<int32_t>(at * at % 23 + at % 2));
      rows.push_back(static_cast<int32_t>(i));
    }
    std::vector<float> part;
    const absl::Status status = (*forward)->Run(tokens, rows, &part);
    EXPECT_TRUE(status.ok()) << status;
    logits.insert(logits.end(), part.begin(), part.end());
  }
  return logits;
}

TEST_P(BiasedCachesOnEmulatorTest, TheBiasIsApart) {
  TinyModel model = BiasedKeysModel();
  const std::string path = model.Write();
  const auto [k, v] = GetParam();
  static const auto& exact =
      *new std::vector<float>(LogitsOfBiased(path, DType::kF32, DType::kF32, false));
  const std::vector<float> logits = LogitsOfBiased(path, k, v, true);
  ASSERT_EQ(logits.size(), exact.size());
  const double error = RelativeError(logits, exact);
  RecordProperty("error", std::to_string(error));
  const auto is = [&, k = k, v = v](DType type) { return k == type || v == type; };
  EXPECT_LT(error, 0.007 + (is(DType::kQ4_0) ? 0.045 : is(DType::kF8_E4M3) ? 0.013 : 0.003));
}

INSTANTIATE_TEST_SUITE_P(All, BiasedCachesOnEmulatorTest,
                         testing::Values(std::tuple(DType::kQ8_0, DType::kQ8_0),
                                         std::tuple(DType::kQ4_0, DType::kF16),
                                         std::tuple(DType::kF8_E4M3, DType::kF32)),
                         [](const auto& info) {
                           return StrCat(Name(std::get<0>(info.param)), "_",
                                         Name(std::get<1>(info.param)));
                         });

// Layers with types of their own, each beside the reference.
TEST(CachesOnEmulator, LayersDiffer) {
  TinyModel model = BiasedKeysModel();
  const std::vector<float> logits =
      LogitsOfBiased(model.Write(), DType::kQ8_0, DType::kQ8_0, true,
                     {{.first = 1, .last = 1, .k = DType::kQ4_0, .v = DType::kF8_E4M3}});
  EXPECT_FALSE(logits.empty());
}

// Unfused: kv_append, attn_scores and attn_values by themselves.
TEST(CachesOnEmulator, WithoutPassesToo) {
  const TinyRecord record = TinyRecord::Read("llama-Q4_K_M");
  renga::CompileOptions options = GpuOptions(record.context);
  options.k_type = options.v_type = DType::kQ8_0;
  options.only_passes.emplace();
  const auto plan = PlanFor(record.path, options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto forward = OpenOnEmulator(*plan);
  ASSERT_TRUE(forward.ok()) << forward.status();
  const auto reference = StepReference::Watch(**forward);
  ASSERT_TRUE(reference.ok()) << reference.status();
  std::vector<float> logits;
  const auto prompt = absl::MakeConstSpan(record.prompt);
  absl::Status status = (*forward)->Run(prompt.first(11), {10}, &logits);
  ASSERT_TRUE(status.ok()) << status;
  status = (*forward)->Run(prompt.subspan(11, 1), {0}, &logits);
  ASSERT_TRUE(status.ok()) << status;
  const auto expected =
      absl::MakeConstSpan(record.logits).subspan(11 * TinyRecord::kVocab, TinyRecord::kVocab);
  EXPECT_LT(RelativeError(logits, expected), 0.03);
}

// Forgotten cells are forgotten in both of their parts.
TEST(CachesOnEmulator, ForgottenTokensLeaveNothing) {
  const TinyRecord record = TinyRecord::Read("llama-Q4_K_M");
  renga::CompileOptions options = GpuOptions(48);
  options.k_type = options.v_type = DType::kQ8_0;
  const auto plan = PlanFor(record.path, options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto forward = OpenOnEmulator(*plan);
  ASSERT_TRUE(forward.ok()) << forward.status();
  const auto prompt = absl::MakeConstSpan(record.prompt);
  std::vector<float> fresh, again;
  ASSERT_TRUE((*forward)->Run(prompt, {0}, &fresh).ok());
  ASSERT_TRUE((*forward)->Truncate(3).ok());
  ASSERT_TRUE((*forward)->Truncate(0).ok());
  ASSERT_TRUE((*forward)->Run(prompt, {0}, &again).ok());
  EXPECT_EQ(fresh, again);
}

TEST(CachesOnEmulator, HeadsThatAreNoWholeBlocksAreRefused) {
  renga::CompileOptions options = GpuOptions(48);
  options.v_type = DType::kQ8_0;
  const auto plan = PlanFor(RENGA_SOURCE_DIR "/tests/data/stories260K.gguf", options);
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument) << plan.status();
  EXPECT_THAT(std::string(plan.status().message()),
              HasSubstr(": cache %0.v_cache: expected heads of a multiple of 32 in q8_0, got 8; "
                        "f32, f16, bf16 and f8_e4m3 take any (--kv-type)"));
}

// Heads of 8 and of any other size have no blocks in f8_e4m3.
TEST(CachesOnEmulator, HeadsOf8InEightBits) {
  renga::CompileOptions options = GpuOptions(48);
  options.k_type = options.v_type = DType::kF8_E4M3;
  const auto plan = PlanFor(RENGA_SOURCE_DIR "/tests/data/stories260K.gguf", options);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const auto forward = OpenOnEmulator(*plan);
  ASSERT_TRUE(forward.ok()) << forward.status();
  const auto reference = StepReference::Watch(**forward);
  ASSERT_TRUE(reference.ok()) << reference.status();
  std::vector<float> logits;
  for (const std::vector<int32_t>& tokens :
       {std::vector<int32_t>{1, 9, 300, 27, 41, 7, 99, 100, 3, 250, 18, 18}, {5}}) {
    const absl::Status status = (*forward)->Run(tokens, {0}, &logits);
    ASSERT_TRUE(status.ok()) << status;
  }
}

}  // namespace
}  // namespace renga::emulator
