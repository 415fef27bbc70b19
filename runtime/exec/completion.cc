#include "runtime/exec/completion.h"

#include <limits>
#include <utility>

#include "ir/base/status.h"
#include "runtime/exec/top_logits.h"

namespace renga {

Completion::Completion(const Tokenizer& tokenizer, GenerateOptions options, Sampler sampler)
    : tokenizer_(&tokenizer),
      options_(std::move(options)),
      sampler_(std::move(sampler)),
      model_chooses_(sampler_.is_arg_max() && options_.top_logits <= 0 && !options_.prompt_top),
      decoder_(tokenizer),
      stops_(options_.stop) {}

absl::StatusOr<Completion> Completion::Create(const Tokenizer& tokenizer, GenerateOptions options,
                                              int32_t vocab) {
  SamplingParams sampling = options.sampling;
  if (options.ignore_eos) {
    for (int32_t id = 0; id < vocab; ++id) {
      if (!tokenizer.IsEndOfGeneration(id)) continue;
      sampling.logit_bias.emplace_back(id, -std::numeric_limits<float>::infinity());
    }
  }
  RENGA_ASSIGN_OR_RETURN(Sampler sampler, Sampler::Create(std::move(sampling), vocab));
  return Completion(tokenizer, std::move(options), std::move(sampler));
}

void Completion::AcceptPrompt(absl::Span<const int32_t> tokens) {
  for (int32_t id : tokens) sampler_.Accept(id);
}

void Completion::AddPromptTop(absl::Span<const float> logits) {
  result_.prompt_top.push_back(TopLogits(logits, options_.top_logits));
}

absl::StatusOr<int32_t> Completion::Choose(absl::Span<const float> logits) {
  RENGA_ASSIGN_OR_RETURN(const int32_t id, sampler_.Sample(logits));
  return Take(id, logits);
}

int32_t Completion::ChooseThis(int32_t id) {
  sampler_.Skip();
  return Take(id, {});
}

int32_t Completion::Take(int32_t id, absl::Span<const float> logits) {
  sampler_.Accept(id);
  const bool end = tokenizer_->IsEndOfGeneration(id);
  GeneratedToken token;
  token.id = id;
  if (!end) token.text = stops_.Append(decoder_.Append(id));
  if (options_.top_logits > 0 && !logits.empty()) {
    token.logprob = LogProbability(logits, id);
    token.top = TopLogits(logits, options_.top_logits);
  }
  result_.ids.push_back(id);
  result_.text += token.text;
  if (options_.on_token) options_.on_token(token);
  result_.tokens.push_back(std::move(token));
  if (end) {
    finished_ = FinishReason::kEos;
  } else if (stops_.stopped()) {
    finished_ = FinishReason::kStop;
  } else if (static_cast<int64_t>(result_.ids.size()) == options_.max_tokens) {
    finished_ = FinishReason::kLength;
  }
  return id;
}

GenerateResult Completion::Finish(FinishReason reason) {
  result_.finish_reason = reason;
  result_.text += stops_.Append(decoder_.Flush());
  result_.text += stops_.Flush();
  return std::move(result_);
}

}  // namespace renga
