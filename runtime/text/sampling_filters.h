// The steps of sampling, each a function on a list of candidate tokens. They mean what llama.cpp's
// samplers of the same names mean; sampler.h puts them in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"

namespace renga {

struct Candidate {
  int32_t id;
  float logit;  // finite, or -inf: forbidden, never drawn
};

// No id twice. A filter either drops candidates or sets their logits; probabilities are always the
// softmax over what is there. Filters that cut leave the candidates sorted by falling logit, equal
// ones by rising id, so that what stays does not depend on the device or the sorting.
using Candidates = std::vector<Candidate>;

// Probabilities in the order of the candidates; all zero if all are forbidden.
std::vector<double> Softmax(const Candidates& candidates);

// By falling logit, equal ones by rising id.
void SortByLogit(Candidates* candidates);

// Adds to the logits of these ids; -inf forbids. Ids without a candidate are ignored.
void ApplyLogitBias(absl::Span<const std::pair<int32_t, float>> bias, Candidates* candidates);

struct Penalties {
  int32_t last_n = 64;     // of the history; 0: off; below 0: all of it
  float repeat = 1.0f;     // > 0; divides logits above 0 and multiplies the others; 1: off
  float frequency = 0.0f;  // taken off once for each occurrence
  float presence = 0.0f;   // taken off once for each id that occurs
};
// Whether they change any logit that occurs.
bool Penalise(const Penalties& penalties);
// How often each id occurs in what counts of the history, oldest first.
absl::flat_hash_map<int32_t, int32_t> CountOccurrences(const Penalties& penalties,
                                                       absl::Span<const int32_t> history);
// What is taken off an id that occurs so often.
float PenaltyOf(const Penalties& penalties, int32_t occurrences);
// A finite logit after both. Rounded to f32 after each operation, on any machine.
float Penalised(float logit, float repeat, float penalty);
// `history`: the tokens so far, oldest first.
void ApplyPenalties(const Penalties& penalties, absl::Span<const int32_t> history,
                    Candidates* candidates);

// The k largest; k <= 0: all.
void FilterTopK(int32_t k, Candidates* candidates);

// From the most likely down until the sum of probabilities is at least p; at least min_keep and at
// least one. p >= 1: all. min_keep never brings a forbidden candidate to life: its probability
// stays zero.
void FilterTopP(float p, size_t min_keep, Candidates* candidates);

// The logarithm of p, the same for all who compare with it; -infinity for p <= 0.
double LogOfMinP(float p);
// Those with at least p times the highest probability; at least min_keep. p <= 0: all.
void FilterMinP(float p, size_t min_keep, Candidates* candidates);

// Locally typical: from the candidate whose surprise is nearest to the entropy on, until the sum of
// probabilities exceeds p; at least min_keep and at least one. p >= 1: all.
void FilterTypical(float p, size_t min_keep, Candidates* candidates);

// Divides the logits by t. t <= 0, or so small that the division overflows: the first largest keeps
// its logit, the others are forbidden.
void ApplyTemperature(float t, Candidates* candidates);

// The largest logit, of equals the lowest id; -1 if all are forbidden.
int32_t ArgMax(absl::Span<const float> logits);

// Draws by a uniform random number u in [0, 1): the first candidate, in the order of rising ids,
// whose running sum of probabilities exceeds u. The order makes the draw independent of how the
// filters before it sort. Sorts the candidates by id. -1 if all are forbidden.
int32_t Draw(double u, Candidates* candidates);

}  // namespace renga
