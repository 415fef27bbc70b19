// `trace`, and `dump` of what it wrote: every value of a run, and nothing where there is none.
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/trace/write_trace.h"
#include "tests/ir/trace/make_trace.h"
#include "tests/tools/process.h"

namespace renga {
namespace {

using Args = std::vector<std::string>;
using Json = nlohmann::json;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr char kPrompt[] = "Once upon a time";

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

std::string Output(const Args& args) {
  const ProcessResult result = Renga(args);
  EXPECT_EQ(result.exit_code, 0) << result.Describe();
  return result.out;
}

Json JsonOutput(Args args) {
  args.push_back("--json");
  Json json = Json::parse(Output(args), nullptr, /*allow_exceptions=*/false);
  EXPECT_TRUE(json.is_object());
  return json.is_object() ? json : Json::object();
}

class TraceVerb : public testing::Test {
 protected:
  std::string Path() const { return folder_.File("x.trace"); }

  Args TraceArgs(const Args& more) const {
    Args args = {"trace", StoryModel(), "-o", Path()};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }

  void Trace(const Args& more) const {
    EXPECT_THAT(Output(TraceArgs(more)), StartsWith("wrote " + Path()));
  }

  // Exit 2 with these words, and no trace left behind.
  void ExpectError(const Args& args, const Args& says, int code = 2) const {
    const ProcessResult result = Renga(args);
    EXPECT_TRUE(result.IsCleanError(code)) << result.Describe();
    for (const std::string& word : says) EXPECT_THAT(result.err, HasSubstr(word));
    EXPECT_FALSE(std::filesystem::exists(Path())) << result.Describe();
  }

