// renga run MODEL: a prompt in, text out.
#include <chrono>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "ir/base/status.h"
#include "runtime/exec/generate.h"
#include "tools/open_model.h"
#include "tools/renga/command.h"
#include "tools/renga/interrupt.h"
#include "tools/renga/model_flags.h"
#include "tools/renga/progress.h"
#include "tools/renga/prompt_flags.h"
#include "tools/renga/run_report.h"
#include "tools/renga/sampling_flags.h"
#include "tools/renga/text.h"

namespace renga {
namespace {

// With -n 0 --logits K every position keeps K pairs.
constexpr int64_t kMaxPromptPairs = int64_t{1} << 24;

struct Flags {
  ModelFlags model;
  PromptFlags prompt;
  std::optional<std::string> ids;
  int64_t tokens = 128;
  SamplingFlags sampling;
  std::vector<std::string> stop;
  bool ignore_eos = false;
  int logits = 0;
  bool no_stream = false;
  bool no_special = false;
  bool json = false;
};

// What the flags say without looking at the model.
struct Prompt {
  std::optional<std::string> text;
  std::vector<int32_t> ids;  // where there is no text
};

absl::StatusOr<Prompt> ReadPromptFlags(const Flags& flags) {
  // The flag parser turns numbers too large for it into the largest.
  if (flags.tokens < -1 || flags.tokens == std::numeric_limits<int64_t>::max()) {
    return absl::InvalidArgumentError(
        StrCat("-n: expected a number of tokens, or -1 for as many as fit, got ", flags.tokens));
  }
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

absl::Status TooLong(int64_t tokens, bool at_least, int64_t context) {
  return absl::InvalidArgumentError(
      StrCat("prompt: expected at most ", context, " tokens, which is the context, got ",
             at_least ? "at least " : "", tokens, "; shorten it or compile for more with -c"));
}

absl::StatusOr<std::vector<int32_t>> PromptIds(const Flags& flags, const Prompt& prompt,
                                               const OpenedModel& model, int64_t context) {
  std::vector<int32_t> ids = prompt.ids;
  if (prompt.text) {
    // A text that cannot fit is not worth tokenizing, which may take long.
    const int64_t longest =
        std::max<int64_t>(1, static_cast<int64_t>(model.tokenizer->vocabulary().longest()));
    const int64_t at_least = static_cast<int64_t>(prompt.text->size()) / longest;
    if (at_least > context) return TooLong(at_least, true, context);
    EncodeOptions options;
    options.parse_special = !flags.no_special;
    RENGA_ASSIGN_OR_RETURN(ids, model.tokenizer->Encode(*prompt.text, options));
    if (ids.empty()) {
      return absl::InvalidArgumentError(
          "prompt: empty, and the model puts no token in front of it; give it a text");
    }
  }
  RENGA_RETURN_IF_ERROR(CheckIds(ids, model.forward->vocab(), prompt.text ? "prompt" : "--ids"));
  const int64_t count = static_cast<int64_t>(ids.size());
  if (count > context) return TooLong(count, false, context);
  return ids;
}

absl::Status CheckLogits(const Flags& flags, int64_t positions, int64_t vocab) {
  if (flags.logits < 0 || flags.logits > vocab) {
    return absl::InvalidArgumentError(StrCat("--logits: expected 0..", vocab,
                                             ", the size of the vocabulary, got ", flags.logits));
  }
  if (flags.tokens == 0 && flags.logits * positions > kMaxPromptPairs) {
    return absl::InvalidArgumentError(StrCat("--logits: ", flags.logits, " at each of ", positions,
                                             " positions are more than ", kMaxPromptPairs,
                                             "; ask for fewer"));
  }
  return absl::OkStatus();
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

absl::StatusOr<GenerateOptions> OptionsOf(const Flags& flags, int64_t context,
                                          int64_t prompt_tokens, int64_t vocab) {
  GenerateOptions options;
  // The last token need not fit: it is never fed back.
  const int64_t room = context - prompt_tokens + 1;
  options.max_tokens = flags.tokens < 0 ? room : std::min(flags.tokens, room);
  RENGA_ASSIGN_OR_RETURN(options.sampling, flags.sampling.Params(vocab));
  // Made again by Generate; wrong flags should say so before anything else happens.
  RENGA_RETURN_IF_ERROR(Sampler::Create(options.sampling, static_cast<int32_t>(vocab)).status());
  options.stop = flags.stop;
  options.ignore_eos = flags.ignore_eos;
  options.top_logits = flags.logits;
  options.prompt_top = flags.tokens == 0 && flags.logits > 0;
  return options;
}

// The prompt as text, to print before what follows it.
absl::StatusOr<std::string> PromptText(const Prompt& prompt, const Tokenizer& tokenizer) {
  if (prompt.text) return *prompt.text;
  return tokenizer.Decode(prompt.ids);
}

absl::Status Run(const Flags& flags) {
  using std::chrono::steady_clock;
  const auto start = steady_clock::now();
  RENGA_ASSIGN_OR_RETURN(OpenOptions open, flags.model.Options());
  RENGA_ASSIGN_OR_RETURN(const Prompt prompt, ReadPromptFlags(flags));
  Progress loading(StrCat("loading ", flags.model.model));
  open.progress = [&loading](int64_t done, int64_t total) { loading.Update(done, total); };
  RENGA_ASSIGN_OR_RETURN(OpenedModel model, OpenModel(flags.model.model, open));
  loading.Stop();
  Forward& forward = *model.forward;
  RENGA_ASSIGN_OR_RETURN(const int64_t context, flags.model.Context(forward));
  RunReport report{.device = std::string(forward.device()),
                   .kernels_compiled = model.kernels_compiled,
                   .load_seconds = model.load_seconds};
  RENGA_ASSIGN_OR_RETURN(report.prompt_ids, PromptIds(flags, prompt, model, context));
  const int64_t prompt_tokens = static_cast<int64_t>(report.prompt_ids.size());
  RENGA_RETURN_IF_ERROR(CheckLogits(flags, prompt_tokens, forward.vocab()));
  RENGA_ASSIGN_OR_RETURN(GenerateOptions options,
                         OptionsOf(flags, context, prompt_tokens, forward.vocab()));
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
  options.on_token = [&](const GeneratedToken& token) {
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
  RENGA_ASSIGN_OR_RETURN(report.result,
                         Generate(forward, *model.tokenizer, report.prompt_ids, options));
  reading.Stop();
  if (flags.no_stream) stream.Write(prompt_text);
  stream.Write(std::string_view(report.result.text).substr(shown));
  stream.EndLine();
  RENGA_RETURN_IF_ERROR(stream.status());
  if (flags.json) {
    RENGA_RETURN_IF_ERROR(WriteStdout(JsonText(ToJson(report))));
  } else {
    RENGA_RETURN_IF_ERROR(WriteStdout(LogitsText(report)));
  }
  PrintSummary(report);
  if (report.result.finish_reason == FinishReason::kInterrupted) {
    return absl::CancelledError("interrupted");
  }
  return absl::OkStatus();
}

RunFn Add(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  AddModelFlags(app, &flags->model);
  AddDeviceFlags(app, &flags->model);
  AddPromptFlags(app, &flags->prompt);
  app.add_option("--ids", flags->ids, "token ids instead of a text: 1,403,407; no BOS is added");
  app.add_option("-n,--predict", flags->tokens,
                 "tokens to generate; -1: until the model or the context ends; 0: read the prompt "
                 "only (default 128)");
  AddSamplingFlags(app, &flags->sampling);
  app.add_option("--stop", flags->stop, "end before this text; may be repeated")
      ->allow_extra_args(false);
  app.add_flag("--ignore-eos", flags->ignore_eos, "never choose a token that ends the text");
  app.add_option("--logits", flags->logits,
                 "report the K largest logits of every generated token; with -n 0, of every "
                 "position of the prompt");
  app.add_flag("--no-stream", flags->no_stream, "print the text at the end, not as it comes");
  app.add_flag("--no-special", flags->no_special,
               "take `<|...|>` in the prompt as plain text, not as special tokens");
  app.add_flag("--json", flags->json,
               "one JSON object, whose text is what was generated (people are shown the prompt in "
               "front of it): prompt_ids, ids, text, finish_reason, device, timings, steps; on "
               "a GPU kernels_compiled, 0 where the plan had code for it");
  return [flags] { return Run(*flags); };
}

}  // namespace

const Command kRunCommand = {
    .name = "run",
    .summary = "generates text",
    .examples =
        "  renga run model.gguf -p \"Once upon a time\" -n 64 --temp 0     # greedy\n"
        "  cat prompt.txt | renga run model.plan -f - --json             # for scripts",
    .add = Add,
};

}  // namespace renga
