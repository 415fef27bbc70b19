// The real NVRTC, where there is one: what the rest of the folder assumes of it. Skipped loudly
// without; tools/fetch-nvrtc gets it. No GPU is needed.
#include <chrono>
#include <iostream>
#include <memory>

#include "codegen/nvrtc/build.h"
#include "codegen/nvrtc/cache.h"
#include "codegen/nvrtc/compile.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "tests/support/temp_folder.h"
#include "tools/nvrtc.h"

namespace renga::codegen {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

const absl::StatusOr<std::shared_ptr<const NvrtcLibrary>>& Loaded() {
  static const auto& loaded = *new absl::StatusOr<std::shared_ptr<const NvrtcLibrary>>(LoadNvrtc());
  return loaded;
}

class NvrtcLive : public testing::Test {
 protected:
  void SetUp() override {
    if (!Loaded().ok()) GTEST_SKIP() << "NVRTC ABSENT: " << Loaded().status().message();
  }
  const NvrtcLibrary& library() const { return **Loaded(); }
};

std::string Message(const absl::Status& status) { return std::string(status.message()); }

const DeviceHeader kScale = {"codegen/kernels/scale.cuh",
                             "#pragma once\n"
                             "template <typename Config>\n"
                             "__device__ void Scale(float* out, const float* in, int n) {\n"
                             "  const int i = blockIdx.x * Config::kThreads + threadIdx.x;\n"
                             "  if (i < n) out[i] = in[i] * Config::kFactor;\n"
                             "}\n"};

// In the form of generated kernels: one include, a Config, one entry.
KernelSource ScaleKernel(std::string_view name, int factor) {
  return {.name = std::string(name),
          .context = StrCat("%", name, " = scale(%x)"),
          .text = StrCat("#include \"codegen/kernels/scale.cuh\"\n"
                         "struct Config {\n"
                         "  static constexpr int kThreads = 128;\n"
                         "  static constexpr float kFactor = ",
                         factor,
                         ".0f;\n"
                         "};\n"
                         "extern \"C\" __global__ void __launch_bounds__(Config::kThreads) ",
                         name,
                         "(float* out, const float* in, int n) {\n"
                         "  Scale<Config>(out, in, n);\n"
                         "}\n"),
          .threads = 128};
}

KernelSettings ScaleSettings() {
  KernelSettings settings;
  settings.headers = absl::Span<const DeviceHeader>(&kScale, 1);
  return settings;
}

KernelSource Plain(std::string_view name, std::string_view text, int64_t threads) {
  return {.name = std::string(name), .text = std::string(text), .threads = threads};
}

absl::StatusOr<KernelReport> CompileAndCheck(const NvrtcLibrary& library,
                                             const KernelSource& source, const GpuTarget& target,
                                             const KernelSettings& settings) {
  RENGA_ASSIGN_OR_RETURN(const KernelBinary binary,
                         CompileKernel(library, source, target, settings));
  return CheckKernel(source, target, settings, binary);
}

// Forty values that live across a barrier, in 32 registers.
constexpr char kSpilling[] = R"(
extern "C" __global__ void __launch_bounds__(1024, 2) spilling(float* out, const float* in, int n) {
  float r[40];
#pragma unroll
  for (int i = 0; i < 40; ++i) r[i] = in[i * n + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 40; ++i) out[i * n + threadIdx.x] = r[i] * r[(i * 7 + 3) % 40];
}
)";

TEST_F(NvrtcLive, CompilesForAllTargetsItKnows) {
  const KernelSource source = ScaleKernel("scale", 3);
  int64_t known = 0;
  for (const GpuTarget& target : GpuTargets()) {
    if (!library().Supports(target)) {
      EXPECT_LT(library().version(), target.since) << target.name;
      continue;
    }
    ++known;
    const auto binary = CompileKernel(library(), source, target, ScaleSettings());
    ASSERT_TRUE(binary.ok()) << binary.status();
    EXPECT_EQ(binary->log, "") << target.name;
    EXPECT_THAT(binary->ptx, HasSubstr(StrCat(".target ", target.name)));
    EXPECT_THAT(binary->ptx, HasSubstr(".entry scale"));
    const auto report = CheckKernel(source, target, ScaleSettings(), *binary);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->resources.parameter_bytes, 20) << target.name;
    EXPECT_EQ(report->resources.max_threads, 128) << target.name;
    EXPECT_EQ(report->resources.static_shared, 0) << target.name;
    EXPECT_EQ(report->resources.stack_bytes, 0) << target.name;
    EXPECT_GT(report->resources.registers, 4) << target.name;
    EXPECT_LT(report->resources.registers, 24) << target.name;
    EXPECT_GE(report->occupancy.blocks_per_sm, 12) << target.name;
  }
  EXPECT_GE(known, 4);
}

