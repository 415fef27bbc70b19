// dump --around, --stage passes --diff and --stage memory: a graph's neighbourhoods, what the
// passes did, and who shares memory with whom.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tools/process.h"

namespace renga {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string Output(const std::vector<std::string>& args) {
  const ProcessResult result = Renga(args);
  EXPECT_EQ(result.exit_code, 0) << result.Describe();
  return result.out;
}

Json JsonOutput(const std::vector<std::string>& args) {
  Json json = Json::parse(Output(args), nullptr, /*allow_exceptions=*/false);
  EXPECT_TRUE(json.is_object());
  return json.is_object() ? json : Json::object();
}

// The names that lines of nodes begin with, the marked one with its mark.
std::vector<std::string> NodeNames(const std::string& text) {
  std::vector<std::string> names;
  for (size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) {
    const std::string line = text.substr(at, text.find(':', at) - at);
    names.push_back(line[0] == '>' ? line : line.substr(2));
  }
  return names;
}

TEST(DumpAround, InputsAndUsersInOrder) {
  EXPECT_THAT(NodeNames(Output({"dump", StoryModel(), "--around", "3.scores"})),
              ElementsAre("%3.q_heads", "%3.q", "%3.k", "%3.k_cells", "> %3.scores", "%3.probs"));
  EXPECT_THAT(NodeNames(Output({"dump", StoryModel(), "--around", "%3.scores", "--depth", "1"})),
              ElementsAre("%3.q", "%3.k_cells", "> %3.scores", "%3.probs"));
  EXPECT_THAT(NodeNames(Output({"dump", StoryModel(), "--around", "3.scores", "--depth", "0"})),
              ElementsAre("> %3.scores", "%3.probs"));
  // The first node reads no other; the deepest neighbourhood is everything before.
  EXPECT_THAT(NodeNames(Output({"dump", StoryModel(), "--around", "embed"})),
              ElementsAre("> %embed", "%0.attn_norm", "%0.attn_res"));
  EXPECT_EQ(
      NodeNames(Output({"dump", StoryModel(), "--around", "logits", "--depth", "1000000"})).size(),
      JsonOutput({"dump", StoryModel(), "--json"})["nodes"].size());
}

TEST(DumpAround, AsJson) {
  const Json json = JsonOutput({"dump", StoryModel(), "--around", "3.scores", "--json"});
  EXPECT_EQ(json["around"], "3.scores");
  EXPECT_EQ(json["nodes"].size(), 6u);
  EXPECT_EQ(json["nodes"][4]["name"], "3.scores");
  EXPECT_FALSE(JsonOutput({"dump", StoryModel(), "--json"}).contains("around"));
}

TEST(DumpAround, FindsANodeByWhatItCameFrom) {
  // After the pass, %rows.4.out does what %logits did, and %logits what %logits_all did.
  EXPECT_THAT(Output({"dump", StoryModel(), "--after", "rows-asked", "--around", "logits_all"}),
              HasSubstr("> %logits: "));
}

TEST(DumpAround, UnknownNodesAndFlagsThatDoNotFit) {
  const auto error = [](std::vector<std::string> more) {
    std::vector<std::string> args = {"dump", StoryModel()};
    args.insert(args.end(), more.begin(), more.end());
    const ProcessResult result = Renga(args);
    EXPECT_EQ(result.exit_code, 2) << result.Describe();
    EXPECT_EQ(result.out, "");
    return result.err;
  };
  EXPECT_THAT(error({"--around", "3.scoers"}), HasSubstr("did you mean '3.scores'"));
  EXPECT_THAT(error({"--around", "\x1b[31m"}), Not(HasSubstr("\x1b[31m")));
  EXPECT_THAT(error({"--around", "3.q", "--layer", "3"}), HasSubstr("--layer"));
  EXPECT_THAT(error({"--around", "3.q", "--stage", "plan"}), HasSubstr("--stage ir"));
  EXPECT_THAT(error({"--around", "3.q", "--depth", "-1"}), HasSubstr("--depth"));
  EXPECT_THAT(error({"--depth", "3"}), HasSubstr("--around"));
  EXPECT_THAT(error({"--diff"}), HasSubstr("--stage passes"));
  EXPECT_THAT(error({"--stage", "memory", "--node", "x"}), HasSubstr("--node"));
  EXPECT_THAT(error({"--stage", "tokens", "--layer", "1"}), HasSubstr("--layer"));
}

TEST(DumpPassesDiff, SaysWhatEachPassDid) {
  const TempFolder folder;
  const std::string text = Output({"dump", StoryModel(), "--stage", "passes", "--diff"});
  EXPECT_THAT(text, StartsWith("remove-dead-nodes  unchanged"));
  EXPECT_THAT(text, HasSubstr("\n    outside layers  shape    logits: f32[T,512] -> f32[R,512]\n"));
  EXPECT_THAT(text, Not(HasSubstr("of change in")));
  EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 40) << "one screen";

