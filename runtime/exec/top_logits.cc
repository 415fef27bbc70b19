#include "runtime/exec/top_logits.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "runtime/text/token_weight.h"

namespace renga {

std::vector<std::pair<int32_t, float>> TopLogits(absl::Span<const float> logits, int count) {
  // A total order even with NaN: partial_sort demands one.
  const auto key = [&](int32_t id) {
    return std::isnan(logits[id]) ? -std::numeric_limits<float>::infinity() : logits[id];
  };
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const size_t wanted = std::min(ids.size(), static_cast<size_t>(std::max(count, 0)));
  std::partial_sort(ids.begin(), ids.begin() + wanted, ids.end(), [&](int32_t a, int32_t b) {
    return key(a) != key(b) ? key(a) > key(b) : a < b;
  });
  std::vector<std::pair<int32_t, float>> top;
  for (size_t i = 0; i < wanted; ++i) top.emplace_back(ids[i], logits[ids[i]]);
  return top;
}

double LogProbability(float logit, float max, uint64_t sum) {
  return static_cast<double>(logit) - max -
         std::log(static_cast<double>(sum) / static_cast<double>(kWholeWeight));
}

double LogProbability(absl::Span<const float> logits, int32_t id) {
  const float max = *std::max_element(logits.begin(), logits.end());
  uint64_t sum = 0;
  for (float logit : logits) sum += TokenWeight(logit, max);
  return LogProbability(logits[id], max, sum);
}

}  // namespace renga
