// renga bench: the rows that scripts rely on, and what it refuses.
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/tools/process.h"
#include "tools/device_rates.h"

namespace renga {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> Bench(std::vector<std::string> more) {
  more.insert(more.begin(), {"bench", StoryModel()});
  return more;
}

TEST(Bench, JsonHasTheDocumentedRows) {
  const ProcessResult result =
      Renga(Bench({"-p", "9,16", "-n", "4", "-d", "0,100", "-r", "2", "-c", "128", "--json"}));
  ASSERT_EQ(result.exit_code, 0) << result.Describe();
  const Json json = Json::parse(result.out, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(json.is_object()) << result.out;
  EXPECT_EQ(json["device"], "cpu");
  EXPECT_EQ(json["repetitions"], 2);
  const double bytes_s = json["rates"]["bytes_s"];
  EXPECT_GT(bytes_s, 1e8);
  EXPECT_TRUE(json["rates"]["flops_s"].is_null());
  std::vector<std::string> tests;
  for (const Json& row : json["rows"]) {
    tests.push_back(row["test"]);
    std::set<std::string> keys;
    for (const auto& [key, value] : row.items()) keys.insert(key);
    EXPECT_EQ(keys, (std::set<std::string>{"test", "tok_s", "stdev", "bytes", "flops",
                                           "bound_tok_s", "percent_of_bound"}));
    EXPECT_GT(row["tok_s"], 0);
    EXPECT_GE(row["stdev"], 0);
  }
  EXPECT_THAT(tests, ElementsAre("pp9", "pp16", "tg4", "tg4@100"));
  // Nobody measured the cpu's arithmetic, which is what bounds a prompt.
  EXPECT_TRUE(json["rows"][0]["bound_tok_s"].is_null());
  EXPECT_TRUE(json["rows"][0]["percent_of_bound"].is_null());
  const Json& decode = json["rows"][2];
  // 260,032 weights, a row of the embedding, and on average 2.5 keys of 5 layers (step_cost_test).
  EXPECT_EQ(decode["bytes"], 260032 * 4 + 256 + 640 * 5 / 2);
  EXPECT_EQ(json["rows"][3]["bytes"], decode["bytes"].get<int64_t>() + 100 * 640);
  const double bound = decode["bound_tok_s"];
  EXPECT_NEAR(bound, bytes_s / decode["bytes"].get<double>(), 1e-9 * bound);
  EXPECT_NEAR(decode["percent_of_bound"].get<double>(), 100 * decode["tok_s"].get<double>() / bound,
              1e-6);
}

TEST(Bench, ManySequencesHaveRowsOfTheirOwn) {
  const ProcessResult result = Renga(Bench({"-p", "9", "-n", "4", "-d", "0,100", "-b", "1,3", "-r",
                                            "1", "-c", "128", "--serve", "70,5", "--json"}));
  ASSERT_EQ(result.exit_code, 0) << result.Describe();
  const Json json = Json::parse(result.out, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(json.is_object()) << result.out;
  std::vector<std::string> tests;
  for (const Json& row : json["rows"]) {
    tests.push_back(row["test"]);
    const std::string name = row["test"];
    EXPECT_GT(row["tok_s"], 0) << name;
    EXPECT_GT(row["flops"], 0) << name;
    EXPECT_EQ(row.contains("host_percent"), name.starts_with("serve")) << name;
  }
  ASSERT_THAT(tests, ElementsAre("pp9", "tg4", "tg4@100", "serve70+5", "pp9x3", "tg4x3",
                                 "tg4x3@100", "serve70+5x3"));
  const Json& one = json["rows"][1];
  const Json& three = json["rows"][5];
  // Weights are read once for three tokens, keys and the embedding's row for each.
  EXPECT_EQ(one["bytes"], 260032 * 4 + 256 + 640 * 5 / 2);
  EXPECT_EQ(three["bytes"], std::llround(260032 * 4 / 3.0) + 256 + 640 * 5 / 2);
  EXPECT_EQ(three["flops"], one["flops"]);
  const double bytes_s = json["rates"]["bytes_s"], bound = three["bound_tok_s"];
  EXPECT_NEAR(bound, bytes_s / three["bytes"].get<double>(), 1e-5 * bound);
  EXPECT_EQ(json["rows"][6]["bytes"], three["bytes"].get<int64_t>() + 100 * 640);
  // 70 tokens of a prompt and 4 fed back, each with its products, for 5 generated ones; logits of
  // 5. A prompt makes a bound need the cpu's arithmetic, which nobody has measured.
  const Json& serve = json["rows"][7];
  const double layers = 5 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 172 * 64), head = 512 * 64;
  EXPECT_EQ(serve["flops"],
            std::llround((2 * (74 * layers + 5 * head) + 74 * 75 / 2 * 1280.0) / 5));
  EXPECT_TRUE(serve["bound_tok_s"].is_null());
  EXPECT_GT(serve["host_percent"], 0);
  EXPECT_LT(serve["host_percent"], 100);
}

TEST(Bench, ServingAloneIsATableOfItsOwn) {
  const ProcessResult result = Renga(Bench({"--serve", "8,4", "-b", "2", "-r", "1"}));
  ASSERT_EQ(result.exit_code, 0) << result.Describe();
  EXPECT_THAT(result.out, HasSubstr("  % of bound  host %\nserve8+4x2  "));
  EXPECT_THAT(result.out, Not(HasSubstr("\npp")));
  EXPECT_THAT(result.out, Not(HasSubstr("\ntg")));
}

TEST(Bench, APlanMustBeMadeForAsManySequences) {
  const TempFolder folder;
  const std::string plan = folder.File("four.plan");
  const ProcessResult compiled =
      Renga({"compile", StoryModel(), "-o", plan, "--max-seqs", "4", "-c", "64"});
  ASSERT_EQ(compiled.exit_code, 0) << compiled.Describe();
  const auto bench = [&](const char* sequences) {
    return Renga({"bench", plan, "-p", "4", "-n", "2", "-r", "1", "-b", sequences});
  };
  const ProcessResult fits = bench("4");
  EXPECT_EQ(fits.exit_code, 0) << fits.Describe();
  EXPECT_THAT(fits.out, HasSubstr("\ntg2x4 "));
  const ProcessResult beyond = bench("1,5");
  EXPECT_TRUE(beyond.IsCleanError(2)) << beyond.Describe();
  EXPECT_THAT(beyond.err, HasSubstr("-b 5: "));
  EXPECT_THAT(beyond.err, HasSubstr("got one for at most 4 sequences"));
  EXPECT_THAT(beyond.err, HasSubstr("stories260K.gguf --max-seqs 5 -o X.plan"));
}

TEST(Bench, SamplingIsMeasuredBesideGreedyDecoding) {
  const ProcessResult json_run =
      Renga(Bench({"-p", "9", "-n", "4", "-b", "1,2", "--temp", "0.8", "-c", "64", "--json"}));
  ASSERT_EQ(json_run.exit_code, 0) << json_run.Describe();
  const Json json = Json::parse(json_run.out, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(json.is_object()) << json_run.out;
  std::vector<std::string> tests;
  for (const Json& row : json["rows"]) tests.push_back(row["test"]);
  ASSERT_THAT(tests, ElementsAre("pp9", "tg4", "tg4 sampled", "pp9x2", "tg4x2", "tg4x2 sampled"));
  for (const size_t sampled : {2, 5}) {
    const Json& row = json["rows"][sampled];
    const double sequences = sampled == 2 ? 1 : 2;
    const double seconds = sequences / row["tok_s"].get<double>() -
                           sequences / json["rows"][sampled - 1]["tok_s"].get<double>();
    EXPECT_NEAR(row["sampling_us"].get<double>(), 1e6 * seconds, 1e-3);
    EXPECT_FALSE(json["rows"][sampled - 1].contains("sampling_us"));
  }
  const ProcessResult text = Renga(Bench({"-p", "9", "-n", "2", "-r", "1", "--top-k", "5"}));
  ASSERT_EQ(text.exit_code, 0) << text.Describe();
  EXPECT_THAT(text.out, HasSubstr("\ntg2 sampled "));
  EXPECT_THAT(text.out, HasSubstr("\ntg2 sampled: sampling adds "));
  const ProcessResult wrong = Renga(Bench({"-n", "2", "-r", "1", "--min-p", "2"}));
  EXPECT_EQ(wrong.exit_code, 2) << wrong.Describe();
  EXPECT_THAT(wrong.err, HasSubstr("min_p: expected at most 1, got 2"));
}

TEST(Bench, PeopleGetATable) {
  const ProcessResult result = Renga(Bench({"-p", "8", "-n", "2", "-r", "1", "-t", "1"}));
  ASSERT_EQ(result.exit_code, 0) << result.Describe();
  EXPECT_THAT(result.out, HasSubstr(", cpu, median of 1\n"));
  EXPECT_THAT(result.out, HasSubstr(" GB/s; measured now: 1 thread reading 512 MiB"));
  EXPECT_THAT(result.out, HasSubstr("\ntest  "));
  EXPECT_THAT(result.out, HasSubstr("\npp8 "));
  EXPECT_THAT(result.out, HasSubstr("\ntg2 "));
  EXPECT_THAT(result.err, HasSubstr("cpu, 1 thread"));
}

TEST(Bench, TheReferenceHasNoBound) {
  const ProcessResult result =
      Renga(Bench({"-p", "2", "-n", "1", "-r", "1", "-c", "64", "--device", "reference"}));
  ASSERT_EQ(result.exit_code, 0) << result.Describe();
  EXPECT_THAT(result.out, HasSubstr("rates   none: nobody has measured reference"));
  EXPECT_THAT(result.out, HasSubstr(" -  "));
}

TEST(Bench, RefusesWhatItCannotMeasure) {
  const auto expect_error = [](std::vector<std::string> flags, int code, const char* says) {
    const ProcessResult result = Renga(Bench(std::move(flags)));
    EXPECT_TRUE(result.IsCleanError(code)) << result.Describe();
    EXPECT_THAT(result.err, HasSubstr(says));
    EXPECT_LT(result.cpu_seconds, 2) << "wrong flags are found before anything is measured";
  };
  expect_error({"-p", "0"}, 2, "-p: expected 1 or more tokens of a prompt, got 0");
  expect_error({"-p", "8,-1"}, 2, "-p: expected 1 or more");
  expect_error({"-p", "99999999999999999999"}, 2, "-p");
  expect_error({"-p", "many"}, 2, "many");
  expect_error({"-n", "0"}, 2, "-n: expected 1 or more tokens to decode, got 0");
  expect_error({"-d", "-3"}, 2, "-d: expected 0 or more");
  expect_error({"-b", "0"}, 2, "-b: expected 1..4096 sequences at a time, got 0");
  expect_error({"-b", "1,4097"}, 2, "-b: expected 1..4096 sequences at a time, got 4097");
  expect_error({"-b", "eight"}, 2, "eight");
  expect_error({"-b", "8", "--max-seqs", "4"}, 2, "got one for at most 4 sequences");
  expect_error({"-b", "8", "--max-step", "4"}, 2, "8 sequences, 4 tokens and 4 rows");
  expect_error({"--serve", "8"}, 2, "--serve: expected the tokens of a prompt and those to");
  expect_error({"--serve", "8,0"}, 2, "--serve: expected 1 or more tokens");
  expect_error({"--serve", "8,8", "-d", "4"}, 2, "-d: expected -n beside it");
  expect_error({"--serve", "60,8", "-c", "64", "-b", "2"}, 2,
               "--serve: serve60+8x2: expected at most 64 tokens in all");
  expect_error({"-p", "8", "-n", "60", "-d", "5", "-b", "2", "-c", "64"}, 2,
               "-d: tg60x2@5: expected at most 64 tokens in all");
  expect_error({"-r", "0"}, 2, "-r: expected 1..1000 repetitions, got 0");
  expect_error({"-p", "100", "-c", "64"}, 2, "-p: pp100: expected at most 64 tokens in all");
  expect_error({"-p", "8", "-n", "100", "-c", "64"}, 2, "-n: tg100: expected at most 64");
  expect_error({"-d", "2000"}, 2,
               "-d: tg128@2000: expected at most 2048 tokens in all, the context of ");
  expect_error({"-d", "2000"}, 2, "-c 2128");
  expect_error({"--device", "cuda"}, 3, "cuda");
}

TEST(DeviceRates, GpusAreKnownByTheirWholeName) {
  const DeviceRates known = RatesOf("cuda:1 H100 80GB HBM3", 1);
  EXPECT_EQ(known.bytes_per_second, 3.0e12);
  EXPECT_EQ(known.flops_per_second, 798e12);
  EXPECT_THAT(known.source, HasSubstr("measured"));
  for (const char* other : {"cuda:0 H100 PCIe", "cuda:0", "reference"}) {
    const DeviceRates unknown = RatesOf(other, 1);
    EXPECT_FALSE(unknown.bytes_per_second.has_value()) << other;
    EXPECT_FALSE(unknown.flops_per_second.has_value()) << other;
    EXPECT_THAT(unknown.source, HasSubstr(other));
  }
}

TEST(DeviceRates, TheSlowerOfReadingAndComputingIsTheBound) {
  const DeviceRates both = {.bytes_per_second = 1000, .flops_per_second = 4000};
  const DeviceRates reading = {.bytes_per_second = 1000};
  const StepCost reads = {.bytes = 100, .flops = 40}, computes = {.bytes = 1, .flops = 40};
  EXPECT_DOUBLE_EQ(*BoundOf(TestKind::kDecode, reads, both), 10);
  EXPECT_DOUBLE_EQ(*BoundOf(TestKind::kPrompt, reads, both), 10);
  EXPECT_DOUBLE_EQ(*BoundOf(TestKind::kDecode, computes, both), 100);
  EXPECT_DOUBLE_EQ(*BoundOf(TestKind::kPrompt, computes, both), 100);
  EXPECT_DOUBLE_EQ(*BoundOf(TestKind::kDecode, reads, reading), 10);
  EXPECT_FALSE(BoundOf(TestKind::kPrompt, reads, reading).has_value());
  EXPECT_FALSE(BoundOf(TestKind::kServing, reads, reading).has_value());
  EXPECT_DOUBLE_EQ(*BoundOf(TestKind::kServing, computes, both), 100);
  EXPECT_FALSE(BoundOf(TestKind::kDecode, reads, {}).has_value());
}

}  // namespace
}  // namespace renga
