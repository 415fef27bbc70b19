#include "runtime/exec/executor.h"

#include <filesystem>
#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/reference/interpreter.h"
#include "runtime/exec/cpu_runner.h"
#include "runtime/exec/sequence_forward.h"
#include "tests/runtime/exec/small_model.h"

namespace renga {
namespace {

using ::testing::HasSubstr;

std::string_view Message(const absl::Status& status) { return ToStd(status.message()); }

const std::vector<int32_t> kTokens = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8};

// Logits of every token, by the reference interpreter in one go per token count it may take.
std::vector<float> ReferenceLogits(const SmallModel& model) {
  const auto bytes = [&](const std::string& name) { return model.WeightBytes(name); };
  auto interpreter = Interpreter::Create(model.graph(), bytes, {{"C", 16}}, 1).value();
  std::vector<float> logits;
  for (size_t i = 0; i < kTokens.size(); ++i) {
    const int32_t position = static_cast<int32_t>(i);
    std::vector<HostTensor> params;
    const auto add = [&](std::vector<int64_t> shape, std::vector<int32_t> values) {
      HostTensor tensor;
      tensor.dtype = DType::kI32;
      tensor.shape = std::move(shape);
      tensor.i = std::move(values);
      params.push_back(std::move(tensor));
    };
    add({1}, {kTokens[i]});
    add({1}, {position});
    add({1}, {0});
    add({1}, {position});
    add({1, 4}, {0, 1, 2, 3});
    add({1}, {0});
    const absl::Status status =
        interpreter->Run({{"T", 1}, {"S", 1}, {"R", 1}, {"L", position + 1}, {"P", 4}}, params);
    EXPECT_TRUE(status.ok()) << status;
    const std::vector<float>& row = interpreter->Return(0).f;
    logits.insert(logits.end(), row.begin(), row.end());
  }
  return logits;
}

class ExecutorTest : public ::testing::Test {
 protected:
  std::unique_ptr<Forward> Open() {
    return std::make_unique<SequenceForward>(
        CpuRunner::Create(model_.shared_plan(), {.threads = 2}).value());
  }

  SmallModel model_;
};

TEST_F(ExecutorTest, EveryChunkingGivesTheReferencesLogits) {
  const std::vector<float> expected = ReferenceLogits(model_);
  for (size_t chunk : {1, 2, 3, 5}) {
    const std::unique_ptr<Forward> forward = Open();
    std::vector<float> all, logits;
    for (size_t begin = 0; begin < kTokens.size(); begin += chunk) {
      const auto tokens = absl::MakeConstSpan(kTokens).subspan(begin, chunk);
      std::vector<int32_t> rows(tokens.size());
      std::iota(rows.begin(), rows.end(), 0);
      const absl::Status status = forward->Run(tokens, rows, &logits);
      ASSERT_TRUE(status.ok()) << status;
      all.insert(all.end(), logits.begin(), logits.end());
    }
    ASSERT_EQ(all.size(), expected.size());
    for (size_t i = 0; i < all.size(); ++i) {
      ASSERT_NEAR(all[i], expected[i], 2e-3) << "chunks of " << chunk << ", logit " << i;
    }
  }
}

class FusedExecutorTest : public ::testing::Test {
 protected:
  std::unique_ptr<Forward> Open() {
    return std::make_unique<SequenceForward>(
        CpuRunner::Create(model_.shared_plan(), {.threads = 2}).value());
  }

