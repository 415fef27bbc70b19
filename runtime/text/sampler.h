// Chooses the next token from the logits.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/text/sampling_filters.h"

namespace renga {

// The defaults are llama.cpp's. See sampling_filters.h for what each means.
struct SamplingParams {
  float temperature = 0.8f;  // <= 0: greedy, the arg max after bias and penalties
  int32_t top_k = 40;        // <= 0: off
  float top_p = 0.95f;       // >= 1: off
  float min_p = 0.05f;       // <= 0: off
  float typical_p = 1.0f;    // >= 1: off
  Penalties penalties;
  std::vector<std::pair<int32_t, float>> logit_bias;  // (id, added to its logit; -inf forbids)
  uint64_t seed = 0;
};

// What one Sample() does, in numbers, for whoever does it elsewhere (on a GPU) with the same
// result.
struct NextDraw {
  // What is done to the logit of an id before anything else.
  struct Change {
    int32_t id;
    float bias;      // added first
    bool penalised;  // then Penalised(logit, repeat, penalty)
    float penalty;
  };
  std::vector<Change> changes;  // by rising id, none twice, ids of the vocabulary alone
  float repeat = 1;
  int32_t top_k = 0;  // as in SamplingParams, as are the next two; greedy is top_k = 1
  float typical_p = 1;
  float top_p = 1;
  double log_min_p = 0;   // the logarithm of min_p; -infinity: off
  float temperature = 1;  // above 0
  double uniform = 0;     // the random number for Draw
};

// One generated sequence. Order: logit bias, penalties, top_k, typical, top_p, min_p, temperature,
// draw. The n-th Sample() of a sampler uses the random number UniformOfStep(seed, n), whatever else
// happened: the same seed and logits give the same tokens on any device. Not thread-safe.
class Sampler {
 public:
  // `vocab`: ids 0..vocab-1 may be chosen. Error: parameters that are not numbers or out of range.
  static absl::StatusOr<Sampler> Create(SamplingParams params, int32_t vocab);

  // The next token's id. logits: one for each id, `vocab` or more of them (padding is not looked
  // at). -inf forbids an id; NaN and +inf mean that the model computed nonsense, which is an error
  // (DataLoss) that names the id, as is a row in which every id is forbidden. A failed call uses up
  // no random number.
  absl::StatusOr<int32_t> Sample(absl::Span<const float> logits);

  // What Sample() would do now, or after `ahead` others where it does not look back.
  NextDraw Next(int ahead = 0) const;
  // Whether it depends on the tokens before: penalties are on.
  bool looks_back() const;

  // Tells the penalties of a token: of the prompt, or one that Sample() returned.
  void Accept(int32_t id);

  // A token was chosen elsewhere: its random number counts as used.
  void Skip() { ++step_; }

  // Whether Sample() is the arg max of the logits as they are.
  bool is_arg_max() const { return params_.temperature <= 0 && !changes_logits_; }

  uint64_t step() const { return step_; }  // number of tokens sampled

 private:
  Sampler(SamplingParams params, int32_t vocab);

  SamplingParams params_;
  int32_t vocab_;
  bool changes_logits_;  // bias or penalties are on
  uint64_t step_ = 0;
  std::vector<int32_t> history_;
  Candidates candidates_;  // kept for its memory
};

}  // namespace renga
