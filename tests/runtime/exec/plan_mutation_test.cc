// Plans that somebody changed and sealed again: what the validator accepts is executed, and
// whatever it computes, it must stay inside its memory (run under ASan) and end.
#include <cstring>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/exec/cpu_runner.h"
#include "runtime/exec/sequence_forward.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/serialize.h"
#include "runtime/plan/validate.h"
#include "tests/runtime/exec/small_model.h"
#include "tests/support/test_seed.h"

namespace renga {
namespace {

bool IsUserError(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kResourceExhausted:
      return true;
    default:
      return false;
  }
}

struct Outcome {
  int accepted = 0;  // by the validator
  int ran = 0;
};

// Creates a forward and runs a prefill and a decode step.
void Execute(plan::Plan plan, Outcome* outcome) {
  ++outcome->accepted;
  // A huge context is honest as long as nobody fills it.
  absl::StatusOr<std::unique_ptr<CpuRunner>> runner =
      CpuRunner::Create(std::make_shared<const plan::Plan>(std::move(plan)), {});
  if (!runner.ok()) {
    EXPECT_TRUE(IsUserError(runner.status())) << runner.status();
    return;
  }
  SequenceForward forward(*std::move(runner));
  std::vector<float> logits;
  for (const std::vector<int32_t>& tokens : {std::vector<int32_t>{1, 2, 3}, {4}}) {
    const absl::Status status = forward.Run(tokens, {0}, &logits);
    EXPECT_TRUE(status.ok() || IsUserError(status)) << status;
    if (status.ok()) ++outcome->ran;
  }
}

// Of primitive operators, and of fused ones.
class PlanMutation : public ::testing::TestWithParam<std::string_view> {};

INSTANTIATE_TEST_SUITE_P(Graphs, PlanMutation, ::testing::Values(kSmallGraph, kSmallFusedGraph),
                         [](const auto& info) {
                           return info.param == kSmallGraph ? "Primitive" : "Fused";
                         });

TEST_P(PlanMutation, OfBytes) {
  std::mt19937 random(TestSeed());
  const SmallModel model(GetParam());
  const std::string file = plan::Serialize(model.plan()).value();
  const std::string body = file.substr(0, file.size() - plan::kTrailerBytes);
  Outcome outcome;
  for (int i = 0; i < 1000; ++i) {
    std::string mutated = body;
    for (uint32_t change = 0; change < 1 + random() % 2; ++change) {
      const size_t at = random() % mutated.size();
      mutated[at] = random() % 2 == 0 ? static_cast<char>(mutated[at] ^ (1 << random() % 8))
                                      : static_cast<char>(random());
    }
    const std::string sealed = plan::Seal(mutated);
    absl::StatusOr<plan::Plan> plan = plan::Deserialize(
        absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(sealed.data()), sealed.size()),
        "x.plan");
    if (plan.ok()) {
      Execute(*std::move(plan), &outcome);
    } else {
      EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument) << plan.status();
    }
  }
  EXPECT_GT(outcome.accepted, 50);
  EXPECT_GT(outcome.ran, 50);
}

// Changes that keep the figures consistent, so that many pass the validator and reach the kernels'
// own checks.
void Mutate(std::mt19937& random, plan::Plan& plan) {
  plan::Step& step = plan.steps[random() % plan.steps.size()];
  const int32_t buffers = static_cast<int32_t>(plan.buffers.size());
  const int32_t any = static_cast<int32_t>(random() % buffers);
  switch (random() % 9) {
    case 0:
      if (!step.inputs.empty()) step.inputs[random() % step.inputs.size()] = any;
      break;
    case 1:
      if (!step.inputs.empty()) step.inputs[random() % step.inputs.size()] = -1;
      break;
    case 2:
      step.outputs[random() % step.outputs.size()] = any;
      break;
    case 3:
      step.kernel = static_cast<int32_t>(random() % plan.kernels.size());
      break;
    case 4: {
      std::vector<plan::Dim>& shape = plan.buffers[any].type.shape;
      plan::Dim& dim = shape[random() % shape.size()];
      dim = random() % 2 == 0 ? plan::Dim{static_cast<int32_t>(random() % plan.symbols.size()), 1}
                              : plan::Dim{-1, 1 + static_cast<int64_t>(random() % 20)};
      break;
    }
    case 5:
      if (!step.attrs.empty()) {
        const plan::AttrValue values[] = {
            int64_t{-1}, int64_t{1} << 62,    int64_t{0},   int64_t{2}, 1e300, -1.0,
            true,        std::string("neox"), std::string()};
        step.attrs[random() % step.attrs.size()].value = values[random() % 9];
      }
      break;
    case 6:
      plan.buffers[any].offset = 64 * (random() % 8);
      break;
    case 7:
      std::swap(step, plan.steps[random() % plan.steps.size()]);
      break;
    default:
      plan.symbols[random() % plan.symbols.size()].max += random() % 40;
  }
}

TEST_P(PlanMutation, OfConsistentPlans) {
  std::mt19937 random(TestSeed());
  const SmallModel model(GetParam());
  Outcome outcome;
  for (int i = 0; i < 3000; ++i) {
    plan::Plan plan = model.plan();
    for (uint32_t change = 0; change < 1 + random() % 2; ++change) Mutate(random, plan);
    bool sized = true;
    for (plan::Buffer& buffer : plan.buffers) {
      if (buffer.view_of >= 0) buffer.offset = plan.buffers[buffer.view_of].offset;
      const absl::StatusOr<uint64_t> bytes = plan::MaxBytes(buffer.type, plan.symbols);
      sized = sized && bytes.ok();
      buffer.bytes = bytes.value_or(0);
    }
    if (!sized) continue;
    plan.memory = plan::ComputeMemory(plan);
    const absl::Status status = plan::Validate(plan);
    if (status.ok()) {
      Execute(std::move(plan), &outcome);
    } else {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    }
  }
  EXPECT_GT(outcome.accepted, 300);
  EXPECT_GT(outcome.ran, 100);
}

}  // namespace
}  // namespace renga
