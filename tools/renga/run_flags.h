// The flags of `run`, for one prompt and for many.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "runtime/exec/generate.h"
#include "runtime/text/tokenizer.h"
#include "tools/renga/model_flags.h"
#include "tools/renga/prompt_flags.h"
#include "tools/renga/sampling_flags.h"

namespace renga {

struct RunFlags {
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
  std::optional<int64_t> parallel;
  int64_t n_best = 1;
  bool deterministic = false;
  std::string prompt_cache;
  bool shift = false;
  std::string timeline;  // file; empty: none
};

void AddRunFlags(CLI::App& app, RunFlags* flags);

// A number of tokens as -n takes it. `flag` is for the message.
absl::Status CheckTokenCount(int64_t tokens, std::string_view flag);

// What the model is to go on from.
struct Prompt {
  std::optional<std::string> text;
  std::vector<int32_t> ids;  // where there is no text
};

// Its ids, at least one and at most `context`, all of the vocabulary. InvalidArgument otherwise.
absl::StatusOr<std::vector<int32_t>> PromptIds(const Prompt& prompt, bool no_special,
                                               const Tokenizer& tokenizer, int64_t context,
                                               int64_t vocab);

// How to go on from a prompt of that many tokens. InvalidArgument for what the flags say that the
// model cannot do.
absl::StatusOr<GenerateOptions> OptionsOf(const RunFlags& flags, int64_t context,
                                          int64_t prompt_tokens, int64_t vocab);

}  // namespace renga
