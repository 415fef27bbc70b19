// The emulator's own faults are found here: for each kernel with a mistake it must name the kernel,
// the line and the cause, and stay silent about the twin without it.

#include <algorithm>
#include <fstream>
#include <sstream>

#include "tests/emulator/selftest/support.h"

namespace renga::emulator {
namespace {

using testing::HasSubstr;

// "file:line" of each line that says "// fault" in a kernel.
std::vector<std::string> FaultLines(const std::string& file, const std::string& kernel) {
  std::ifstream source(KernelFile(file));
  std::vector<std::string> places;
  bool inside = false;
  int number = 0;
  for (std::string line; std::getline(source, line);) {
    ++number;
    if (line.find("extern \"C\" __global__") != line.npos) {
      inside = line.find(StrCat(" ", kernel, "(")) != line.npos;
    }
    if (inside && line.find("// fault") != line.npos) places.push_back(StrCat(file, ":", number));
  }
  return places;
}

// Whether a message has the text, and no digit after it.
bool Names(const std::string& message, const std::string& text) {
  const size_t at = message.find(text);
  return at != message.npos && !isdigit(message[at + text.size()]) &&
         message[at + text.size()] != '_';
}

// The error of a faulty kernel: the kernel's name, one of its marked lines, the cause: one of those
// between "|".
void ExpectFault(const absl::Status& status, const std::string& file, const std::string& kernel,
                 const std::string& causes) {
  const std::string message(status.message());
  ASSERT_EQ(status.code(), absl::StatusCode::kInternal) << kernel << ": " << status;
  EXPECT_TRUE(Names(message, StrCat("kernel ", kernel))) << message;
  bool found = false;
  std::istringstream parts(causes);
  for (std::string cause; std::getline(parts, cause, '|');) {
    found = found || message.find(cause) != message.npos;
  }
  EXPECT_TRUE(found) << message << "\nexpected the cause " << causes;
  const std::vector<std::string> places = FaultLines(file, kernel);
  ASSERT_FALSE(places.empty()) << kernel << " has no line marked as its fault";
  const bool named = std::any_of(places.begin(), places.end(),
                                 [&](const std::string& place) { return Names(message, place); });
  EXPECT_TRUE(named) << message << "\nexpected one of " << StrJoin(places, ", ");
}

constexpr size_t kFloats = 1024;

// What a launch of a case gets: y has kFloats initialised zeros.
struct Case {
  std::string kernel;
  std::string cause;  // empty: a right kernel
  LaunchShape shape = {{1}, {64}, 2048};
};

void PrintTo(const Case& fault, std::ostream* os) { *os << fault.kernel; }

std::string NameOf(const testing::TestParamInfo<Case>& info) { return info.param.kernel; }

class Faults : public testing::TestWithParam<Case> {
 protected:
  // Under every schedule: what depends on one is no proof.
  template <typename... Values>
  void Run(const std::string& file, const std::function<void(Emulator*)>& prepare,
           const std::function<absl::Status(Emulator*, const LaunchOptions&)>& launch) {
    for (const NamedSchedule& schedule : TestSchedules()) {
      SCOPED_TRACE(schedule.name);
      Emulator emulator;
      prepare(&emulator);
      LaunchOptions options{.schedule = schedule.schedule};
      options.max_accesses = 5'000'000;
      const absl::Status status = launch(&emulator, options);
      if (GetParam().cause.empty()) {
        EXPECT_TRUE(status.ok()) << status;
      } else {
        ExpectFault(status, file, GetParam().kernel, GetParam().cause);
      }
      if (HasFailure()) return;
    }
  }
};

// ---- kernels of y ----

class MemoryFaults : public Faults {};

INSTANTIATE_TEST_SUITE_P(
    All, MemoryFaults,
    testing::Values(
        Case{"race_shared", "race: |nothing has written"}, Case{"race_shared_ok", ""},
        Case{"race_warp", "race: |nothing has written", {{1}, {32}, 2048}},
        Case{"race_warp_ok", "", {{1}, {32}, 2048}}, Case{"race_overwrite", "race: "},
        Case{"race_overwrite_ok", ""}, Case{"race_blocks", "race: writes 4 bytes", {{3}, {64}}},
        Case{"race_blocks_ok", "", {{3}, {64}}},
        Case{"race_halves", "race: writes 2 bytes", {{3}, {64}}},
        Case{"race_halves_ok", "", {{3}, {64}}}, Case{"divergent_barrier", "divergent barrier"},
        Case{"barrier_after_end",
             " threads of the block have ended|deadlock: 40 threads wait for "
             "SyncThreads"},
        Case{"barrier_missed", "deadlock: 32 threads wait for SyncBarrier 1 (32 of 64"},
        Case{"barrier_left", "the block ends with 32 of 64 threads at barrier 2"},
        Case{"barrier_left_ok", ""}, Case{"barrier_counts", "threads expected here"},
        Case{"shuffle_divergent",
             "deadlock: 16 threads wait for Shuffle|Shuffle: names lanes",
             {{1}, {32}}},
        Case{"shuffle_not_in_mask", "is not among the lanes", {{1}, {32}}},
        Case{"shuffle_other_lane", "reads lane 20", {{1}, {32}}},
        Case{"warp_mixed", "wait in", {{1}, {32}}},
        Case{"uninitialised_shared", "reads 4 bytes that nothing has written: shared array 0"},
        Case{"bounds_shared", "outside of the arrays of shared memory: shared array 0 (256 bytes"},
        Case{"bounds_shared_end", "outside of the arrays of shared memory"},
        Case{"shared_too_small", "takes 16384 bytes in all, the launch has 2048"},
        Case{"misaligned", "misaligned"}, Case{"misaligned_vector", "misaligned"},
        Case{"streaming_written", "LoadStreaming of memory that this launch writes"},
        Case{"endless", "does a loop not end?"}, Case{"endless_shuffles", "does a loop not end?"},
        Case{"trap", "Trap"}),
    NameOf);

TEST_P(MemoryFaults, AreFound) {
  float* y = nullptr;
  Run(
      "faults_memory.cu",
      [&](Emulator* emulator) { y = Upload(emulator, "y", std::vector<float>(kFloats)); },
      [&](Emulator* emulator, const LaunchOptions& options) {
        return emulator->Launch(TestKernel(GetParam().kernel), GetParam().shape, options, y);
      });
}

// ---- kernels of y and a count ----

class CountFaults : public Faults {};

INSTANTIATE_TEST_SUITE_P(
    All, CountFaults,
    testing::Values(
        Case{"bounds_global",
             "writes 4 bytes out of bounds: 0 bytes beyond the end of buffer 'y' (4096 bytes)"},
        Case{"bounds_before", "bytes before the start of buffer 'y'"},
        Case{"bounds_local", "index beyond the end of a local array"},
        Case{"stack_too_large", "local variables and calls need"}),
    NameOf);

TEST_P(CountFaults, AreFound) {
  float* y = nullptr;
  Run(
      "faults_memory.cu",
      [&](Emulator* emulator) { y = Upload(emulator, "y", std::vector<float>(kFloats)); },
      [&](Emulator* emulator, const LaunchOptions& options) {
        return emulator->Launch(TestKernel(GetParam().kernel), {{1}, {1}}, options, y,
                                static_cast<int>(kFloats));
      });
}

// ---- kernels of y and a counter or other memory ----

class SharedCounterFaults : public Faults {};

INSTANTIATE_TEST_SUITE_P(All, SharedCounterFaults,
                         testing::Values(Case{"race_no_release", "race: reads 4 bytes", {{5}, {1}}},
                                         Case{"race_no_release_ok", "", {{5}, {1}}}),
                         NameOf);

TEST_P(SharedCounterFaults, AreFound) {
  float* y = nullptr;
  uint32_t* counter = nullptr;
  Run(
      "faults_memory.cu",
      [&](Emulator* emulator) {
        y = Upload(emulator, "y", std::vector<float>(kFloats));
        counter = Upload(emulator, "counter", std::vector<uint32_t>{0});
      },
      [&](Emulator* emulator, const LaunchOptions& options) {
        return emulator->Launch(TestKernel(GetParam().kernel), GetParam().shape, options, y,
                                counter);
      });
}

TEST(OtherFaults, MemoryNobodyWrote) {
  Emulator emulator;
  float* y = Upload(&emulator, "y", std::vector<float>(kFloats));
  float* unwritten = Fresh<float>(&emulator, "unwritten", 64);
  ExpectFault(emulator.Launch(TestKernel("uninitialised_global"), {{1}, {64}}, {}, y, unwritten),
              "faults_memory.cu", "uninitialised_global",
              "that nothing has written: buffer 'unwritten' (256 bytes) + 0");
  std::vector<uint8_t> bytes(8);
  const absl::Status status = emulator.memory().Read(unwritten + 3, absl::MakeSpan(bytes));
  EXPECT_THAT(
      std::string(status.message()),
      HasSubstr("buffer 'unwritten': nothing has written 8 of the bytes read, the first at +12"));
}

TEST(OtherFaults, ReadOnlyMemory) {
  Emulator emulator;
  const std::vector<float> weights(64);
  ASSERT_TRUE(emulator.memory().AddReadOnly("weights", weights.data(), 256).ok());
  ExpectFault(emulator.Launch(TestKernel("read_only"), {{1}, {64}}, {}, weights.data()),
              "faults_memory.cu", "read_only",
              "writes 4 bytes of read-only memory: buffer 'weights'");
}

TEST(OtherFaults, PollingForEver) {
  Emulator emulator;
  uint32_t* counter = Upload(&emulator, "counter", std::vector<uint32_t>{0});
  ExpectFault(emulator.Launch(TestKernel("polls_for_ever"), {{1}, {64}}, {}, counter),
              "faults_memory.cu", "polls_for_ever", "deadlock: LoadAcquire polls a value");
}

TEST(OtherFaults, LocalsNeverWrittenShow) {
  Emulator emulator;
  float* y = Upload(&emulator, "y", std::vector<float>(32));
  ASSERT_TRUE(emulator.Launch(TestKernel("local_not_written"), {{1}, {32}}, {}, y, 64).ok());
  for (const float value : Download(&emulator, y, 32)) EXPECT_GT(std::abs(value), 1e30f);
}

TEST(OtherFaults, AnEmulatorGoesOnAfterAnError) {
  Emulator emulator;
  float* y = Upload(&emulator, "y", std::vector<float>(kFloats));
  const LaunchShape shape{{1}, {64}, 2048};
  EXPECT_FALSE(emulator.Launch(TestKernel("race_shared"), shape, {}, y).ok());
  EXPECT_FALSE(emulator.Launch(TestKernel("divergent_barrier"), shape, {}, y).ok());
  const absl::Status status = emulator.Launch(TestKernel("race_shared_ok"), shape, {}, y);
  EXPECT_TRUE(status.ok()) << status;
}

TEST(OtherFaults, OrderNeedNotBeChecked) {
  Emulator emulator;
  const LaunchOptions quick{.check_order = false};
  float* y = Upload(&emulator, "y", std::vector<float>(kFloats));
  const absl::Status race = emulator.Launch(TestKernel("race_blocks"), {{3}, {64}}, quick, y);
  EXPECT_TRUE(race.ok()) << race;
  ExpectFault(
      emulator.Launch(TestKernel("bounds_global"), {{1}, {1}}, quick, y, static_cast<int>(kFloats)),
      "faults_memory.cu", "bounds_global", "out of bounds");
}

TEST(OtherFaults, ShapesTheGpuRefuses) {
  Emulator emulator;
  float* y = Upload(&emulator, "y", std::vector<float>(kFloats));
  const Kernel& kernel = TestKernel("race_shared_ok");
  for (const LaunchShape& shape :
       {LaunchShape{{1}, {1025}}, LaunchShape{{1}, {0}}, LaunchShape{{0}, {32}},
        LaunchShape{{1, 70000}, {32}}, LaunchShape{{1}, {64}, kMaxSharedBytes + 1}}) {
    EXPECT_EQ(emulator.Launch(kernel, shape, {}, y).code(), absl::StatusCode::kInvalidArgument);
  }
}

// ---- copies of a thread ----

class CopyFaults : public Faults {};

INSTANTIATE_TEST_SUITE_P(
    All, CopyFaults,
    testing::Values(Case{"copy_not_waited", "that a CopyAsync still fills"},
                    Case{"copy_not_waited_ok", ""}, Case{"copy_no_barrier", "CopyAsync"},
                    Case{"copy_in_flight_at_end", "ends with this copy in flight"},
                    Case{"copy_misaligned", "CopyAsync: misaligned source"}, Case{"bulk_ok", ""}),
    NameOf);

TEST_P(CopyFaults, AreFound) {
  float *x = nullptr, *y = nullptr;
  Run(
      "faults_async.cu",
      [&](Emulator* emulator) {
        x = Upload(emulator, "x", std::vector<float>(kFloats));
        y = Upload(emulator, "y", std::vector<float>(kFloats));
      },
      [&](Emulator* emulator, const LaunchOptions& options) {
        return emulator->Launch(TestKernel(GetParam().kernel), {{1}, {128}, 2048}, options, y, x);
      });
}

TEST(OtherFaults, CopyOutOfBounds) {
  Emulator emulator;
  float* x = Upload(&emulator, "x", std::vector<float>(kFloats));
  float* y = Upload(&emulator, "y", std::vector<float>(kFloats));
  ExpectFault(emulator.Launch(TestKernel("copy_out_of_bounds"), {{1}, {128}, 2048}, {}, y, x,
                              static_cast<int>(kFloats)),
              "faults_async.cu", "copy_out_of_bounds",
              "CopyAsync: reads 4 bytes out of bounds: 0 bytes beyond the end of buffer 'x'");
}

// ---- dependent launches ----

class DependentLaunchFaults : public Faults {};

INSTANTIATE_TEST_SUITE_P(
    All, DependentLaunchFaults,
    testing::Values(Case{"read_before_wait", "that kernel produce, which may still run, writes"},
                    Case{"never_waits", "that kernel produce, which may still run, writes"},
                    Case{"write_before_wait", "that kernel produce, which may still run, reads"},
                    Case{"read_after_wait_ok", ""}),
    NameOf);

TEST_P(DependentLaunchFaults, AreFound) {
  float *y = nullptr, *z = nullptr;
  Run(
      "faults_async.cu",
      [&](Emulator* emulator) {
        y = Upload(emulator, "y", std::vector<float>(64));
        z = Upload(emulator, "z", std::vector<float>(64));
      },
      [&](Emulator* emulator, LaunchOptions options) {
        options.overlaps_previous = true;
        const absl::Status status =
            emulator->Launch(TestKernel("produce"), {{1}, {64}}, options, y, z);
        EXPECT_TRUE(status.ok()) << status;
        return emulator->Launch(TestKernel(GetParam().kernel), {{1}, {64}}, options, y, z);
      });
}

TEST(DependentLaunches, WithoutOverlapNothingNeedsToWait) {
  Emulator emulator;
  float* y = Upload(&emulator, "y", std::vector<float>(64));
  float* z = Upload(&emulator, "z", std::vector<float>(64));
  ASSERT_TRUE(emulator.Launch(TestKernel("produce"), {{1}, {64}}, {}, y, z).ok());
  const absl::Status status = emulator.Launch(TestKernel("never_waits"), {{1}, {64}}, {}, y, z);
  EXPECT_TRUE(status.ok()) << status;
}

// A kernel that starts the next before its own wait lets it run beside the one before.
TEST(DependentLaunches, AnEarlyStartReachesTwoKernelsBack) {
  for (const bool early : {false, true}) {
    Emulator emulator;
    const LaunchOptions options{.overlaps_previous = true};
    float* y = Upload(&emulator, "y", std::vector<float>(64));
    float* z = Upload(&emulator, "z", std::vector<float>(64));
    float* other = Upload(&emulator, "other", std::vector<float>(64));
    ASSERT_TRUE(emulator.Launch(TestKernel("produce"), {{1}, {64}}, options, y, z).ok());
    ASSERT_TRUE(
        (early ? emulator.Launch(TestKernel("starts_next_early"), {{1}, {64}}, options, other)
               : emulator.Launch(TestKernel("produce"), {{1}, {64}}, options, other, other + 0))
            .ok());
    const absl::Status status =
        emulator.Launch(TestKernel("read_before_wait"), {{1}, {64}}, options, y, z);
    if (early) {
      ExpectFault(status, "faults_async.cu", "read_before_wait", "which may still run");
    } else {
      EXPECT_TRUE(status.ok()) << status;
    }
  }
}

// ---- tiles ----

class TileFaults : public Faults {};

INSTANTIATE_TEST_SUITE_P(
    All, TileFaults,
    testing::Values(Case{"tile_not_waited", "LoadTile"}, Case{"tile_wrong_phase", "LoadTile"},
                    Case{"tile_ok", ""}, Case{"tile_too_few_bytes", "LoadTile|the copy engine"},
                    Case{"tile_too_many_bytes", "0 of 1 arrivals and 16 bytes to come"},
                    Case{"tile_in_flight_at_end", "ends with this load in flight"},
                    Case{"tile_overwritten", "race: |LoadTile"}),
    NameOf);

TEST_P(TileFaults, AreFound) {
  float* y = nullptr;
  EncodedTensorMap map;
  const auto prepare = [&](Emulator* emulator) {
    y = Upload(emulator, "y", std::vector<float>(kFloats));
    uint16_t* x = Upload(emulator, "x", std::vector<uint16_t>(64 * 64));
    const auto made = MakeTensorMap({.base = x,
                                     .element_bytes = 2,
                                     .rank = 2,
                                     .sizes = {64, 64},
                                     .stride_bytes = {128},
                                     .box = {64, 64},
                                     .swizzle = Swizzle::k128Bytes});
    ASSERT_TRUE(made.ok()) << made.status();
    map = *made;
  };
  Run("faults_async.cu", prepare, [&](Emulator* emulator, const LaunchOptions& options) {
    return emulator->Launch(TestKernel(GetParam().kernel), {{1}, {128}, 20000}, options, y, map);
  });
}

// ---- mbarriers and wgmma ----

class HopperFaults : public Faults {};

INSTANTIATE_TEST_SUITE_P(
    All, HopperFaults,
    testing::Values(Case{"mbarrier_not_visible", "race: |no mbarrier was initialised"},
                    Case{"mbarrier_missing_arrival",
                         "phase 0: 1 of 128 arrivals and 0 bytes to come"},
                    Case{"mbarrier_as_memory", "of an mbarrier"}, Case{"wgmma_ok", ""},
                    Case{"wgmma_no_fence", "Wgmma without a FenceWgmma before it"},
                    Case{"wgmma_no_proxy_fence", "without a FenceForAsyncProxy"},
                    Case{"wgmma_not_waited", "ends with this product in flight"},
                    Case{"wgmma_a_changed", "changed, or went out of scope, before WaitForWgmma"},
                    Case{"wgmma_d_touched", "was written before WaitForWgmma"},
                    Case{"wgmma_tile_overwritten", "race: "}),
    NameOf);

TEST_P(HopperFaults, AreFound) {
  float* y = nullptr;
  Run(
      "faults_async.cu",
      [&](Emulator* emulator) { y = Upload(emulator, "y", std::vector<float>(4096)); },
      [&](Emulator* emulator, const LaunchOptions& options) {
        return emulator->Launch(TestKernel(GetParam().kernel), {{1}, {128}, 20000}, options, y);
      });
}

}  // namespace
}  // namespace renga::emulator
