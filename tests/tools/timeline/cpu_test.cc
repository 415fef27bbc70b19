// --timeline on the cpu: every step of the plan by name, and what the host does around it.
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/support/temp_folder.h"
#include "tests/tools/process.h"
#include "tests/tools/timeline/files.h"

namespace renga {
namespace {

using testing::HasSubstr;

class CpuTimeline : public testing::Test {
 protected:
  const TempFolder folder_;
  const std::string file_ = folder_.File("timeline.json");
};

TEST_F(CpuTimeline, HasEveryStepOfEveryRun) {
  const ProcessResult result =
      Renga({"run", StoryModel(), "--device", "cpu", "-p", "Once upon a time", "-n", "8", "--temp",
             "0.7", "--seed", "1", "--json", "--timeline", file_});
  ASSERT_EQ(result.exit_code, 0) << result.Describe();
  const ReadTimeline read = ReadTimeline::Of(file_);
  for (const char* row : {"host", "runs", "steps"}) read.ExpectNests(row);
  // The prompt in one, the tokens behind the first in one each.
  EXPECT_EQ(read.Count("host", "run"), 8);
  EXPECT_EQ(read.Count("host", "sample"), 8);
  EXPECT_EQ(read.Count("host", "text"), 8);
  EXPECT_EQ(read.Count("runs", "run"), 8);
  const ProcessResult plan = Renga({"dump", StoryModel(), "--stage", "plan", "--json"});
  const nlohmann::json steps = nlohmann::json::parse(plan.out)["steps"];
  const std::vector<ReadSpan>& spans = read.rows.at("steps");
  ASSERT_EQ(spans.size(), 8 * steps.size());
  for (size_t i = 0; i < spans.size(); ++i) {
    EXPECT_EQ(spans[i].name, steps[i % steps.size()]["name"]);
    const int64_t run = static_cast<int64_t>(i / steps.size());
    EXPECT_EQ(spans[i].run, run);
    const ReadSpan& whole = read.rows.at("runs")[static_cast<size_t>(run)];
    EXPECT_EQ(whole.run, run);
    EXPECT_LE(whole.begin, spans[i].begin + 0.002);
    EXPECT_LE(spans[i].end, whole.end + 0.002);
  }
  // From the first token on.
  const nlohmann::json summary = nlohmann::json::parse(result.out)["timeline"];
  EXPECT_EQ(summary, read.summary);
  EXPECT_EQ(summary["runs"], 7);
  EXPECT_EQ(summary["graphs"], 0);
  EXPECT_EQ(summary["gaps"], 6);
  EXPECT_GT(summary["mean_gap_us"], 0);
  EXPECT_LE(summary["median_gap_us"], summary["largest_gap_us"]);
  EXPECT_GT(summary["device_busy"], 0);
  EXPECT_LE(summary["device_busy"], 1);
  EXPECT_LE(summary["device_busy"].get<double>(), summary["host_waiting"].get<double>() + 1e-9);
  EXPECT_EQ(summary["clock_precision_us"], 0);
  EXPECT_THAT(result.err, HasSubstr("timeline: 7 runs (0 graphs) in "));
  EXPECT_THAT(result.err, HasSubstr("between runs"));
}

TEST_F(CpuTimeline, OfManyPromptsAndOfABench) {
  const std::string prompts = folder_.Write(
      "p.jsonl", "{\"prompt\": \"One day\", \"n\": 6}\n{\"prompt\": \"A cat\", \"n\": 6}\n");
  ProcessResult result = Renga({"run", StoryModel(), "--device", "cpu", "-f", prompts, "--parallel",
                                "2", "--temp", "0", "--json", "--timeline", file_});
  ASSERT_EQ(result.exit_code, 0) << result.Describe();
  ReadTimeline read = ReadTimeline::Of(file_);
  for (const char* row : {"host", "runs", "steps"}) read.ExpectNests(row);
  EXPECT_EQ(read.Count("host", "wait"), 6);
  EXPECT_EQ(read.Count("host", "start"), 6);
  EXPECT_GE(read.Count("host", "schedule"), 6);
  EXPECT_EQ(read.Count("host", "text"), 12);
  EXPECT_THAT(result.err, HasSubstr("timeline: 6 runs"));

  result = Renga({"bench", StoryModel(), "--device", "cpu", "-p", "16", "-n", "8", "-r", "1",
                  "--json", "--timeline", file_});
  ASSERT_EQ(result.exit_code, 0) << result.Describe();
  read = ReadTimeline::Of(file_);
  read.ExpectNests("host");
  // A prompt and 8 tokens, twice each.
  EXPECT_EQ(read.Count("runs", "run"), 2 * (1 + 8));
  EXPECT_EQ(nlohmann::json::parse(result.out)["timeline"]["runs"], 18);
}

TEST_F(CpuTimeline, IsRefusedWhereThereIsNone) {
  for (const std::vector<std::string>& flags : std::vector<std::vector<std::string>>{
           {"--device", "reference"}, {"--device", "cpu", "--check"}}) {
    std::vector<std::string> args = {"run", StoryModel(), "-p",         "One",
                                     "-n",  "1",          "--timeline", file_};
    args.insert(args.end(), flags.begin(), flags.end());
    const ProcessResult result = Renga(args);
    EXPECT_TRUE(result.IsCleanError(2)) << result.Describe();
    EXPECT_THAT(result.err, HasSubstr("--timeline: "));
  }
  const ProcessResult nowhere = Renga({"run", StoryModel(), "--device", "cpu", "-p", "One", "-n",
                                       "1", "--timeline", folder_.File("no/such/folder.json")});
  EXPECT_EQ(nowhere.exit_code, 2) << nowhere.Describe();
  EXPECT_THAT(nowhere.err, HasSubstr("--timeline: "));
}

}  // namespace
}  // namespace renga
