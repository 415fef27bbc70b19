// The feed-forward as a mixture of experts.
#pragma once

#include <string_view>

#include "frontend/models/builder.h"

namespace renga {

struct ExpertParams {
  int64_t experts = 0;     // in all
  int64_t used = 0;        // by a token
  int64_t hidden = 0;      // width of one expert
  bool normalise = false;  // the chosen experts' weights sum to one
  std::string_view activation = "silu";
};

// Router, the chosen experts' gated feed-forwards, and their weighted sum. Tensors ffn_gate_inp and
// ffn_{gate,up,down}_exps.
ValueId Experts(ModelBuilder& b, int layer, ValueId x, const ExpertParams& params);

}  // namespace renga
