// Sampling over a driver that runs no kernel: what is launched and copied, and when.
#include <cstring>

#include "gmock/gmock.h"
#include "ir/base/status.h"
#include "runtime/exec/cuda_executor.h"
#include "runtime/exec/step_batch.h"
#include "runtime/plan/launch.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/sample_args.h"
#include "tests/cuda/fake/fake_gpu.h"
#include "tests/runtime/cuda/fake_driver.h"

namespace renga {
namespace {

// In place of the sampler: notes what it was given, and chooses 100 + the row.
struct Seen {
  cuda::FakeDriver* fake = nullptr;
  std::string sampler;
  std::vector<plan::SampleArgs> launches;
  std::vector<plan::SampleRow> rows;
  std::vector<plan::SampleChange> changes;
};
Seen& TheSeen() {
  static Seen seen;
  return seen;
}

void Sample(void* function, const void* arguments, unsigned) {
  Seen& seen = TheSeen();
  if (seen.fake->NameOf(function) != seen.sampler) return;
  plan::SampleArgs args;
  std::memcpy(&args, arguments, sizeof(args));
  seen.launches.push_back(args);
  const auto* row = reinterpret_cast<const plan::SampleRow*>(args.rows);
  const auto* change = reinterpret_cast<const plan::SampleChange*>(args.changes);
  const plan::SampleResult result = {
      .id = 100 + row->row, .top = 1, .max = 2, .logit = 1, .sum = 9};
  const uint64_t key = uint64_t{0x80000000u | 0x40000000u} << 32 | ~uint32_t{5};  // 2 of id 5
  std::memcpy(reinterpret_cast<void*>(args.results), &result, sizeof(result));
  std::memcpy(reinterpret_cast<void*>(args.top), &key, sizeof(key));
  std::memcpy(reinterpret_cast<int32_t*>(args.next) + row->row, &result.id, sizeof(result.id));
  seen.rows.push_back(*row);
  for (int i = 0; i < row->changes; ++i) seen.changes.push_back(change[row->first_change + i]);
}

class FakeSampling : public testing::Test {
 protected:
  FakeSampling() { fake_.SetFresh(0); }

  void SetUp() override {
    const auto driver = cuda::Driver::Load(cuda::FakeFile("fake_driver"));
    ASSERT_TRUE(driver.ok()) << driver.status();
    const auto context = cuda::Context::Open(*driver, 0);
    ASSERT_TRUE(context.ok()) << context.status();
    CompileOptions options;
    options.max_rows = 150;
    plan_ = std::make_shared<const plan::Plan>(FakePlan("sm_90a", options));
    ASSERT_GE(plan_->gpu.sampler.kernel, 0);
    auto executor = CudaExecutor::Create(plan_, *context, {});
    ASSERT_TRUE(executor.ok()) << executor.status();
    executor_ = *std::move(executor);
    pages_ = KvPages(*plan_);
    ASSERT_EQ(pages_.NewSequence().value(), 0);
    TheSeen() = {.fake = &fake_, .sampler = plan_->gpu.kernels[plan_->gpu.sampler.kernel].name};
    fake_.OnLaunch(Sample, plan::kMaxArgumentBytes);
    fake_.BeLate();  // what is queued must be there when its turn comes
  }

  // A row for each of so many tokens.
  absl::Status Step(int64_t tokens, absl::Span<const RowSampling> sampling) {
    StepBatch batch;
    const int64_t first = pages_.position(0);
    std::vector<int32_t> cells;
    RENGA_RETURN_IF_ERROR(pages_.Append(0, tokens, &cells));
    batch.Add(0, first, std::vector<int32_t>(static_cast<size_t>(tokens), 5), cells, tokens);
    StepInputs inputs = batch.Inputs(pages_);
    inputs.sampling = sampling;
    return executor_->Run(inputs);
  }
  int Copies() { return fake_.Count("cuMemcpyHtoDAsync") + fake_.Count("cuMemcpyDtoHAsync"); }
  absl::Span<const int32_t> Next(size_t rows) const { return executor_->next().first(rows); }

