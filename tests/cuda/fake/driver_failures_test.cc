// renga run where the driver fails: every call in turn, memory running out, the GPU going away.
// Each ends in exit code 3 and one paragraph that names the call, with nothing left behind.
#include <map>
#include <set>

#include "gmock/gmock.h"
#include "tests/cuda/fake/fake_gpu.h"

namespace renga {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr const char* kOutOfMemory = "2";

class DriverFailures : public testing::Test {
 protected:
  // One thread, so that the calls come in the same order each time.
  ProcessResult Run(std::vector<std::pair<std::string, std::string>> variables) {
    variables.emplace_back("FAKE_REPORT", report_);
    const ProcessResult result =
        Renga({"run", plan_, "--device", "cuda", "--ids", "0,403,407", "-n", "3", "--temp", "0",
               "--seed", "1", "-t", "1", "--json"},
              OnFake(std::move(variables)));
    return result;
  }
  FakeReport Report() const { return FakeReport::Read(report_); }

  // Numbers of calls, from 1: of each name the first, the middle and the last, but `all` of those
  // named there.
  static std::vector<int> Chosen(const std::vector<std::string>& trace,
                                 const std::set<std::string>& all = {}) {
    std::map<std::string, std::vector<int>> by_name;
    for (size_t i = 0; i < trace.size(); ++i) by_name[trace[i]].push_back(static_cast<int>(i) + 1);
    std::set<int> chosen;
    for (const auto& [name, calls] : by_name) {
      chosen.insert({calls.front(), calls[calls.size() / 2], calls.back()});
      if (all.count(name) > 0) chosen.insert(calls.begin(), calls.end());
    }
    return {chosen.begin(), chosen.end()};
  }

  // What fails while something is freed, or waited for before that, is not heard.
  static bool IsHeard(const std::string& call) {
    for (const char* part : {"Free", "Destroy", "Unload", "Release"}) {
      if (call.find(part) != call.npos) return false;
    }
    return true;
  }

  void ExpectRefusal(const ProcessResult& result, const std::string& call) {
    EXPECT_TRUE(result.IsCleanError(3)) << call << "\n" << result.Describe();
    EXPECT_THAT(result.err, HasSubstr(StrCat(call)));
    EXPECT_THAT(result.err, Not(HasSubstr("bug in renga")));
  }