TEST_F(NvrtcLive, SpillsAreAnError) {
  const GpuTarget& target = **FindGpuTarget("sm_80");
  const KernelSource source = Plain("spilling", kSpilling, 1024);
  const auto report = CompileAndCheck(library(), source, target, {});
  EXPECT_EQ(report.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(report.status()),
              AllOf(StartsWith("kernel spilling for sm_80: it keeps "), HasSubstr("on the stack"),
                    HasSubstr("Registers are spilled to local memory in function 'spilling'")));
  KernelSettings allowed;
  allowed.allow_stack = true;
  const auto tolerated = CompileAndCheck(library(), source, target, allowed);
  ASSERT_TRUE(tolerated.ok()) << tolerated.status();
  EXPECT_GT(tolerated->resources.stack_bytes, 100);
  EXPECT_EQ(tolerated->resources.registers, 32);
}

TEST_F(NvrtcLive, ArraysInLocalMemoryAreAnError) {
  const KernelSource source = Plain("indexed", R"(
extern "C" __global__ void indexed(float* out, const int* index) {
  float values[16];
  for (int i = 0; i < 16; ++i) values[i] = out[i];
  for (int i = 0; i < 16; ++i) values[index[i] & 15] += 1;
  for (int i = 0; i < 16; ++i) out[i] = values[i];
}
)",
                                    64);
  const auto report = CompileAndCheck(library(), source, **FindGpuTarget("sm_90a"), {});
  EXPECT_THAT(Message(report.status()), HasSubstr("it keeps 64 bytes a thread on the stack"));
}

// What is read from the cubin is what was declared, without the driver's KiB.
TEST_F(NvrtcLive, SharedMemoryIsHeldAgainstTheTarget) {
  const auto sharing = [](int64_t bytes) {
    return Plain("sharing",
                 StrCat("extern \"C\" __global__ void sharing(float* out) {\n"
                        "  __shared__ char tile[",
                        bytes,
                        "];\n"
                        "  tile[threadIdx.x] = out[threadIdx.x];\n"
                        "  __syncthreads();\n"
                        "  out[threadIdx.x] = tile[threadIdx.x ^ 1];\n"
                        "}\n"),
                 64);
  };
  for (const std::string_view name : {"sm_80", "sm_90a"}) {
    const GpuTarget& target = **FindGpuTarget(name);
    auto source = sharing(1000);
    const auto report = CompileAndCheck(library(), source, target, {});
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->resources.static_shared, 1000) << name;
    source.dynamic_shared = target.shared_per_block - 999;
    EXPECT_THAT(Message(CompileAndCheck(library(), source, target, {}).status()),
                HasSubstr("bytes of shared memory (declared and at launch), expected at most "));
  }
  // More than a launch accepts: some versions refuse it themselves, others (12.4, 13.0) do not.
  EXPECT_THAT(
      Message(CompileAndCheck(library(), sharing(80000), **FindGpuTarget("sm_90a"), {}).status()),
      testing::AnyOf(HasSubstr("uses too much shared data"),
                     StartsWith("kernel sharing for sm_90a: it declares 80000 bytes of shared "
                                "memory, expected at most 49152")));
}

TEST_F(NvrtcLive, ErrorsNameTheLineAndWhereTheKernelIsFrom) {
  KernelSource source = ScaleKernel("broken", 3);
  source.text.insert(source.text.find("  Scale<"), "  undeclared = 1;\n");
  const auto binary = CompileKernel(library(), source, **FindGpuTarget("sm_89"), ScaleSettings());
  EXPECT_EQ(binary.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(binary.status()),
              AllOf(StartsWith("kernel broken (%broken = scale(%x)) for sm_89: the source does not "
                               "compile:\nbroken.cu(7): error: "),
                    HasSubstr("undeclared")));
}

// #line is how an error in generated code points home.
TEST_F(NvrtcLive, LineDirectivesAreFollowed) {
  const KernelSource source =
      Plain("k", "#line 12 \"model.ir\"\nextern \"C\" __global__ void k() { wrong; }\n", 32);
  EXPECT_THAT(Message(CompileKernel(library(), source, **FindGpuTarget("sm_80"), {}).status()),
              HasSubstr("model.ir(12): error: "));
}

