// Prompt ids in, tokens out: the loop around Forward.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/exec/forward.h"
#include "runtime/exec/timeline.h"
#include "runtime/text/sampler.h"
#include "runtime/text/tokenizer.h"

namespace renga {

enum class FinishReason : uint8_t {
  kStop,         // a stop string appeared
  kLength,       // max_tokens reached, or the context is full
  kEos,          // the model ended the text
  kInterrupted,  // cancelled
};
std::string_view ToString(FinishReason reason);  // "stop", "length", "eos", "interrupted"

using TopIds = std::vector<std::pair<int32_t, float>>;  // (id, raw logit), largest first

// One generated token.
struct GeneratedToken {
  int32_t id = 0;
  std::string text;    // what it lets be shown: whole characters, no part of a stop string; may be
                       // empty, and hold text of the tokens before
  double logprob = 0;  // of the raw logits; 0 unless top_logits > 0
  TopIds top;          // top_logits of them
};

struct GenerateOptions {
  int64_t max_tokens = -1;  // < 0: until the model ends or the context is full
  SamplingParams sampling;
  std::vector<std::string> stop;
  bool ignore_eos = false;  // tokens that end generation are never chosen
  int top_logits = 0;       // logits reported per generated token
  // Where the context is full: goes on as if the prompt had been followed by the newer half of what
  // was generated, which is computed again. For Engine, and prompts of at most half a context.
  bool shift = false;
  bool prompt_top = false;  // also report top_logits at every prompt position
  std::function<void(const GeneratedToken&)> on_token;      // called as soon as it is known
  std::function<void(int64_t done, int64_t of)> on_prompt;  // after every chunk of the prompt
  const std::atomic<bool>* cancel = nullptr;  // looked at before every run of the model
  Timeline* timeline = nullptr;  // where there is one, it has when tokens were chosen and written
};

struct GenerateTimings {
  int64_t prompt_tokens = 0;  // computed
  int64_t reused_tokens = 0;  // of the prompt, that had been computed before
  double prompt_seconds = 0;  // until the logits behind the prompt are there
  int64_t shifts = 0;         // GenerateOptions::shift
  int64_t device_tokens = 0;  // that a device sampled: without their logits. Not the arg max
  int64_t decode_tokens = 0;  // runs of the model with one token: the first token costs none
  double decode_seconds = 0;  // those runs and the sampling
};

struct GenerateResult {
  std::vector<int32_t> ids;  // generated, the token that ended it included
  std::string text;          // without that token and without the stop string
  FinishReason finish_reason = FinishReason::kLength;
  std::vector<GeneratedToken> tokens;  // one per id
  std::vector<TopIds> prompt_top;      // one per prompt token, when asked for
  GenerateTimings timings;
};

// Appends `prompt` to the sequence of `forward` and generates. The last generated token is not yet
// part of the sequence afterwards. Errors:
//   InvalidArgument  an empty prompt, or one longer than what is left of the context
//   OutOfRange       a prompt id that is no token
// and those of Sampler and Forward.
absl::StatusOr<GenerateResult> Generate(Forward& forward, const Tokenizer& tokenizer,
                                        absl::Span<const int32_t> prompt,
                                        const GenerateOptions& options);

}  // namespace renga