  SmallModel model_{kSmallFusedGraph};
};

TEST_F(FusedExecutorTest, EveryChunkingGivesTheReferencesLogitsAndTheirArgMax) {
  const std::vector<float> expected = ReferenceLogits(model_);
  for (size_t chunk : {1, 2, 3, 5}) {
    const std::unique_ptr<Forward> forward = Open();
    std::vector<float> all, logits;
    for (size_t begin = 0; begin < kTokens.size(); begin += chunk) {
      const auto tokens = absl::MakeConstSpan(kTokens).subspan(begin, chunk);
      std::vector<int32_t> rows(tokens.size());
      std::iota(rows.begin(), rows.end(), 0);
      const absl::Status status = forward->Run(tokens, rows, &logits);
      ASSERT_TRUE(status.ok()) << status;
      all.insert(all.end(), logits.begin(), logits.end());
      ASSERT_EQ(forward->next().size(), rows.size());
      for (size_t row = 0; row < rows.size(); ++row) {
        const auto first = logits.begin() + row * 11;
        EXPECT_EQ(forward->next()[row], std::max_element(first, first + 11) - first);
      }
    }
    ASSERT_EQ(all.size(), expected.size());
    for (size_t i = 0; i < all.size(); ++i) {
      ASSERT_NEAR(all[i], expected[i], 2e-3) << "chunks of " << chunk << ", logit " << i;
    }
  }
}

TEST_F(FusedExecutorTest, LogitsAreThereForWhoAsksLater) {
  const std::unique_ptr<Forward> forward = Open(), other = Open();
  std::vector<float> logits, later = {1, 2, 3};
  const std::vector<int32_t> tokens = {3, 1, 4}, rows = {2, 0};
  ASSERT_TRUE(forward->Run(tokens, rows, &logits).ok());
  ASSERT_TRUE(other->Run(tokens, rows, nullptr).ok());
  ASSERT_TRUE(other->Logits(&later).ok());
  EXPECT_EQ(later, logits);
  EXPECT_EQ(other->next(), forward->next());
  EXPECT_EQ(other->next().size(), 2u);
  ASSERT_TRUE(other->Run(tokens, {}, nullptr).ok());
  EXPECT_TRUE(other->next().empty());
  ASSERT_TRUE(other->Logits(&later).ok());
  EXPECT_TRUE(later.empty());
}

TEST_F(ExecutorTest, SaysNoNextWhereThePlanDoesNot) {
  const std::unique_ptr<Forward> forward = Open();
  ASSERT_TRUE(forward->Run({1, 2}, {1}, nullptr).ok());
  EXPECT_TRUE(forward->next().empty());
}

TEST_F(ExecutorTest, RowsAskedForComeInTheirOrder) {
  const std::unique_ptr<Forward> forward = Open();
  std::vector<float> two, all;
  ASSERT_TRUE(forward->Run({3, 1, 4}, {2, 0}, &two).ok());
  ASSERT_TRUE(forward->Truncate(0).ok());
  ASSERT_TRUE(forward->Run({3, 1, 4}, {0, 1, 2}, &all).ok());
  EXPECT_EQ(std::vector<float>(two.begin(), two.begin() + 11),
            std::vector<float>(all.begin() + 22, all.end()));
  EXPECT_EQ(std::vector<float>(two.begin() + 11, two.end()),
            std::vector<float>(all.begin(), all.begin() + 11));
}

TEST_F(ExecutorTest, WithoutRowsOnlyTheCacheIsFilled) {
  const std::unique_ptr<Forward> forward = Open();
  std::vector<float> logits = {1}, expected;
  ASSERT_TRUE(forward->Run({3, 1}, {}, &logits).ok());
  EXPECT_TRUE(logits.empty());
  ASSERT_TRUE(forward->Run({4}, {0}, &logits).ok());
  ASSERT_TRUE(forward->Truncate(0).ok());
  ASSERT_TRUE(forward->Run({3, 1, 4}, {2}, &expected).ok());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(logits[i], expected[i], 1e-4);
}

TEST_F(ExecutorTest, TruncateForgets) {
  const std::unique_ptr<Forward> forward = Open();
  std::vector<float> first, again;
  ASSERT_TRUE(forward->Run({3, 1}, {}, &first).ok());
  ASSERT_TRUE(forward->Run({4, 1, 5}, {2}, &first).ok());
  ASSERT_TRUE(forward->Run({9, 9, 9}, {2}, &again).ok());
  ASSERT_TRUE(forward->Truncate(2).ok());
  EXPECT_EQ(forward->position(), 2);
  ASSERT_TRUE(forward->Run({4, 1, 5}, {2}, &again).ok());
  EXPECT_EQ(first, again);
}

TEST_F(ExecutorTest, AFullContextIsAnErrorAndChangesNothing) {
  const std::unique_ptr<Forward> forward = Open();
  std::vector<float> logits;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(forward->Run({1, 2, 3, 4}, {}, &logits).ok());
  const absl::Status status = forward->Run({1, 2, 3}, {2}, &logits);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Message(status), HasSubstr("12 of 14 tokens used"));
  EXPECT_EQ(forward->position(), 12);
  EXPECT_TRUE(forward->Run({1, 2}, {1}, &logits).ok());
}

