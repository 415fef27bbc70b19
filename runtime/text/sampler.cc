#include "runtime/text/sampler.h"

#include <cmath>
#include <limits>
#include <string>

#include "ir/base/status.h"
#include "ir/base/strings.h"
#include "runtime/text/philox.h"
#include "runtime/text/token_weight.h"

namespace renga {
namespace {

absl::Status CheckParams(const SamplingParams& params, int32_t vocab) {
  if (vocab <= 0 || vocab > kMostWeights) {
    return absl::InvalidArgumentError(
        StrCat("sampling: vocabulary: expected 1..", kMostWeights, " tokens, got ", vocab));
  }
  const std::pair<const char*, float> numbers[] = {
      {"temperature", params.temperature},
      {"top_p", params.top_p},
      {"min_p", params.min_p},
      {"typical_p", params.typical_p},
      {"repeat penalty", params.penalties.repeat},
      {"frequency penalty", params.penalties.frequency},
      {"presence penalty", params.penalties.presence},
  };
  for (const auto& [name, value] : numbers) {
    if (!std::isfinite(value)) {
      return absl::InvalidArgumentError(
          StrCat("sampling: ", name, ": expected a finite number, got ", value));
    }
  }
  if (params.min_p > 1) {
    return absl::InvalidArgumentError(
        StrCat("sampling: min_p: expected at most 1, got ", params.min_p));
  }
  if (params.penalties.repeat <= 0) {
    return absl::InvalidArgumentError(
        StrCat("sampling: repeat penalty: expected more than 0, got ", params.penalties.repeat));
  }
  for (const auto& [id, bias] : params.logit_bias) {
    if (id < 0 || id >= vocab) {
      return absl::InvalidArgumentError(
          StrCat("sampling: logit bias: expected a token id below ", vocab, ", got ", id));
    }
    if (std::isnan(bias) || bias == std::numeric_limits<float>::infinity()) {
      return absl::InvalidArgumentError(StrCat("sampling: logit bias of token ", id,
                                               ": expected a finite number or -inf, got ", bias));
    }
  }
  return absl::OkStatus();
}

}  // namespace

Sampler::Sampler(SamplingParams params, int32_t vocab) : params_(std::move(params)), vocab_(vocab) {
  const Penalties& p = params_.penalties;
  changes_logits_ = !params_.logit_bias.empty() ||
                    (p.last_n != 0 && (p.repeat != 1 || p.frequency != 0 || p.presence != 0));
}

absl::StatusOr<Sampler> Sampler::Create(SamplingParams params, int32_t vocab) {
  RENGA_RETURN_IF_ERROR(CheckParams(params, vocab));
  return Sampler(std::move(params), vocab);
}

void Sampler::Accept(int32_t id) { history_.push_back(id); }

absl::StatusOr<int32_t> Sampler::Sample(absl::Span<const float> logits) {
  if (logits.size() < static_cast<size_t>(vocab_)) {
    return absl::InvalidArgumentError(
        StrCat("sampling: expected ", vocab_, " logits, got ", logits.size()));
  }
  logits = logits.first(static_cast<size_t>(vocab_));
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (size_t id = 0; id < logits.size(); ++id) {
    if (!(logits[id] < kInfinity)) {
      return absl::DataLossError(StrCat("sampling: the logit of token ", id, " is ", logits[id],
                                        "; the model computed nonsense, run verify"));
    }
  }
  const bool greedy = params_.temperature <= 0;
  int32_t id = -1;
  if (is_arg_max()) {
    id = ArgMax(logits);
  } else {
    candidates_.resize(logits.size());
    for (size_t i = 0; i < logits.size(); ++i) {
      candidates_[i] = {static_cast<int32_t>(i), logits[i]};
    }
    ApplyLogitBias(params_.logit_bias, &candidates_);
    ApplyPenalties(params_.penalties, history_, &candidates_);
    if (greedy) {
      FilterTopK(1, &candidates_);
    } else {
      FilterTopK(params_.top_k, &candidates_);
      FilterTypical(params_.typical_p, /*min_keep=*/1, &candidates_);
      FilterTopP(params_.top_p, /*min_keep=*/1, &candidates_);
      FilterMinP(params_.min_p, /*min_keep=*/1, &candidates_);
      ApplyTemperature(params_.temperature, &candidates_);
    }
    id = Draw(UniformOfStep(params_.seed, step_), &candidates_);
  }
  if (id < 0) {
    return absl::DataLossError(
        "sampling: every token is forbidden: all logits are -inf; check the logit bias and the "
        "model");
  }
  ++step_;
  return id;
}

}  // namespace renga
