// Faults in CUDA kernels and in how they are launched, found on the emulator: by what it sees
// (races, memory that nothing has written, loops that do not end), or by verify, which compares
// every node of what they computed.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "tests/emulator/device/tests/support.h"
#include "tests/emulator/selftest/support.h"
#include "tests/faults/zoo/cuda_faults.h"
#include "tests/faults/zoo/zoo.h"
#include "tests/support/test_data.h"

namespace renga::faults {
namespace {

using emulator::KernelOptions;
using testing::HasSubstr;
using testing::IsEmpty;

// ---- kernels alone ----

const absl::StatusOr<std::unique_ptr<emulator::KernelLibrary>>& ZooKernels() {
  static const auto& library = *new absl::StatusOr<std::unique_ptr<emulator::KernelLibrary>>([] {
    auto source = emulator::ReadKernelSource(RENGA_SOURCE_DIR "/tests/faults/zoo_kernels.cu");
    if (!source.ok()) {
      return absl::StatusOr<std::unique_ptr<emulator::KernelLibrary>>(source.status());
    }
    source->name = "zoo_kernels.cu";
    return emulator::KernelLibrary::Compile(KernelOptions(), {*source});
  }());
  return library;
}

struct Ran {
  absl::Status status;
  absl::Status read;  // of all of y
  std::vector<float> y;
};

Ran RunKernel(const std::string& name, const emulator::Schedule& schedule) {
  const auto& library = ZooKernels();
  if (!library.ok()) return {library.status(), {}, {}};
  const auto kernel = (*library)->Find(name);
  if (!kernel.ok()) return {kernel.status(), {}, {}};
  emulator::Emulator machine;
  const float* x = emulator::Upload(&machine, "x", emulator::NoiseOf(64, 3));
  float* y = emulator::Fresh<float>(&machine, "y", 64);
  emulator::LaunchOptions options{.schedule = schedule};
  options.max_accesses = 20'000;
  Ran ran;
  ran.status = machine.Launch(**kernel, {{1}, {64}, 1024}, options, x, y);
  std::vector<uint8_t> bytes(64 * sizeof(float));
  ran.read = machine.memory().Read(y, absl::MakeSpan(bytes));
  ran.y.resize(64);
  std::memcpy(ran.y.data(), bytes.data(), bytes.size());
  return ran;
}

// Each thread's array is its own: what the others hold is not there, and shows as such.
TEST(ZooKernel, F01QueryInAnArrayOfEachThread) {
  for (const emulator::NamedSchedule& schedule : emulator::TestSchedules()) {
    const Ran right = RunKernel("private_query_ok", schedule.schedule);
    ASSERT_TRUE(right.status.ok() && right.read.ok()) << right.status << right.read;
    const Ran wrong = RunKernel("private_query", schedule.schedule);
    ASSERT_TRUE(wrong.status.ok()) << wrong.status;
    for (size_t i = 0; i < 64; ++i) {
      EXPECT_LT(std::abs(right.y[i]), 64);
      EXPECT_FALSE(std::abs(wrong.y[i]) < 1e30) << "locals are filled with what no number is";
    }
  }
}

TEST(ZooKernel, WhatTheEmulatorSees) {
  const std::map<std::string, std::string> faults = {
      {"shared_query", "reads 4 bytes that nothing has written: shared array 0"},  // 1
      {"endless_halving", "does a loop not end?"},                                 // 15
      {"halving_without_barrier", "race: "}};                                      // 16
  for (const emulator::NamedSchedule& schedule : emulator::TestSchedules()) {
    for (const auto& [kernel, says] : faults) {
      const absl::Status status = RunKernel(kernel, schedule.schedule).status;
      EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << kernel << " " << status;
      const std::string message(status.message());
      EXPECT_THAT(message, HasSubstr(StrCat("kernel ", kernel)));
      EXPECT_THAT(message, HasSubstr("zoo_kernels.cu:")) << "the line";
      EXPECT_THAT(message, HasSubstr(says));
    }
    EXPECT_TRUE(RunKernel("halving_ok", schedule.schedule).status.ok());
  }
}

TEST(ZooKernel, F08RowsThatNothingWrites) {
  const Ran wrong = RunKernel("rows_of_the_width", {});
  EXPECT_TRUE(wrong.status.ok()) << wrong.status;
  EXPECT_THAT(
      std::string(wrong.read.message()),
      HasSubstr("buffer 'y': nothing has written 128 of the bytes read, the first at +128"));
  EXPECT_TRUE(RunKernel("rows_of_the_width_ok", {}).read.ok());
}

// ---- a model's kernels ----

const absl::StatusOr<CudaModel>& TheModel() {
  static const auto& model =
      *new absl::StatusOr<CudaModel>(CudaModel::Open(TestData("tiny/qwen2.gguf")));
  return model;
}

class CudaZooTest : public testing::TestWithParam<CudaFault> {};

TEST_P(CudaZooTest, IsFoundAndNothingElse) {
  const absl::StatusOr<CudaModel>& model = TheModel();
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(GetParam().cannot(model->zoo()), "");
  EXPECT_THAT(model->Differences(GetParam(), {1, 40, 77, 5, 9}), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(All, CudaZooTest, testing::ValuesIn(CudaFaults()),
                         [](const auto& info) { return info.param.name; });

TEST(CudaZoo, RightKernelsAreNotBlamed) {
  const absl::StatusOr<CudaModel>& model = TheModel();
  ASSERT_TRUE(model.ok()) << model.status();
  const auto verdict = model->VerifyRight({1, 40, 77, 5, 9});
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_THAT(Named(verdict->nodes), IsEmpty());
  EXPECT_EQ(verdict->steps.size(), 3u);
  EXPECT_LT(verdict->nodes.worst_share, 0.5) << verdict->nodes.worst;
}

}  // namespace
}  // namespace renga::faults