  const TempFolder folder_;
};

TEST_F(TraceVerb, EveryValueOfARunIsInTheFile) {
  EXPECT_THAT(Output(TraceArgs({"-p", kPrompt})), HasSubstr("  5 tokens  "));
  const Json json = JsonOutput({"dump", Path()});
  EXPECT_EQ(json["model"], "stories260K.gguf");
  EXPECT_EQ(json["device"], "cpu");
  EXPECT_EQ(json["prompt"], kPrompt);
  EXPECT_EQ(json["ids"], Json({1, 403, 407, 261, 378}));
  EXPECT_EQ(json["k_type"], "f16");
  std::set<std::string> nodes, values;
  const Json graph = JsonOutput({"dump", StoryModel()});
  for (const Json& node : graph["nodes"]) nodes.insert(node["name"]);
  for (const Json& value : json["nodes"]) {
    values.insert(value["name"]);
    EXPECT_EQ(value["shape"].size(), value["axes"].size());
    EXPECT_EQ(value["nans"], 0) << value;
    EXPECT_LE(value["min"], value["max"]);
    EXPECT_GT(value["rms"], 0) << value;
  }
  EXPECT_EQ(values, nodes);
  const Json& next = json["nodes"].back();
  EXPECT_EQ(next["name"], "next");
  EXPECT_EQ(next["shape"], Json({5}));
  const Json& logits = json["nodes"][json["nodes"].size() - 2];
  EXPECT_EQ(logits["name"], "logits");
  EXPECT_EQ(logits["shape"], Json({5, 512}));
  EXPECT_EQ(logits["axes"], Json({"row", "dim"}));
}

TEST_F(TraceVerb, LogitsAreThoseOfARun) {
  const Json run = JsonOutput({"run", StoryModel(), "-n", "0", "--logits", "1", "-p", kPrompt});
  double top = 0;
  for (const Json& position : run["prompt_top"]) {
    top = std::max(top, position[0][1].get<double>());
  }
  for (const std::string device : {"cpu", "reference"}) {
    Trace({"-p", kPrompt, "--device", device, "--fused"});
    const Json json = JsonOutput({"dump", Path(), "--node", "logits"});
    ASSERT_EQ(json["nodes"].size(), 1u);
    EXPECT_EQ(json["device"], device);
    EXPECT_NEAR(json["nodes"][0]["max"].get<double>(), top, device == "cpu" ? 1e-6 : 0.02);
  }
}

TEST_F(TraceVerb, DumpChoosesAndPrints) {
  Trace({"-p", kPrompt});
  const std::string text = Output({"dump", Path()});
  EXPECT_THAT(text, StartsWith("trace of stories260K.gguf  "));
  EXPECT_THAT(text, HasSubstr("prompt 'Once upon a time'\nids 1,403,407,261,378\n"));
  EXPECT_THAT(text, HasSubstr("f32[token 5, head 8, dim 8]"));
  const Json all = JsonOutput({"dump", Path()}),
             layer = JsonOutput({"dump", Path(), "--layer", "3"});
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4 + all["nodes"].size());
  ASSERT_GT(layer["nodes"].size(), 5u);
  for (const Json& node : layer["nodes"]) EXPECT_EQ(node["layer"], 3);
  EXPECT_EQ(JsonOutput({"dump", Path(), "--node", "?.q"})["nodes"].size(), 5u);
  EXPECT_EQ(Output({"dump", Path(), "--stage", "trace"}), text);
  EXPECT_EQ(Output({"dump", Path(), "-o", folder_.File("t")}), "");
  EXPECT_EQ(ReadFile(folder_.File("t")), text);
}

TEST_F(TraceVerb, IdsAndNodesChooseWhatIsRunAndKept) {
  Trace({"--ids", "1,403,407,261,378"});
  const Json ids = JsonOutput({"dump", Path()});
  Trace({"-p", kPrompt});
  const Json prompt = JsonOutput({"dump", Path()});
  EXPECT_EQ(ids["nodes"], prompt["nodes"]);
  EXPECT_EQ(ids["prompt"], "");
  const Json some = JsonOutput(TraceArgs({"-p", kPrompt, "--nodes", "*.k_proj"}));
  ASSERT_EQ(some["nodes"].size(), 5u);
  EXPECT_EQ(some["nodes"][0]["name"], "0.k_proj");
  EXPECT_EQ(JsonOutput({"dump", Path()})["nodes"], some["nodes"]);
}

TEST_F(TraceVerb, PositionsChooseTokens) {
  const std::string all = folder_.File("all.trace");
  Output({"trace", StoryModel(), "-p", kPrompt, "-o", all});
  for (const std::string device : {"cpu", "reference"}) {
    const Json some =
        JsonOutput(TraceArgs({"-p", kPrompt, "--device", device, "--positions", "0,-2..-1,3"}));
    EXPECT_EQ(some["positions"], Json({0, 3, 4}));
    EXPECT_EQ(some, JsonOutput({"dump", Path()}));
    for (const Json& node : some["nodes"]) {
      if (node["axes"][0] == "token" || node["axes"][0] == "row") {
        EXPECT_EQ(node["shape"][0], 3) << node;
      } else {
        EXPECT_EQ(node["axes"][0], "cell") << node;
        EXPECT_EQ(node["shape"][0], 5) << node;
      }
    }
  }
  EXPECT_EQ(JsonOutput({"dump", all})["positions"], Json(nullptr));
  EXPECT_THAT(Output({"dump", Path(), "--node", "0.q"}), HasSubstr("\npositions 0,3,4\n"));
  Trace({"-p", kPrompt, "--positions", "1..3"});
  const Json equal = JsonOutput({"diff", all, Path()});
  EXPECT_EQ(equal["equal"], true);
  EXPECT_EQ(equal["positions"], Json({1, 2, 3}));
  EXPECT_THAT(equal["verdict"].get<std::string>(), StartsWith("identical: "));
  const std::string other = folder_.File("other.trace");
  Output({"trace", StoryModel(), "-p", kPrompt, "--positions", "-2,-1", "-o", other});
  EXPECT_EQ(JsonOutput({"diff", Path(), other})["positions"], Json({3}));
  Output({"trace", StoryModel(), "-p", kPrompt, "--positions", "-1", "-o", other});
  const ProcessResult none = Renga({"diff", Path(), other});
  EXPECT_TRUE(none.IsCleanError(2)) << none.Describe();
  EXPECT_THAT(none.err, HasSubstr("1,2,3 in a and 4 in b"));
}

// A log of llama.cpp has sums over all tokens.
TEST_F(TraceVerb, SomePositionsAreNotComparedWithALog) {
  const std::string log = RENGA_SOURCE_DIR "/tests/data/eval-callback/stories260K.log.gz";
  Trace({"-p", kPrompt});
  EXPECT_EQ(Renga({"diff", Path(), log}).exit_code, 0);
  Trace({"-p", kPrompt, "--positions", "0..3"});
  const ProcessResult result = Renga({"diff", Path(), log});
  EXPECT_TRUE(result.IsCleanError(2)) << result.Describe();
  EXPECT_THAT(result.err, HasSubstr("trace without --positions"));
}

TEST_F(TraceVerb, APlanOfFewRowsHasTheLogitsOfTheLastTokens) {
  const std::string plan = folder_.File("m.plan"), few = folder_.File("few.trace");
  Output({"compile", StoryModel(), "-o", plan, "--max-rows", "2"});
  Trace({"-p", kPrompt, "--fused"});
  for (const Args& positions : {Args{}, Args{"--positions", "0,2..3"}}) {
    Args args = {"trace", plan, "-p", kPrompt, "-o", few};
    args.insert(args.end(), positions.begin(), positions.end());
    Output(args);
    const Json logits = JsonOutput({"dump", few, "--node", "logits"})["nodes"][0];
    EXPECT_EQ(logits["shape"], Json({2, 512}));
    EXPECT_THAT(JsonOutput({"diff", Path(), few})["verdict"].get<std::string>(),
                StartsWith("identical: "));
  }
}

// Statistics of a cache are those of the cells that were written.
TEST_F(TraceVerb, CachesHaveTheCellsWritten) {
  for (const std::string device : {"cpu", "reference"}) {
    Trace({"-p", kPrompt, "--device", device, "--kv-type", "k=f32,v=f32"});
    const Json nodes = JsonOutput({"dump", Path()})["nodes"];
    std::map<std::string, Json> by_name;
    for (const Json& node : nodes) by_name[node["name"]] = node;
    for (const char* name : {"0.k", "3.v"}) {
      const Json &written = by_name[name], &cells = by_name[std::string(name) + "_cells"];
      EXPECT_EQ(cells["axes"][0], "cell");
      for (const char* field : {"shape", "min", "max", "mean", "rms", "zeros"}) {
        EXPECT_EQ(cells[field], written[field]) << name << " " << field << " on " << device;
      }
    }
  }
}

TEST_F(TraceVerb, DiffOfPositionsNamesTokens) {
  const std::string reference = folder_.File("reference.trace");
  Output({"trace", StoryModel(), "--ids", "1,403,407,261,378", "--kv-type", "k=f32,v=f32", "-o",
          reference, "--positions", "3,4", "--device", "reference"});
  Trace({"--ids", "1,403,407,261,378", "--positions", "4"});
  const Json json = JsonOutput({"diff", reference, Path()});
  EXPECT_EQ(json["positions"], Json({4}));
  for (const Json& node : json["nodes"]) {
    const std::string worst = node["worst"];
    EXPECT_TRUE(worst.starts_with("token 4") || worst.starts_with("row 4") ||
                worst.starts_with("cell "))
        << worst;
  }
}

TEST_F(TraceVerb, WrongPositions) {
  const auto positions = [this](const std::string& text) {
    return TraceArgs({"-p", kPrompt, "--positions", text});
  };
  ExpectError(positions("5"), {"--positions: expected -5..4", "5 tokens, got 5"});
  ExpectError(positions("-6"), {"--positions: expected -5..4", "got -6"});
  ExpectError(positions("3..1"), {"a range that ascends, got 3..1"});
  for (const std::string text : {"", "x", "0,", "1..", "..2", "0x1", "1...2", "1-2"}) {
    ExpectError(positions(text), {"--positions: expected positions and ranges such as 0,3..5,-1"});
  }
}

TEST_F(TraceVerb, AnInterruptLeavesNoFile) {
  std::string ids = "1";
  for (int i = 1; i < 2000; ++i) ids += "," + std::to_string(i % 500 + 3);
  for (const std::string device : {"reference", "cpu"}) {
    // The run begins once its plan is in the cache, and takes long without fused attention.
    const TempFolder cache;
    const ProcessResult result = Renga(TraceArgs({"--ids", ids, "--device", device, "--passes",
                                                  "rows-asked", "--nodes", "logits"}),
                                       {.interrupt_on_file = cache.path(), .cache = cache.path()});
    EXPECT_EQ(result.exit_code, 130) << result.Describe();
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, Not(HasSubstr("error")));
    EXPECT_TRUE(std::filesystem::is_empty(folder_.path())) << "something was left behind";
  }
}