  const TempFolder folder_;
  const std::string plan_ = WritePlan(folder_.File("x.plan"), FakePlan("sm_90a"));
  const std::string report_ = folder_.File("report");
};

TEST_F(DriverFailures, EveryCallInTurn) {
  const ProcessResult right = Run({});
  ASSERT_EQ(right.exit_code, 0) << right.Describe();
  EXPECT_THAT(right.out, HasSubstr("\"ids\":[0,0,0]"));
  const FakeReport whole = Report();
  EXPECT_THAT(whole.alive, IsEmpty());
  ASSERT_GT(whole.calls, 200);
  ASSERT_EQ(whole.calls, static_cast<int>(whole.trace.size()));
  std::set<std::string> unheard;
  int refused = 0;
  for (const int call : Chosen(whole.trace)) {
    const std::string& name = whole.trace[call - 1];
    SCOPED_TRACE(StrCat("call ", call, ", ", name));
    const ProcessResult result = Run({{"FAKE_FAIL_AT", StrCat(call)}});
    const FakeReport report = Report();
    EXPECT_EQ(report.failed, name);
    EXPECT_THAT(report.alive, IsEmpty());
    if (result.exit_code == 0 && !IsHeard(name)) {
      EXPECT_EQ(result.out.substr(0, result.out.find("timings")),
                right.out.substr(0, right.out.find("timings")));
      continue;
    }
    if (result.exit_code == 0) {
      unheard.insert(name);
      continue;
    }
    ++refused;
    ExpectRefusal(result, name);
    EXPECT_THAT(result.err, HasSubstr("CUDA_ERROR_OF_THE_FAKE (719)"));
  }
  // A worker of the upload waits once more before its buffers go: the last of these calls.
  EXPECT_THAT(unheard, testing::IsSubsetOf({"cuStreamSynchronize"}));
  EXPECT_GT(refused, 50);
}

// From some moment on nothing works, freeing included: what is said is what came first.
TEST_F(DriverFailures, AGpuThatIsLost) {
  ASSERT_EQ(Run({}).exit_code, 0);
  const FakeReport whole = Report();
  for (size_t i = 5; i < whole.trace.size(); i += whole.trace.size() / 24) {
    const std::string& name = whole.trace[i];
    SCOPED_TRACE(StrCat("call ", i + 1, ", ", name));
    const ProcessResult result = Run({{"FAKE_FAIL_AT", StrCat(i + 1)}, {"FAKE_LOST", "1"}});
    EXPECT_THAT(Report().alive, IsEmpty());
    if (result.exit_code == 0 && !IsHeard(name)) continue;
    EXPECT_TRUE(result.IsCleanError(3)) << result.Describe();
    if (!IsHeard(name)) continue;
    // A worker of the upload waits once more before its buffers go, where nobody hears it.
    EXPECT_THAT(result.err,
                HasSubstr(name == "cuStreamSynchronize" ? "CUDA_ERROR_OF_THE_FAKE" : name));
  }
}

// Wherever memory runs out, the message says what takes how much and what can be lowered.
TEST_F(DriverFailures, OutOfMemoryAtEachAllocation) {
  ASSERT_EQ(Run({}).exit_code, 0);
  const FakeReport whole = Report();
  const std::set<std::string> allocations = {"cuMemAlloc", "cuMemHostAlloc"};
  int tried = 0;
  for (const int call : Chosen(whole.trace, allocations)) {
    const std::string& name = whole.trace[call - 1];
    // Drivers take memory in these too.
    const bool takes = allocations.count(name) > 0 || name == "cuModuleLoadData" ||
                       name == "cuStreamCreate" || name == "cuGraphInstantiateWithFlags" ||
                       name == "cuLaunchKernelEx";
    if (!takes) continue;
    SCOPED_TRACE(StrCat("call ", call, ", ", name));
    const ProcessResult result =
        Run({{"FAKE_FAIL_AT", StrCat(call)}, {"FAKE_FAIL_WITH", kOutOfMemory}});
    ExpectRefusal(result, name);
    EXPECT_THAT(Report().alive, IsEmpty());
    ++tried;
    for (const char* word : {"no memory for ", " of weights, ", " of keys and values and ",
                             " of activations at up to ", "Fake GPU 1.0 MB are free",
                             "use a smaller context (-c)", "--max-step", "--kv-type"}) {
      EXPECT_THAT(result.err, HasSubstr(word));
    }
  }
  EXPECT_GT(tried, 12);
}

TEST_F(DriverFailures, OtherProgramsHaveAllOfTheMemory) {
  ASSERT_EQ(Run({}).exit_code, 0);
  const std::vector<std::string> trace = Report().trace;
  const auto retain = std::find(trace.begin(), trace.end(), "cuDevicePrimaryCtxRetain");
  ASSERT_NE(retain, trace.end());
  const ProcessResult result =
      Run({{"FAKE_FAIL_AT", StrCat(retain - trace.begin() + 1)}, {"FAKE_FAIL_WITH", kOutOfMemory}});
  ExpectRefusal(result, "cuDevicePrimaryCtxRetain");
  EXPECT_THAT(result.err, HasSubstr("cuda:0, whose memory other programs may have"));
}

// An interrupt is looked at between the steps of a prompt. What the GPU has, the system takes back.
TEST(Interrupt, EndsALongPrompt) {
  const TempFolder folder;
  CompileOptions compile;
  compile.max_step_tokens = 1;
  const std::string plan = WritePlan(folder.File("x.plan"), FakePlan("sm_90a", compile));
  std::string ids = "1";
  for (int i = 1; i < 500; ++i) ids += ",403";
  const std::string report_file = folder.File("report");
  const TempFolder signal;  // has a file once the third step is under way
  ProcessOptions options = OnFake(
      {{"FAKE_QUERY_MS", "20"}, {"FAKE_TOUCH", signal.File("now")}, {"FAKE_REPORT", report_file}});
  options.interrupt_on_file = signal.path();
  const ProcessResult result =
      Renga({"run", plan, "--device", "cuda", "--ids", ids, "-n", "1", "--temp", "0"}, options);
  EXPECT_EQ(result.exit_code, 130) << result.Describe();
  const FakeReport report = FakeReport::Read(report_file);
  const auto steps = std::count(report.trace.begin(), report.trace.end(), "cuEventQuery");
  EXPECT_GE(steps, 3);
  EXPECT_LT(steps, 100) << "of 500";
}

}  // namespace
}  // namespace renga
