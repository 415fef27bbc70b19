// What a plan is said to take of a GPU, against what is allocated there.
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "runtime/exec/cuda_executor.h"
#include "tests/cuda/fake/fake_gpu.h"
#include "tests/runtime/cuda/fake_driver.h"
#include "tools/process_memory.h"

namespace renga {
namespace {

TEST(GpuMemory, IsWhatIsAllocated) {
  for (const int64_t sequences : {1, 5}) {
    CompileOptions options;
    options.max_sequences = sequences;
    options.context = 200;
    const auto plan = std::make_shared<const plan::Plan>(FakePlan("sm_90a", options));
    cuda::FakeDriver fake;
    fake.SetFresh(0);
    const auto driver = cuda::Driver::Load(cuda::FakeFile("fake_driver"));
    ASSERT_TRUE(driver.ok()) << driver.status();
    const auto executor =
        CudaExecutor::Create(plan, cuda::Context::Open(*driver, 0).value(), CudaOptions());
    ASSERT_TRUE(executor.ok()) << executor.status();
    EXPECT_GT(plan->memory.total(), 0u);
    EXPECT_EQ((*executor)->counters().allocated_bytes, GpuBytes(*plan));
  }
}

}  // namespace
}  // namespace renga