TEST_F(NvrtcLive, WrongInlinePtxIsAnErrorToo) {
  const KernelSource source =
      Plain("k", "extern \"C\" __global__ void k() { asm volatile(\"nothing.like.it;\"); }\n", 32);
  const auto binary = CompileKernel(library(), source, **FindGpuTarget("sm_80"), {});
  EXPECT_EQ(binary.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(binary.status()),
              HasSubstr("Not a name of any known instruction: 'nothing'"));
  EXPECT_EQ(Message(binary.status()).find('\0'), std::string::npos);
}

// A header in the current folder must not be used: the cache would not know of it.
TEST_F(NvrtcLive, ReadsNoHeaderFromTheCurrentFolder) {
  const TempFolder folder;
  folder.Write("found.cuh", "#define VALUE 3\n");
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  const auto binary = CompileKernel(
      library(),
      Plain("k", "#include \"found.cuh\"\nextern \"C\" __global__ void k(int* x) { *x = VALUE; }\n",
            32),
      **FindGpuTarget("sm_80"), {});
  std::filesystem::current_path(before);
  EXPECT_THAT(Message(binary.status()), HasSubstr("found.cuh"));
}

// The embedded headers, whichever there are, compile for every target; those with PTX are parts of
// primitives.cuh.
TEST_F(NvrtcLive, EmbeddedHeadersCompile) {
  for (const DeviceHeader& header : EmbeddedHeaders()) {
    if (header.name.ends_with("_ptx.cuh")) continue;
    const KernelSource source = Plain(
        "k", StrCat("#include \"", header.name, "\"\nextern \"C\" __global__ void k() {}\n"), 32);
    for (const std::string_view name : library().SupportedTargets()) {
      const auto binary = CompileKernel(library(), source, **FindGpuTarget(name), {});
      EXPECT_TRUE(binary.ok()) << header.name << ": " << binary.status();
    }
  }
}

TEST_F(NvrtcLive, TenInParallelAreTheSameAsOneAfterTheOther) {
  std::vector<KernelRequest> requests;
  for (int i = 0; i < 10; ++i) {
    requests.push_back({ScaleKernel(StrCat("scale", i), i + 2), *FindGpuTarget("sm_90a")});
  }
  const TempFolder folder;
  CubinCache cache({.folder = folder.path()});
  BuildOptions options;
  options.settings = ScaleSettings();
  options.jobs = 1;
  const auto serial = BuildKernels(library(), requests, options);
  options.jobs = 4;
  options.cache = &cache;
  const auto parallel = BuildKernels(library(), requests, options);
  const auto warm = BuildKernels(library(), requests, options);
  ASSERT_TRUE(serial.ok()) << serial.status();
  ASSERT_TRUE(parallel.ok()) << parallel.status();
  ASSERT_TRUE(warm.ok()) << warm.status();
  EXPECT_EQ(parallel->compiled, 10);
  EXPECT_EQ(warm->cached, 10);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(serial->kernels[i].report.resources.name, StrCat("scale", i));
    EXPECT_EQ(*serial->kernels[i].binary, *parallel->kernels[i].binary) << i;
    EXPECT_EQ(*serial->kernels[i].binary, *warm->kernels[i].binary) << i;
  }
  std::cout << "NVRTC " << ToString(library().version()) << ", 10 small kernels: serial "
            << serial->seconds * 1e3 << " ms, 4 threads " << parallel->seconds * 1e3
            << " ms, from the cache " << warm->seconds * 1e3 << " ms\n";
}

TEST_F(NvrtcLive, FailuresAmongManyAreAllNamed) {
  std::vector<KernelRequest> requests;
  for (int i = 0; i < 6; ++i) {
    requests.push_back({ScaleKernel(StrCat("scale", i), i), *FindGpuTarget("sm_80")});
    if (i % 2 == 1) requests.back().source.text += "nonsense\n";
  }
  BuildOptions options;
  options.settings = ScaleSettings();
  options.jobs = 3;
  const auto build = BuildKernels(library(), requests, options);
  EXPECT_THAT(Message(build.status()),
              AllOf(StartsWith("kernel scale1 (%scale1 = scale(%x)) for sm_80: the source does not "
                               "compile:\nscale1.cu(9): error: "),
                    HasSubstr("\n2 other kernels failed too: scale3 for sm_80, scale5 for sm_80")));
}

}  // namespace
}  // namespace renga::codegen
