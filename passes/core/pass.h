// A pass rewrites a graph into one that means the same. It is a free function in a file of its own
// name, listed in pipeline.cc; the runner alone verifies, times, dumps and names it in errors.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "ir/core/graph.h"
#include "passes/core/ledger.h"

namespace renga {

// Returns whether the graph's text changed. The graph it gets is verified and holds no left-over
// values; values it leaves unused are dropped after it.
using PassFn = absl::StatusOr<bool> (*)(Graph& graph, Ledger& ledger);

struct Pass {
  std::string_view name;  // kebab-case
  PassFn run;
  std::string_view summary;  // one line
  bool whole = false;        // it has no sites that RunPassesOptions::sites_off could name
};

}  // namespace renga
