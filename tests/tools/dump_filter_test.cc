// --layer and --node that keep nothing: an error that says what there is, never an empty result.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/tools/process.h"

namespace renga {
namespace {

using Args = std::vector<std::string>;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class DumpFilterTest : public testing::Test {
 protected:
  void SetUp() override {
    EXPECT_EQ(Renga({"compile", StoryModel(), "-o", plan_}).exit_code, 0);
    EXPECT_EQ(Renga({"trace", StoryModel(), "-p", "Once", "-o", trace_}).exit_code, 0);
    folder_.Write("m.ir", Renga({"dump", StoryModel()}).out);
  }

  std::string Error(const std::string& file, Args more) const {
    more.insert(more.begin(), {"dump", file});
    const ProcessResult result = Renga(more);
    EXPECT_TRUE(result.IsCleanError(2)) << result.Describe();
    return result.err;
  }

  const TempFolder folder_;
  const std::string plan_ = folder_.File("m.plan"), trace_ = folder_.File("x.trace"),
                    ir_ = folder_.File("m.ir");
};

TEST_F(DumpFilterTest, LayersThatAreNot) {
  const std::string layers = "error: --layer: expected 0..4, got 99";
  for (const std::string& file : {StoryModel(), plan_, ir_}) {
    EXPECT_THAT(Error(file, {"--layer", "99"}), StartsWith(layers));
    EXPECT_THAT(Error(file, {"--layer", "99", "--json"}), StartsWith(layers));
    EXPECT_THAT(Error(file, {"--layer", "99", "--dot"}), StartsWith(layers));
    EXPECT_THAT(Error(file, {"--layer", "99", "--stage", "ledger"}), StartsWith(layers));
    EXPECT_THAT(Error(file, {"--layer", "99", "--stage", "weights"}), StartsWith(layers));
    if (file == ir_) continue;  // it has no plan
    EXPECT_THAT(Error(file, {"--layer", "99", "--stage", "plan"}), StartsWith(layers));
    EXPECT_THAT(Error(file, {"--layer", "99", "--stage", "memory"}), StartsWith(layers));
  }
  EXPECT_THAT(Error(trace_, {"--layer", "99"}), StartsWith(layers));
  EXPECT_THAT(Error(StoryModel(), {"--layer", "-2"}), HasSubstr("0..4, got -2"));
  EXPECT_THAT(Renga({"dump", StoryModel(), "--layer", "-1"}).out, HasSubstr("  %embed: "));
}

TEST_F(DumpFilterTest, StepsGoByWhatTheyCompute) {
  const std::string expected =
      Renga({"dump", plan_, "--stage", "plan", "--node", "3.q", "--json"}).out;
  EXPECT_THAT(expected, HasSubstr("\"3.q\""));
  for (const char* name : {"3.qkv_rope", "3.qkv", "3.qkv*"}) {
    EXPECT_EQ(Renga({"dump", plan_, "--stage", "plan", "--node", name, "--json"}).out, expected);
  }
  EXPECT_THAT(
      Renga({"dump", plan_, "--stage", "plan", "--node", "3.linear"}).out,
      testing::AllOf(HasSubstr("3.attn_res"), HasSubstr("3.out"), Not(HasSubstr("2.out "))));
}

TEST_F(DumpFilterTest, NodesThatAreNot) {
  EXPECT_THAT(Error(StoryModel(), {"--node", "3.scoers"}),
              HasSubstr("--node '3.scoers': none of the 120 nodes has this name; did you mean "
                        "'3.scores'"));
  EXPECT_THAT(Error(StoryModel(), {"--node", "3.scoers", "--json"}), HasSubstr("'3.scores'"));
  EXPECT_THAT(Error(StoryModel(), {"--node", "lgoits", "--layer", "2"}), HasSubstr("of layer 2"));
  EXPECT_THAT(Error(plan_, {"--node", "2.axt", "--stage", "plan"}), HasSubstr("steps"));
  EXPECT_THAT(Error(StoryModel(), {"--node", "blk.0.attn.weight", "--stage", "weights"}),
              HasSubstr("'blk.0.attn_k.weight'"));
  EXPECT_THAT(Error(trace_, {"--node", "x*"}), HasSubstr("values has this name"));
  EXPECT_THAT(Error(StoryModel(), {"--node", "\x1b[31m"}), Not(HasSubstr("\x1b[31m")));
}

TEST_F(DumpFilterTest, WhatIsThereIsFound) {
  EXPECT_THAT(Renga({"dump", StoryModel(), "--node", "%3.q"}).out, StartsWith("  %3.q: "));
  EXPECT_THAT(Renga({"dump", StoryModel(), "--node", "@blk.3.attn_q.*", "--stage", "weights"}).out,
              StartsWith("blk.3.attn_q.weight"));
  // A layer of which the stage says nothing is there all the same.
  const ProcessResult none = Renga(
      {"dump", StoryModel(), "--stage", "ledger", "--layer", "3", "--passes", "remove-dead-nodes"});
  EXPECT_EQ(none.exit_code, 0) << none.Describe();
  EXPECT_EQ(none.out, "0 entries: none       0 rejected\n");
}

}  // namespace
}  // namespace renga
