#include "tools/renga/sampling_flags.h"

#include <unistd.h>

#include <chrono>

#include "absl/strings/numbers.h"
#include "ir/base/status.h"
#include "tools/renga/prompt_flags.h"

namespace renga {
namespace {

uint64_t RandomSeed() {
  uint32_t seed = 0;  // 32 bits: short enough to type again
  if (getentropy(&seed, sizeof(seed)) == 0) return seed;
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

absl::StatusOr<std::pair<int32_t, float>> ParseBias(const std::string& text, int64_t vocab) {
  const size_t equals = text.find('=');
  int32_t id = 0;
  float bias = 0;
  if (equals == std::string::npos || !absl::SimpleAtoi(text.substr(0, equals), &id) ||
      !absl::SimpleAtof(text.substr(equals + 1), &bias)) {
    return absl::InvalidArgumentError(
        StrCat("--logit-bias: expected ID=VALUE such as 15=-1.5 or 15=-inf, got '", text, "'"));
  }
  RENGA_RETURN_IF_ERROR(CheckIds({id}, vocab, "--logit-bias"));
  return std::make_pair(id, bias);
}

}  // namespace

absl::StatusOr<SamplingParams> SamplingFlags::Params(int64_t vocab) const {
  SamplingParams result = params;
  result.seed = seed ? *seed : RandomSeed();
  for (const std::string& text : logit_bias) {
    RENGA_ASSIGN_OR_RETURN(const auto bias, ParseBias(text, vocab));
    result.logit_bias.push_back(bias);
  }
  return result;
}

void AddSamplingFlags(CLI::App& app, SamplingFlags* flags) {
  SamplingParams& params = flags->params;
  app.add_option("--temp", params.temperature, "temperature; 0 is greedy (default 0.8)");
  app.add_option("--top-k", params.top_k, "only the K most likely; 0: all (default 40)");
  app.add_option("--top-p", params.top_p, "only the likeliest up to this sum (default 0.95)");
  app.add_option("--min-p", params.min_p,
                 "only those with at least this part of the best one's probability (default 0.05)");
  app.add_option("--typical", params.typical_p, "locally typical sampling; 1: off (default 1)");
  app.add_option("--repeat-last-n", params.penalties.last_n,
                 "tokens that the penalties look back on; -1: all (default 64)");
  app.add_option("--repeat-penalty", params.penalties.repeat, "1: off (default 1)");
  app.add_option("--presence-penalty", params.penalties.presence, "0: off (default 0)");
  app.add_option("--frequency-penalty", params.penalties.frequency, "0: off (default 0)");
  app.add_option("--logit-bias", flags->logit_bias, "ID=VALUE, added to a logit; may be repeated")
      ->allow_extra_args(false);
  app.add_option("-s,--seed", flags->seed,
                 "same seed, same text, on any device (default: a new one, shown on stderr)");
}

}  // namespace renga
