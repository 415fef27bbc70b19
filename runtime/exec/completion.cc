#include "runtime/exec/completion.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "ir/base/status.h"
#include "runtime/exec/top_logits.h"
#include "runtime/plan/sample_args.h"

namespace renga {

Completion::Completion(const Tokenizer& tokenizer, GenerateOptions options, Sampler sampler,
                       int32_t vocab)
    : tokenizer_(&tokenizer),
      options_(std::move(options)),
      sampler_(std::move(sampler)),
      model_chooses_(sampler_.is_arg_max() && options_.top_logits <= 0 && !options_.prompt_top),
      decoder_(tokenizer),
      stops_(options_.stop),
      vocab_(static_cast<size_t>(vocab)) {}

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
  return Completion(tokenizer, std::move(options), std::move(sampler), vocab);
}

void Completion::AcceptPrompt(absl::Span<const int32_t> tokens) {
  for (int32_t id : tokens) sampler_.Accept(id);
}

void Completion::AddPromptTop(absl::Span<const float> logits) {
  result_.prompt_top.push_back(TopLogits(logits, options_.top_logits));
}

void Completion::AddPromptTop(const SampledRow& sampled) {
  result_.prompt_top.push_back(sampled.top);
}

RowSampling Completion::Ask(int32_t row, int ahead) const {
  RowSampling ask{.row = row, .draw = sampler_.Next(ahead)};
  const NextDraw& draw = ask.draw;
  // A nucleus of the whole vocabulary is a share of it. With changes the device does not know it.
  ask.wants_sum =
      options_.top_logits > 0 || (draw.top_k <= 0 && draw.top_p < 1 && draw.changes.empty());
  ask.wants_top = options_.top_logits;
  return ask;
}

bool Completion::asks_ahead() const {
  return !sampler_.looks_back() && options_.top_logits <= plan::kSampleKept;
}

RowSampling Completion::AskPrompt(int32_t row) const {
  RowSampling ask{.row = row, .wants_top = options_.top_logits};
  ask.draw.top_k = 1;
  ask.draw.log_min_p = LogOfMinP(0);
  return ask;
}

bool Completion::SufficesForPrompt(const SampledRow& sampled) const {
  const size_t wanted = static_cast<size_t>(std::max(options_.top_logits, 0));
  return sampled.top.size() == std::min(wanted, vocab_);
}

bool Completion::Suffices(const SampledRow& sampled) const {
  return sampled.id >= 0 && SufficesForPrompt(sampled);
}

int32_t Completion::ChooseSampled(const SampledRow& sampled) {
  sampler_.Skip();
  ++result_.timings.device_tokens;
  GeneratedToken token{.id = sampled.id};
  if (options_.top_logits > 0) {
    token.logprob = LogProbability(sampled.logit, sampled.max, sampled.sum);
    token.top = sampled.top;
  }
  return Take(std::move(token));
}

absl::StatusOr<int32_t> Completion::Choose(absl::Span<const float> logits) {
  GeneratedToken token;
  {
    const Timeline::Scope scope(options_.timeline, "sample");
    RENGA_ASSIGN_OR_RETURN(token.id, sampler_.Sample(logits));
    if (options_.top_logits > 0) {
      token.logprob = LogProbability(logits, token.id);
      token.top = TopLogits(logits, options_.top_logits);
    }
  }
  return Take(std::move(token));
}

int32_t Completion::ChooseThis(int32_t id) {
  sampler_.Skip();
  return Take({.id = id});
}

int32_t Completion::Take(GeneratedToken token) {
  const Timeline::Scope scope(options_.timeline, "text");
  const int32_t id = token.id;
  sampler_.Accept(id);
  const bool end = tokenizer_->IsEndOfGeneration(id);
  if (!end) token.text = stops_.Append(decoder_.Append(id));
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
