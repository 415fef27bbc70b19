// The executor itself on a GPU: graphs, counters, memory.
#include "runtime/exec/cuda_executor.h"

#include "gmock/gmock.h"
#include "tests/cuda/cuda_sequence.h"
#include "tests/cuda/support.h"
#include "tests/support/test_data.h"

namespace renga {
namespace {

class CudaExecutorTest : public CudaTest {
 protected:
  static absl::StatusOr<std::unique_ptr<CudaSequence>> OpenWith(const CudaOptions& cuda_options,
                                                                const OpenOptions& open = {}) {
    RENGA_ASSIGN_OR_RETURN(const CudaDevice device, OpenCuda(0));
    OpenOptions options = open;
    options.use_cache = false;
    options.compile.target = device.target;
    RENGA_ASSIGN_OR_RETURN(const OpenedPlan plan, OpenPlan(TestData("stories260K.gguf"), options));
    return CudaSequence::Create(plan.plan, device.context, cuda_options, device.name);
  }

  // Greedy from a start token on; the logits of every step.
  static std::vector<float> Decode(Forward& forward, int steps) {
    EXPECT_TRUE(forward.Truncate(0).ok());
    std::vector<float> all, logits;
    int32_t token = 1;
    for (int i = 0; i < steps; ++i) {
      const absl::Status status = forward.Run({token}, {0}, &logits);
      EXPECT_TRUE(status.ok()) << status;
      if (!status.ok()) break;
      all.insert(all.end(), logits.begin(), logits.end());
      token = forward.next()[0];
    }
    return all;
  }
};

TEST_F(CudaExecutorTest, GraphsGiveWhatLaunchesGive) {
  const auto with = OpenWith({}), without = OpenWith({.graphs = false}),
             checked = OpenWith({.check_steps = true});
  ASSERT_TRUE(with.ok() && without.ok() && checked.ok()) << with.status();
  // A graph rounds the length up, which a longer text's split of the keys must not show before the
  // text is as long.
  const std::vector<float> expected = Decode(**without, 60);
  EXPECT_TRUE(Decode(**with, 60) == expected);
  EXPECT_TRUE(Decode(**checked, 60) == expected);
  EXPECT_EQ((*without)->executor().counters().graphs, 0);
  EXPECT_EQ((*with)->executor().counters().graphs, 1);
  EXPECT_EQ((*with)->executor().counters().graph_runs, 60);
}

TEST_F(CudaExecutorTest, ALongTextTakesFewGraphsAndNoMemory) {
  const auto forward = OpenWith({});
  ASSERT_TRUE(forward.ok()) << forward.status();
  const CudaCounters before = (*forward)->executor().counters();
  EXPECT_EQ(before.kernels_compiled, 0);
  const std::vector<float> once = Decode(**forward, 700), again = Decode(**forward, 700);
  EXPECT_TRUE(once == again);
  const CudaCounters after = (*forward)->executor().counters();
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.graphs, 5);  // up to 64, 128, 256, 512 and 1024 positions
}

TEST_F(CudaExecutorTest, RefusesWhatNoKernelMaySee) {
  const auto forward = OpenWith({});
  ASSERT_TRUE(forward.ok()) << forward.status();
  EXPECT_EQ((*forward)->Run({-1}, {0}, nullptr).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ((*forward)->Run({512}, {0}, nullptr).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ((*forward)->Run({1}, {1}, nullptr).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ((*forward)->position(), 0);
  EXPECT_TRUE((*forward)->Run({1}, {0}, nullptr).ok());
}

TEST_F(CudaExecutorTest, SaysWhatDoesNotFit) {
  OpenOptions options;
  options.compile.context = int64_t{1} << 24;  // keys and values of 10 GB each
  options.compile.max_sequences = 64;
  const auto forward = OpenWith({}, options);
  ASSERT_EQ(forward.status().code(), absl::StatusCode::kResourceExhausted) << forward.status();
  EXPECT_THAT(
      std::string(forward.status().message()),
      testing::AllOf(testing::HasSubstr("no memory for keys and values: the plan takes "),
                     testing::HasSubstr(" GB of keys and values"),
                     testing::HasSubstr("tokens a step"), testing::HasSubstr("are free"),
                     testing::HasSubstr("use a smaller context (-c), fewer tokens a step "
                                        "(--max-step), smaller keys and values (--kv-type)")));
  EXPECT_TRUE(OpenWith({}).ok());  // nothing was left behind
}

}  // namespace
}  // namespace renga
