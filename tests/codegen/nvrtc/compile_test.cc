// What becomes of NVRTC's answers, with a stand-in that gives every one of them.
#include "codegen/nvrtc/compile.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "tests/codegen/nvrtc/fake_library.h"

namespace renga::codegen {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const GpuTarget& Target(std::string_view name) { return **FindGpuTarget(name); }

absl::StatusOr<KernelReport> CompileAndCheck(const KernelSource& source, std::string_view target,
                                             const KernelSettings& settings = {}) {
  RENGA_ASSIGN_OR_RETURN(const KernelBinary binary,
                         CompileKernel(FakeLibrary(), source, Target(target), settings));
  return CheckKernel(source, Target(target), settings, binary);
}

TEST(CompileKernel, ReturnsCubinPtxAndLog) {
  const auto source = FakeSource({.name = "k"}, 90, "// fake: log a warning\n");
  KernelSettings settings;
  settings.line_info = true;
  const auto binary = CompileKernel(FakeLibrary(), source, Target("sm_90a"), settings);
  ASSERT_TRUE(binary.ok()) << binary.status();
  EXPECT_EQ(binary->cubin, WriteCubin(90, {{.name = "k"}}));
  EXPECT_EQ(binary->ptx,
            "k.cu --gpu-architecture=sm_90a --std=c++20 --no-source-include "
            "--ptxas-options=--warn-on-spills --ptxas-options=--warn-on-local-memory-usage "
            "--generate-line-info ");
  EXPECT_EQ(binary->log, "a warning");
}

TEST(CompileKernel, AnErrorInTheSourceComesWithTheLogAndWhereItIsFrom) {
  KernelSource source{.name = "qkv_3",
                      .context = "%3.q = qkv_rope(...)",
                      .text = "// fake: result 6\n// fake: log qkv_3.cu(7): error: no such thing\n",
                      .threads = 32};
  const auto binary = CompileKernel(FakeLibrary(), source, Target("sm_80"), {});
  EXPECT_EQ(binary.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(binary.status().message(),
            "kernel qkv_3 (%3.q = qkv_rope(...)) for sm_80: the source does not compile:\n"
            "qkv_3.cu(7): error: no such thing");
}

TEST(CompileKernel, LongLogsAreCut) {
  KernelSource source{.name = "k", .text = "// fake: result 6\n", .threads = 32};
  for (int i = 0; i < 1000; ++i) StrAppend(&source.text, "// fake: log error number ", i, "\n");
  const auto status = CompileKernel(FakeLibrary(), source, Target("sm_80"), {}).status();
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("error number 0\n"), HasSubstr("more bytes)"),
                    Not(HasSubstr("error number 999"))));
  EXPECT_LT(status.message().size(), 7000u);
}

