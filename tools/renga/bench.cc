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
#include "tools/renga/sampling_flags.h"
#include "tools/renga/timeline_report.h"
#include "tools/sequence_group.h"
#include "tools/step_cost.h"

namespace renga {
namespace {

constexpr int kMaxRepetitions = 1000;
constexpr int64_t kMaxSequences = 4096;  // as --max-seqs

struct Flags {
  ModelFlags model;
  // Empty where not given; see WithDefaults.
  std::vector<int64_t> prompts, decodes, depths;
  std::vector<int64_t> serving;  // tokens of a prompt, tokens generated
  std::vector<int64_t> sequences = {1};
  int repetitions = 5;
  std::string timeline;  // file; empty: none
  bool json = false;
  SamplingFlags sampling;
  std::vector<const CLI::Option*> sampling_options;

  // Whoever asks for any of them wants to know what sampling takes.
  bool samples() const {
    return std::any_of(sampling_options.begin(), sampling_options.end(),
                       [](const CLI::Option* option) { return option->count() > 0; });
  }
};

// Who asks for serving alone gets that alone.
Flags WithDefaults(Flags flags) {
  if (flags.serving.empty()) {
    if (flags.prompts.empty()) flags.prompts = {512};
    if (flags.decodes.empty()) flags.decodes = {128};
  }
  if (flags.depths.empty()) flags.depths = {0};
  return flags;
}

struct Test {
  std::string name;
  TestKind kind;
  int64_t sequences = 1;
  int64_t depth = 0;   // tokens before those that count: of serving, the prompt
  int64_t tokens = 0;  // of each sequence
  bool sampled = false;
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
  RENGA_RETURN_IF_ERROR(
      CheckAtLeast(flags.serving, 1, "--serve", "tokens of a prompt and to generate"));
  if (!flags.serving.empty() && flags.serving.size() != 2) {
    return absl::InvalidArgumentError(
        StrCat("--serve: expected the tokens of a prompt and those to generate, as 256,64, got ",
               flags.serving.size(), flags.serving.size() == 1 ? " number" : " numbers"));
  }
  if (!flags.depths.empty() && !flags.serving.empty() && flags.decodes.empty()) {
    return absl::InvalidArgumentError(
        "-d: expected -n beside it, as --serve without -n decodes nothing behind a depth");
  }
  for (int64_t count : flags.sequences) {
    if (count >= 1 && count <= kMaxSequences) continue;
    return absl::InvalidArgumentError(
        StrCat("-b: expected 1..", kMaxSequences, " sequences at a time, got ", count));
  }
  if (flags.repetitions >= 1 && flags.repetitions <= kMaxRepetitions) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat("-r: expected 1..", kMaxRepetitions, " repetitions, got ", flags.repetitions));
}

// "pp512", "tg128", "tg128@1024", "serve256+64"; of many sequences "pp512x8", "tg128x8@1024"; not
// greedy "tg128 sampled".
std::string NameOf(const Test& test) {
  std::string name = test.kind == TestKind::kPrompt ? StrCat("pp", test.tokens)
                     : test.kind == TestKind::kDecode
                         ? StrCat("tg", test.tokens)
                         : StrCat("serve", test.depth, "+", test.tokens);
  if (test.sequences > 1) StrAppend(&name, "x", test.sequences);
  if (test.kind == TestKind::kDecode && test.depth > 0) StrAppend(&name, "@", test.depth);
  if (test.sampled) name += " sampled";
  return name;
}

std::vector<Test> TestsOf(const Flags& flags) {
  std::vector<Test> tests;
  const auto add = [&tests](TestKind kind, int64_t sequences, int64_t depth, int64_t tokens,
                            bool sampled = false) {
    Test test = {"", kind, sequences, depth, tokens, sampled};
    test.name = NameOf(test);
    tests.push_back(std::move(test));
  };
  for (int64_t sequences : flags.sequences) {
    for (int64_t tokens : flags.prompts) add(TestKind::kPrompt, sequences, 0, tokens);
    for (int64_t depth : flags.depths) {
      for (int64_t tokens : flags.decodes) {
        add(TestKind::kDecode, sequences, depth, tokens);
        if (flags.samples()) add(TestKind::kDecode, sequences, depth, tokens, /*sampled=*/true);
      }
    }
    if (flags.serving.empty()) continue;
    add(TestKind::kServing, sequences, flags.serving[0], flags.serving[1]);
  }
  return tests;
}

// Before anything is measured: a test that cannot be run is no reason to wait for the others.
absl::Status CheckTests(const std::vector<Test>& tests, int64_t context, const plan::Plan& plan,
                        const std::string& model) {
  for (const Test& test : tests) {
    const int64_t needs = test.depth + test.tokens;
    if (needs > context) {
      return absl::InvalidArgumentError(StrCat(
          test.kind == TestKind::kPrompt    ? "-p: "
          : test.kind == TestKind::kServing ? "--serve: "
          : test.depth > 0                  ? "-d: "
                                            : "-n: ",
          test.name, ": expected at most ", context, " tokens in all, the context of ", model,
          ", got ", needs, "; ask for fewer, or for a larger context with -c ", needs));
    }
    const absl::Status fits = test.kind == TestKind::kServing
                                  ? CheckStepTakes(plan, test.sequences, needs)
                                  : CheckGroupFits(plan, test.sequences, needs);
    RENGA_RETURN_IF_ERROR(Annotate(fits, StrCat("-b ", test.sequences, ": ", model)));
  }
  return absl::OkStatus();
}

absl::StatusOr<Measured> Measure(const Test& test, const SpeedOptions& options,
                                 StepRunner& runner) {
  if (test.kind == TestKind::kPrompt) {
    return MeasurePrompt(runner, test.sequences, test.tokens, options);
  }
  if (test.kind == TestKind::kDecode) {
    return MeasureDecode(runner, test.sequences, test.depth, test.tokens, options);
  }
  return MeasureServing(runner, test.sequences, test.depth, test.tokens, options);
}

absl::StatusOr<BenchRow> RunTest(const Test& test, const Flags& flags, const StepCosts& costs,
                                 StepRunner& runner, Timeline* timeline) {
  Progress progress(StrCat("measuring ", test.name));
  SpeedOptions options;
  options.repetitions = flags.repetitions;
  options.costs = &costs;
  if (test.sampled) {
    RENGA_ASSIGN_OR_RETURN(options.sampling, flags.sampling.Params(runner.plan().model.vocab));
  }
  options.timeline = timeline;
  options.on_repetition = [&](int64_t done, int64_t total) { progress.Update(done, total); };
  RENGA_ASSIGN_OR_RETURN(const Measured measured, Measure(test, options, runner));
  BenchRow row;
  row.test = test.name;
  row.speed = measured.speed;
  row.token_cost = measured.cost;
  const double tokens = static_cast<double>(test.sequences * test.tokens);
  row.token_cost.bytes /= tokens;
  row.token_cost.flops /= tokens;
  if (test.kind == TestKind::kServing) row.host_share = measured.host_share;
  return row;
}

absl::Status Run(const Flags& given) {
  RENGA_RETURN_IF_ERROR(CheckFlags(given));
  const Flags flags = WithDefaults(given);
  RENGA_ASSIGN_OR_RETURN(OpenOptions open, flags.model.Options());
  if (!flags.model.compile.max_sequences) {  // which a plan has already
    open.compile.max_sequences = *std::max_element(flags.sequences.begin(), flags.sequences.end());
  }
  Timeline timeline;
  if (!flags.timeline.empty()) open.timeline = &timeline;
  Progress loading(StrCat("loading ", flags.model.model));
  open.progress = [&loading](int64_t done, int64_t total) { loading.Update(done, total); };
  RENGA_ASSIGN_OR_RETURN(RunnableModel model, OpenToRun(flags.model.model, open));
  loading.Stop();
  StepRunner& runner = *model.runner;
  RENGA_ASSIGN_OR_RETURN(const int64_t context, flags.model.Context(runner.plan()));
  const std::vector<Test> tests = TestsOf(flags);
  RENGA_RETURN_IF_ERROR(CheckTests(tests, context, runner.plan(), flags.model.model));
  RENGA_ASSIGN_OR_RETURN(const StepCosts costs, StepCosts::Of(runner.plan()));
  fprintf(stderr, "%s\n", model.device_note.c_str());

  const int threads = flags.model.threads > 0
                          ? flags.model.threads
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  BenchReport report;
  report.model = flags.model.model;
  report.device = std::string(runner.device());
  report.repetitions = flags.repetitions;
  report.rates = RatesOf(runner.device(), threads);
  timeline.Begin();
  for (const Test& test : tests) {
    RENGA_ASSIGN_OR_RETURN(BenchRow row, RunTest(test, flags, costs, runner, open.timeline));
    if (test.sampled) {
      row.sampling_seconds = static_cast<double>(test.sequences) *
                             (1 / row.speed.median - 1 / report.rows.back().speed.median);
    }
    report.rows.push_back(std::move(row));
  }
  timeline.End();
  if (open.timeline != nullptr) {
    model.runner = nullptr;  // the device then says what it did
    report.timeline = Summarize(timeline);
    RENGA_RETURN_IF_ERROR(WriteTimeline(flags.timeline, timeline, report.device));
  }
  // What is measured suffers where other programs use the memory, so the better of two counts.
  const DeviceRates after = RatesOf(report.device, threads);
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
  AddNumbers(app, "-b,--batch", &flags->sequences,
             "sequences at a time (default 1): 1,8,32; a GGUF is compiled for the most of them");
  AddNumbers(app, "--serve", &flags->serving,
             "serve a request a sequence, with prompts of so many tokens and so many generated: "
             "256,64; then -p and -n have no default");
  const size_t before = app.get_options().size();
  flags->sampling.seed = 1;  // the same tokens each time
  AddSamplingFlags(app, &flags->sampling);
  const std::vector<const CLI::Option*> options = std::as_const(app).get_options();
  flags->sampling_options.assign(options.begin() + static_cast<ptrdiff_t>(before), options.end());
  app.add_option("-r,--repetitions", flags->repetitions,
                 "times to repeat a test, after once without measuring (default 5)");
  app.add_option("--timeline", flags->timeline,
                 "write when what ran on the device and on the host, unmeasured runs too, to this "
                 "file, for chrome://tracing or ui.perfetto.dev, and say how long the device "
                 "waited");
  app.add_flag("--json", flags->json,
               "one JSON object: model, device, repetitions, rates, rows[{test, tok_s, stdev, "
               "bytes, flops, bound_tok_s, percent_of_bound}], bytes and flops of one token; of "
               "--serve also host_percent, of sampled rows sampling_us, with --timeline also "
               "timeline");
  return [flags] { return Run(*flags); };
}

}  // namespace

const Command kBenchCommand = {
    .name = "bench",
    .summary = "measures the speed of reading prompts, decoding and serving, beside their bound",
    .examples =
        "  renga bench model.gguf -p 512,2048 -n 128 -d 0,1024\n"
        "  renga bench model.gguf -n 128 --temp 0.8             # and what sampling adds to a "
        "step\n"
        "  renga bench model.gguf -n 64 -b 1,8,32 --serve 256,64  # many sequences at a time\n"
        "  renga bench model.plan -r 3 --json                   # for scripts",
    .add = Add,
};

}  // namespace renga
