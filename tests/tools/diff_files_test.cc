// `diff` of GGUFs, plans, traces and logs of llama.cpp.
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tests/tools/diff_verb.h"

namespace renga {
namespace {

using Args = std::vector<std::string>;
using Json = nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;

std::string Tiny(const std::string& name) {
  return RENGA_SOURCE_DIR "/tests/data/tiny/" + name + ".gguf";
}

class DiffFiles : public DiffVerbTest {};

TEST_F(DiffFiles, TwoQuantisationsOfOneModel) {
  const std::string a = Tiny("llama-Q4_K"), b = Tiny("llama-Q6_K");
  const std::string text = Text(a, b, false);
  EXPECT_THAT(text, HasSubstr("attn_q.weight       q4_k -> q6_k"));
  EXPECT_THAT(text, HasSubstr("relative RMS"));
  const Json json = JsonOf(a, b, false);
  EXPECT_EQ(json["kind"], "gguf");
  EXPECT_EQ(json["metadata"][0]["key"], "general.name");
  int types = 0;
  for (const Json& group : json["groups"]) {
    if (group["kind"] != "weight type") continue;
    ++types;
    EXPECT_EQ(group["before"], "q4_k");
    EXPECT_EQ(group["after"], "q6_k");
    EXPECT_GT(group["error"]["relative_rms"], 0);
  }
  EXPECT_EQ(types, 7);
  EXPECT_THAT(Text(a, a, true), StartsWith("equal: "));
}

TEST_F(DiffFiles, AChangedByteOfAWeightIsFound) {
  std::string bytes = ReadFile(StoryModel());
  bytes[bytes.size() - 40] ^= 0x40;
  const std::string b = folder_.Write("b.gguf", bytes);
  const Json json = JsonOf(StoryModel(), b, false);
  EXPECT_EQ(json["metadata"], Json::array());
  ASSERT_EQ(json["nodes"].size(), 1u) << json["nodes"];
  EXPECT_EQ(json["nodes"][0]["kind"], "weight values");
  EXPECT_THAT(Text(StoryModel(), b, false), HasSubstr("weight values"));
  // Their graphs are the same.
  EXPECT_THAT(Text(StoryModel(), b, true, {"--after", "frontend"}), StartsWith("equal: "));
  ExpectError(StoryModel(), folder_.Write("c.gguf", bytes.substr(0, bytes.size() - 1000)),
              {"c.gguf"});
}

TEST_F(DiffFiles, FoldersOfPassDumpsPartAtAStage) {
  const std::string all = folder_.File("all"), fewer = folder_.File("fewer");
  Output({"compile", StoryModel(), "-o", folder_.File("d.plan"), "--dump-dir", all});
  Output({"compile", StoryModel(), "-o", folder_.File("d.plan"), "--dump-dir", fewer,
          "--disable-pass", "fuse-attention"});
  const Json json = JsonOf(all, fewer, false);
  EXPECT_EQ(json["kind"], "passes");
  EXPECT_EQ(json["first"], "fuse-gate-up");
  EXPECT_EQ(json["stages"].back()["name"], "fuse-attention");
  EXPECT_EQ(json["stages"].back()["only_in"], "a");
  EXPECT_THAT(Text(all, fewer, false), HasSubstr("fuse-gate-up  differs   <- first\n"));
  EXPECT_THAT(Text(all, all, true), StartsWith("frontend  equal\n"));
  std::filesystem::create_directory(folder_.File("empty"));
  ExpectError(all, folder_.File("empty"), {"expected dumps such as 00.frontend.ir"});
  EXPECT_TRUE(Diff(all, fewer, {"--values"}).IsCleanError(2));
}

TEST_F(DiffFiles, TimesOfPlansAreComparedInTurns) {
  const Json json = JsonOf(Plan(), Plan({"--disable-pass", "fuse-attention"}, "n.plan"), false,
                           {"--time", "--html", folder_.File("t.html")});
  EXPECT_EQ(json["time"]["rounds"], 5);
  for (const std::string what : {"prefill", "decode"}) {
    EXPECT_GT(json["time"][what]["a_ms"], 0) << what;
    EXPECT_GT(json["time"][what]["speedup"], 0) << what;
  }
  EXPECT_THAT(ReadFile(folder_.File("t.html")), HasSubstr("\"times\""));
  EXPECT_THAT(Text(Plan(), Plan(), true, {"--time"}), HasSubstr("decode of a token"));
}

TEST_F(DiffFiles, PlansDifferInFacts) {
  EXPECT_THAT(Text(Plan(), Plan({}, "n.plan"), true), StartsWith("equal: "));
  const Json json = JsonOf(Plan(), Plan({"-c", "64"}, "n.plan"), false);
  EXPECT_EQ(json["kind"], "plan");
  ASSERT_GT(json["facts"].size(), 0u);
  EXPECT_EQ(json["facts"][0], (Json{{"name", "context"}, {"before", "2048"}, {"after", "64"}}));
  EXPECT_THAT(Text(Plan(), folder_.File("n.plan"), false), HasSubstr("plan  context"));
}

TEST_F(DiffFiles, TracesOfOnePromptAreCompared) {
  const std::string a = Trace("a.trace"), b = Trace("b.trace");
  EXPECT_THAT(Text(a, b, true), HasSubstr("identical: "));
  const std::string reference =
      Trace("r.trace", {"--device", "reference", "--kv-type", "k=f16,v=f16"});
  const Json json = JsonOf(a, reference, true);
  EXPECT_EQ(json["kind"], "trace");
  EXPECT_GT(json["nodes"].size(), 80u);
  // So close no two computations are.
  EXPECT_EQ(JsonOf(a, reference, false, {"--rtol", "1e-12"})["first"].is_null(), false);
  ExpectError(a, Trace("o.trace", {"-p", "Hello"}), {"different prompts", "token 1", "--ids"});
  ExpectError(a, b, {"--rtol"}, {"--rtol", "-1"});
  ExpectError(a, b, {"--html", "expected graphs"}, {"--html", folder_.File("x.html")});
  EXPECT_FALSE(std::filesystem::exists(folder_.File("x.html")));
}

TEST_F(DiffFiles, ATraceIsHeldAgainstALog) {
  const std::string trace = Trace("a.trace");
  for (const auto& [a, b] : {std::pair(trace, Log()), std::pair(Log(), trace)}) {
    const Json json = JsonOf(a, b, true);
    EXPECT_EQ(json["kind"], "log");
    EXPECT_EQ(json["tensors"], 186);
    EXPECT_GE(json["matched"].get<int>(), 186 * 9 / 10);
    EXPECT_EQ(json["disagree"], 0);
    EXPECT_EQ(json["b"], Log());  // as in nodes, whichever comes first
    EXPECT_EQ(json["a_run"]["device"], "cpu");
  }
  EXPECT_THAT(Text(trace, Log(), true), HasSubstr(" matched tensors agree"));
  ExpectError(Trace("o.trace", {"-p", "Hello"}), Log(), {"another prompt"});
  ExpectError(Log(), Log(), {"logs of llama.cpp", "expected a trace and one log"});
  ExpectError(StoryModel(), Log(), {"expected a trace", "renga trace"});
  ExpectError(trace, Ir(), {"is a trace", "is not"});
  ExpectError(StoryModel(), trace, {"is a trace", "is not"});
}

}  // namespace
}  // namespace renga
