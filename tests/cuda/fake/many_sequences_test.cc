// Steps of many sequences over a driver that runs no kernel: which are graphs, and copies of pages.
#include "gmock/gmock.h"
#include "ir/base/status.h"
#include "runtime/exec/cuda_executor.h"
#include "runtime/exec/step_batch.h"
#include "tests/cuda/fake/fake_gpu.h"
#include "tests/runtime/cuda/fake_driver.h"

namespace renga {
namespace {

class ManySequences : public testing::Test {
 protected:
  ManySequences() { fake_.SetFresh(0); }

  void SetUp() override {
    const auto driver = cuda::Driver::Load(cuda::FakeFile("fake_driver"));
    ASSERT_TRUE(driver.ok()) << driver.status();
    const auto context = cuda::Context::Open(*driver, 0);
    ASSERT_TRUE(context.ok()) << context.status();
    CompileOptions options;
    options.max_sequences = 3;
    plan_ = std::make_shared<const plan::Plan>(FakePlan("sm_90a", options));
    auto executor = CudaExecutor::Create(plan_, *context, {});
    ASSERT_TRUE(executor.ok()) << executor.status();
    executor_ = *std::move(executor);
    pages_ = KvPages(*plan_);
    for (int i = 0; i < 3; ++i) ASSERT_EQ(pages_.NewSequence().value(), i);
  }

  // So many tokens of each sequence, with one row each.
  absl::Status Step(const std::vector<int64_t>& tokens) {
    StepBatch batch;
    for (size_t i = 0; i < tokens.size(); ++i) {
      const int sequence = static_cast<int>(i);
      const int64_t first = pages_.position(sequence);
      std::vector<int32_t> cells;
      RENGA_RETURN_IF_ERROR(pages_.Append(sequence, tokens[i], &cells));
      batch.Add(sequence, first, std::vector<int32_t>(static_cast<size_t>(tokens[i]), 5), cells, 1);
    }
    return executor_->Run(batch.Inputs(pages_));
  }

  cuda::FakeDriver fake_;
  std::shared_ptr<const plan::Plan> plan_;
  std::unique_ptr<CudaExecutor> executor_;
  KvPages pages_;
};

TEST_F(ManySequences, OneTokenOfEachIsAGraph) {
  ASSERT_TRUE(Step({4, 2, 3}).ok());
  EXPECT_EQ(fake_.Count("cuGraphLaunch"), 0);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Step({1, 1, 1}).ok());
  // For each of the two places of inputs.
  EXPECT_EQ(fake_.Count("cuStreamBeginCapture"), 2);
  EXPECT_EQ(fake_.Count("cuGraphLaunch"), 5);
  ASSERT_TRUE(Step({1, 1}).ok());
  ASSERT_TRUE(Step({1}).ok());
  EXPECT_EQ(executor_->counters().graphs, 4);
  EXPECT_EQ(executor_->counters().graph_runs, 7);
  // A piece of a prompt beside them: launches.
  ASSERT_TRUE(Step({1, 1, 2}).ok());
  EXPECT_EQ(executor_->counters().graph_runs, 7);
}

TEST_F(ManySequences, PagesAreCopiedOnTheGpu) {
  ASSERT_TRUE(Step({4}).ok());
  pages_.Free(1);
  pages_.Free(2);
  const int fork = pages_.Fork(0).value();
  std::vector<int32_t> cells;
  ASSERT_TRUE(pages_.Append(fork, 1, &cells).ok());
  const std::vector<PageCopy> copies = pages_.TakeCopies();
  ASSERT_EQ(copies.size(), 1u);
  const int before = fake_.Count("cuMemcpyDtoDAsync");
  ASSERT_TRUE(executor_->CopyPages(copies).ok());
  EXPECT_EQ(fake_.Count("cuMemcpyDtoDAsync") - before, static_cast<int>(plan_->caches.size()));
  fake_.FailAt(fake_.calls() + 1, 719);
  EXPECT_FALSE(executor_->CopyPages(copies).ok());
  EXPECT_FALSE(Step({1}).ok()) << "what is on the GPU is not to be trusted any more";
}

TEST_F(ManySequences, PagesComeAndGo) {
  std::string bytes;
  ASSERT_TRUE(executor_->ReadPage(0, 1, &bytes).ok());
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 + i / 256);
  ASSERT_TRUE(executor_->WritePage(0, 1, bytes).ok());
  const std::vector<PageCopy> copy = {{1, 2}};
  ASSERT_TRUE(executor_->CopyPages(copy).ok());
  std::string copied, next;
  ASSERT_TRUE(executor_->ReadPage(0, 2, &copied).ok());
  EXPECT_EQ(copied, bytes);
  ASSERT_TRUE(executor_->ReadPage(0, 3, &next).ok());
  EXPECT_EQ(next, std::string(bytes.size(), '\0'));
  EXPECT_EQ(
      executor_->WritePage(0, 1, "short").message(),
      "a page of keys and values: expected " + std::to_string(bytes.size()) + " bytes, got 5");
}

}  // namespace
}  // namespace renga
