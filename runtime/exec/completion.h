// What one generation has written so far: it chooses the next token, turns it into text and knows
// when to end. Where the logits come from is not its business.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/exec/generate.h"
#include "runtime/exec/row_sampling.h"
#include "runtime/text/sampler.h"
#include "runtime/text/stop_strings.h"
#include "runtime/text/stream_decoder.h"
#include "runtime/text/tokenizer.h"

namespace renga {

class Completion {
 public:
  // `tokenizer` must outlive it. Errors as Sampler::Create.
  static absl::StatusOr<Completion> Create(const Tokenizer& tokenizer, GenerateOptions options,
                                           int32_t vocab);

  // Nothing but the arg max of the logits is wanted: ChooseThis may be told it.
  bool model_chooses() const { return model_chooses_; }

  // Tokens of the prompt, in order, for what looks at the tokens before.
  void AcceptPrompt(absl::Span<const int32_t> tokens);
  // The logits at the next position of the prompt, where GenerateOptions::prompt_top asks for them.
  void AddPromptTop(absl::Span<const float> logits);

  // Asks a device for the next token at this row of a run, or for what AddPromptTop wants there.
  // `ahead` tokens after the next one where Ask knows that as well (asks_ahead).
  RowSampling Ask(int32_t row, int ahead = 0) const;
  RowSampling AskPrompt(int32_t row) const;
  // Whether what is asked for does not depend on which tokens come before, and a device that can
  // choose can say all of it.
  bool asks_ahead() const;
  // Whether the answer is all that ChooseSampled or AddPromptTop needs.
  bool Suffices(const SampledRow& sampled) const;
  bool SufficesForPrompt(const SampledRow& sampled) const;

  // The next token, as a device chose it by Ask: the one that Choose would have chosen.
  int32_t ChooseSampled(const SampledRow& sampled);
  void AddPromptTop(const SampledRow& sampled);

  // The next token, from its logits [vocab]. Errors as Sampler::Sample.
  absl::StatusOr<int32_t> Choose(absl::Span<const float> logits);
  // The next token, of which the model said that its logit is the largest.
  int32_t ChooseThis(int32_t id);
  // A token that another generation chose, as the next.
  int32_t Repeat(int32_t id) { return ChooseThis(id); }

  // Why no token may follow the last one; nullopt where one may.
  std::optional<FinishReason> finished() const { return finished_; }

  GenerateTimings& timings() { return result_.timings; }
  const GenerateResult& result() const { return result_; }
  const GenerateOptions& options() const { return options_; }

  // What there is, with the text that had waited for more. Of no use afterwards.
  GenerateResult Finish(FinishReason reason);

 private:
  Completion(const Tokenizer& tokenizer, GenerateOptions options, Sampler sampler, int32_t vocab);
  int32_t Take(GeneratedToken token);

  const Tokenizer* tokenizer_;
  GenerateOptions options_;
  Sampler sampler_;
  bool model_chooses_;
  StreamDecoder decoder_;
  StopStrings stops_;
  std::optional<FinishReason> finished_;
  size_t vocab_;
  GenerateResult result_;
};

}  // namespace renga
