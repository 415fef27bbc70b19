// The interpreter as a device: the same greedy choices as the cpu's, from the graph itself.
#include "tools/reference_runner.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/exec/cpu_runner.h"
#include "runtime/exec/sequence_forward.h"
#include "tests/runtime/exec/small_model.h"

namespace renga {
namespace {

std::unique_ptr<Forward> OpenOn(const SmallModel& model, bool reference) {
  const std::shared_ptr<const plan::Plan> plan = model.shared_plan();
  if (!reference) {
    return std::make_unique<SequenceForward>(CpuRunner::Create(plan, {.threads = 2}).value());
  }
  auto weights = std::make_shared<WeightStore>(WeightStore::Open(*plan, {}).value());
  return std::make_unique<SequenceForward>(
      OpenReference(plan, std::move(weights), /*threads=*/1).value());
}

// Ids that greedy decoding gives, by the model's own choice or by the arg max of its logits.
std::vector<int32_t> Greedy(Forward& forward, bool by_next) {
  std::vector<int32_t> tokens = {3, 1, 4}, ids;
  std::vector<float> logits;
  while (forward.position() + static_cast<int64_t>(tokens.size()) <= forward.context()) {
    const std::vector<int32_t> rows = {static_cast<int32_t>(tokens.size()) - 1};
    const absl::Status status = forward.Run(tokens, rows, by_next ? nullptr : &logits);
    EXPECT_TRUE(status.ok()) << status;
    if (!status.ok()) return ids;
    if (by_next) {
      EXPECT_EQ(forward.next().size(), 1u);
      ids.push_back(forward.next()[0]);
    } else {
      ids.push_back(
          static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    }
    tokens = {ids.back()};
  }
  return ids;
}

TEST(ReferenceRunner, GreedyChoicesAreTheSameBothWaysAndOnBothDevices) {
  const SmallModel model(kSmallFusedGraph);
  const std::vector<int32_t> ids = Greedy(*OpenOn(model, true), true);
  EXPECT_EQ(ids.size(), 12u);
  EXPECT_EQ(Greedy(*OpenOn(model, true), false), ids);
  EXPECT_EQ(Greedy(*OpenOn(model, false), true), ids);
  EXPECT_EQ(Greedy(*OpenOn(model, false), false), ids);
}

TEST(ReferenceRunner, LogitsAreThereForWhoAsksLater) {
  const SmallModel model(kSmallFusedGraph);
  const std::unique_ptr<Forward> forward = OpenOn(model, true), other = OpenOn(model, true);
  std::vector<float> logits, later = {1};
  const std::vector<int32_t> tokens = {3, 1, 4}, rows = {2, 0};
  ASSERT_TRUE(forward->Run(tokens, rows, &logits).ok());
  EXPECT_EQ(logits.size(), 22u);
  ASSERT_TRUE(other->Run(tokens, rows, nullptr).ok());
  EXPECT_EQ(other->next().size(), 2u);
  ASSERT_TRUE(other->Logits(&later).ok());
  EXPECT_EQ(later, logits);
  ASSERT_TRUE(other->Run(tokens, {}, nullptr).ok());
  EXPECT_TRUE(other->next().empty());
  ASSERT_TRUE(other->Logits(&later).ok());
  EXPECT_TRUE(later.empty());
}

TEST(ReferenceRunner, SaysNoNextWhereTheGraphDoesNot) {
  const SmallModel model;
  const std::unique_ptr<Forward> forward = OpenOn(model, true);
  ASSERT_TRUE(forward->Run({1, 2}, {1}, nullptr).ok());
  EXPECT_TRUE(forward->next().empty());
}

}  // namespace
}  // namespace renga
