// The cache of compiled kernels through the command line, where things go wrong: processes killed
// at any moment, several at once, no room, no folder, damage. Whatever happened before, a
// compilation gives the plan that one with no cache gives, and the next one finds its kernels.
#include <filesystem>
#include <fstream>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "nlohmann/json.hpp"
#include "runtime/plan/serialize.h"
#include "tests/support/temp_folder.h"
#include "tests/tools/process.h"
#include "tools/nvrtc.h"

namespace renga {
namespace {

using testing::HasSubstr;
using testing::Not;

class CubinCacheCli : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto nvrtc = LoadNvrtc(); !nvrtc.ok()) {
      GTEST_SKIP() << "NVRTC ABSENT: " << nvrtc.status().message();
    }
  }

  // Few tokens a step, so that there are few kernels.
  ProcessResult CompileTo(const std::string& plan, const ProcessOptions& options) {
    return Renga({"compile", StoryModel(), "--target", "sm_80", "--max-step", "4", "-c", "64", "-o",
                  plan, "--json"},
                 options);
  }
  nlohmann::json MustCompileTo(const std::string& plan, const ProcessOptions& options) {
    const ProcessResult result = CompileTo(plan, options);
    EXPECT_EQ(result.exit_code, 0) << result.Describe();
    return result.exit_code == 0 ? nlohmann::json::parse(result.out) : nlohmann::json();
  }
  // Kernels with their code.
  plan::Gpu KernelsOf(const std::string& path) {
    const auto plan = plan::LoadPlan(path);
    EXPECT_TRUE(plan.ok()) << plan.status();
    return plan.ok() ? plan->gpu : plan::Gpu();
  }
  std::string CubinFolder() const { return folder_.File("cache/renga/cubins"); }
  // Beside them only what a killed process was about to rename, which the cache removes after an
  // hour.
  std::vector<std::filesystem::path> Entries() const {
    std::vector<std::filesystem::path> entries;
    for (const auto& entry : std::filesystem::directory_iterator(CubinFolder())) {
      if (entry.path().filename().string().find(".cubin.tmp.") != std::string::npos) continue;
      EXPECT_EQ(entry.path().extension(), ".cubin") << entry.path();
      entries.push_back(entry.path());
    }
    return entries;
  }
  // That there are, in the plan of a process without a cache, which says so once.
  void CompileWithout() {
    const ProcessResult result = CompileTo(folder_.File("without.plan"), {});
    ASSERT_EQ(result.exit_code, 0) << result.Describe();
    const std::string note = "note: compiled kernels are not kept: ";
    EXPECT_EQ(result.err.find(note), result.err.rfind(note)) << result.err;
    EXPECT_THAT(result.err, HasSubstr(note));
    const nlohmann::json json = nlohmann::json::parse(result.out);
    kernels_ = json["kernels"];
    EXPECT_EQ(json["compiled"], kernels_);
    expected_ = KernelsOf(folder_.File("without.plan"));
  }
  // A compilation now is right, and the one after it finds all it needs.
  void ExpectWhole() {
    MustCompileTo(folder_.File("whole.plan"), {.cache = folder_.File("cache")});
    EXPECT_TRUE(KernelsOf(folder_.File("whole.plan")) == expected_);
    const nlohmann::json again =
        MustCompileTo(folder_.File("again.plan"), {.cache = folder_.File("cache")});
    EXPECT_EQ(again["cached"], kernels_);
    EXPECT_EQ(again["compiled"], 0);
    EXPECT_TRUE(KernelsOf(folder_.File("again.plan")) == expected_);
    EXPECT_EQ(static_cast<int64_t>(Entries().size()), kernels_);
  }

  TempFolder folder_;
  int64_t kernels_ = 0;
  plan::Gpu expected_;
};