TEST_F(TraceVerb, PlansAreTracedToo) {
  const std::string plan = folder_.File("m.plan");
  Output({"compile", StoryModel(), "-o", plan});
  Trace({"-p", kPrompt, "--fused"});
  const Json gguf = JsonOutput({"dump", Path()});
  Output({"trace", plan, "-p", kPrompt, "-o", Path()});
  EXPECT_EQ(JsonOutput({"dump", Path()}), gguf);
}

TEST_F(TraceVerb, WrongRunsWriteNothing) {
  ExpectError(TraceArgs({}), {"nothing to run", "-p TEXT", "--ids"});
  ExpectError({"trace", StoryModel(), "-p", "a"}, {"--output"});
  ExpectError(TraceArgs({"--ids", "1,512"}), {"0..511", "512"});
  ExpectError(TraceArgs({"--ids", "-1"}), {"0..511", "-1"});
  ExpectError(TraceArgs({"--ids", "1,x"}), {"--ids", "'x'"});
  ExpectError(TraceArgs({"--ids", ""}), {"--ids", "at least one"});
  ExpectError(TraceArgs({"--ids", "1", "-p", "a"}), {"--ids"});
  ExpectError(TraceArgs({"-p", kPrompt, "-c", "4"}), {"1..4", "got 5", "-c"});
  ExpectError(TraceArgs({"-p", "a", "--nodes", "nothing"}), {"--nodes nothing", "renga dump"});
  ExpectError(TraceArgs({"-p", "a", "--device", "tpu"}), {"tpu", "reference"});
  ExpectError(TraceArgs({"-p", "a", "--device", "cuda"}), {"cuda"}, 3);
  ExpectError(TraceArgs({"-p", "a", "--stage", "ir"}), {"--stage"});
  ExpectError({"trace", StoryModel(), "-p", "a", "-o", folder_.File("no/x")}, {"no/x"});
  const std::string plan = folder_.File("m.plan");
  Output({"compile", StoryModel(), "-o", plan, "--max-step", "2"});
  ExpectError({"trace", plan, "-p", kPrompt, "-o", Path()}, {"at most 2", "--max-step 5"});
}

