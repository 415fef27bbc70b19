// Plans by other versions of Renga: of the same format they are run, compared and bisected as any,
// with a word on whose they are; of another format every verb says so.
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/status.h"
#include "runtime/plan/serialize.h"
#include "tests/tools/process.h"
#include "tools/compiler.h"

namespace renga {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class PlanVersionsTest : public testing::Test {
 protected:
  // The story model's plan with something changed.
  std::string Write(const std::string& name, const std::function<void(plan::Plan*)>& change,
                    uint32_t version = plan::kFormatVersion) {
    CompileOptions options;
    options.threads = 1;
    options.context = 64;
    auto compiled = Compile(StoryModel(), options);
    EXPECT_TRUE(compiled.ok()) << compiled.status();
    change(&compiled->plan);
    const auto bytes = plan::Serialize(compiled->plan);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    const std::string body = bytes->substr(0, bytes->size() - plan::kTrailerBytes);
    return folder_.Write(name, plan::Seal(body, version));
  }
  std::string Ours() {
    return Write("ours.plan", [](plan::Plan*) {});
  }
  // The minor version before, whose rope of a layer turned the other way round if `wrong`.
  std::string Older(bool wrong) {
    return Write(wrong ? "wrong.plan" : "older.plan", [wrong](plan::Plan* plan) {
      plan->producer = "renga 0.0.9";
      for (plan::Step& step : plan->steps) {
        for (plan::Attr& attr : step.attrs) {
          if (wrong && step.name == "2.q" && attr.name == "pairing") {
            attr.value = std::string("neox");
          }
        }
      }
    });
  }

  TempFolder folder_;
};

TEST_F(PlanVersionsTest, AnOlderPlanOfTheSameFormatRuns) {
  const std::string older = Older(false), ours = Ours();
  const ProcessResult mine = Renga({"run", ours, "-p", "Once", "-n", "4", "--temp", "0"});
  const ProcessResult run = Renga({"run", older, "-p", "Once", "-n", "4", "--temp", "0"});
  EXPECT_EQ(run.exit_code, 0) << run.Describe();
  EXPECT_EQ(run.out, mine.out);
  const ProcessResult diff = Renga({"diff", older, ours});
  EXPECT_EQ(diff.exit_code, 0) << diff.Describe();
  const ProcessResult dump = Renga({"dump", older, "--stage", "plan"});
  EXPECT_THAT(dump.out, HasSubstr("by renga 0.0.9"));
  const ProcessResult verify =
      Renga({"verify", StoryModel(), "--plan", older, "--quick", "-t", "1"});
  EXPECT_EQ(verify.exit_code, 0) << verify.Describe();
}

TEST_F(PlanVersionsTest, TwoPlansBisected) {
  const std::vector<std::string> question = {"-p", "Once upon a time", "--kl", "1e-4", "-t", "1",
                                             "-o", folder_.File("out")};
  const auto bisect = [&](std::vector<std::string> args) {
    args.insert(args.end(), question.begin(), question.end());
    return Renga(args);
  };
  // The older one is wrong, and ours is right.
  ProcessResult found = bisect({"bisect", Older(true), "--good", Ours(), "--json"});
  ASSERT_EQ(found.exit_code, 0) << found.Describe();
  const json report = json::parse(found.out);
  EXPECT_EQ(report["culprit"], json::array({"2.q"}));
  EXPECT_EQ(report["versions"], "good is a plan by renga 0.1.0, bad by renga 0.0.9");
  found = bisect({"bisect", Older(true), "--good", Older(false)});
  ASSERT_EQ(found.exit_code, 0) << found.Describe();
  EXPECT_THAT(found.out, AllOf(HasSubstr("culprit  2.q\n"), Not(HasSubstr("is a plan by"))));
}

TEST_F(PlanVersionsTest, AnotherFormatIsRefusedByEveryVerb) {
  const std::string ours = Ours();
  for (const uint32_t version : {plan::kFormatVersion - 1, plan::kFormatVersion + 1}) {
    const std::string other = Write(
        "other.plan", [](plan::Plan*) {}, version);
    for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
             {"run", other, "-p", "Once", "-n", "1"},
             {"verify", other},
             {"verify", StoryModel(), "--plan", other},
             {"bisect", other, "-o", folder_.File("out")},
             {"bisect", ours, "--good", other, "-o", folder_.File("out")},
             {"diff", ours, other},
             {"dump", other}}) {
      const ProcessResult refused = Renga(args);
      EXPECT_TRUE(refused.IsCleanError(2)) << args[0] << " " << refused.Describe();
      EXPECT_THAT(refused.err,
                  AllOf(HasSubstr("other.plan: "), HasSubstr(StrCat("plan format ", version)),
                        HasSubstr(StrCat("this renga reads ", plan::kFormatVersion)),
                        HasSubstr("compile again")));
    }
  }
}

// The format is the same, but it has what this renga lacks.
TEST_F(PlanVersionsTest, AKernelOfANewerVersion) {
  const std::string newer = Write("newer.plan", [](plan::Plan* plan) {
    plan->producer = "renga 0.2.0";
    for (plan::Kernel& kernel : plan->kernels) {
      if (kernel.name == "gate_up") kernel.name = "gate_up_gently";
    }
  });
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"run", newer, "-p", "Once", "-n", "1"},
                                             {"verify", newer},
                                             {"bisect", newer, "-o", folder_.File("out")}}) {
    const ProcessResult refused = Renga(args);
    EXPECT_TRUE(refused.IsCleanError(2)) << args[0] << " " << refused.Describe();
    EXPECT_THAT(refused.err,
                AllOf(HasSubstr("0.act"), HasSubstr("no kernel gate_up_gently"),
                      HasSubstr("the plan is by renga 0.2.0, compile the model again")));
  }
}

}  // namespace
}  // namespace renga
