// renga run --device auto with NVRTC and a stand-in for the driver.
#include "gmock/gmock.h"
#include "tests/cuda/fake/fake_gpu.h"
#include "tests/support/tiny_record.h"
#include "tools/nvrtc.h"

namespace renga {
namespace {

using testing::HasSubstr;

TEST(AutoDevice, TakesTheCpuForWhatHasNoKernelOnGpus) {
  if (const auto nvrtc = LoadNvrtc(); !nvrtc.ok()) {
    GTEST_SKIP() << "NVRTC ABSENT: " << nvrtc.status().message();
  }
  const std::string model = TinyRecord::Read("llama-IQ1_S").path;
  const auto run = [&](const char* device) {
    return Renga({"run", model, "--device", device, "--ids", "1,2", "-n", "2", "--temp", "0"},
                 OnFake({{"FAKE_SM", "90"}}));
  };
  const ProcessResult by_itself = run("auto");
  EXPECT_EQ(by_itself.exit_code, 0) << by_itself.Describe();
  EXPECT_THAT(by_itself.err, HasSubstr("cpu, "));
  EXPECT_THAT(by_itself.err, HasSubstr("type iq1_s has no kernel on GPUs)"));
  const ProcessResult asked = run("cuda");
  EXPECT_TRUE(asked.IsCleanError(2)) << asked.Describe();
  EXPECT_THAT(asked.err, HasSubstr("type iq1_s has no kernel on GPUs"));
}

}  // namespace
}  // namespace renga