TEST_F(TraceVerb, TheModelIsNotOverwritten) {
  const std::string bytes = ReadFile(StoryModel());
  const std::string model = folder_.Write("m.gguf", bytes), link = folder_.File("link");
  std::filesystem::create_symlink(model, link);
  for (const std::string& output : {model, link}) {
    ExpectError({"trace", model, "-p", "a", "-o", output}, {"is the model"});
  }
  EXPECT_EQ(ReadFile(model), bytes);
}

TEST_F(TraceVerb, NoModelNoTrace) {
  ExpectError({"trace", folder_.File("none"), "-p", "a", "-o", Path()}, {"cannot open"});
  ExpectError({"trace", folder_.Write("junk", "\x7f junk"), "-p", "a", "-o", Path()}, {"GGUF"});
  const std::string ir = folder_.Write("a.ir", Output({"dump", StoryModel()}));
  ExpectError({"trace", ir, "-p", "a", "-o", Path()}, {"GGUF"});
}

TEST_F(TraceVerb, BrokenTracesSayWhatIsWrong) {
  Trace({"-p", kPrompt});
  const std::string bytes = ReadFile(Path());
  std::filesystem::remove(Path());
  const auto broken = [&](std::string_view text, const Args& says) {
    const std::string file = folder_.Write("b.trace", text);
    ExpectError({"dump", file}, says);
    ExpectError({"dump", file, "--json"}, says);
    ExpectError({"diff", file, file}, says);
  };
  const std::string_view view = bytes;
  broken(view.substr(0, view.size() - 7), {"cut short", "7 bytes are missing"});
  broken(view.substr(0, 100), {"cut short", "missing"});
  broken(view.substr(0, 5), {"expected a GGUF, a plan, the text of a graph or a trace"});
  broken("", {"an empty file"});
  broken(bytes + "x", {"1 more"});
  broken("\x7f\x1b[31m junk", {"b.trace"});
  std::string other = bytes;
  other.replace(other.find("renga-trace"), 11, "other-trace");
  broken(other, {"something else"});
  const std::string whole = folder_.Write("w.trace", bytes);
  ExpectError({"dump", whole, "--stage", "ir"}, {"--stage ir", "is a trace"});
  ExpectError({"dump", whole, "--stage", "plan"}, {"--stage plan", "is a trace"});
  ExpectError({"dump", StoryModel(), "--stage", "trace"}, {"is no trace"});
  ExpectError({"dump", whole, "-o", whole}, {"is the file to dump"});
  EXPECT_EQ(ReadFile(whole), bytes);
}

TEST_F(TraceVerb, HostileNamesDoNotReachTheTerminal) {
  renga::Trace trace;
  trace.run.model = trace.run.prompt = trace.run.device = trace.run.k_type = "\x1b[31mred\xff\n";
  AddTraced(trace, "\x1b]0;title\x07", "\x1b[2J", {1}, {"\x1b[1m\n"}, {1});
  ASSERT_TRUE(WriteTrace(trace, Path()).ok());
  const std::string text = Output({"dump", Path()});
  EXPECT_THAT(text, HasSubstr("]0;title"));
  for (const char c : {'\x1b', '\x07', '\xff'}) EXPECT_THAT(text, Not(Contains(c)));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 5);
  const std::string json = Output({"dump", Path(), "--json"});
  EXPECT_TRUE(Json::accept(json)) << json;
  EXPECT_THAT(json, Not(Contains('\x1b')));
}

}  // namespace
}  // namespace renga
