// Rows of logits compared.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/types/span.h"

namespace renga {

inline int32_t ArgMaxOf(absl::Span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// KL(p || q) of the softmax distributions of two rows of logits.
inline double Divergence(absl::Span<const float> p, absl::Span<const float> q) {
  const double p_max = *std::max_element(p.begin(), p.end());
  const double q_max = *std::max_element(q.begin(), q.end());
  double p_sum = 0, q_sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    p_sum += std::exp(p[i] - p_max);
    q_sum += std::exp(q[i] - q_max);
  }
  const double p_log = p_max + std::log(p_sum), q_log = q_max + std::log(q_sum);
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    sum += std::exp(p[i] - p_log) * ((p[i] - p_log) - (q[i] - q_log));
  }
  return sum;
}

// Root mean square of got - expected, relative to the deviation of expected from its mean.
inline double RelativeError(absl::Span<const float> got, absl::Span<const float> expected) {
  double sum = 0, squares = 0, errors = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double value = expected[i], error = got[i] - value;
    sum += value;
    squares += value * value;
    errors += error * error;
  }
  const double n = static_cast<double>(expected.size());
  return std::sqrt(errors / n) / std::sqrt(squares / n - sum / n * sum / n);
}

}  // namespace renga
