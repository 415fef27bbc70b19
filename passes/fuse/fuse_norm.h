// Fuses a norm into the projections that read it.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "passes/core/ledger.h"

namespace renga {

// An operator that reads a normed value `x`, and the one that norms it itself: it has the operands
// `x` before and `norm`, the attribute `eps`, and decomposes into rms_norm and the nodes of `plain`
// on its result (tested).
struct NormForm {
  std::string_view plain;
  std::string_view normed;
};

absl::Span<const NormForm> NormForms();

// rms_norm goes into all its readers where all of them have such a form; each computes it anew,
// which is cheaper than a value that everybody waits for.
absl::StatusOr<bool> FuseNorm(Graph& graph, Ledger& ledger);

}  // namespace renga