  cuda::FakeDriver fake_;
  std::shared_ptr<const plan::Plan> plan_;
  std::unique_ptr<CudaExecutor> executor_;
  KvPages pages_;
};

TEST_F(FakeSampling, WithoutRequestsNothingMoreIsLaunchedOrCopied) {
  // Captures, for each place of inputs.
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Step(1, {}).ok());
  int launches = fake_.launches(), copies = Copies();
  ASSERT_TRUE(Step(1, {}).ok());
  EXPECT_EQ(fake_.launches(), launches);
  const int plain = Copies() - copies;
  EXPECT_TRUE(executor_->sampled().empty());
  // A graph of its own, with the sampler in it.
  copies = Copies();
  ASSERT_TRUE(Step(1, {{.row = 0}}).ok());
  EXPECT_GT(fake_.launches(), launches);    // captured
  EXPECT_EQ(Copies() - copies, plain + 1);  // results: parameters come with the inputs
  EXPECT_EQ(executor_->counters().graph_runs, 4);
  EXPECT_EQ(executor_->counters().graphs, 3);
  ASSERT_EQ(executor_->sampled().size(), 1u);
  EXPECT_EQ(executor_->sampled()[0].id, 100);
  EXPECT_TRUE(executor_->sampled()[0].top.empty());
  EXPECT_THAT(Next(1), testing::ElementsAre(100));
  EXPECT_EQ(executor_->counters().sampled, 1);
  const cuda::LaunchConfig& config = fake_.config();
  EXPECT_EQ(config.grid_x, 1u);  // a vocabulary of 512
  EXPECT_EQ(config.grid_y, 1u);
  EXPECT_EQ(config.block_x, 256u);
  // And no more again.
  launches = fake_.launches();
  ASSERT_TRUE(Step(1, {}).ok());
  EXPECT_EQ(fake_.launches(), launches);
  EXPECT_TRUE(executor_->sampled().empty());
}

TEST_F(FakeSampling, ParametersAndChangesArrive) {
  NextDraw draw;
  draw.changes = {{3, -1.5f, false, 0}, {17, 0, true, 0.25f}};
  draw.repeat = 1.25f;
  draw.top_k = 40;
  draw.top_p = 0.9f;
  draw.typical_p = 0.8f;
  draw.log_min_p = -3;
  draw.temperature = 0.7f;
  draw.uniform = 0.375;
  ASSERT_TRUE(Step(3, {{.row = 1, .draw = draw, .wants_sum = true, .wants_top = 4}}).ok());
  ASSERT_EQ(TheSeen().rows.size(), 1u);
  const plan::SampleRow& row = TheSeen().rows[0];
  EXPECT_EQ(row.row, 1);
  EXPECT_EQ(row.sums, 1);
  EXPECT_EQ(row.top_k, 40);
  EXPECT_EQ(row.temperature, 0.7f);
  EXPECT_EQ(row.top_p, 0.9f);
  EXPECT_EQ(row.typical_p, 0.8f);
  EXPECT_EQ(row.repeat, 1.25f);
  EXPECT_EQ(row.log_min_p, -3);
  EXPECT_EQ(row.uniform, 0.375);
  ASSERT_EQ(TheSeen().changes.size(), 2u);
  EXPECT_EQ(TheSeen().changes[0].id, 3);
  EXPECT_EQ(TheSeen().changes[0].bias, -1.5f);
  EXPECT_EQ(TheSeen().changes[0].penalised, 0);
  EXPECT_EQ(TheSeen().changes[1].id, 17);
  EXPECT_EQ(TheSeen().changes[1].penalised, 1);
  EXPECT_EQ(TheSeen().changes[1].penalty, 0.25f);
  ASSERT_EQ(executor_->sampled().size(), 1u);
  const SampledRow& sampled = executor_->sampled()[0];
  EXPECT_EQ(sampled.row, 1);
  EXPECT_EQ(sampled.id, 101);
  EXPECT_EQ(sampled.logit, 1);
  EXPECT_EQ(sampled.max, 2);
  EXPECT_EQ(sampled.sum, 9u);
  EXPECT_THAT(sampled.top, testing::ElementsAre(testing::Pair(5, 2.0f)));
  EXPECT_THAT(Next(3), testing::ElementsAre(0, 101, 0));
}

// What the second asks for does not get in the way of what the first has not copied yet.
TEST_F(FakeSampling, TwoStepsUnderWayHaveParametersOfTheirOwn) {
  const int32_t row = 0, cell = 0;
  for (const double uniform : {0.25, 0.5}) {
    RowSampling asked{.row = row};
    asked.draw.uniform = uniform;
    StepBatch batch;
    std::vector<int32_t> cells;
    const int64_t position = pages_.position(0);
    ASSERT_TRUE(pages_.Append(0, 1, &cells).ok());
    batch.Add(0, position, absl::MakeConstSpan(&cell, 1), cells, 1);
    StepInputs inputs = batch.Inputs(pages_);
    inputs.sampling = absl::MakeConstSpan(&asked, 1);
    inputs.fed_back = uniform == 0.5;
    ASSERT_EQ(executor_->Start(inputs), absl::OkStatus());
  }
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(executor_->Finish(), absl::OkStatus());
    ASSERT_EQ(executor_->sampled().size(), 1u);
    EXPECT_EQ(executor_->sampled()[0].id, 100);
  }
  ASSERT_EQ(TheSeen().rows.size(), 2u);
  EXPECT_EQ(TheSeen().rows[0].uniform, 0.25);
  EXPECT_EQ(TheSeen().rows[1].uniform, 0.5);
}