TEST_F(ExecutorTest, BadValuesAreErrorsAndChangeNothing) {
  const std::unique_ptr<Forward> forward = Open();
  std::vector<float> logits;
  const auto fails = [&](std::vector<int32_t> tokens, std::vector<int32_t> rows,
                         absl::StatusCode code, std::string_view message) {
    const absl::Status status = forward->Run(tokens, rows, &logits);
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(Message(status), HasSubstr(std::string(message)));
    EXPECT_EQ(forward->position(), 0);
  };
  fails({1, 11}, {0}, absl::StatusCode::kOutOfRange, "tokens[1]: expected 0..10, got 11");
  fails({-1}, {0}, absl::StatusCode::kOutOfRange, "tokens[0]: expected 0..10, got -1");
  fails({1, 2}, {2}, absl::StatusCode::kOutOfRange, "rows[0]: expected 0..1, got 2");
  fails({1}, {0, 0, 0, 0, 0, 0}, absl::StatusCode::kInvalidArgument,
        "rows: expected at most 5, got 6");
  fails({}, {}, absl::StatusCode::kInvalidArgument, "tokens: expected 1..5 a run, got 0");
  fails({1, 1, 1, 1, 1, 1}, {}, absl::StatusCode::kInvalidArgument,
        "tokens: expected 1..5 a run, got 6");
}

TEST_F(ExecutorTest, StepInputsAreChecked) {
  auto executor = Executor::Create(model_.shared_plan(), {}).value();
  const std::vector<int32_t> tokens = {1, 2}, positions = {0, 1}, sequences = {0, 0},
                             cells = {0, 1};
  const std::vector<int32_t> pages = {0, -1}, rows = {1};
  StepInputs good{tokens, positions, sequences, cells, pages, 1, rows};
  ASSERT_TRUE(executor->Run(good).ok()) << executor->Run(good);
  const auto fails = [&](const StepInputs& inputs, std::string_view message) {
    EXPECT_THAT(Message(executor->Run(inputs)), HasSubstr(std::string(message)));
  };
  StepInputs bad = good;
  const std::vector<int32_t> high = {0, 16}, one = {0}, far = {0, 9};
  bad.cells = high;
  fails(bad, "cells[1]: expected 0..15, got 16");
  bad = good;
  bad.positions = far;  // two pages hold 8 positions
  fails(bad, "positions[1]: expected 0..7, got 9");
  bad = good;
  bad.positions = one;
  fails(bad, "positions: expected 2 values (one a token), got 1");
  bad = good;
  bad.sequences = high;
  fails(bad, "sequences[1]: expected 0..0, got 16");
  bad = good;
  const std::vector<int32_t> page = {4}, none = {-2}, long_table = {0, 1, 2, 3, 0};
  bad.pages = page;
  fails(bad, "pages[0]: expected 0..3, got 4");
  bad.pages = none;
  fails(bad, "pages[0]: expected 0..3, got -2");
  bad.pages = long_table;
  fails(bad, "pages: expected a table of 1 rows and 1..4 columns, got 5 entries");
  bad = good;
  bad.sequence_count = 2;
  fails(bad, "sequences: expected 1..1, got 2");
}

struct PlanFault {
  const char* name;
  void (*damage)(plan::Plan& plan);
  absl::StatusCode code;
  const char* message;
};

// The first step that the kernel of that name executes.
plan::Step& StepOf(plan::Plan& plan, std::string_view kernel) {
  for (plan::Step& step : plan.steps) {
    if (plan.kernels[step.kernel].name == kernel) return step;
  }
  std::abort();
}

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kLacking = absl::StatusCode::kUnimplemented;
using Plan = plan::Plan;

