#include "runtime/text/sampler.h"

#include <cmath>
#include <limits>
#include <map>
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
  changes_logits_ = !params_.logit_bias.empty() || Penalise(params_.penalties);
}

absl::StatusOr<Sampler> Sampler::Create(SamplingParams params, int32_t vocab) {
  RENGA_RETURN_IF_ERROR(CheckParams(params, vocab));
  return Sampler(std::move(params), vocab);
}

bool Sampler::looks_back() const { return Penalise(params_.penalties); }

NextDraw Sampler::Next(int ahead) const {
  NextDraw next;
  std::map<int32_t, NextDraw::Change> changes;
  const auto change_of = [&](int32_t id) -> NextDraw::Change& {
    return changes.try_emplace(id, NextDraw::Change{id, 0, false, 0}).first->second;
  };
  for (const auto& [id, bias] : params_.logit_bias) change_of(id).bias += bias;
  for (const auto& [id, occurrences] : CountOccurrences(params_.penalties, history_)) {
    if (id < 0 || id >= vocab_) continue;
    NextDraw::Change& change = change_of(id);
    change.penalised = true;
    change.penalty = PenaltyOf(params_.penalties, occurrences);
  }
  for (const auto& [id, change] : changes) next.changes.push_back(change);
  next.repeat = params_.penalties.repeat;
  next.uniform = UniformOfStep(params_.seed, step_ + static_cast<uint64_t>(ahead));
  next.log_min_p = LogOfMinP(0);
  if (params_.temperature <= 0) {
    next.top_k = 1;
    return next;
  }
  next.top_k = params_.top_k;
  next.typical_p = params_.typical_p;
  next.top_p = params_.top_p;
  next.log_min_p = LogOfMinP(params_.min_p);
  next.temperature = params_.temperature;
  return next;
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
