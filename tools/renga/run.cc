// renga run MODEL: a prompt in, text out.
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "runtime/exec/generate.h"
#include "runtime/exec/sequence_forward.h"
#include "tools/open_model.h"
#include "tools/renga/command.h"
#include "tools/renga/interrupt.h"
#include "tools/renga/progress.h"
#include "tools/renga/prompt_cache.h"
#include "tools/renga/run_flags.h"
#include "tools/renga/run_many.h"
#include "tools/renga/run_report.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

absl::StatusOr<Prompt> ReadPromptFlags(const RunFlags& flags) {
  RENGA_RETURN_IF_ERROR(CheckTokenCount(flags.tokens, "-n"));
  Prompt prompt;
  if (flags.ids) {
    if (flags.prompt.text || flags.prompt.file) {
      return absl::InvalidArgumentError("--ids excludes -p and -f");
    }
    RENGA_ASSIGN_OR_RETURN(prompt.ids, ParseIds(*flags.ids, "--ids"));
    if (!prompt.ids.empty()) return prompt;
    return absl::InvalidArgumentError("--ids: expected at least one token id, got none");
  }
  RENGA_ASSIGN_OR_RETURN(prompt.text, ReadPrompt(flags.prompt));
  if (prompt.text) return prompt;
  return absl::InvalidArgumentError("no prompt: give -p TEXT, -f FILE or --ids 1,2,3");
}

// Text to stdout as it comes. After a failed write the generation ends.
class Stream {
 public:
  Stream(bool enabled, InterruptScope& interrupt) : enabled_(enabled), interrupt_(interrupt) {}

  void Write(std::string_view text) {
    if (!enabled_ || !status_.ok() || text.empty()) return;
    status_ = WriteStdout(text);
    last_ = text.back();
    if (!status_.ok()) interrupt_.Request();
  }

  // The text ends in a line break, if there was any.
  void EndLine() {
    if (last_ != '\n') Write("\n");
  }

  const absl::Status& status() const { return status_; }

 private:
  bool enabled_;
  InterruptScope& interrupt_;
  absl::Status status_;
  char last_ = '\n';
};

// The prompt as text, to print before what follows it.
absl::StatusOr<std::string> PromptText(const Prompt& prompt, const Tokenizer& tokenizer) {
  if (prompt.text) return *prompt.text;
  return tokenizer.Decode(prompt.ids);
}

absl::StatusOr<GenerateResult> GenerateOn(std::unique_ptr<StepRunner> runner,
                                          const Tokenizer& tokenizer,
                                          const std::vector<int32_t>& prompt,
                                          const GenerateOptions& options,
                                          const std::string& prompt_cache, std::string* note) {
  // An engine keeps a device busy that runs ahead.
  if (!prompt_cache.empty() || options.shift || runner->runs_ahead()) {
    return GenerateWithCache(prompt_cache, std::move(runner), tokenizer, prompt, options, note);
  }
  SequenceForward forward(std::move(runner));
  return Generate(forward, tokenizer, prompt, options);
}

absl::Status Run(const RunFlags& flags) {
  using std::chrono::steady_clock;
  const auto start = steady_clock::now();
  RENGA_ASSIGN_OR_RETURN(OpenOptions open, flags.model.Options());
  RENGA_ASSIGN_OR_RETURN(const Prompt prompt, ReadPromptFlags(flags));
  Progress loading(StrCat("loading ", flags.model.model));
  open.progress = [&loading](int64_t done, int64_t total) { loading.Update(done, total); };
  Timeline timeline;
  Timeline* const noted = flags.timeline.empty() ? nullptr : &timeline;
  open.timeline = noted;
  RENGA_ASSIGN_OR_RETURN(RunnableModel model, OpenToRun(flags.model.model, open));
  loading.Stop();
  const int64_t vocab = model.runner->plan().model.vocab;
  RENGA_ASSIGN_OR_RETURN(const int64_t context, flags.model.Context(model.runner->plan()));
  RunReport report{.device = std::string(model.runner->device()),
                   .kernels_compiled = model.kernels_compiled,
                   .load_seconds = model.load_seconds};
  RENGA_ASSIGN_OR_RETURN(report.prompt_ids,
                         PromptIds(prompt, flags.no_special, *model.tokenizer, context, vocab));
  const int64_t prompt_tokens = static_cast<int64_t>(report.prompt_ids.size());
  RENGA_ASSIGN_OR_RETURN(GenerateOptions options, OptionsOf(flags, context, prompt_tokens, vocab));
  report.seed = options.sampling.seed;
  report.sampled = options.sampling.temperature > 0;
  report.logits = flags.logits;
  RENGA_ASSIGN_OR_RETURN(const std::string prompt_text, PromptText(prompt, *model.tokenizer));

  InterruptScope interrupt;
  fprintf(stderr, "%s\n", model.device_note.c_str());
  const bool as_text = !flags.json && flags.tokens != 0;
  Stream stream(as_text, interrupt);
  Progress reading("reading the prompt");
  size_t shown = 0;
  options.on_prompt = [&](int64_t done, int64_t of) { reading.Update(done, of); };
  options.timeline = noted;
  timeline.Begin();
  options.on_token = [&](const GeneratedToken& token) {
    if (noted != nullptr) {
      if (report.first_token_seconds == 0) timeline.Begin();
      timeline.End();
    }
    if (report.first_token_seconds == 0) {
      report.first_token_seconds =
          std::chrono::duration<double>(steady_clock::now() - start).count();
      reading.Stop();
      if (!flags.no_stream) stream.Write(prompt_text);
    }
    if (flags.no_stream) return;
    stream.Write(token.text);
    shown += token.text.size();
  };
  options.cancel = &interrupt.flag();
  std::string note;
  RENGA_ASSIGN_OR_RETURN(report.result,
                         GenerateOn(std::move(model.runner), *model.tokenizer, report.prompt_ids,
                                    options, flags.prompt_cache, &note));
  reading.Stop();
  if (report.result.ids.size() < 2) timeline.End();
  if (noted != nullptr) report.timeline = Summarize(timeline);
  if (flags.no_stream) stream.Write(prompt_text);
  stream.Write(std::string_view(report.result.text).substr(shown));
  stream.EndLine();
  RENGA_RETURN_IF_ERROR(stream.status());
  if (flags.json) {
    RENGA_RETURN_IF_ERROR(WriteStdout(JsonText(ToJson(report))));
  } else {
    RENGA_RETURN_IF_ERROR(WriteStdout(LogitsText(report)));
  }
  if (!note.empty()) fprintf(stderr, "%s\n", note.c_str());
  PrintSummary(report);
  if (noted != nullptr) {
    RENGA_RETURN_IF_ERROR(WriteTimeline(flags.timeline, timeline, report.device));
  }
  if (report.result.finish_reason == FinishReason::kInterrupted) LeaveInterrupted();
  return absl::OkStatus();
}

RunFn Add(CLI::App& app) {
  auto flags = std::make_shared<RunFlags>();
  AddRunFlags(app, flags.get());
  return [flags] {
    return flags->model.CheckedAnswer(AsksForMany(*flags) ? RunMany(*flags) : Run(*flags));
  };
}

}  // namespace

const Command kRunCommand = {
    .name = "run",
    .summary = "generates text",
    .examples =
        "  renga run model.gguf -p \"Once upon a time\" -n 64 --temp 0     # greedy\n"
        "  cat prompt.txt | renga run model.plan -f - --json             # for scripts\n"
        "  renga run model.gguf -f prompts.jsonl --parallel 8 --json     # many at a time",
    .add = Add,
};

}  // namespace renga
