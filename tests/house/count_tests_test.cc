// tools/count-tests, whose last line says whether a build is good: nothing that went wrong may be
// missing from it, least of all a program that died before it could report.

#include <sys/wait.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "tests/support/temp_folder.h"

namespace renga::house {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

struct Outcome {
  int exit_code;
  std::string output;
};

// A folder of results in which ctest saw one program, "p", end with `status`.
std::string CtestReport(std::string_view status) {
  return StrCat("<testsuite><testcase name=\"p\" status=\"", status, "\"/></testsuite>");
}

// A report of GoogleTest with these cases.
std::string CaseReport(std::string_view cases) {
  return StrCat("<?xml version=\"1.0\" encoding=\"UTF-8\"?><testsuites><testsuite>", cases,
                "</testsuite></testsuites>");
}

constexpr std::string_view kGood =
    "<testcase name=\"Good\" classname=\"A\" status=\"run\" result=\"completed\"/>";

Outcome CountTests(const TempFolder& folder) {
  const std::string command =
      StrCat("python3 '" RENGA_SOURCE_DIR "/tools/count-tests' '", folder.path(), "'");
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return {-1, "popen failed"};
  std::string output;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) output.append(buffer, n);
  return {WEXITSTATUS(pclose(pipe)), output};
}

TEST(CountTests, CountsCasesByResult) {
  const TempFolder folder;
  folder.Write("ctest.junit", CtestReport("fail"));
  folder.Write("p.xml",
               CaseReport(StrCat(
                   kGood, kGood,
                   "<testcase name=\"Bad\" classname=\"A\" status=\"run\" result=\"completed\">"
                   "<failure message=\"byte \xff\"/></testcase>"
                   "<testcase name=\"Absent\" classname=\"A\" status=\"run\" result=\"skipped\">"
                   "<skipped message=\"a.cc:1&#x0A;no model\"/></testcase>"
                   "<testcase name=\"DISABLED_Off\" classname=\"A\" status=\"notrun\"/>")));
  const Outcome outcome = CountTests(folder);
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(outcome.output,
            "skipped  p: A.Absent: no model\n"
            "skipped  p: A.DISABLED_Off: disabled\n"
            "FAILED   p: A.Bad\n"
            "2 passed, 1 failed, 2 skipped\n");
}

TEST(CountTests, AllGoodIsExitCodeZero) {
  const TempFolder folder;
  folder.Write("ctest.junit", CtestReport("run"));
  folder.Write("p.xml", CaseReport(kGood));
  const Outcome outcome = CountTests(folder);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(outcome.output, "1 passed, 0 failed, 0 skipped\n");
}

TEST(CountTests, ProgramsWithoutReportFail) {
  for (const auto& [status, reason] :
       {std::pair("fail", "died or ran out of time"), std::pair("notrun", "did not run")}) {
    const TempFolder folder;
    folder.Write("ctest.junit", CtestReport(status));
    const Outcome outcome = CountTests(folder);
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_THAT(outcome.output, HasSubstr(reason));
    EXPECT_THAT(outcome.output, EndsWith("\n0 passed, 1 failed, 0 skipped\n"));
  }
}

TEST(CountTests, AProgramMaySkipItself) {
  const TempFolder folder;
  folder.Write("ctest.junit",
               "<testsuite><testcase name=\"b\" status=\"notrun\">"
               "<skipped message=\"SKIP_RETURN_CODE=77\"/>"
               "<system-out>hello\nSKIPPED: no browser\n</system-out></testcase>"
               "<testcase name=\"p\" status=\"run\"/></testsuite>");
  const Outcome outcome = CountTests(folder);
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.output, "skipped  b: no browser\n1 passed, 0 failed, 1 skipped\n");
}

TEST(CountTests, AnEndAfterGoodCasesStillFails) {
  const TempFolder folder;
  folder.Write("ctest.junit", CtestReport("fail"));
  folder.Write("p.xml", CaseReport(kGood));
  const Outcome outcome = CountTests(folder);
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(outcome.output,
            "FAILED   p: failed outside of its cases\n"
            "1 passed, 1 failed, 0 skipped\n");
}

TEST(CountTests, NothingToCountFails) {
  const TempFolder empty;
  EXPECT_EQ(CountTests(empty).exit_code, 1);
  const TempFolder no_programs;
  no_programs.Write("ctest.junit", "<testsuite/>");
  EXPECT_THAT(CountTests(no_programs).output, EndsWith("\n0 passed, 1 failed, 0 skipped\n"));
  const TempFolder no_cases;
  no_cases.Write("ctest.junit", CtestReport("run"));
  no_cases.Write("p.xml", CaseReport(""));
  const Outcome outcome = CountTests(no_cases);
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.output, HasSubstr("p: has no cases"));
  const TempFolder damaged;
  damaged.Write("ctest.junit", CtestReport("run"));
  damaged.Write("p.xml", "<testsuites>");
  EXPECT_EQ(CountTests(damaged).exit_code, 1);
}

}  // namespace
}  // namespace renga::house
