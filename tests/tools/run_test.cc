// renga run, as scripts and people use it. The two devices must write the recorded ids.
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "ir/base/strings.h"
#include "tests/tools/process.h"

namespace renga {
namespace {

using Json = nlohmann::json;

struct Record {
  std::string id, text, greedy_text;
  std::vector<int> prompt_ids, greedy_ids, argmax_at_prompt;
};

std::vector<Record> ReadRecords() {
  std::ifstream in(RENGA_SOURCE_DIR "/tests/data/reference/stories260K.exact.jsonl");
  std::vector<Record> records;
  for (std::string line; std::getline(in, line);) {
    const Json json = Json::parse(line);
    records.push_back({json["id"], json["text"], json["greedy_text"], json["prompt_ids"],
                       json["greedy_ids"], json["argmax_at_prompt"]});
  }
  return records;
}

Json Parsed(const ProcessResult& result) {
  EXPECT_EQ(result.exit_code, 0) << result.Describe();
  Json json = Json::parse(result.out, nullptr, /*allow_exceptions=*/false);
  EXPECT_TRUE(json.is_object()) << result.Describe();
  return json.is_object() ? json : Json::object();
}

std::vector<std::string> Greedy(const std::string& prompt, int tokens) {
  return {"run", StoryModel(), "-p", prompt, "-n", std::to_string(tokens), "--temp", "0"};
}

std::vector<std::string> With(std::vector<std::string> args, std::vector<std::string> more) {
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

void ExpectRecordedIds(const std::string& device) {
  const std::vector<Record> records = ReadRecords();
  ASSERT_EQ(records.size(), 5u);
  const TempFolder cache;
  for (const Record& record : records) {
    const Json json =
        Parsed(Renga(With(Greedy(record.text, static_cast<int>(record.greedy_ids.size())),
                          {"--ignore-eos", "--device", device, "--json"}),
                     {.cache = cache.path()}));
    EXPECT_EQ(json["prompt_ids"], record.prompt_ids) << record.id;
    EXPECT_EQ(json["ids"], record.greedy_ids) << record.id << " on " << device;
    EXPECT_EQ(json["text"], record.greedy_text) << record.id << " on " << device;
    EXPECT_EQ(json["finish_reason"], "length");
    EXPECT_EQ(json["device"], device);
  }
}

TEST(Run, ReferenceWritesTheRecordedIds) { ExpectRecordedIds("reference"); }
TEST(Run, CpuWritesTheRecordedIds) { ExpectRecordedIds("cpu"); }

TEST(Run, JsonHasTheDocumentedFields) {
  const Json json = Parsed(Renga(With(Greedy("Once upon a time", 4), {"--json", "--logits", "3"})));
  ASSERT_EQ(json["steps"].size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    const Json& step = json["steps"][i];
    EXPECT_EQ(step["id"], json["ids"][i]);
    EXPECT_LT(step["logprob"].get<double>(), 0);
    ASSERT_EQ(step["top"].size(), 3u);
    EXPECT_EQ(step["top"][0][0], json["ids"][i]) << "greedy is the largest logit";
    EXPECT_GE(step["top"][0][1].get<double>(), step["top"][1][1].get<double>());
  }
  const Json& timings = json["timings"];
  EXPECT_GT(timings["load_s"].get<double>(), 0);
  EXPECT_EQ(timings["prompt_tokens"], json["prompt_ids"].size());
  EXPECT_EQ(timings["decode_tokens"], 3) << "the first token comes with the prompt";
  EXPECT_GT(timings["prompt_tok_s"].get<double>(), 0);
  EXPECT_GT(timings["decode_tok_s"].get<double>(), 0);
  EXPECT_FALSE(json.contains("prompt_top"));
}

TEST(Run, NoTokensGiveTheLogitsOfThePrompt) {
  const Record record = ReadRecords()[0];
  const Json json = Parsed(Renga(With(Greedy(record.text, 0), {"--json", "--logits", "2"})));
  EXPECT_TRUE(json["ids"].empty());
  EXPECT_EQ(json["text"], "");
  EXPECT_EQ(json["finish_reason"], "length");
  ASSERT_EQ(json["prompt_top"].size(), record.prompt_ids.size());
  for (size_t i = 0; i < record.prompt_ids.size(); ++i) {
    ASSERT_EQ(json["prompt_top"][i].size(), 2u);
    EXPECT_EQ(json["prompt_top"][i][0][0], record.argmax_at_prompt[i]);
  }
}

TEST(Run, PeopleSeePromptAndContinuationOnStdoutAndTheRestOnStderr) {
  const ProcessResult result = Renga(Greedy("Once upon a time", 8));
  EXPECT_EQ(result.exit_code, 0) << result.Describe();
  EXPECT_EQ(result.out, "Once upon a time, there was a little girl\n") << result.Describe();
  EXPECT_NE(result.err.find("cpu, "), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("8 tokens, "), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("ended by length"), std::string::npos) << result.err;
  EXPECT_EQ(Renga(With(Greedy("Once upon a time", 8), {"--no-stream"})).out, result.out);
}

TEST(Run, StopStringsAreNotShown) {
  const Json json = Parsed(
      Renga(With(Greedy("Once upon a time", 64), {"--stop", "xyz", "--stop", "Lily", "--json"})));
  EXPECT_EQ(json["text"], ", there was a little girl named ");
  EXPECT_EQ(json["finish_reason"], "stop");
}

TEST(Run, PromptsComeFromFileStdinAndIds) {
  const TempFolder folder;
  const std::string file = folder.Write("prompt.txt", "Once upon a time");
  const Json expected = Parsed(Renga(With(Greedy("Once upon a time", 6), {"--json"})));
  const std::vector<std::string> rest = {"-n", "6", "--temp", "0", "--json"};
  const auto ids = [&](std::vector<std::string> prompt, const ProcessOptions& options = {}) {
    return Parsed(Renga(With(With({"run", StoryModel()}, prompt), rest), options))["ids"];
  };
  EXPECT_EQ(ids({"-f", file}), expected["ids"]);
  EXPECT_EQ(ids({"-f", "-"}, {.input = "Once upon a time"}), expected["ids"]);
  EXPECT_EQ(ids({"--ids", "1,403,407,261,378"}), expected["ids"]);
  EXPECT_EQ(Parsed(Renga(With({"run", "-m", StoryModel(), "-p", "Once upon a time"}, rest)))["ids"],
            expected["ids"]);
}

TEST(Run, TheSameSeedGivesTheSameText) {
  const std::vector<std::string> args = {"run", StoryModel(), "-p", "The", "-n", "24", "--json"};
  const Json first = Parsed(Renga(With(args, {"-s", "7"})));
  EXPECT_EQ(first["seed"], 7);
  EXPECT_EQ(Parsed(Renga(With(args, {"-s", "7"})))["ids"], first["ids"]);
  EXPECT_NE(Parsed(Renga(With(args, {"-s", "8"})))["ids"], first["ids"]);
  // A seed that was drawn is reported, and gives the same again.
  const Json drawn = Parsed(Renga(args));
  EXPECT_EQ(Parsed(Renga(With(args, {"-s", drawn["seed"].dump()})))["ids"], drawn["ids"]);
}

TEST(Run, SamplingFlagsReachTheSampler) {
  const std::vector<std::string> args = With(Greedy("Once upon a time", 1), {"--json"});
  EXPECT_EQ(Parsed(Renga(args))["ids"], Json({432}));
  EXPECT_EQ(Parsed(Renga(With(args, {"--logit-bias", "432=-inf"})))["ids"], Json({383}));
  EXPECT_EQ(Parsed(Renga(With(args, {"--logit-bias", "9=1000"})))["ids"], Json({9}));
  const std::vector<std::string> hot = {
      "run", StoryModel(), "-p", "Once upon a time", "-n", "16", "--temp", "5", "--json"};
  const Json greedy = Parsed(Renga(With(Greedy("Once upon a time", 16), {"--json"})));
  EXPECT_EQ(Parsed(Renga(With(hot, {"--top-k", "1"})))["ids"], greedy["ids"]);
  EXPECT_EQ(Parsed(Renga(With(hot, {"--top-p", "0.001"})))["ids"], greedy["ids"]);
}

TEST(Run, AnyBytesAreAPrompt) {
  for (const std::string prompt : {"\xff\xfe\x80 abc", "\xe2\x82", "\xed\xa0\x80"}) {
    const Json json = Parsed(Renga(With(Greedy(prompt, 4), {"--json"})));
    EXPECT_EQ(json["ids"].size(), 4u);
    const ProcessResult text = Renga(Greedy(prompt, 4));
    EXPECT_EQ(text.exit_code, 0) << text.Describe();
    EXPECT_EQ(text.out.substr(0, prompt.size()), prompt) << "the prompt's bytes as they are";
  }
  // NUL bytes, which no argument can hold.
  const Json json = Parsed(Renga({"run", StoryModel(), "-f", "-", "-n", "2", "--json"},
                                 {.input = std::string("a\0b", 3)}));
  EXPECT_EQ(json["ids"].size(), 2u);
}

TEST(Run, PromptsOfAnyLookAreTakenAsTheyAre) {
  for (const std::string prompt : {"-n", "--json", "[1,2]", "a,b", "\"q\"", "'", "{}", "%%"}) {
    const ProcessResult result = Renga(Greedy(prompt, 1));
    EXPECT_EQ(result.exit_code, 0) << result.Describe();
    EXPECT_EQ(result.out.substr(0, prompt.size()), prompt);
  }
}

TEST(Run, AnEmptyPromptIsBosAlone) {
  const Json json = Parsed(Renga(With(Greedy("", 2), {"--json"})));
  EXPECT_EQ(json["prompt_ids"], Json({1}));
}

TEST(Run, AFullContextEndsTheText) {
  const Json json = Parsed(Renga(With(Greedy("Once upon a time", -1), {"-c", "16", "--json"})));
  EXPECT_EQ(json["prompt_ids"].size(), 5u);
  EXPECT_EQ(json["ids"].size(), 12u) << "the last token need not fit";
  EXPECT_EQ(json["finish_reason"], "length");
}

TEST(Run, InterruptKeepsWhatIsThere) {
  const ProcessOptions interrupt = {.interrupt_on_output = true};
  const std::vector<std::string> args = {
      "run", StoryModel(), "-p",   "Once upon a time", "-n",        "-1",          "--temp",
      "0",   "-c",         "2000", "--device",         "reference", "--ignore-eos"};
  const ProcessResult result = Renga(args, interrupt);
  EXPECT_EQ(result.exit_code, 130) << result.Describe();
  EXPECT_EQ(result.out.substr(0, 16), "Once upon a time");
  EXPECT_EQ(result.out.back(), '\n');
  EXPECT_NE(result.err.find("ended by interrupted"), std::string::npos) << result.Describe();
  EXPECT_EQ(result.err.find("error"), std::string::npos) << result.Describe();
}

TEST(Run, InterruptedJsonIsWholeJson) {
  const ProcessResult result =
      Renga({"run", StoryModel(), "-p", "Once upon a time", "-n", "-1", "--temp", "0", "-c", "2000",
             "--device", "reference", "--ignore-eos", "--json"},
            {.interrupt_on_note = true});
  EXPECT_EQ(result.exit_code, 130) << result.Describe();
  const Json json = Json::parse(result.out, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(json.is_object()) << result.Describe();
  EXPECT_EQ(json["finish_reason"], "interrupted");
  EXPECT_LT(json["ids"].size(), 1900u);
}

TEST(Run, APlanWritesWhatItsGgufWrites) {
  const TempFolder folder;
  const std::string plan = folder.File("m.plan");
  ASSERT_EQ(Renga({"compile", StoryModel(), "-o", plan}).exit_code, 0);
  const Json expected = Parsed(Renga(With(Greedy("Once upon a time", 32), {"--json"})));
  const auto ids = [&](std::vector<std::string> more) {
    return Parsed(
        Renga(With({"run", plan, "-p", "Once upon a time", "-n", "32", "--temp", "0", "--json"},
                   more)))["ids"];
  };
  EXPECT_EQ(ids({}), expected["ids"]);
  EXPECT_EQ(ids({"--device", "reference"}), expected["ids"]);
  EXPECT_EQ(ids({"-c", "64"}), expected["ids"]);
  // Shorter than the plan's context is a limit, longer cannot be.
  const ProcessResult longer = Renga({"run", plan, "-p", "a", "-c", "100000"});
  EXPECT_TRUE(longer.IsCleanError(2)) << longer.Describe();
}

TEST(Run, ACachedPlanIsUsedAgain) {
  const TempFolder cache;
  const std::vector<std::string> args = With(Greedy("Once", 4), {"--json"});
  const Json first = Parsed(Renga(args, {.cache = cache.path()}));
  const Json devices = Parsed(Renga({"devices", "--json"}, {.cache = cache.path()}));
  EXPECT_EQ(devices["plans"]["count"], 1);
  EXPECT_EQ(Parsed(Renga(args, {.cache = cache.path()}))["ids"], first["ids"]);
}

TEST(Run, APromptCacheKeepsWhatWasComputed) {
  const TempFolder folder;
  const std::string file = folder.path() + "/story.kv";
  std::string story;
  for (int i = 0; i < 10; ++i) story += "Once upon a time there was a little dog. ";
  const auto run = [&](const std::string& end, const std::string& device = "cpu") {
    return Renga(
        With(Greedy(story + end, 6), {"--json", "--device", device, "--prompt-cache", file}));
  };
  const Json alone = Parsed(Renga(With(Greedy(story + "He", 6), {"--json", "--device", "cpu"})));
  const ProcessResult first = run("He");
  EXPECT_NE(first.err.find("0 of 112 tokens were in it; wrote "), std::string::npos) << first.err;
  const Json again = Parsed(run("He")), other = Parsed(run("She"));
  EXPECT_EQ(Parsed(first)["ids"], alone["ids"]);
  EXPECT_EQ(again["ids"], alone["ids"]);
  EXPECT_NE(other["ids"], alone["ids"]);
  for (const Json& json : {again, other}) {
    EXPECT_EQ(json["timings"]["reused_tokens"], 64);
    EXPECT_EQ(json["timings"]["prompt_tokens"], json["prompt_ids"].size() - 64);
  }
  // Longer ones make it grow, others leave it alone.
  EXPECT_NE(run(story).err.find("64 of "), std::string::npos);
  EXPECT_EQ(Parsed(run(story))["timings"]["reused_tokens"], 192);
  const ProcessResult another =
      Renga(With(Greedy("The dog", 2), {"--device", "cpu", "--prompt-cache", file}));
  EXPECT_NE(another.err.find("it is of another prompt and stays so"), std::string::npos);
  EXPECT_EQ(Parsed(run(story))["timings"]["reused_tokens"], 192);

  const ProcessResult reference = run("He", "reference");
  EXPECT_TRUE(reference.IsCleanError(2)) << reference.Describe();
  EXPECT_NE(reference.err.find("of another model, or compiled otherwise"), std::string::npos);
  std::filesystem::resize_file(file, 1000);
  const ProcessResult damaged = run("He");
  EXPECT_TRUE(damaged.IsCleanError(2)) << damaged.Describe();
  EXPECT_NE(damaged.err.find("damaged: its digest is not that of its content; name another file, "
                             "or delete this one"),
            std::string::npos)
      << damaged.err;
}

TEST(Run, AFullContextCanShift) {
  const Json json =
      Parsed(Renga({"run", StoryModel(), "-p", "Once upon a time", "-n", "100", "-c", "64",
                    "--temp", "0", "--ignore-eos", "--shift", "--json", "--device", "cpu"}));
  EXPECT_EQ(json["ids"].size(), 100u);
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_GE(json["timings"]["shifts"], 1);
  const ProcessResult longer = Renga(
      {"run", StoryModel(), "-p", "Once upon a time", "-c", "6", "--shift", "--device", "cpu"});
  EXPECT_EQ(longer.exit_code, 2);
  EXPECT_NE(
      longer.err.find("shift: expected a prompt of at most half the context, 3 tokens, got 5"),
      std::string::npos)
      << longer.err;
}

}  // namespace
}  // namespace renga
