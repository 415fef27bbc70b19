// `diff` of graphs: what changed, where, once; exit 0 equal, 1 different, 2 neither.
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tests/tools/diff_verb.h"

namespace renga {
namespace {

using Args = std::vector<std::string>;
using Json = nlohmann::json;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr char kPrompt[] = "Once upon a time";

class DiffVerb : public DiffVerbTest {};

TEST_F(DiffVerb, EqualGraphsSaySo) {
  EXPECT_EQ(Text(Ir(), Ir(), true), "equal: 120 nodes, 48 weights, 10 caches\n");
  const Json json = JsonOf(Ir(), Ir(), true);
  EXPECT_EQ(json["groups"], Json::array());
  EXPECT_EQ(json["a"], Ir());
  EXPECT_EQ(JsonOf(Ir(), StoryModel(), true)["kind"], "graph");
}

TEST_F(DiffVerb, AnAttributeOfAllLayersIsOneGroup) {
  const std::string b =
      folder_.Write("b.ir", Replaced(ReadFile(Ir()), "{base=10000.0,", "{base=20000.0,"));
  EXPECT_EQ(Text(Ir(), b, false),
            "layers 0-4  attribute  rope(q, k).base: 10000.0 -> 20000.0  10 x\n"
            "1 kind of change in 120 nodes.\n");
  const Json json = JsonOf(Ir(), b, false);
  ASSERT_EQ(json["groups"].size(), 1u);
  EXPECT_EQ(json["groups"][0]["layers"], Json({0, 1, 2, 3, 4}));
  EXPECT_EQ(json["groups"][0]["kind"], "attribute");
  EXPECT_EQ(json["groups"][0]["what"], "base");
  EXPECT_EQ(json["groups"][0]["count"], 10);
  EXPECT_EQ(json["nodes"].size(), 10u);
}

TEST_F(DiffVerb, OneLayerIsNamed) {
  const std::string line = "rope(%3.q_heads, %positions) {base=10000.0";
  const std::string b = folder_.Write(
      "b.ir", Replaced(ReadFile(Ir()), line, "rope(%3.q_heads, %positions) {base=500.0"));
  EXPECT_THAT(Text(Ir(), b, false), StartsWith("layer 3  attribute  rope(q).base: 10000.0 -> 500"));
  const Json json = JsonOf(Ir(), b, false);
  ASSERT_EQ(json["nodes"].size(), 1u);
  EXPECT_EQ(json["nodes"][0]["layer"], 3);
  EXPECT_EQ(json["nodes"][0]["a"], "3.q");
}

TEST_F(DiffVerb, FusedNodesMeetTheManyTheyReplaced) {
  const Args run = {"--values", "-m", StoryModel(), "-p", kPrompt};
  const Json json = JsonOf(Ir(), Plan(), false, run);
  int fused = 0;
  for (const Json& group : json["groups"]) {
    if (group["kind"] != "fused") continue;
    const bool in_layers = group["role"] != "head(logits)";
    fused += in_layers;
    EXPECT_EQ(group["layers"], in_layers ? Json({0, 1, 2, 3, 4}) : Json::array()) << group;
  }
  EXPECT_EQ(fused, 5);
  for (const Json& node : json["nodes"]) {
    if (node["kind"] != "fused") continue;
    EXPECT_GT(node["a_nodes"].size(), 1u) << node;
    EXPECT_EQ(node["b_nodes"].size(), 1u) << node;
  }
  const Json& values = json["values"];
  EXPECT_EQ(values["equal"], true) << values["verdict"];
  EXPECT_EQ(values["first"], nullptr);
  EXPECT_LE(values["tolerance"], 1e-5);
  EXPECT_GT(values["nodes"].size(), 40u);
  EXPECT_EQ(values["ids"], Json({1, 403, 407, 261, 378}));
}

TEST_F(DiffVerb, ValuesNameTheRopeWhosePairingIsWrong) {
  const Args run = {"--values", "-m", StoryModel(), "-p", kPrompt};
  const Json json = JsonOf(Ir(), Neox(), false, run);
  ASSERT_EQ(json["groups"].size(), 1u);
  const Json& values = json["values"];
  EXPECT_EQ(values["equal"], false);
  EXPECT_EQ(values["first"], "0.q");
  for (const Json& node : values["nodes"]) {
    EXPECT_EQ(node["unexplained"].get<bool>(), node["op"] == "rope") << node;
    if (node["b"] != "0.q") continue;
    EXPECT_EQ(node["observation"], "token 0 equal");
    EXPECT_THAT(node["worst"].get<std::string>(), Not(StartsWith("token 0,")));
  }
  const std::string text = Text(Ir(), Neox(), false, run);
  EXPECT_THAT(text, HasSubstr("first difference that its inputs do not explain:  %0.q "));
}

TEST_F(DiffVerb, ValuesOfEqualGraphsAreIdentical) {
  const std::string text = Text(Ir(), Ir(), true, {"--values", "-m", StoryModel(), "--ids", "1"});
  EXPECT_THAT(text, StartsWith("equal: "));
  EXPECT_THAT(text, HasSubstr("identical: "));
  ExpectError(Ir(), Ir(), {"-p", "-m"}, {"--values", "-p", kPrompt});
  ExpectError(Ir(), Ir(), {"--ids", "'x'"}, {"--values", "--ids", "x"});
}

TEST_F(DiffVerb, PagesOverwriteNoInput) {
  const std::string a = Ir(), b = Plan(), html = folder_.File("d.html");
  const std::string plan = ReadFile(b);
  Text(a, b, false, {"--html", html});
  EXPECT_THAT(ReadFile(html), StartsWith("<!doctype html>"));
  EXPECT_EQ(Text(a, b, false, {"-o", folder_.File("d.txt")}), "");
  EXPECT_THAT(ReadFile(folder_.File("d.txt")), HasSubstr("layers 0-4"));
  for (const std::string flag : {"--html", "-o"}) {
    ExpectError(a, b, {"is one of the files to compare"}, {flag, b});
    ExpectError(b, a, {"is one of the files to compare"}, {flag, b});
  }
  EXPECT_EQ(ReadFile(b), plan);
}

TEST_F(DiffVerb, UnparsableGraphsSayWhere) {
  const std::string bad =
      folder_.Write("bad.ir", Replaced(ReadFile(Ir()), "= rope(%3.q_heads", "= rop(%3.q_heads"));
  const ProcessResult result = Diff(Ir(), bad);
  EXPECT_EQ(result.exit_code, 2) << result.Describe();
  EXPECT_THAT(result.err,
              testing::MatchesRegex("error: .*bad.ir:[0-9]+:[0-9]+: (.|\n)*\\^(.|\n)*"));
  EXPECT_THAT(result.err, HasSubstr("rop"));
}

TEST_F(DiffVerb, JunkIsRefused) {
  const std::string junk = folder_.Write("junk", std::string("\x7f\x1b[31m\0\xff", 8));
  for (const std::string& good : {Ir(), StoryModel(), Trace("a.trace"), Log()}) {
    ExpectError(good, junk, {"junk"});
    ExpectError(junk, good, {"junk"});
    EXPECT_THAT(Diff(junk, good).err, Not(Contains('\x1b')));
  }
  ExpectError(Ir(), folder_.File("none"), {"none", "cannot open"});
  ExpectError(Ir(), folder_.Write("empty", ""), {"an empty file"});
  ExpectError(Ir(), folder_.path(), {folder_.path()});
}

TEST_F(DiffVerb, HostileNamesDoNotReachTheTerminal) {
  const std::string odd = "\"blk.3.\\x1b]0;t\\x07<script>\"";
  const std::string b =
      folder_.Write("b.ir", Replaced(ReadFile(Ir()), "@blk.3.attn_q.weight", "@" + odd));
  const std::string text = Text(Ir(), b, false);
  EXPECT_THAT(text, HasSubstr("]0;t"));
  for (const char c : {'\x1b', '\x07'}) EXPECT_THAT(text, Not(Contains(c)));
  const std::string html = folder_.File("d.html");
  const Json json = JsonOf(Ir(), b, false, {"--html", html});
  EXPECT_NE(json["groups"], Json::array());
  EXPECT_THAT(ReadFile(html), Not(HasSubstr("t\x07<script>")));
}

}  // namespace
}  // namespace renga
