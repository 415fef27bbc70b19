#include "tools/library/structures.h"

#include "renga/renga.h"
#include "runtime/text/sampler.h"

namespace renga {

// Where there is padding, what a caller leaves in it would be taken for a field of a later version.
static_assert(sizeof(renga_options) == 5 * sizeof(void*) + 24);
static_assert(sizeof(renga_info) == 4 * sizeof(void*) + 40);
static_assert(sizeof(renga_request) == 9 * sizeof(void*) + 80);
static_assert(sizeof(renga_output) == 10 * sizeof(void*) + 56);
static_assert(sizeof(renga_logit) == 8);

template <>
renga_options DefaultStructure() {
  return {};
}

template <>
renga_info DefaultStructure() {
  return {};
}

template <>
renga_output DefaultStructure() {
  renga_output output = {};
  output.text.data = "";
  return output;
}

template <>
renga_request DefaultStructure() {
  const SamplingParams sampling;
  renga_request request = {};
  request.max_tokens = -1;
  request.seed = sampling.seed;
  request.temperature = sampling.temperature;
  request.top_k = sampling.top_k;
  request.top_p = sampling.top_p;
  request.min_p = sampling.min_p;
  request.typical_p = sampling.typical_p;
  request.penalty_tokens = sampling.penalties.last_n;
  request.repeat_penalty = sampling.penalties.repeat;
  request.presence_penalty = sampling.penalties.presence;
  request.frequency_penalty = sampling.penalties.frequency;
  return request;
}

}  // namespace renga
