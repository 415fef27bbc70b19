#include "codegen/nvrtc/build.h"

#include <mutex>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/codegen/nvrtc/fake_library.h"
#include "tests/support/temp_folder.h"

namespace renga::codegen {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

KernelRequest Request(const FakeKernel& kernel, std::string_view more = "") {
  return {FakeSource(kernel, 90, more), *FindGpuTarget("sm_90a")};
}

KernelRequest Failing(std::string_view name, std::string_view more = "// fake: result 6\n") {
  KernelRequest request = Request({.name = std::string(name)}, more);
  request.source.context = StrCat("node of ", name);
  return request;
}

// Register counts tell the kernels apart. The first takes longest, so threads finish out of order.
std::vector<KernelRequest> Ten() {
  std::vector<KernelRequest> requests;
  for (uint32_t i = 0; i < 10; ++i) {
    requests.push_back(Request({.name = StrCat("k", i), .registers = 40 + i},
                               StrCat("// fake: sleep ", i == 0 ? 60 : 10 - i, "\n")));
  }
  return requests;
}

TEST(BuildKernels, ResultsAreInTheOrderOfTheRequests) {
  for (const int jobs : {1, 2, 4, 100}) {
    BuildOptions options;
    options.jobs = jobs;
    std::set<std::string> seen;
    int64_t calls = 0;
    options.on_progress = [&](const BuildProgress& progress) {
      EXPECT_EQ(progress.done, ++calls);
      EXPECT_EQ(progress.total, 10);
      EXPECT_FALSE(progress.cached);
      seen.insert(std::string(progress.kernel));
    };
    const auto build = BuildKernels(FakeLibrary(), Ten(), options);
    ASSERT_TRUE(build.ok()) << build.status();
    ASSERT_EQ(build->kernels.size(), 10u);
    for (int64_t i = 0; i < 10; ++i) {
      EXPECT_EQ(build->kernels[i].report.resources.registers, 40 + i);
      EXPECT_EQ(build->kernels[i].report.resources.name, StrCat("k", i));
    }
    EXPECT_EQ(build->compiled, 10);
    EXPECT_EQ(build->cached + build->shared, 0);
    EXPECT_EQ(seen.size(), 10u);
    EXPECT_GE(build->seconds, 0.06);
  }
}

TEST(BuildKernels, NothingIsABuildToo) {
  const auto build = BuildKernels(FakeLibrary(), {}, {});
  ASSERT_TRUE(build.ok());
  EXPECT_TRUE(build->kernels.empty());
}

TEST(BuildKernels, EqualOnesAreCompiledOnceAndCheckedEach) {
  std::vector<KernelRequest> requests = {Request({.name = "a"}), Request({.name = "b"}),
                                         Request({.name = "a"}), Request({.name = "a"})};
  requests[2].source.context = "elsewhere";
  requests[3].source.threads = 256;
  auto build = BuildKernels(FakeLibrary(), requests, {});
  ASSERT_TRUE(build.ok()) << build.status();
  EXPECT_EQ(build->compiled, 2);
  EXPECT_EQ(build->shared, 2);
  EXPECT_EQ(build->kernels[0].binary, build->kernels[2].binary);
  EXPECT_NE(build->kernels[0].report.occupancy.blocks_per_sm,
            build->kernels[3].report.occupancy.blocks_per_sm);
  requests[2].source.dynamic_shared = 300000;
  EXPECT_THAT(std::string(BuildKernels(FakeLibrary(), requests, {}).status().message()),
              StartsWith("kernel a (elsewhere) for sm_90a: it needs 0 + 300000 bytes of shared"));
}

TEST(BuildKernels, TheSecondTimeComesFromTheCache) {
  const TempFolder folder;
  CubinCache cache({.folder = folder.File("cubins")});
  BuildOptions options;
  options.cache = &cache;
  const auto first = BuildKernels(FakeLibrary(), Ten(), options);
  const auto second = BuildKernels(FakeLibrary(), Ten(), options);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(second->compiled, 0);
  EXPECT_EQ(second->cached, 10);
  for (size_t i = 0; i < 10; ++i) EXPECT_EQ(*first->kernels[i].binary, *second->kernels[i].binary);

  // One damaged entry, and one that is whole but holds no cubin.
  const auto requests = Ten();
  const auto path = [&](size_t i) {
    return cache.PathOf(
        KernelKey(FakeLibrary().identity(), requests[i].source, *requests[i].target, {}));
  };
  std::filesystem::resize_file(path(3), 200);
  cache.Store(KernelKey(FakeLibrary().identity(), requests[5].source, *requests[5].target, {}),
              {"junk", "", ""});
  const auto third = BuildKernels(FakeLibrary(), requests, options);
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_EQ(third->compiled, 2);
  EXPECT_EQ(third->cached, 8);
  EXPECT_EQ(*third->kernels[3].binary, *first->kernels[3].binary);
  EXPECT_EQ(*third->kernels[5].binary, *first->kernels[5].binary);
  EXPECT_EQ(cache.damaged(), 1);
  EXPECT_EQ(BuildKernels(FakeLibrary(), requests, options)->cached, 10);
}

// Registers on the stack: the text with more of them is taken, from the cache too, and only there.
TEST(BuildKernels, WhatSpillsIsCompiledWithMoreRegisters) {
  const TempFolder folder;
  CubinCache cache({.folder = folder.path()});
  KernelRequest spilling = Request({.name = "k", .registers = 128, .stack = 8});
  spilling.source.relaxed = Request({.name = "k", .registers = 150}).source.text;
  KernelRequest fitting = Request({.name = "fine", .registers = 128});
  fitting.source.relaxed = Request({.name = "fine", .registers = 99}).source.text;
  for (const bool cached : {false, true}) {
    SCOPED_TRACE(cached);
    BuildOptions options;
    options.cache = &cache;
    const auto build = BuildKernels(FakeLibrary(), {spilling, fitting}, options);
    ASSERT_TRUE(build.ok()) << build.status();
    EXPECT_EQ(build->kernels[0].report.resources.registers, 150);
    EXPECT_TRUE(build->kernels[0].relaxed);
    EXPECT_EQ(build->kernels[1].report.resources.registers, 128);
    EXPECT_FALSE(build->kernels[1].relaxed);
    EXPECT_EQ(build->relaxed, 1);
    EXPECT_EQ(build->compiled, cached ? 0 : 2);
    EXPECT_EQ(build->cached, cached ? 2 : 0);
  }
  BuildOptions tolerant;
  tolerant.settings.allow_stack = true;
  const auto allowed = BuildKernels(FakeLibrary(), {spilling}, tolerant);
  ASSERT_TRUE(allowed.ok()) << allowed.status();
  EXPECT_EQ(allowed->kernels[0].report.resources.stack_bytes, 8);
  // With that too little there is nothing left to try.
  spilling.source.relaxed = Request({.name = "k", .registers = 255, .stack = 40}).source.text;
  EXPECT_THAT(std::string(BuildKernels(FakeLibrary(), {spilling}, {}).status().message()),
              HasSubstr("it keeps 40 bytes a thread on the stack"));
}

// Which error is reported must not depend on which thread was faster.
TEST(BuildKernels, TheFirstErrorIsReportedAndAllFailuresNamed) {
  std::vector<KernelRequest> requests = {
      Request({.name = "good"}), Failing("slow", "// fake: result 6\n// fake: sleep 50\n"),
      Failing("fast"), Request({.name = "fine"}), Request({.name = "spilling", .stack = 8})};
  for (const int jobs : {1, 4}) {
    BuildOptions options;
    options.jobs = jobs;
    const auto build = BuildKernels(FakeLibrary(), requests, options);
    EXPECT_EQ(build.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(build.status().message()),
                StartsWith("kernel slow (node of slow) for sm_90a: the source does not compile"));
    EXPECT_THAT(std::string(build.status().message()),
                HasSubstr("\n2 other kernels failed too: fast for sm_90a, spilling for sm_90a"));
    EXPECT_THAT(std::string(build.status().message()), Not(HasSubstr("fine")));
  }
}

TEST(BuildKernels, TroubleOfTheMachineEndsTheBuild) {
  std::vector<KernelRequest> requests = {Failing("broken", "// fake: result 7\n")};
  for (int i = 0; i < 50; ++i) {
    requests.push_back(Request({.name = StrCat("k", i)}, "// fake: sleep 20\n"));
  }
  BuildOptions options;
  options.jobs = 2;
  int64_t finished = 0;
  options.on_progress = [&](const BuildProgress&) { ++finished; };
  const auto build = BuildKernels(FakeLibrary(), requests, options);
  EXPECT_EQ(build.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_LT(finished, 50);
}

TEST(BuildKernels, CanBeInterrupted) {
  BuildOptions options;
  options.jobs = 2;
  std::atomic<int> asked = 0;
  options.should_stop = [&] { return ++asked > 3; };
  const auto build = BuildKernels(FakeLibrary(), Ten(), options);
  EXPECT_EQ(build.status().code(), absl::StatusCode::kCancelled);
  EXPECT_LE(asked, 6);
}

}  // namespace
}  // namespace renga::codegen
