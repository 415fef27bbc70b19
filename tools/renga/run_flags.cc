#include "tools/renga/run_flags.h"

#include <algorithm>
#include <limits>

#include "ir/base/status.h"

namespace renga {
namespace {

// With -n 0 --logits K every position keeps K pairs.
constexpr int64_t kMaxPromptPairs = int64_t{1} << 24;

absl::Status TooLong(int64_t tokens, bool at_least, int64_t context) {
  return absl::InvalidArgumentError(
      StrCat("prompt: expected at most ", context, " tokens, which is the context, got ",
             at_least ? "at least " : "", tokens, "; shorten it or compile for more with -c"));
}

absl::Status CheckLogits(const RunFlags& flags, int64_t positions, int64_t vocab) {
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

}  // namespace

absl::Status CheckTokenCount(int64_t tokens, std::string_view flag) {
  // The flag parser turns numbers too large for it into the largest.
  if (tokens >= -1 && tokens != std::numeric_limits<int64_t>::max()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat(flag, ": expected a number of tokens, or -1 for as many as fit, got ", tokens));
}

absl::StatusOr<std::vector<int32_t>> PromptIds(const Prompt& prompt, bool no_special,
                                               const Tokenizer& tokenizer, int64_t context,
                                               int64_t vocab) {
  std::vector<int32_t> ids = prompt.ids;
  if (prompt.text) {
    // A text that cannot fit is not worth tokenizing, which may take long.
    const int64_t longest =
        std::max<int64_t>(1, static_cast<int64_t>(tokenizer.vocabulary().longest()));
    const int64_t at_least = static_cast<int64_t>(prompt.text->size()) / longest;
    if (at_least > context) return TooLong(at_least, true, context);
    EncodeOptions options;
    options.parse_special = !no_special;
    RENGA_ASSIGN_OR_RETURN(ids, tokenizer.Encode(*prompt.text, options));
    if (ids.empty()) {
      return absl::InvalidArgumentError(
          "prompt: empty, and the model puts no token in front of it; give it a text");
    }
  }
  RENGA_RETURN_IF_ERROR(CheckIds(ids, vocab, prompt.text ? "prompt" : "--ids"));
  const int64_t count = static_cast<int64_t>(ids.size());
  if (count > context) return TooLong(count, false, context);
  return ids;
}

absl::StatusOr<GenerateOptions> OptionsOf(const RunFlags& flags, int64_t context,
                                          int64_t prompt_tokens, int64_t vocab) {
  RENGA_RETURN_IF_ERROR(CheckLogits(flags, prompt_tokens, vocab));
  GenerateOptions options;
  // The last token need not fit: it is never fed back.
  const int64_t room = context - prompt_tokens + 1;
  options.max_tokens = flags.tokens < 0 ? room : std::min(flags.tokens, room);
  options.shift = flags.shift;
  if (flags.shift) options.max_tokens = flags.tokens;
  RENGA_ASSIGN_OR_RETURN(options.sampling, flags.sampling.Params(vocab));
  // Made again by who generates; wrong flags should say so before anything else happens.
  RENGA_RETURN_IF_ERROR(Sampler::Create(options.sampling, static_cast<int32_t>(vocab)).status());
  options.stop = flags.stop;
  options.ignore_eos = flags.ignore_eos;
  options.top_logits = flags.logits;
  options.prompt_top = flags.tokens == 0 && flags.logits > 0;
  return options;
}

void AddRunFlags(CLI::App& app, RunFlags* flags) {
  AddModelFlags(app, &flags->model);
  AddDeviceFlags(app, &flags->model);
  AddCheckFlags(app, &flags->model);
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
               "one JSON object for each prompt, whose text is what was generated (people are "
               "shown the prompt in "
               "front of it): prompt_ids, ids, text, finish_reason, device, timings, steps; on "
               "a GPU kernels_compiled, 0 where the plan had code for it");
  app.add_option("--parallel", flags->parallel,
                 "prompts at a time, out of a file of JSON Lines (-f prompts.jsonl), one object "
                 "each: prompt or ids, and n, temp, seed, stop and others of these flags where "
                 "they differ");
  app.add_option("--n-best", flags->n_best,
                 "texts for each prompt, of as many seeds, which share the prompt (default 1)");
  app.add_option("--prompt-cache", flags->prompt_cache,
                 "file of what was computed of a prompt: what it knows of this one's beginning is "
                 "not computed again, and it is made or grows afterwards");
  app.add_flag("--shift", flags->shift,
               "where the context is full, forget the older half of what was generated and go on; "
               "else the text ends there");
  app.add_option("--timeline", flags->timeline,
                 "write when what ran on the device and on the host to this file, for "
                 "chrome://tracing or ui.perfetto.dev, and say how long the device waited");
  app.add_flag(
      "--deterministic", flags->deterministic,
      "with --parallel: each text is bit by bit what it is alone. On the cpu it is anyway; "
      "on a GPU a step then takes a piece of one prompt or the next tokens of a few texts, as many "
      "as its kernels keep apart (dump --stage plan: batch-invariant)");
}

}  // namespace renga
