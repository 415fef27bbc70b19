#include "runtime/text/sampling_filters.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/text/token_weight.h"

namespace renga {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

bool Before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

bool BeforeById(const Candidate& a, const Candidate& b) { return a.id < b.id; }

float MaxLogit(const Candidates& candidates) {
  float max = kForbidden;
  for (const Candidate& candidate : candidates) max = std::max(max, candidate.logit);
  return max;
}

uint64_t SumOfWeights(const Candidates& candidates, float max) {
  uint64_t sum = 0;
  for (const Candidate& candidate : candidates) sum += TokenWeight(candidate.logit, max);
  return sum;
}

// Sorts at least the first `count`; the rest is in any order.
void SortFirst(size_t count, Candidates* candidates) {
  if (count >= candidates->size()) {
    std::sort(candidates->begin(), candidates->end(), Before);
    return;
  }
  const auto middle = candidates->begin() + static_cast<ptrdiff_t>(count);
  // A heap of few looks at most candidates once; for many, splitting first is cheaper.
  if (count <= 256) {
    std::partial_sort(candidates->begin(), middle, candidates->end(), Before);
  } else {
    std::nth_element(candidates->begin(), middle, candidates->end(), Before);
    std::sort(candidates->begin(), middle, Before);
  }
}

}  // namespace

std::vector<double> Softmax(const Candidates& candidates) {
  const float max = MaxLogit(candidates);
  const double sum = static_cast<double>(std::max<uint64_t>(SumOfWeights(candidates, max), 1));
  std::vector<double> probabilities;
  probabilities.reserve(candidates.size());
  for (const Candidate& candidate : candidates) {
    probabilities.push_back(static_cast<double>(TokenWeight(candidate.logit, max)) / sum);
  }
  return probabilities;
}

void SortByLogit(Candidates* candidates) { SortFirst(candidates->size(), candidates); }

void ApplyLogitBias(absl::Span<const std::pair<int32_t, float>> bias, Candidates* candidates) {
  if (bias.empty()) return;
  absl::flat_hash_map<int32_t, float> by_id;
  for (const auto& [id, value] : bias) by_id[id] += value;
  for (Candidate& candidate : *candidates) {
    const auto it = by_id.find(candidate.id);
    if (it != by_id.end()) candidate.logit += it->second;
  }
}

bool Penalise(const Penalties& penalties) {
  return penalties.last_n != 0 &&
         (penalties.repeat != 1 || penalties.frequency != 0 || penalties.presence != 0);
}

absl::flat_hash_map<int32_t, int32_t> CountOccurrences(const Penalties& penalties,
                                                       absl::Span<const int32_t> history) {
  absl::flat_hash_map<int32_t, int32_t> counts;
  if (!Penalise(penalties)) return counts;
  if (penalties.last_n > 0 && history.size() > static_cast<size_t>(penalties.last_n)) {
    history.remove_prefix(history.size() - static_cast<size_t>(penalties.last_n));
  }
  for (int32_t id : history) ++counts[id];
  return counts;
}

float PenaltyOf(const Penalties& penalties, int32_t occurrences) {
  return static_cast<float>(occurrences) * penalties.frequency + penalties.presence;
}

// Through f64, so that no compiler makes one operation of the product and the difference; 53 digits
// are enough for a quotient to round to the same f32 as at once.
float Penalised(float logit, float repeat, float penalty) {
  const double exact = logit;
  const float repeated = static_cast<float>(logit <= 0 ? exact * repeat : exact / repeat);
  return repeated - penalty;
}

void ApplyPenalties(const Penalties& penalties, absl::Span<const int32_t> history,
                    Candidates* candidates) {
  const absl::flat_hash_map<int32_t, int32_t> counts = CountOccurrences(penalties, history);
  if (counts.empty()) return;
  for (Candidate& candidate : *candidates) {
    const auto it = counts.find(candidate.id);
    if (it == counts.end() || candidate.logit == kForbidden) continue;
    candidate.logit =
        Penalised(candidate.logit, penalties.repeat, PenaltyOf(penalties, it->second));
  }
}

void FilterTopK(int32_t k, Candidates* candidates) {
  if (k <= 0) return;
  const size_t keep = std::min(candidates->size(), static_cast<size_t>(k));
  SortFirst(keep, candidates);
  candidates->resize(keep);
}

