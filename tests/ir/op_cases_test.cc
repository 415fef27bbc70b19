// Runs tests/ops/<operator>.ir, one file an operator (op_case.h has the form).
#include <filesystem>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "ir/core/op_def.h"
#include "tests/ir/golden_file.h"
#include "tests/ir/op_case.h"

namespace renga {
namespace {

constexpr char kOpsDir[] = RENGA_SOURCE_DIR "/tests/ops";

void CheckCase(const std::string& text, const std::string& op) {
  const OpCase op_case = ReadCase(text);
  SCOPED_TRACE(op_case.title);
  EXPECT_EQ(op_case.title.rfind("Tests that ", 0), 0u) << "a case begins with // Tests that ...";
  EXPECT_NE(text.find(" = " + op + "("), std::string::npos) << "the case does not use " << op;
  EXPECT_NE(op_case.expect.empty(), op_case.error.empty())
      << "a case has either EXPECT or EXPECT-ERROR";
  CaseRun run(op_case);
  const auto results = run.Run();
  if (!op_case.error.empty()) {
    EXPECT_FALSE(results.ok());
    EXPECT_THAT(std::string(results.status().message()), testing::HasSubstr(op_case.error));
    return;
  }
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_EQ(results->size(), op_case.expect.size()) << "every returned value is expected, no other";
  for (const auto& [ref, want] : op_case.expect) {
    ASSERT_EQ(results->count(ref), 1u) << ref << " is not returned";
    Compare(ref, want, results->at(ref));
  }
}

std::vector<std::string> OpNames() {
  std::vector<std::string> names;
  for (const OpDef* op : AllOps()) names.emplace_back(op->name);
  return names;
}

class OpCasesTest : public testing::TestWithParam<std::string> {};

TEST_P(OpCasesTest, ComputesWhatTheFormulaSays) {
  const std::string path = StrCat(kOpsDir, "/", GetParam(), ".ir");
  ASSERT_TRUE(std::filesystem::exists(path)) << path << ": every operator has its cases";
  bool computes = false, refuses = false;
  for (const std::string& text : SplitCases(ReadTestFile(path))) {
    CheckCase(text, GetParam());
    (text.find("// EXPECT-ERROR: ") == std::string::npos ? computes : refuses) = true;
  }
  EXPECT_TRUE(computes) << "no case with values";
  EXPECT_TRUE(refuses) << "no case with an error";
}

INSTANTIATE_TEST_SUITE_P(Ops, OpCasesTest, testing::ValuesIn(OpNames()),
                         [](const auto& info) { return info.param; });

TEST(OpCasesFilesTest, NoFileIsWithoutItsOperator) {
  for (const auto& entry : std::filesystem::directory_iterator(kOpsDir)) {
    if (entry.path().extension() != ".ir") continue;
    EXPECT_NE(FindOp(entry.path().stem().string()), nullptr) << entry.path();
  }
}

}  // namespace
}  // namespace renga
