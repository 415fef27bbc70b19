// renga bench MODEL: how fast it reads prompts and decodes, beside what the device allows.
#include <algorithm>
#include <cstdio>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ir/base/status.h"
#include "tools/device_rates.h"
#include "tools/measure_speed.h"
#include "tools/open_model.h"
#include "tools/renga/bench_report.h"
#include "tools/renga/command.h"
#include "tools/renga/model_flags.h"
#include "tools/renga/output.h"
#include "tools/renga/progress.h"
#include "tools/step_cost.h"

namespace renga {
namespace {

constexpr int kMaxRepetitions = 1000;

struct Flags {
  ModelFlags model;
  std::vector<int64_t> prompts = {512};
  std::vector<int64_t> decodes = {128};
  std::vector<int64_t> depths = {0};
  std::vector<int64_t> sequences = {1};
  int repetitions = 5;
  bool json = false;
};

struct Test {
  std::string name;
  TestKind kind;
  int64_t depth = 0;
  int64_t tokens = 0;
};

absl::Status CheckAtLeast(const std::vector<int64_t>& numbers, int64_t least, std::string_view flag,
                          std::string_view what) {
  for (int64_t number : numbers) {
    // The flag parser turns numbers too large for it into the largest.
    if (number >= least && number <= std::numeric_limits<int32_t>::max()) continue;
    return absl::InvalidArgumentError(
        StrCat(flag, ": expected ", least, " or more ", what, ", got ", number));
  }
  return absl::OkStatus();
}

absl::Status CheckFlags(const Flags& flags) {
  RENGA_RETURN_IF_ERROR(CheckAtLeast(flags.prompts, 1, "-p", "tokens of a prompt"));
  RENGA_RETURN_IF_ERROR(CheckAtLeast(flags.decodes, 1, "-n", "tokens to decode"));
  RENGA_RETURN_IF_ERROR(CheckAtLeast(flags.depths, 0, "-d", "tokens before the first"));
  for (int64_t count : flags.sequences) {
    if (count == 1) continue;
    return absl::InvalidArgumentError(
        StrCat("-b: expected 1, as this version decodes one sequence at a time, got ", count));
  }
  if (flags.repetitions >= 1 && flags.repetitions <= kMaxRepetitions) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat("-r: expected 1..", kMaxRepetitions, " repetitions, got ", flags.repetitions));
}

std::vector<Test> TestsOf(const Flags& flags) {
  std::vector<Test> tests;
  for (int64_t tokens : flags.prompts) {
    tests.push_back({StrCat("pp", tokens), TestKind::kPrompt, 0, tokens});
  }
  for (int64_t depth : flags.depths) {
    for (int64_t tokens : flags.decodes) {
      std::string name = StrCat("tg", tokens);
      if (depth > 0) StrAppend(&name, "@", depth);
      tests.push_back({std::move(name), TestKind::kDecode, depth, tokens});
    }
  }
  return tests;
}

absl::Status CheckContext(const std::vector<Test>& tests, int64_t context,
                          const std::string& model) {
  for (const Test& test : tests) {
    const int64_t needs = test.depth + test.tokens;
    if (needs <= context) continue;
    return absl::InvalidArgumentError(
        StrCat(test.kind == TestKind::kPrompt ? "-p: "
               : test.depth > 0               ? "-d: "
                                              : "-n: ",
               test.name, ": expected at most ", context, " tokens in all, the context of ", model,
               ", got ", needs, "; ask for fewer, or for a larger context with -c ", needs));
  }
  return absl::OkStatus();
}

absl::StatusOr<BenchRow> RunTest(const Test& test, const Flags& flags, const StepCosts& costs,
                                 Forward& forward) {
  Progress progress(StrCat("measuring ", test.name));
  SpeedOptions options;
  options.repetitions = flags.repetitions;
  options.on_repetition = [&](int64_t done, int64_t total) { progress.Update(done, total); };
  BenchRow row;
  row.test = test.name;
  if (test.kind == TestKind::kPrompt) {
    row.token_cost = costs.PromptCost(0, test.tokens, forward.max_step_tokens());
    RENGA_ASSIGN_OR_RETURN(row.speed, MeasurePrompt(forward, test.tokens, options));
  } else {
    row.token_cost = costs.DecodeCost(test.depth, test.tokens);
    RENGA_ASSIGN_OR_RETURN(row.speed, MeasureDecode(forward, test.depth, test.tokens, options));
  }
  row.token_cost.bytes /= static_cast<double>(test.tokens);
  row.token_cost.flops /= static_cast<double>(test.tokens);
  return row;
}

absl::Status Run(const Flags& flags) {
  RENGA_RETURN_IF_ERROR(CheckFlags(flags));
  RENGA_ASSIGN_OR_RETURN(OpenOptions open, flags.model.Options());
  Progress loading(StrCat("loading ", flags.model.model));
  open.progress = [&loading](int64_t done, int64_t total) { loading.Update(done, total); };
  RENGA_ASSIGN_OR_RETURN(OpenedModel model, OpenModel(flags.model.model, open));
  loading.Stop();
  Forward& forward = *model.forward;
  RENGA_ASSIGN_OR_RETURN(const int64_t context, flags.model.Context(*model.plan.plan));
  const std::vector<Test> tests = TestsOf(flags);
  RENGA_RETURN_IF_ERROR(CheckContext(tests, context, flags.model.model));
  RENGA_ASSIGN_OR_RETURN(const StepCosts costs, StepCosts::Of(*model.plan.plan));
  fprintf(stderr, "%s\n", model.device_note.c_str());

  const int threads = flags.model.threads > 0
                          ? flags.model.threads
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  BenchReport report;
  report.model = flags.model.model;
  report.device = std::string(forward.device());
  report.repetitions = flags.repetitions;
  report.rates = RatesOf(forward.device(), threads);
  for (const Test& test : tests) {
    RENGA_ASSIGN_OR_RETURN(BenchRow row, RunTest(test, flags, costs, forward));
    report.rows.push_back(std::move(row));
  }
  // What is measured suffers where other programs use the memory, so the better of two counts.
  const DeviceRates after = RatesOf(forward.device(), threads);
  if (after.bytes_per_second > report.rates.bytes_per_second) report.rates = after;
  for (size_t i = 0; i < tests.size(); ++i) {
    BenchRow& row = report.rows[i];
    row.bound = BoundOf(tests[i].kind, row.token_cost, report.rates);
  }
  return WriteStdout(flags.json ? JsonText(ToJson(report)) : ToText(report));
}

void AddNumbers(CLI::App& app, const std::string& names, std::vector<int64_t>* numbers,
                const std::string& help) {
  app.add_option(names, *numbers, help)->delimiter(',')->allow_extra_args(false);
}

RunFn Add(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  AddModelFlags(app, &flags->model);
  AddDeviceFlags(app, &flags->model);
  AddNumbers(app, "-p,--prompt", &flags->prompts, "tokens of the prompts to read (default 512)");
  AddNumbers(app, "-n,--predict", &flags->decodes, "tokens to decode (default 128)");
  AddNumbers(app, "-d,--depth", &flags->depths,
             "tokens that the sequence has before the first decoded one (default 0): 0,1024");
  AddNumbers(app, "-b,--batch", &flags->sequences, "sequences at once; only 1 (default 1)");
  app.add_option("-r,--repetitions", flags->repetitions,
                 "times to repeat a test, after once without measuring (default 5)");
  app.add_flag("--json", flags->json,
               "one JSON object: model, device, repetitions, rates, rows[{test, tok_s, stdev, "
               "bytes, flops, bound_tok_s, percent_of_bound}], bytes and flops of one token");
  return [flags] { return Run(*flags); };
}

}  // namespace

const Command kBenchCommand = {
    .name = "bench",
    .summary = "measures the speed of reading a prompt and of decoding, beside their bound",
    .examples =
        "  renga bench model.gguf -p 512,2048 -n 128 -d 0,1024\n"
        "  renga bench model.plan -r 3 --json                   # for scripts",
    .add = Add,
};

}  // namespace renga