void FilterTopP(float p, size_t min_keep, Candidates* candidates) {
  if (p >= 1 || candidates->empty()) return;
  const float max = MaxLogit(*candidates);
  const double enough =
      static_cast<double>(p) * static_cast<double>(SumOfWeights(*candidates, max));
  const size_t size = candidates->size();
  // The cut is mostly near the top: sort ever more of it rather than all of a vocabulary.
  size_t sorted = 0;
  size_t keep = 0;
  uint64_t running = 0;
  while (keep < size) {
    if (keep == sorted) {
      sorted = std::min(size, std::max<size_t>(256, sorted * 8));
      SortFirst(sorted, candidates);
    }
    running += TokenWeight((*candidates)[keep].logit, max);
    ++keep;
    if (static_cast<double>(running) >= enough && keep >= min_keep) break;
  }
  candidates->resize(keep);
}

double LogOfMinP(float p) { return p > 0 ? std::log(static_cast<double>(p)) : kForbidden; }

void FilterMinP(float p, size_t min_keep, Candidates* candidates) {
  if (p <= 0 || candidates->empty()) return;
  const double lowest = static_cast<double>(MaxLogit(*candidates)) + LogOfMinP(p);
  const auto keep = static_cast<size_t>(
      std::count_if(candidates->begin(), candidates->end(),
                    [lowest](const Candidate& c) { return c.logit >= lowest; }));
  const size_t count = std::min(candidates->size(), std::max<size_t>({keep, min_keep, 1}));
  SortFirst(count, candidates);
  candidates->resize(count);
}

void FilterTypical(float p, size_t min_keep, Candidates* candidates) {
  if (p >= 1 || candidates->empty()) return;
  // With d = max - logit, a candidate's surprise is log(sum) + d and the entropy is the mean of all
  // surprises, so that they differ by d less the mean of d: no logarithm is needed.
  const float max = MaxLogit(*candidates);
  struct Entry {
    double distance;
    uint64_t weight;
    Candidate candidate;
  };
  std::vector<Entry> entries;
  entries.reserve(candidates->size());
  uint64_t sum = 0, below = 0;  // of weights, and of weights times d
  for (const Candidate& candidate : *candidates) {
    const uint64_t weight = TokenWeight(candidate.logit, max);
    const double d = static_cast<double>(max) - candidate.logit;
    entries.push_back({d, weight, candidate});
    sum += weight;
    if (weight > 0) below += static_cast<uint64_t>(static_cast<double>(weight) * d);
  }
  const double mean = sum == 0 ? 0 : static_cast<double>(below) / static_cast<double>(sum);
  for (Entry& entry : entries) {
    entry.distance = entry.weight > 0 ? std::abs(entry.distance - mean)
                                      : std::numeric_limits<double>::infinity();
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.distance != b.distance ? a.distance < b.distance : Before(a.candidate, b.candidate);
  });
  candidates->clear();
  const double enough = static_cast<double>(p) * static_cast<double>(sum);
  uint64_t running = 0;
  for (const Entry& entry : entries) {
    candidates->push_back(entry.candidate);
    running += entry.weight;
    if (static_cast<double>(running) > enough && candidates->size() >= min_keep) break;
  }
  SortByLogit(candidates);
}

void ApplyTemperature(float t, Candidates* candidates) {
  float largest = 0;
  for (const Candidate& candidate : *candidates) {
    if (candidate.logit != kForbidden) largest = std::max(largest, std::abs(candidate.logit));
  }
  if (t > 0 && std::isfinite(largest / t)) {
    for (Candidate& candidate : *candidates) candidate.logit /= t;
    return;
  }
  const auto best = std::min_element(candidates->begin(), candidates->end(), Before);
  if (best == candidates->end()) return;
  const int32_t id = best->id;
  for (Candidate& candidate : *candidates) {
    if (candidate.id != id) candidate.logit = kForbidden;
  }
}

int32_t ArgMax(absl::Span<const float> logits) {
  float best = kForbidden;
  int32_t id = -1;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > best) {
      best = logits[i];
      id = static_cast<int32_t>(i);
    }
  }
  return id;
}

int32_t Draw(double u, Candidates* candidates) {
  if (!std::is_sorted(candidates->begin(), candidates->end(), BeforeById)) {
    std::sort(candidates->begin(), candidates->end(), BeforeById);
  }
  const float max = MaxLogit(*candidates);
  const uint64_t sum = SumOfWeights(*candidates, max);
  if (sum == 0) return -1;
  // The product may round up to the sum itself.
  const uint64_t target = std::min(static_cast<uint64_t>(u * static_cast<double>(sum)), sum - 1);
  uint64_t running = 0;
  for (const Candidate& candidate : *candidates) {
    running += TokenWeight(candidate.logit, max);
    if (running > target) return candidate.id;
  }
  return -1;  // never: the running sum ends at the sum
}

}  // namespace renga