const PlanFault kPlanFaults[] = {
    {"Target", [](Plan& p) { p.target = "sm_90a"; }, kLacking,
     "plan: compiled for sm_90a, this device is cpu; compile with --target cpu"},
    {"Kernel", [](Plan& p) { p.kernels[1].name = "no_such"; }, kLacking,
     "step 1 (0.norm): the cpu device has no kernel no_such; it has add "},
    {"StepKind", [](Plan& p) { p.steps[1].kind = plan::StepKind::kGemm; }, kLacking,
     "step 1 (0.norm): kind gemm: the cpu device runs kernel steps only"},
    {"Symbol",
     [](Plan& p) {
       p.symbols.push_back({"X", 1});
     },
     kLacking, "symbol X: this runtime binds T S R L P C"},
    {"Input", [](Plan& p) { p.inputs[1] = p.buffers[1].name = "place"; }, kInvalid,
     "expected the input positions, got place"},
    {"InputType",
     [](Plan& p) {
       p.buffers[5].type.shape = {{0, 1}};
     },
     kInvalid, "input rows: expected i32[R], got i32[T]"},
    {"TokensFromRows", [](Plan& p) { StepOf(p, "embed").inputs[0] = 1; }, kInvalid,
     "step 0 (embed, kernel embed): operand 0: expected the input tokens, got positions"},
    {"CellsFromPositions", [](Plan& p) { StepOf(p, "kv_append").inputs[2] = 1; }, kInvalid,
     "operand 2: expected the input cells, got positions"},
    {"IndexOfNoRule", [](Plan& p) { StepOf(p, "add").inputs[1] = 0; }, kLacking,
     "operand 1: no rule says what these indices may be"},
    {"PageTokens",
     [](Plan& p) {
       for (auto& a : StepOf(p, "attn_scores").attrs)
         if (a.name == "page_tokens") a.value = int64_t{2};
     },
     kInvalid, "attribute page_tokens: expected 4 (the plan's), got another"},
    {"CacheElsewhere",
     [](Plan& p) {
       plan::Step& step = StepOf(p, "kv_append");
       for (size_t i = 0; i < p.buffers.size(); ++i) {
         const bool cache = p.buffers[i].space == plan::Space::kCache;
         if (cache && static_cast<int32_t>(i) != step.inputs[0]) {
           step.outputs[0] = static_cast<int32_t>(i);
         }
       }
     },
     kInvalid, "output 0: expected operand 0, which it overwrites, got another buffer"},
    {"Gather",
     [](Plan& p) {
       p.buffers[StepOf(p, "gather_rows").inputs[0]].type.shape[0] = {3, 1};
     },
     kInvalid, "operand 0: expected axis 0 of size T, got L"},
    {"Span",
     [](Plan& p) {
       p.buffers[StepOf(p, "attn_scores").outputs[0]].type.shape[2] = {-1, 99};
     },
     kInvalid, "expected scores of shape [T,heads,L], got another"},
};

std::ostream& operator<<(std::ostream& out, const PlanFault& fault) { return out << fault.name; }

class ExecutorFault : public ::testing::TestWithParam<PlanFault> {};

TEST_P(ExecutorFault, IsFoundWhenSteppedInto) {
  const SmallModel model;
  plan::Plan plan = model.plan();
  GetParam().damage(plan);
  const absl::Status status =
      Executor::Create(std::make_shared<const plan::Plan>(plan), {}).status();
  EXPECT_EQ(status.code(), GetParam().code) << status;
  EXPECT_THAT(Message(status), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(All, ExecutorFault, ::testing::ValuesIn(kPlanFaults),
                         [](const auto& info) { return info.param.name; });

TEST_F(ExecutorTest, LogitsOfAnotherShapeAreRefused) {
  plan::Plan plan = model_.plan();
  plan.outputs = {"0.glu"};
  EXPECT_THAT(Message(CpuRunner::Create(std::make_shared<const plan::Plan>(plan), {}).status()),
              HasSubstr("plan: expected an output logits, got 0.glu"));
  plan = model_.plan();
  plan.model.vocab = 12;
  EXPECT_THAT(Message(CpuRunner::Create(std::make_shared<const plan::Plan>(plan), {}).status()),
              HasSubstr("output logits: expected f32[R,12] or wider, got f32[R,11]"));
}

}  // namespace
}  // namespace renga
