// How near llama.cpp comes to the exact distribution of a model: its mean KL divergence from, and
// its agreement in the likeliest token with, the same weights in F32 (recorded in autumn 2026, cpu,
// f16 caches; the exact runs are those that tests/e2e holds the interpreter against).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace renga {

struct LlamaCppFidelity {
  double kl_mean = 0;
  double top1 = 0;  // share of positions
};

// Of the model with these weights (DigestOfWeights); nullopt where nobody has recorded it.
std::optional<LlamaCppFidelity> LlamaCppFidelityOf(std::string_view weights_digest);

}  // namespace renga