  const Json passes =
      JsonOutput({"dump", StoryModel(), "--stage", "passes", "--diff", "--json"})["passes"];
  bool told = false;
  for (const Json& pass : passes) {
    EXPECT_EQ(pass["changed"].get<bool>(), !pass["groups"].empty());
    for (const Json& group : pass["groups"]) {
      told = told || (pass["name"] == "rows-asked" && group["kind"] == "shape" &&
                      group["role"] == "logits" && group["after"] == "f32[R,512]");
    }
  }
  EXPECT_TRUE(told);

  // The same of the graph's text.
  const std::string ir = folder.Write("m.ir", Output({"dump", StoryModel()}));
  const Json of_text = JsonOutput({"dump", ir, "--stage", "passes", "--diff", "--json"})["passes"];
  ASSERT_EQ(of_text.size(), passes.size());
  for (size_t i = 0; i < passes.size(); ++i) EXPECT_EQ(of_text[i]["groups"], passes[i]["groups"]);
}

TEST(DumpPassesDiff, PlansTellAllPassesTogether) {
  const TempFolder folder;
  const std::string plan = folder.File("m.plan");
  Output({"compile", StoryModel(), "-o", plan});
  const std::string text = Output({"dump", plan, "--stage", "passes", "--diff"});
  EXPECT_THAT(text,
              HasSubstr("all passes together (a plan keeps the first graph and the last):\n"));
  EXPECT_THAT(text, HasSubstr("gather_rows(rows.4.out): f32[R,512] -> f32[R,64]\n"));
  const Json json = JsonOutput({"dump", plan, "--stage", "passes", "--diff", "--json"});
  EXPECT_FALSE(json["groups"].empty());
  EXPECT_FALSE(json["passes"][0].contains("groups"));

  // One pass is all passes.
  Output({"compile", StoryModel(), "-o", plan, "--passes", "rows-asked"});
  const Json one = JsonOutput({"dump", plan, "--stage", "passes", "--diff", "--json"});
  EXPECT_FALSE(one["passes"][0]["groups"].empty());
}

TEST(DumpMemory, SharersLieOnTheSameBytesAtOtherTimes) {
  const Json json = JsonOutput({"dump", StoryModel(), "--stage", "memory", "--json"});
  std::map<std::string, Json> by_name;
  for (const Json& buffer : json["arena"]) by_name[buffer["name"]] = buffer;
  int pairs = 0;
  uint64_t most = 0;
  for (const auto& [name, buffer] : by_name) {
    for (const Json& other_name : buffer["shares_bytes_with"]) {
      const Json& other = by_name.at(other_name);
      ++pairs;
      EXPECT_LT(buffer["offset"].get<int64_t>(),
                other["offset"].get<int64_t>() + other["bytes"].get<int64_t>());
      EXPECT_LT(other["offset"].get<int64_t>(),
                buffer["offset"].get<int64_t>() + buffer["bytes"].get<int64_t>());
      EXPECT_TRUE(buffer["last_step"] < other["first_step"] ||
                  other["last_step"] < buffer["first_step"])
          << name << " and " << other_name;
      EXPECT_THAT(other["shares_bytes_with"], testing::Contains(Json(name)));
    }
    uint64_t alive = 0;
    for (const auto& [other_name, other] : by_name) {
      if (other["first_step"] <= buffer["first_step"] &&
          buffer["first_step"] <= other["last_step"]) {
        alive += other["bytes"].get<uint64_t>();
      }
    }
    most = std::max(most, alive);
  }
  EXPECT_GT(pairs, 15);
  EXPECT_EQ(json["fullest"]["bytes"], most);
}

TEST(DumpMemory, EqualLayersAreDrawnOnce) {
  const std::string text = Output({"dump", StoryModel(), "--stage", "memory"});
  EXPECT_THAT(text,
              testing::ContainsRegex(
                  "layers [0-9]-[0-9]  steps [0-9]+-[0-9]+ of layer [0-9], the others alike\n"));
  // Where the planner puts things decides which layers are alike; never is every one drawn.
  int drawn = 0;
  for (int layer = 0; layer < 5; ++layer) {
    drawn += text.find("  " + std::to_string(layer) + ".act ") != std::string::npos ? 1 : 0;
  }
  EXPECT_GE(drawn, 1);
  EXPECT_LE(drawn, 3);
  EXPECT_THAT(text, HasSubstr("shares bytes with "));
  EXPECT_THAT(text, HasSubstr("\nfullest "));
  EXPECT_THAT(text, HasSubstr("\ntotal "));
  EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 80) << "one screen";
}

TEST(DumpMemory, OneLayer) {
  const std::string text = Output({"dump", StoryModel(), "--stage", "memory", "--layer", "4"});
  EXPECT_THAT(text, StartsWith("layer 4  steps "));
  EXPECT_THAT(text, HasSubstr("4.act"));
  EXPECT_THAT(text, Not(HasSubstr("0.act")));
  const Json json =
      JsonOutput({"dump", StoryModel(), "--stage", "memory", "--layer", "4", "--json"});
  EXPECT_EQ(json["caches"].size(), 2u);
  for (const Json& buffer : json["arena"]) {
    EXPECT_THAT(buffer["name"].get<std::string>(), StartsWith("4."));
  }
}

}  // namespace
}  // namespace renga
