// What `dump --stage memory` says that a process takes, against what one takes.
#include <cmath>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "sys/stat.h"
#include "tests/support/real_model.h"
#include "tests/support/temp_folder.h"
#include "tests/tools/process.h"

namespace renga {
namespace {

// The largest resident set is that of the end: a full context takes more than loading leaves
// behind for a moment.
void ExpectWithinTwoPercent(const std::vector<std::string>& compile, int context, int threads) {
  const TempFolder folder;
  const std::string plan = folder.File("x.plan");
  std::vector<std::string> args = {"compile", SmolLm2(), "-o", plan, "-c", std::to_string(context)};
  args.insert(args.end(), compile.begin(), compile.end());
  ASSERT_EQ(Renga(args).exit_code, 0);
  const std::string t = std::to_string(threads);
  const ProcessResult dump = Renga({"dump", plan, "--stage", "memory", "--json", "-t", t});
  ASSERT_EQ(dump.exit_code, 0) << dump.Describe();
  const nlohmann::json process = nlohmann::json::parse(dump.out)["process"];
  std::string ids = "1000";
  for (int i = 1; i < context - 8; ++i) ids += "," + std::to_string(1000 + i * 7 % 9000);
  const ProcessResult run = Renga({"run", plan, "--device", "cpu", "--ids", ids, "-n", "9",
                                   "--ignore-eos", "--temp", "0", "-t", t, "--json"});
  ASSERT_EQ(run.exit_code, 0) << run.Describe();
  const double said = process["total"].get<double>();
  const double measured = static_cast<double>(run.peak_kb) * 1024;
  EXPECT_LT(std::abs(said / measured - 1), 0.02) << process.dump() << "\nmeasured " << measured;
}

TEST(ProcessMemory, IsWhatTheDumpSays) {
  struct stat info;
  if (stat(SmolLm2().c_str(), &info) != 0) {
    GTEST_SKIP() << "SKIPPED: " << SmolLm2() << " is absent; tools/fetch-models gets it";
  }
  ExpectWithinTwoPercent({}, 768, 2);
  ExpectWithinTwoPercent({"--kv-type", "k=q8_0,v=q8_0"}, 1024, 1);
}

}  // namespace
}  // namespace renga
