// --timeline on a GPU, which a stand-in for libcuda plays: what is recorded around what, that
// nothing is where nobody asked, and what happens where the driver fails.
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "tests/cuda/fake/fake_gpu.h"
#include "tests/tools/timeline/files.h"

namespace renga {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class GpuTimeline : public testing::Test {
 protected:
  ProcessResult Run(const std::vector<std::string>& more,
                    std::vector<std::pair<std::string, std::string>> variables = {}) {
    variables.emplace_back("FAKE_REPORT", report_);
    std::vector<std::string> args = {"run",       plan_, "--device", "cuda",        "--ids",
                                     "0,403,407", "-n",  "6",        "--temp",      "0",
                                     "-t",        "1",   "--json",   "--ignore-eos"};
    args.insert(args.end(), more.begin(), more.end());
    return Renga(args, OnFake(std::move(variables)));
  }
  int64_t Calls(const char* name) const {
    const std::vector<std::string> trace = FakeReport::Read(report_).trace;
    return std::count(trace.begin(), trace.end(), name);
  }

  const TempFolder folder_;
  const std::string plan_ = WritePlan(folder_.File("x.plan"), FakePlan("sm_90a"));
  const std::string report_ = folder_.File("report"), file_ = folder_.File("timeline.json");
};

TEST_F(GpuTimeline, HasEachGraphAndThePrompt) {
  const ProcessResult result = Run({"--timeline", file_});
  ASSERT_EQ(result.exit_code, 0) << result.Describe();
  EXPECT_THAT(FakeReport::Read(report_).alive, IsEmpty());
  const ReadTimeline read = ReadTimeline::Of(file_);
  for (const char* row : {"host", "runs"}) read.ExpectNests(row);
  // The prompt; a graph each for the tokens behind the first; what is started for nothing behind
  // the last counts too.
  EXPECT_EQ(read.Count("runs", "launches"), 1);
  EXPECT_GE(read.Count("runs", "graph"), 5);
  EXPECT_LE(read.Count("runs", "graph"), 6);
  EXPECT_EQ(read.rows.count("steps"), 0u);
  int64_t last = -1;
  double end = 0;
  for (const ReadSpan& span : read.rows.at("runs")) {
    EXPECT_EQ(span.run, ++last);
    EXPECT_LE(end, span.begin + ReadTimeline::kRounding);
    end = span.end;
  }
  const int64_t graphs = Calls("cuStreamBeginCapture");
  EXPECT_EQ(Calls("cuEventRecordWithFlags"), 2 * graphs) << "the first and the last node of each";
  EXPECT_EQ(read.Count("host", "capture"), graphs);
  const nlohmann::json summary = nlohmann::json::parse(result.out)["timeline"];
  EXPECT_EQ(summary["captures"], graphs);
  EXPECT_GE(summary["graphs"], 4);
  EXPECT_EQ(summary["gaps"].get<int>(), summary["graphs"].get<int>() - 1);
  EXPECT_GT(summary["clock_precision_us"], 0);
  EXPECT_GT(summary["cost_us_per_run"], 0);
  EXPECT_THAT(result.err, HasSubstr("device beside host to "));
}

// The stand-in's GPU has the host's clock: once lined up, what it did lies where the host started
// and waited for it, as far as is claimed.
TEST_F(GpuTimeline, LiesBesideTheHost) {
  const ProcessResult result = Run({"--timeline", file_});
  ASSERT_EQ(result.exit_code, 0) << result.Describe();
  const ReadTimeline read = ReadTimeline::Of(file_);
  const double precision =
      read.summary["clock_precision_us"].get<double>() + 2 * ReadTimeline::kRounding;
  std::map<int64_t, ReadSpan> started, waited;
  for (const ReadSpan& span : read.rows.at("host")) {
    if (span.name == "start") started[span.run] = span;
    if (span.name == "wait") waited[span.run] = span;
  }
  for (const ReadSpan& span : read.rows.at("runs")) {
    ASSERT_EQ(started.count(span.run), 1u);
    ASSERT_EQ(waited.count(span.run), 1u);
    EXPECT_GE(span.begin, started[span.run].begin - precision);
    EXPECT_LE(span.end, waited[span.run].end + precision);
  }
}

TEST_F(GpuTimeline, HasStepsWhereTheyAreWaitedFor) {
  const ProcessResult result = Run({"--timeline", file_, "--check-steps"});
  ASSERT_EQ(result.exit_code, 0) << result.Describe();
  const ReadTimeline read = ReadTimeline::Of(file_);
  for (const char* row : {"host", "runs", "steps"}) read.ExpectNests(row);
  const plan::Plan plan = FakePlan("sm_90a");
  const std::vector<ReadSpan>& spans = read.rows.at("steps");
  ASSERT_EQ(spans.size(), 6 * plan.steps.size());
  for (size_t i = 0; i < spans.size(); ++i) {
    EXPECT_EQ(spans[i].name, plan.steps[i % plan.steps.size()].name);
    EXPECT_EQ(spans[i].run, static_cast<int64_t>(i / plan.steps.size()));
  }
}

TEST_F(GpuTimeline, CostsNothingUnlessAskedFor) {
  ASSERT_EQ(Run({}).exit_code, 0);
  for (const char* call : {"cuEventRecordWithFlags", "cuEventElapsedTime", "cuEventSynchronize"}) {
    EXPECT_EQ(Calls(call), 0) << call;
  }
}

// Calls that only a timeline makes, each of them: the text is there or not, but the driver's error
// is said, and nothing stays behind.
TEST_F(GpuTimeline, EachOfItsCallsFailing) {
  ASSERT_EQ(Run({"--timeline", file_}).exit_code, 0);
  const std::vector<std::string> trace = FakeReport::Read(report_).trace;
  const std::set<std::string> own = {"cuEventRecordWithFlags", "cuEventElapsedTime",
                                     "cuEventSynchronize"};
  int failed = 0;
  std::map<std::string, int> seen;
  for (size_t i = 0; i < trace.size(); ++i) {
    // Of the many that line the clocks up, some.
    if (own.count(trace[i]) == 0 || seen[trace[i]]++ % 5 != 0) continue;
    SCOPED_TRACE(StrCat("call ", i + 1, ", ", trace[i]));
    const ProcessResult result = Run({"--timeline", file_}, {{"FAKE_FAIL_AT", StrCat(i + 1)}});
    EXPECT_EQ(result.exit_code, 3) << result.Describe();
    EXPECT_THAT(result.err, HasSubstr(trace[i]));
    EXPECT_THAT(FakeReport::Read(report_).alive, IsEmpty());
    ++failed;
  }
  EXPECT_EQ(seen.size(), own.size());
  EXPECT_GE(failed, 8);
}

}  // namespace
}  // namespace renga