TEST(CompileKernel, NvrtcsOwnTroubleIsNotTheSources) {
  const auto code = [](std::string_view text) {
    KernelSource source{.name = "k", .text = std::string(text), .threads = 32};
    const auto status = CompileKernel(FakeLibrary(), source, Target("sm_80"), {}).status();
    EXPECT_THAT(std::string(status.message()), StartsWith("kernel k for sm_80: NVRTC "));
    return status.code();
  };
  EXPECT_EQ(code("// fake: result 1\n"), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code("// fake: result 7\n"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(code("// fake: result 99\n"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(code("nothing\n"), absl::StatusCode::kUnavailable);  // no cubin
  EXPECT_EQ(code("// fake: unsupported\n"), absl::StatusCode::kUnavailable);
}

TEST(CompileKernel, TextsWithNulAreRefused) {
  KernelSource source{.name = "k", .text = std::string("a\0b", 3), .threads = 32};
  EXPECT_THAT(
      std::string(CompileKernel(FakeLibrary(), source, Target("sm_80"), {}).status().message()),
      HasSubstr("a NUL byte"));
}

TEST(CheckKernel, ReportsWhatALaunchNeeds) {
  auto source =
      FakeSource({.name = "k", .registers = 64, .shared = 1024 + 2000, .threads = 256}, 90);
  source.threads = 256;
  source.dynamic_shared = 50000;
  const auto report = CompileAndCheck(source, "sm_90a");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->resources.static_shared, 2000);
  EXPECT_EQ(report->resources.registers, 64);
  EXPECT_EQ(report->occupancy.blocks_per_sm, 4);  // 65536 / (64 * 256); and 4 * 53 KB < 228 KiB
}

TEST(CheckKernel, StackIsAnErrorUnlessAllowed) {
  const auto source = FakeSource({.name = "k", .stack = 48}, 90,
                                 "// fake: log ptxas warning : Registers are spilled\n");
  const auto report = CompileAndCheck(source, "sm_90a");
  EXPECT_EQ(report.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(report.status().message()),
              AllOf(StartsWith("kernel k for sm_90a: it keeps 48 bytes a thread on the stack"),
                    HasSubstr("\nptxas warning : Registers are spilled")));
  KernelSettings settings;
  settings.allow_stack = true;
  const auto allowed = CompileAndCheck(source, "sm_90a", settings);
  ASSERT_TRUE(allowed.ok()) << allowed.status();
  EXPECT_EQ(allowed->resources.stack_bytes, 48);
}

TEST(CheckKernel, SharedMemoryHasTheTargetsLimit) {
  auto source = FakeSource({.name = "k", .shared = 1000}, 86);
  const auto with = [&](int64_t dynamic) {
    source.dynamic_shared = dynamic;
    return CompileAndCheck(source, "sm_86").status();
  };
  EXPECT_TRUE(with(99 * 1024 - 1000).ok());
  EXPECT_THAT(std::string(with(99 * 1024 - 999).message()),
              HasSubstr("it needs 1000 + 100377 bytes of shared memory (declared and at launch), "
                        "expected at most 101376 a block"));
  EXPECT_FALSE(with(-1).ok());
  EXPECT_FALSE(with(INT64_MAX).ok());
  // ptxas lets sm_90a declare more than a launch accepts.
  EXPECT_THAT(
      std::string(CompileAndCheck(FakeSource({.name = "k", .shared = 80000 + 1024}, 90), "sm_90a")
                      .status()
                      .message()),
      HasSubstr("declares 80000 bytes of shared memory, expected at most 49152"));
}

TEST(CheckKernel, BlocksMustFit) {
  auto source = FakeSource({.name = "k", .registers = 128, .threads = 512}, 80);
  const auto with = [&](int64_t threads) {
    source.threads = threads;
    return CompileAndCheck(source, "sm_80").status();
  };
  EXPECT_TRUE(with(512).ok());
  EXPECT_THAT(std::string(with(513).message()),
              HasSubstr("expected 1 to 512, its __launch_bounds__"));
  EXPECT_THAT(std::string(with(0).message()), HasSubstr("with 0 threads a block"));
  source = FakeSource({.name = "k", .registers = 128}, 80);
  EXPECT_THAT(std::string(with(1025).message()), HasSubstr("expected 1 to 1024"));
  EXPECT_THAT(std::string(with(640).message()),
              HasSubstr("640 threads with 128 registers each does not fit"));
}

TEST(CheckKernel, TheCubinMustBeThisKernels) {
  auto source = FakeSource({.name = "other"}, 80);
  source.name = "k";
  EXPECT_THAT(std::string(CompileAndCheck(source, "sm_80").status().message()),
              HasSubstr("defines no kernel of that name; declare it extern \"C\" __global__"));
  EXPECT_EQ(CompileAndCheck(FakeSource({.name = "k"}, 80), "sm_86").status().code(),
            absl::StatusCode::kDataLoss);
  KernelBinary binary;
  binary.cubin = "junk";
  EXPECT_EQ(CheckKernel(source, Target("sm_80"), {}, binary).status().code(),
            absl::StatusCode::kDataLoss);
}

// Whatever changes the result changes the key, and where a text ends is part of it.
TEST(KernelKey, CoversAllThatTheResultDependsOn) {
  const KernelSource source{.name = "k", .context = "one", .text = "text", .threads = 32};
  const std::vector<DeviceHeader> headers = {{"a.cuh", "b"}, {"c.cuh", "d"}};
  KernelSettings settings;
  settings.headers = headers;
  const Digest key = KernelKey("13.0", source, Target("sm_80"), settings);
  std::set<std::string> keys = {key.ToHex()};
  const auto is_new = [&](const Digest& other) { return keys.insert(other.ToHex()).second; };
  EXPECT_TRUE(is_new(KernelKey("13.1", source, Target("sm_80"), settings)));
  EXPECT_TRUE(is_new(KernelKey("12.9", source, Target("sm_80"), settings)));
  EXPECT_TRUE(is_new(KernelKey("13.0", source, Target("sm_86"), settings)));
  KernelSource other = source;
  other.name = "kt";
  other.text = "ext";
  EXPECT_TRUE(is_new(KernelKey("13.0", other, Target("sm_80"), settings)));
  KernelSettings lines = settings;
  lines.line_info = true;
  EXPECT_TRUE(is_new(KernelKey("13.0", source, Target("sm_80"), lines)));
  for (const std::vector<DeviceHeader>& changed :
       std::vector<std::vector<DeviceHeader>>{{},
                                              {{"a.cuh", "b"}},
                                              {{"a.cuh", "b"}, {"c.cuh", "e"}},
                                              {{"a.cuhb", ""}, {"c.cuh", "d"}},
                                              {{"a.cuh", "bc.cuh"}, {"", "d"}}}) {
    KernelSettings with = settings;
    with.headers = changed;
    EXPECT_TRUE(is_new(KernelKey("13.0", source, Target("sm_80"), with)));
  }
  // What does not: where it comes from, how it is launched, and what the caller tolerates.
  other = source;
  other.context = "two";
  other.threads = 64;
  other.dynamic_shared = 100;
  KernelSettings tolerant = settings;
  tolerant.allow_stack = true;
  EXPECT_EQ(KernelKey("13.0", other, Target("sm_80"), tolerant), key);
}

}  // namespace
}  // namespace renga::codegen
