// renga run with many prompts at a time: the same texts as one by one, in the order of the prompts.
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "tests/tools/process.h"

namespace renga {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

class RunMany : public testing::Test {
 protected:
  std::string Write(const std::string& text) {
    const std::string path = folder_.path() + "/prompts.jsonl";
    std::ofstream(path) << text;
    return path;
  }

  ProcessResult Run(std::vector<std::string> args) {
    args.insert(args.begin(), {"run", StoryModel(), "--device", "cpu"});
    return Renga(args, {.cache = folder_.path()});
  }

  std::vector<Json> Objects(std::vector<std::string> args) {
    args.push_back("--json");
    const ProcessResult result = Run(std::move(args));
    EXPECT_EQ(result.exit_code, 0) << result.Describe();
    std::vector<Json> objects;
    std::istringstream lines(result.out);
    for (std::string line; std::getline(lines, line);) {
      objects.push_back(Json::parse(line, nullptr, /*allow_exceptions=*/false));
      EXPECT_TRUE(objects.back().is_object()) << line;
    }
    return objects;
  }

  std::string Error(std::vector<std::string> args) {
    const ProcessResult result = Run(std::move(args));
    EXPECT_EQ(result.exit_code, 2) << result.Describe();
    EXPECT_EQ(result.out, "");
    return result.err;
  }

