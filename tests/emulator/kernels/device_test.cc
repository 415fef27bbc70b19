// The device itself: what every kernel relies on works as the emulator has it (matrix products,
// tiles through TMA, wgmma, mbarriers, releases and acquires, dependent launches), and writes
// outside of buffers are found.
#include <cstdlib>

#include "gmock/gmock.h"
#include "tests/emulator/cases/test_kernels.h"
#include "tests/emulator/kernels/support.h"
#include "tests/emulator/selftest/runs.h"

namespace renga::emulator {
namespace {

const CaseLibrary* Library() {
  static const CaseLibrary* library = [] {
    CaseTexts texts;
    for (const RightKernel& right : RightKernels()) {
      for (const codegen::DeviceHeader& source : codegen::EmbeddedTestKernels()) {
        if (!source.name.ends_with("/" + right.file)) continue;
        for (const std::string& kernel : right.kernels) texts[kernel] = std::string(source.text);
      }
    }
    texts["writes_beyond"] = R"(#include "codegen/kernels/primitives.cuh"
extern "C" __global__ void writes_beyond(int* y, int count) { y[threadIdx.x] = count; }
)";
    return CompileCases(texts).release();
  }();
  return library;
}

class RightKernelOnDevice : public testing::TestWithParam<RightKernel> {};

INSTANTIATE_TEST_SUITE_P(All, RightKernelOnDevice, testing::ValuesIn(RightKernels()),
                         [](const auto& info) {
                           return info.param.file.substr(0, info.param.file.find('.'));
                         });

TEST_P(RightKernelOnDevice, GivesTheRightResult) {
  RENGA_NEED_KERNELS(Library());
  for (int i = 0; i < Library()->runs(); ++i) {
    auto device = Library()->Start(i);
    ASSERT_TRUE(device.ok()) << device.status();
    const absl::Status status = GetParam().run(**device);
    ASSERT_TRUE(status.ok()) << status;
    const absl::Status finished = (*device)->Finish();
    ASSERT_TRUE(finished.ok()) << finished;
  }
}

TEST(Device, FindsWritesBeyondABuffer) {
  RENGA_NEED_KERNELS(Library());
  const char* memory = std::getenv("RENGA_KERNEL_MEMORY");
  if (memory != nullptr) GTEST_SKIP() << "RENGA_KERNEL_MEMORY is set: another tool watches";
  auto device = Library()->Start(0);
  ASSERT_TRUE(device.ok()) << device.status();
  int* y = Fresh<int>(**device, "y", 33);
  absl::Status status = Launch(**device, "writes_beyond", {{1}, 34}, y, 7);
  if (status.ok()) status = (*device)->Finish();
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("buffer 'y' (132 bytes)"));
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("writes_beyond"));
}

}  // namespace
}  // namespace renga::emulator