TEST_F(CubinCacheCli, SurvivesKills) {
  CompileWithout();
  if (HasFatalFailure()) return;
  const std::string plan = folder_.File("killed.plan"), cache = folder_.File("cache");
  // While NVRTC runs, then as soon as another entry or two are there: while the next is made or
  // written.
  std::vector<ProcessOptions> kills = {{.cache = cache, .kill_after_s = 0.05},
                                       {.cache = cache, .kill_after_s = 0.3}};
  for (int files = 1; files < kernels_; files += 2) {
    kills.push_back({.cache = cache, .kill_on_files = files});
  }
  int killed = 0;
  for (const ProcessOptions& options : kills) {
    const ProcessResult result = CompileTo(plan, options);
    EXPECT_TRUE(result.signal == SIGKILL || result.exit_code == 0) << result.Describe();
    killed += result.signal == SIGKILL;
  }
  EXPECT_GE(killed, static_cast<int>(kills.size()) / 2);
  // All or nothing: what was killed wrote no part of its plan.
  if (std::filesystem::exists(plan)) {
    EXPECT_TRUE(KernelsOf(plan) == expected_);
  }
  ExpectWhole();
}

TEST_F(CubinCacheCli, ServesSeveralAtOnce) {
  CompileWithout();
  if (HasFatalFailure()) return;
  const ProcessOptions options = {.cache = folder_.File("cache")};
  std::vector<ProcessResult> results(3);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < results.size(); ++i) {
    // Two of them write the same file, too.
    threads.emplace_back(
        [&, i] { results[i] = CompileTo(folder_.File(StrCat(i == 2 ? 1 : i, ".plan")), options); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const ProcessResult& result : results) {
    EXPECT_EQ(result.exit_code, 0) << result.Describe();
    EXPECT_EQ(result.err, "");
  }
  EXPECT_TRUE(KernelsOf(folder_.File("0.plan")) == expected_);
  EXPECT_TRUE(KernelsOf(folder_.File("1.plan")) == expected_);
  ExpectWhole();
}

// Files cannot grow beyond a little: writing an entry fails in its midst, as it does on a full
// disk. The plan goes where there is room.
TEST_F(CubinCacheCli, GoesOnWithoutRoom) {
  CompileWithout();
  if (HasFatalFailure()) return;
  const ProcessResult result =
      CompileTo("/dev/null", {.cache = folder_.File("cache"), .file_limit = 3000});
  ASSERT_EQ(result.exit_code, 0) << result.Describe();
  const std::string note = "note: compiled kernels are not kept: ";
  EXPECT_THAT(result.err, HasSubstr(note + folder_.File("cache")));
  EXPECT_EQ(result.err.find(note), result.err.rfind(note)) << result.err;
  EXPECT_EQ(nlohmann::json::parse(result.out)["compiled"], kernels_);
  EXPECT_TRUE(std::filesystem::is_empty(CubinFolder()));  // no part of an entry either
  ExpectWhole();
}

// Cut short, one bit changed, nothing at all, another one's content.
TEST_F(CubinCacheCli, RebuildsDamagedEntries) {
  CompileWithout();
  if (HasFatalFailure()) return;
  ExpectWhole();
  const std::vector<std::filesystem::path> entries = Entries();
  ASSERT_GE(entries.size(), 5u);
  std::filesystem::resize_file(entries[0], std::filesystem::file_size(entries[0]) - 7);
  {
    std::fstream file(entries[1], std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(1000);
    const int byte = file.get();
    file.seekp(1000);
    file.put(static_cast<char>(byte ^ 4));
  }
  std::filesystem::resize_file(entries[2], 0);
  std::filesystem::copy_file(entries[3], entries[4],
                             std::filesystem::copy_options::overwrite_existing);
  const nlohmann::json json =
      MustCompileTo(folder_.File("rebuilt.plan"), {.cache = folder_.File("cache")});
  EXPECT_EQ(json["compiled"], 4);
  EXPECT_EQ(json["cached"], kernels_ - 4);
  EXPECT_TRUE(KernelsOf(folder_.File("rebuilt.plan")) == expected_);
  ExpectWhole();
}

}  // namespace
}  // namespace renga