  TempFolder folder_;
};

const std::vector<std::string> kStarts = {
    "Once upon a time",       "The dog", "A", "Lily and Tom went to",
    "Once upon a time there", "She said"};

TEST_F(RunMany, EachIsWhatItIsAlone) {
  std::string lines;
  std::vector<Json> alone;
  for (int i = 0; i < 33; ++i) {
    Json line = {{"prompt", kStarts[i % kStarts.size()]}, {"n", 3 + i % 13}};
    std::vector<std::string> args = {"-p", line["prompt"], "-n", std::to_string(3 + i % 13)};
    if (i % 3 == 0) {
      line["temp"] = 0;
      args.insert(args.end(), {"--temp", "0"});
    } else {
      line["seed"] = 100 + i;
      args.insert(args.end(), {"-s", std::to_string(100 + i)});
    }
    if (i % 5 == 4) {
      line["stop"] = {"was", "."};
      args.insert(args.end(), {"--stop", "was", "--stop", "."});
    }
    lines += line.dump() + "\n";
    if (i < 12) alone.push_back(Objects(args).at(0));  // a process each
  }
  const std::string path = Write(lines);
  std::vector<Json> expected;
  for (const char* parallel : {"1", "3", "8", "33"}) {
    const std::vector<Json> got = Objects({"-f", path, "--parallel", parallel});
    ASSERT_EQ(got.size(), 33u) << parallel;
    if (expected.empty()) expected = got;
    for (size_t i = 0; i < got.size(); ++i) {
      SCOPED_TRACE(StrCat("line ", i + 1, ", ", parallel, " at a time"));
      for (const char* field : {"prompt_ids", "ids", "text", "finish_reason", "seed"}) {
        if (i < alone.size() && (field != std::string("seed") || i % 3 != 0)) {
          EXPECT_EQ(got[i][field], alone[i][field]) << field;
        }
        if (field != std::string("seed")) {
          EXPECT_EQ(got[i][field], expected[i][field]) << field;
        }
      }
    }
  }
}

TEST_F(RunMany, SeveralTextsOfAPromptAreThoseOfTheirSeeds) {
  const std::vector<Json> got =
      Objects({"-p", "Once upon a time", "-n", "20", "--n-best", "4", "-s", "7", "--temp", "1.2"});
  ASSERT_EQ(got.size(), 4u);
  for (int i = 0; i < 4; ++i) {
    const Json alone = Objects({"-p", "Once upon a time", "-n", "20", "-s", std::to_string(7 + i),
                                "--temp", "1.2"})
                           .at(0);
    EXPECT_EQ(got[i]["seed"], 7 + i);
    EXPECT_EQ(got[i]["ids"], alone["ids"]);
    EXPECT_EQ(got[i]["text"], alone["text"]);
  }
  EXPECT_NE(got[0]["ids"], got[1]["ids"]);
  // The prompt is read once; the others take its last token again.
  EXPECT_EQ(got[0]["timings"]["prompt_tokens"], got[0]["prompt_ids"].size());
  EXPECT_EQ(got[3]["timings"]["prompt_tokens"], 1);
  EXPECT_EQ(got[3]["timings"]["reused_tokens"], got[3]["prompt_ids"].size() - 1);
}

// As the issue of a shared system prompt has it: the second request shows what it did not compute.
TEST_F(RunMany, ASharedBeginningIsReadOnce) {
  std::string story;
  for (int i = 0; i < 12; ++i) story += "Once upon a time there was a little dog. ";
  const std::string path = Write(Json{{"prompt", story + "He"}, {"n", 4}}.dump() + "\n" +
                                 Json{{"prompt", story + "She"}, {"n", 4}}.dump() + "\n");
  const std::vector<Json> got = Objects({"-f", path, "--temp", "0"});
  ASSERT_EQ(got.size(), 2u);
  const int64_t prompt = static_cast<int64_t>(got[1]["prompt_ids"].size());
  EXPECT_EQ(got[0]["timings"]["reused_tokens"], 0);
  EXPECT_GT(got[1]["timings"]["reused_tokens"], prompt - 2 * 64);
  EXPECT_EQ(got[1]["timings"]["reused_tokens"].get<int64_t>() +
                got[1]["timings"]["prompt_tokens"].get<int64_t>(),
            prompt);
}

TEST_F(RunMany, PeopleGetTextsUnderHeadings) {
  const std::string path = Write(
      "{\"prompt\": \"The dog\", \"n\": 2, \"temp\": 0}\n\n"
      "{\"ids\": [1, 403, 407], \"n\": 2, \"temp\": 0}\n");
  const ProcessResult result = Run({"-f", path, "--parallel", "2"});
  EXPECT_EQ(result.exit_code, 0) << result.Describe();
  EXPECT_THAT(result.out, testing::StartsWith("--- line 1 (length)\nThe dog"));
  EXPECT_THAT(result.out, HasSubstr("\n--- line 3 (length)\n"));
  EXPECT_THAT(result.err, HasSubstr("2 texts, 2 at a time: 4 tokens"));
}

TEST_F(RunMany, SaysWhatIsWrongWithALine) {
  const auto error = [this](const std::string& lines) {
    return Error({"-f", Write(lines), "--parallel", "2"});
  };
  EXPECT_THAT(error("{\"prompt\": \"a\"}\nnot json\n"),
              HasSubstr("prompts.jsonl:2: expected a JSON object such as {\"prompt\": \"...\"}"));
  EXPECT_THAT(error("{\"prompt\": 5}"), HasSubstr(":1: \"prompt\": expected a text, got 5"));
  EXPECT_THAT(error("{\"prompt\": \"a\", \"tmp\": 1}"),
              HasSubstr(":1: expected only the fields prompt ids n temp"));
  EXPECT_THAT(error("{\"n\": 5}"), HasSubstr(":1: expected either \"prompt\" or \"ids\""));
  EXPECT_THAT(error("{\"prompt\": \"a\", \"n\": 1.5}"),
              HasSubstr(":1: \"n\": expected a whole number, got 1.5"));
  EXPECT_THAT(error("{\"prompt\": \"a\", \"n\": -7}"),
              HasSubstr("n: expected a number of tokens, or -1 for as many as fit, got -7"));
  EXPECT_THAT(error("{\"prompt\": \"a\", \"n\": 99999999999999999999}"),
              HasSubstr("\"n\": expected a whole number"));
  EXPECT_THAT(error("{\"ids\": [1, 512]}"), HasSubstr("line 1: --ids: token id 512"));
  EXPECT_THAT(error("{\"prompt\": \"a\", \"top_p\": \"x\"}"),
              HasSubstr("\"top_p\": expected a number, got \"x\""));
  EXPECT_THAT(error("{\"prompt\": \"a\", \"min_p\": 2}"), HasSubstr("line 1: sampling: min_p"));
  EXPECT_THAT(error("\n  \n"), HasSubstr("expected a JSON object a line, got nothing but"));
  EXPECT_THAT(Error({"-f", Write("{\"prompt\": \"a\"}"), "--parallel", "0"}),
              HasSubstr("--parallel: expected 1..4096, got 0"));
  EXPECT_THAT(Error({"-p", "a", "--n-best", "0"}), HasSubstr("--n-best: expected 1..4096, got 0"));
  EXPECT_THAT(Error({"--parallel", "2"}), HasSubstr("no prompt: give -f prompts.jsonl"));
}

TEST_F(RunMany, APlanForFewerSaysSo) {
  const std::string plan = folder_.path() + "/few.plan";
  ASSERT_EQ(Renga({"compile", StoryModel(), "--max-seqs", "2", "-o", plan}).exit_code, 0);
  const std::string path = Write("{\"prompt\": \"a\", \"n\": 1}");
  const ProcessResult result = Renga({"run", plan, "-f", path, "--parallel", "3"});
  EXPECT_EQ(result.exit_code, 2) << result.Describe();
  EXPECT_THAT(result.err, HasSubstr("sequences at a time: expected 1..2, got 3; compile for more "
                                    "with --max-seqs"));
  EXPECT_EQ(Renga({"run", plan, "-f", path, "--parallel", "2"}).exit_code, 0);
}

// Fewer pages than all need: some wait and are computed again, and nobody's text changes.
TEST_F(RunMany, FewPagesForMany) {
  std::string lines;
  for (int i = 0; i < 8; ++i) {
    lines += Json{{"prompt", kStarts[i % kStarts.size()]}, {"n", 120}, {"seed", i}}.dump() + "\n";
  }
  const std::string path = Write(lines);
  const std::vector<Json> alone = Objects({"-f", path, "-c", "192", "--ignore-eos"});
  const std::vector<Json> few =
      Objects({"-f", path, "-c", "192", "--ignore-eos", "--parallel", "8", "--kv-tokens", "512"});
  ASSERT_EQ(few.size(), 8u);
  for (size_t i = 0; i < few.size(); ++i) EXPECT_EQ(few[i]["ids"], alone[i]["ids"]) << i;
  EXPECT_THAT(Error({"-f", path, "-c", "192", "--parallel", "8", "--kv-tokens", "100"}),
              HasSubstr("--kv-tokens: expected at least the context of a sequence, 192 (-c), got "
                        "100"));
  const std::string plan = folder_.path() + "/few.plan";
  const ProcessResult compiled = Renga(
      {"compile", StoryModel(), "-c", "192", "--max-seqs", "8", "--kv-tokens", "500", "-o", plan});
  EXPECT_THAT(compiled.out + compiled.err, HasSubstr("(192 tokens x 8, 512 in all, f16)"));
}

}  // namespace
}  // namespace renga