TEST_F(FakeSampling, ManyRowsTakeSeveralLaunches) {
  std::vector<RowSampling> asked;
  for (int32_t row = 0; row < 134; ++row) asked.push_back({.row = row});
  // More changes than a row may have: it is left to the host.
  for (int32_t id = 0; id < 129; ++id) asked[3].draw.changes.push_back({id, 1, false, 0});
  const absl::Status status = Step(134, asked);
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(TheSeen().launches.size(), 2u);
  EXPECT_EQ(TheSeen().rows[0].row, 0);
  EXPECT_EQ(TheSeen().rows[1].row, 129);  // the 129th that is not left out
  EXPECT_EQ(fake_.config().grid_y, 5u);
  ASSERT_EQ(executor_->sampled().size(), 134u);
  EXPECT_EQ(executor_->sampled()[3].id, -1);
  EXPECT_EQ(executor_->sampled()[129].id, 229);
  EXPECT_EQ(executor_->counters().undecided, 1);
}

TEST_F(FakeSampling, RefusesWhatTheKernelMustNotSee) {
  const auto code = [&](const RowSampling& one) { return Step(2, {one}).code(); };
  EXPECT_EQ(code({.row = 2}), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(code({.row = -1}), absl::StatusCode::kOutOfRange);
  RowSampling one;
  one.draw.temperature = 0;
  EXPECT_EQ(code(one), absl::StatusCode::kInvalidArgument);
  one.draw.temperature = 1;
  one.draw.uniform = 1;
  EXPECT_EQ(code(one), absl::StatusCode::kInvalidArgument);
  one.draw.uniform = 0;
  one.draw.changes = {{512, 0, false, 0}};
  EXPECT_EQ(code(one), absl::StatusCode::kOutOfRange);
  one.draw.changes = {{-1, 0, false, 0}};
  EXPECT_EQ(code(one), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(Step(2, {{.row = 1}, {.row = 1}}).code(), absl::StatusCode::kOutOfRange);
  EXPECT_TRUE(TheSeen().launches.empty());
}

}  // namespace
}  // namespace renga
